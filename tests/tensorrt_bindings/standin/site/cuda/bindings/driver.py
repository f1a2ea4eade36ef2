"""The driver API's names that the project uses."""

# ruff: noqa: N802
import enum

from cuda.bindings._machine import MACHINE, Gpu
from cuda.bindings._types import CUstream, cudaError_t

__all__ = ["CUresult", "CUstream", "cuDriverGetVersion", "cuInit"]


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_NO_DEVICE = 100


def cuInit(Flags: int) -> tuple[CUresult]:  # noqa: N803
    if Flags != 0:
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)
    if MACHINE.gpu == cudaError_t.cudaErrorInsufficientDriver:
        raise RuntimeError("Failed to dlopen libcuda.so.1")
    return (CUresult.CUDA_SUCCESS if isinstance(MACHINE.gpu, Gpu) else CUresult.CUDA_ERROR_NO_DEVICE,)


def cuDriverGetVersion() -> tuple[CUresult, int]:
    return (CUresult.CUDA_SUCCESS, MACHINE.gpu.driver if isinstance(MACHINE.gpu, Gpu) else 13000)
