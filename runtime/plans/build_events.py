"""What the building process is told, and what it tells its parent: one JSON object per line.

The parent sends one line, the `BuildRequest`, and later perhaps `cancel`; the end of its output means the
same, so that a build does not outlive whoever asked for it.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from runtime.bundle.plan_json import BuildOptions, PlanFacts

CANCEL = "cancel"


class BuildRequest(BaseModel):
    """What the building process is told.

    Attributes:
        bundle: The bundle's directory; None for a graph from elsewhere.
        onnx: That graph; None for a bundle.
        plan: Where the plan goes, a temporary name beside its final one.
        options: How to build.
        timing_cache: File of measured kernel times; None for none.
        verbose: Whether everything that TensorRT logs is passed on, not only warnings and what it did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path | None
    onnx: Path | None = None
    plan: Path
    options: BuildOptions
    timing_cache: Path | None = None
    verbose: bool = False


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Logged(_Event):
    """A message of TensorRT's; `level` is a name of Python's logging."""

    event: Literal["log"] = "log"
    level: str
    message: str


class StageBegan(_Event):
    """A stage of the work; `steps` is None where they are not known."""

    event: Literal["stage"] = "stage"
    name: str
    steps: int | None = None


class StepDone(_Event):
    """The stage's steps that are done by now."""

    event: Literal["step"] = "step"
    done: int


class Failed(_Event):
    """The work ended with an error in one line; `kind` is its class in `runtime/errors.py`."""

    event: Literal["failed"] = "failed"
    kind: str
    message: str


class Cancelled(_Event):
    """The work was stopped because it was asked to."""

    event: Literal["cancelled"] = "cancelled"


class Finished(_Event):
    """The plan is written.

    Attributes:
        facts: What it is.
        layer_information: The engine inspector's JSON.
    """

    event: Literal["finished"] = "finished"
    facts: PlanFacts
    layer_information: str


Event = Annotated[Logged | StageBegan | StepDone | Failed | Cancelled | Finished, Field(discriminator="event")]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def read_event(line: str) -> Event:
    """Return the event of a line.

    Raises:
        ValueError: The line is no event.
    """
    return _ADAPTER.validate_json(line)


def write_event(event: Event) -> str:
    """Return the line of an event, with its end."""
    return event.model_dump_json() + "\n"
