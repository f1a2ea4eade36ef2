"""How a model is served: what was asked for, else what the repository has, else the default."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from runtime.errors import UsageError
from runtime.serving.backends import Served
from runtime.serving.model_config import Keep, Kind
from runtime.serving.request import RepositoryRequest

# Without a plan, whose profile says it: a batch at which a CPU and a small GPU are busy, and an answer is not late.
DEFAULT_MAX_BATCH = 32
_NO_BATCHES = {"max_batch_size": 0, "max_queue_delay_us": 0, "preferred_batch": ()}


class Settings(BaseModel):
    """How a model is served; the same for all of its versions, because `config.pbtxt` is.

    Attributes:
        kind: Where instances run.
        max_batch_size: Largest batch that Triton makes; 0 where it makes none.
        instances: Instances, per device.
        max_queue_delay_us: How long a request may wait for others, microseconds.
        preferred_batch: Batches that are sent without waiting.
        keep: Whether the latest version is served, or all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    max_batch_size: int = Field(ge=0)
    instances: int = Field(ge=1)
    max_queue_delay_us: int = Field(ge=0)
    preferred_batch: tuple[int, ...]
    keep: Keep


def settle(request: RepositoryRequest, served: Served, standing: Settings | None) -> Settings:
    """Return how a model is to be served.

    Args:
        request: What was asked for.
        served: The backend.
        standing: The settings of the model that is in the repository, or None.

    Raises:
        UsageError: A batch that the backend does not make, or the plan does not take.
    """
    asked: dict[str, Any] = {
        "max_batch_size": request.max_batch,
        "instances": request.instances,
        "max_queue_delay_us": request.max_queue_delay_us,
        "preferred_batch": request.preferred_batch,
        "keep": request.keep,
        "kind": served.backend.kinds[request.device] if request.device != "auto" else None,
    }
    base = standing or _defaults(served)
    if served.no_batches:
        _refuse_batches(request, served)
        # The model in the repository may have batches: then it has another input, which is what is refused.
        base = base.model_copy(update=_NO_BATCHES)
    settings = base.model_copy(update={name: value for name, value in asked.items() if value is not None})
    largest = settings.max_batch_size
    if served.plan is not None and largest > served.plan.options.profile.max:
        profile = served.plan.options.profile
        raise UsageError(
            f"max_batch_size {largest} is more than the plan takes, {profile}: pass --max-batch {profile.max}, or "
            f"build it with `run-ssl build --profile {profile.min}:{profile.opt}:{largest}`"
        )
    if any(size > largest for size in settings.preferred_batch):
        given = ",".join(map(str, settings.preferred_batch))
        raise UsageError(
            f"--preferred-batch {given}: the largest batch is {largest}; pass smaller ones, or --max-batch"
        )
    return settings


def _defaults(served: Served) -> Settings:
    return Settings(
        kind=served.backend.kinds["auto"],
        max_batch_size=served.plan.options.profile.max if served.plan else DEFAULT_MAX_BATCH,
        # One session uses every core or the whole GPU already.
        instances=1,
        # Triton batches what has come while the last batch ran; a delay makes single requests late.
        max_queue_delay_us=0,
        preferred_batch=(),
        keep="latest",
    )


def _refuse_batches(request: RepositoryRequest, served: Served) -> None:
    batches = {
        "--max-batch": request.max_batch,
        "--max-queue-delay-us": request.max_queue_delay_us,
        "--preferred-batch": ",".join(map(str, request.preferred_batch or ())),
    }
    instead = "pass --backend onnxruntime" if served.fixed_batch is None else "export without --batch"
    for option, value in batches.items():
        if value:
            raise UsageError(
                f"{option} {value}: {served.no_batches}, so Triton does not join requests into batches; leave "
                f"{option} out, or {instead}"
            )
