"""Open an engine on a bundle by name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from runtime.bundle import Bundle, open_bundle
from runtime.engine import Engine, ExecutionPrecision
from runtime.errors import EngineError, UsageError

# In the order that `auto` prefers: on a CPU, OpenVINO is as fast as onnxruntime or faster.
ENGINE_PACKAGES = {"openvino": "openvino", "onnxruntime": "onnxruntime"}
# The original is not a way to run a bundle, so `auto` never means it.
ORIGINAL = "pytorch"


@dataclass(frozen=True)
class EngineOptions:
    """What an engine may be told.

    Attributes:
        threads: Threads for one inference; None leaves the engine's choice.
        precision: Execution precision: `fp32`, or `bf16` or `fp16` in OpenVINO and PyTorch. None is
            what the bundle says, and FP32 arithmetic wherever the engine has a choice.
        device: `cpu` or `gpu`; `gpu` is CUDA in PyTorch and onnxruntime, and OpenVINO's GPU.
        weights: Checkpoint of the PyTorch original; None looks for the one named in the manifest.
        share_cores: Whether other engines or decoders run in the same process, so that idle threads
            should sleep instead of spinning.
    """

    threads: int | None = None
    precision: ExecutionPrecision | None = None
    device: str = "cpu"
    weights: Path | None = None
    share_cores: bool = False


def installed_engines() -> tuple[str, ...]:
    """Return the engines of exported graphs whose packages are installed, in order of preference."""
    return tuple(name for name, package in ENGINE_PACKAGES.items() if find_spec(package) is not None)


def load_engine(path: str | Path | Bundle, engine: str = "auto", options: EngineOptions | None = None) -> Engine:
    """Open a bundle in an engine.

    Args:
        path: A bundle's directory, or an opened bundle.
        engine: `openvino`, `onnxruntime`, `pytorch`, or `auto` for the first of these that is installed.
        options: See `EngineOptions`.

    Returns:
        The engine, a context manager: `with load_engine(path) as engine: logits, embedding =
        engine.infer(pixels)`.

    Raises:
        UsageError: No engine has that name.
        EngineError: The engine is not installed, or cannot run this bundle.
        BundleError: The bundle is damaged.
    """
    bundle = path if isinstance(path, Bundle) else open_bundle(Path(path))
    name = _choose(engine)
    return _OPENERS[name](bundle, options or EngineOptions())


def parse_engine(text: str) -> tuple[str, ExecutionPrecision | None]:
    """Return the engine and the execution precision that `NAME` or `NAME:PRECISION` means.

    Raises:
        UsageError: There is no such precision.
    """
    name, _, precision = text.partition(":")
    for known in get_args(ExecutionPrecision):
        if precision == known:
            return name, known
    if precision:
        raise UsageError(f"engine {text}: no precision {precision}; expected {', '.join(get_args(ExecutionPrecision))}")
    return name, None


def _choose(engine: str) -> str:
    if engine != "auto":
        if engine not in _OPENERS:
            raise UsageError(f"no engine is named {engine}: expected auto, {', '.join(_OPENERS)}")
        return engine
    installed = installed_engines()
    if not installed:
        raise EngineError(
            "no engine is installed: pip install 'export-ssl[cpu]', or 'export-ssl[gpu]' with an NVIDIA GPU"
        )
    return installed[0]


def _open_openvino(bundle: Bundle, options: EngineOptions) -> Engine:
    from runtime.engine_openvino import OpenVinoEngine

    precision = options.precision or "fp32"
    return OpenVinoEngine(bundle, threads=options.threads, device=options.device.upper(), precision=precision)


def _open_onnxruntime(bundle: Bundle, options: EngineOptions) -> Engine:
    from runtime.engine_ort import OrtEngine

    stored = bundle.manifest.precision.name
    if options.precision not in (None, stored):
        raise UsageError(
            f"onnxruntime runs what the graph says, {stored}, not {options.precision}: export that precision"
        )
    provider = "CUDAExecutionProvider" if options.device == "gpu" else "CPUExecutionProvider"
    return OrtEngine(bundle, threads=options.threads, provider=provider, share_cores=options.share_cores)


def _open_pytorch(bundle: Bundle, options: EngineOptions) -> Engine:
    from runtime.engine_pytorch import PyTorchEngine

    precision = options.precision or "fp32"
    device = "cuda" if options.device == "gpu" else "cpu"
    return PyTorchEngine(bundle, weights=options.weights, threads=options.threads, device=device, precision=precision)


_OPENERS: dict[str, Callable[[Bundle, EngineOptions], Engine]] = {
    "openvino": _open_openvino,
    "onnxruntime": _open_onnxruntime,
    "pytorch": _open_pytorch,
}
