"""What an opened engine is: what must be the same wherever parts of one job run."""

from pydantic import BaseModel, ConfigDict

from runtime.engines.contract import Engine
from runtime.support.engine_names import DISTRIBUTIONS
from runtime.support.installed import installed_versions


class EngineFacts(BaseModel):
    """What runs it.

    Attributes:
        name: The engine.
        version: Version of the engine's package; empty where no package says one.
        executes: The precision that it computes in, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    executes: str


def describe_engine(engine: Engine) -> EngineFacts:
    """Return what an opened engine is."""
    versions = installed_versions(DISTRIBUTIONS.get(engine.name, ()))
    return EngineFacts(name=engine.name, version=next(iter(versions.values()), ""), executes=engine.precision)
