"""What this machine has of TensorRT, CUDA and GPUs."""

import platform
import sys
from dataclasses import dataclass

from runtime.engines.trt.cuda_calls import CudaSystem, GpuDevice, find_cuda
from runtime.engines.trt.versions import Version, find_tensorrt
from runtime.errors import EngineError


@dataclass(frozen=True)
class Machine:
    """A machine that may run plans.

    Attributes:
        tensorrt: Installed version of TensorRT; None where there is none.
        tensorrt_problem: What is wrong with it, in one sentence; empty where nothing is.
        cuda: Driver, CUDA runtime and GPUs.
        platform: Operating system and processor, for example `linux-x86_64`: plans are not portable between platforms.
    """

    tensorrt: Version | None
    tensorrt_problem: str
    cuda: CudaSystem
    platform: str

    @property
    def device(self) -> GpuDevice | None:
        """The GPU that is used, the first that CUDA shows; CUDA_VISIBLE_DEVICES chooses another."""
        return self.cuda.devices[0] if self.cuda.devices else None

    @property
    def problem(self) -> str:
        """Why no plan can run here, in one sentence; empty where one can."""
        return self.tensorrt_problem or self.cuda.problem


def find_machine() -> Machine:
    """Return this machine; never raises, and creates nothing of TensorRT's."""
    version, problem = find_tensorrt()
    return Machine(version, problem, find_cuda(), current_platform())


def require_machine() -> tuple[Version, GpuDevice]:
    """Return TensorRT's version and the GPU.

    Raises:
        EngineError: There is no TensorRT, no driver or no GPU here.
    """
    machine = find_machine()
    if machine.problem:
        raise EngineError(machine.problem)
    # Without a problem there are both.
    assert machine.tensorrt is not None
    assert machine.device is not None
    return machine.tensorrt, machine.device


def current_platform() -> str:
    """Return operating system and processor, such as `linux-x86_64` or `linux-aarch64`."""
    return f"{sys.platform}-{platform.machine().lower()}"
