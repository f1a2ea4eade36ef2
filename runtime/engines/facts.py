"""What an engine comes from, and what an opened one is: what must be the same wherever parts of one job run."""

from pydantic import BaseModel, ConfigDict

from runtime.engines.contract import Engine
from runtime.support.installed import installed_versions

# The distributions that an engine's package may come from; its version is that of the one that is installed.
DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt-cu12"),
    "pytorch": ("torch",),
}


class EngineFacts(BaseModel):
    """What runs it.

    Attributes:
        name: The engine.
        version: Of its package; empty where no package says one.
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
