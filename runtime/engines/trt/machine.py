"""What this machine has of a library of NVIDIA's, of CUDA and of GPUs."""

import platform
import sys
from dataclasses import dataclass

from runtime.engines.trt.capabilities import is_supported
from runtime.engines.trt.cuda_calls import CudaSystem, GpuDevice, find_cuda
from runtime.engines.trt.library import TENSORRT, Library
from runtime.engines.trt.versions import Version, find_tensorrt
from runtime.errors import EngineError


@dataclass(frozen=True)
class Machine:
    """A machine that may run plans.

    Attributes:
        tensorrt: Installed version of the library; None where there is none.
        tensorrt_problem: What is wrong with it, in one sentence; empty where nothing is.
        cuda: Driver, CUDA runtime and GPUs.
        platform: Operating system and processor, for example `linux-x86_64`: plans are not portable between platforms.
        library: TensorRT, or TensorRT for RTX.
    """

    tensorrt: Version | None
    tensorrt_problem: str
    cuda: CudaSystem
    platform: str
    library: Library = TENSORRT

    @property
    def device(self) -> GpuDevice | None:
        """The GPU that is used, the first that CUDA shows; CUDA_VISIBLE_DEVICES chooses another."""
        return self.cuda.devices[0] if self.cuda.devices else None

    @property
    def problem(self) -> str:
        """Why no plan can run here, in one sentence; empty where one can."""
        return self.tensorrt_problem or self.cuda.problem or self._device_problem

    @property
    def _device_problem(self) -> str:
        device = self.device
        if not self.library.compiles_at_load or device is None or is_supported(device.compute_capability):
            return ""
        return (
            f"{self.library.label} does not support {device.name} (compute capability {device.compute_capability}): "
            "build a plan of TensorRT there with `run-ssl build`"
        )


def find_machine(library: Library = TENSORRT) -> Machine:
    """Return this machine with one of the libraries; never raises, and creates nothing of the library's."""
    version, problem = find_tensorrt(library)
    return Machine(version, problem, find_cuda(), current_platform(), library)


def require_machine(library: Library = TENSORRT) -> tuple[Version, GpuDevice]:
    """Return the library's version and the GPU.

    Raises:
        EngineError: There is no such library, no driver or no GPU here, or the library does not support the GPU.
    """
    machine = find_machine(library)
    if machine.problem:
        raise EngineError(machine.problem)
    # Without a problem there are both.
    assert machine.tensorrt is not None
    assert machine.device is not None
    return machine.tensorrt, machine.device


def current_platform() -> str:
    """Return operating system and processor, such as `linux-x86_64` or `linux-aarch64`."""
    return f"{sys.platform}-{platform.machine().lower()}"
