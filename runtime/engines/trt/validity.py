"""What TensorRT for RTX itself says of a plan before it loads it; TensorRT has no such question."""

from typing import TYPE_CHECKING

from runtime.engines.trt.library import Library
from runtime.engines.trt.versions import Features

if TYPE_CHECKING:
    import tensorrt as trt


def find_invalidity(runtime: "trt.Runtime", plan: bytes, library: Library, features: Features) -> tuple[bool, str]:
    """Return whether a plan can be loaded on the current GPU, and what is wrong with it, in words; '' for nothing.

    A plan that can be loaded and has something wrong is slower than it could be.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    if features.HAS_RUNTIME_CONFIG:
        validity, diagnostics = runtime.get_engine_validity(plan)
        if validity == trt.EngineValidity.VALID:
            return True, ""
        meanings = {
            trt.EngineInvalidityDiagnostics.VERSION_MISMATCH: "it is of another version",
            trt.EngineInvalidityDiagnostics.UNSUPPORTED_CC: "it is for other compute capabilities",
            trt.EngineInvalidityDiagnostics.OLD_CUDA_DRIVER: "the driver is too old",
            trt.EngineInvalidityDiagnostics.OLD_CUDA_RUNTIME: "the CUDA runtime is too old",
            trt.EngineInvalidityDiagnostics.INSUFFICIENT_GPU_MEMORY: "the GPU's memory does not suffice",
            trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE: "it is malformed",
            trt.EngineInvalidityDiagnostics.CUDA_ERROR: "CUDA's driver or runtime is not installed rightly",
        }
        found = [words for flag, words in meanings.items() if diagnostics & int(flag)]
        return validity != trt.EngineValidity.INVALID, ", ".join(found) or "no reason given"
    return True, ""
