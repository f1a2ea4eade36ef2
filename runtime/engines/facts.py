"""What an opened engine is, and on what it runs: what must be the same wherever parts of one job run."""

import platform

from pydantic import BaseModel, ConfigDict

from runtime.engines.contract import Engine
from runtime.support.cpu import cpu_flags, fast_instructions, read_cpuinfo
from runtime.support.engine_names import DISTRIBUTIONS
from runtime.support.installed import installed_versions

# Beside those that make INT8 and bf16 fast: fused products on x86, FP16 on ARM.
_KERNELS = ("fma", "asimdhp")


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


def describe_hardware(engine: Engine) -> str:
    """Return what of the machine decides the last bits of an engine's numbers, in words.

    On a processor these are the instructions that kernels are chosen by: how wide sums are taken, whether INT8 is added
    in 32 bits, and whether FP16 is computed (`asimdhp`). The number of cores is not among them. On a GPU it is the
    GPU's name.
    """
    if engine.runs_on_gpu:
        from runtime.engines.trt.cuda_calls import find_cuda

        # OpenVINO's GPU is none of CUDA's.
        return next((device.name for device in find_cuda().devices), "GPU")
    flags = cpu_flags(read_cpuinfo())
    names = [*(name for name in _KERNELS if name in flags), *fast_instructions(flags)]
    return f"{platform.machine()}: {', '.join(names)}"
