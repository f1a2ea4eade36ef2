"""Open an engine on a bundle by name."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, get_args

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layout import PLANS
from runtime.engines.contract import Engine, ExecutionPrecision, Specialisation
from runtime.errors import BundleError, EngineError, UsageError
from runtime.support.engine_names import PlanEngine
from runtime.support.ort_providers import PROVIDERS

LOGGER = logging.getLogger("export_ssl")

# In the order that `auto` prefers after plans: on a CPU, OpenVINO is as fast as onnxruntime or faster.
ENGINE_PACKAGES = {"openvino": "openvino", "onnxruntime": "onnxruntime"}
TENSORRT: PlanEngine = "tensorrt"
RTX: PlanEngine = "tensorrt-rtx"
# The original is not a way to run a bundle, so `auto` never means it.
ORIGINAL = "pytorch"


@dataclass(frozen=True)
class EngineOptions:
    """Options of an engine.

    Attributes:
        threads: Threads for one inference; None leaves the engine's choice.
        precision: Execution precision: `fp32`, or `bf16` or `fp16` in OpenVINO and PyTorch. None is
            what the bundle says, and FP32 arithmetic wherever the engine has a choice. `fp32` lets onnxruntime on a
            CPU compute an FP16 bundle in FP32, where it would add up in FP16 (ARM).
        provider: Execution provider of onnxruntime, a name of `runtime.support.ort_providers.PROVIDERS`; None is
            `cuda` where `device` is `gpu`, else `cpu`. One that falls back to the CPU is an error.
        device: `cpu` or `gpu`; `gpu` is CUDA in PyTorch and onnxruntime, and OpenVINO's GPU.
        weights: Checkpoint of the PyTorch original; None looks for the one named in the manifest.
        share_cores: Whether other engines or decoders run in the same process, so that idle threads
            should sleep instead of spinning.
        specialisation: When TensorRT for RTX compiles kernels for a batch size that comes: `lazy` behind its first
            calls, which have kernels for any size meanwhile, `eager` before its first call returns, `none` never.
            None is `lazy`.
    """

    threads: int | None = None
    precision: ExecutionPrecision | None = None
    provider: str | None = None
    device: str = "cpu"
    weights: Path | None = None
    share_cores: bool = False
    specialisation: Specialisation | None = None


def installed_engines() -> tuple[str, ...]:
    """Return the engines of exported graphs whose packages are installed, in order of preference."""
    return tuple(name for name, package in ENGINE_PACKAGES.items() if find_spec(package) is not None)


def runnable_engines(bundle: Bundle) -> tuple[str, ...]:
    """Return the engines that a bundle is run in where none is named: all that are installed.

    TensorRT is among them where it is installed and the bundle has a plan; whether the plan is for this machine
    shows when it is opened. TensorRT for RTX builds plans where nothing can run them: it is among them where there is
    a GPU for it, too.
    """
    has_plan = (bundle.path / PLANS[TENSORRT].plan).is_file() and find_spec("tensorrt") is not None
    found: tuple[str, ...] = (TENSORRT,) if has_plan else ()
    if (bundle.path / PLANS[RTX].plan).is_file():
        from runtime.engines.trt.library import LIBRARIES
        from runtime.engines.trt.machine import find_machine

        found += () if find_machine(LIBRARIES[RTX]).problem else (RTX,)
    return found + installed_engines()


def load_engine(path: str | Path | Bundle, engine: str = "auto", options: EngineOptions | None = None) -> Engine:
    """Open a bundle in an engine.

    Args:
        path: A bundle's directory, or an opened bundle.
        engine: `tensorrt`, `tensorrt-rtx`, `openvino`, `onnxruntime` or `pytorch`; `auto` is the first of the first
            two whose plan is in the bundle and for this machine, else the first of the next two that is installed.
        options: See `EngineOptions`.

    Returns:
        The engine, a context manager: `with load_engine(path) as engine: logits, embedding =
        engine.infer(pixels)`. Without a classifier logits is (N, 0).

    Raises:
        UsageError: No engine has that name.
        EngineError: The engine is not installed, or cannot run this bundle.
        BundleError: The bundle is damaged.
    """
    bundle = path if isinstance(path, Bundle) else open_bundle(path)
    options = options or EngineOptions()
    if engine == "auto":
        return _open_best(bundle, options)
    if engine not in _OPENERS:
        raise UsageError(f"no engine is named {engine}: expected auto, {', '.join(_OPENERS)}")
    return _OPENERS[engine](bundle, options)


class EngineChoice(NamedTuple):
    """An engine by name, in a precision, with a provider or a way of compiling kernels, or in its own default."""

    name: str
    precision: ExecutionPrecision | None = None
    provider: str | None = None
    specialisation: Specialisation | None = None

    def runs_on_gpu(self, device: str) -> bool:
        """Return whether it would run on a GPU; an opened engine knows by itself, and of `auto` only that one.

        Args:
            device: `cpu` or `gpu`, for an engine that has both.
        """
        if self.provider is not None:
            return PROVIDERS[self.provider].gpu
        return self.name in PLANS or device == "gpu"

    def applied_to(self, options: EngineOptions) -> EngineOptions:
        """Return options with what this choice says beside the engine's name, and nothing of what they said of it."""
        return replace(options, precision=self.precision, provider=self.provider, specialisation=self.specialisation)


def parse_engine(text: str) -> EngineChoice:
    """Return the engine that `NAME`, `NAME:PRECISION`, `onnxruntime:PROVIDER` or `tensorrt-rtx:SPECIALISATION` means.

    Raises:
        UsageError: There is no such precision, provider or specialisation.
    """
    name, _, variant = text.partition(":")
    if not variant:
        return EngineChoice(name)
    for precision in get_args(ExecutionPrecision):
        if variant == precision:
            return EngineChoice(name, precision=precision)
    providers = tuple(PROVIDERS) if name == "onnxruntime" else ()
    for provider in providers:
        if variant == provider:
            return EngineChoice(name, provider=provider)
    specialisations = get_args(Specialisation) if name == RTX else ()
    for specialisation in specialisations:
        if variant == specialisation:
            return EngineChoice(name, specialisation=specialisation)
    expected = ", ".join((*get_args(ExecutionPrecision), *providers, *specialisations))
    raise UsageError(f"engine {text}: no precision {variant}; expected {expected}")


def _open_best(bundle: Bundle, options: EngineOptions) -> Engine:
    """Return the fastest engine that can run a bundle here. A plan that cannot run is reported and left out."""
    for name, files in PLANS.items():
        if (bundle.path / files.plan).is_file():
            try:
                return _open_plan(bundle, options, name)
            except (EngineError, BundleError, UsageError) as error:
                from runtime.engines.trt.library import LIBRARIES

                LOGGER.warning("the bundle's %s plan is not used: %s", LIBRARIES[name].label, error)
    installed = installed_engines()
    if not installed:
        raise EngineError(
            "no engine is installed: pip install 'export-ssl[cpu]', or 'export-ssl[gpu]' with an NVIDIA GPU"
        )
    return _OPENERS[installed[0]](bundle, options)


def _open_plan(bundle: Bundle, options: EngineOptions, name: PlanEngine) -> Engine:
    from runtime.engines.trt.library import LIBRARIES
    from runtime.engines.trt.trt_engine import open_plan

    stored = bundle.manifest.precision.name
    if options.precision not in (None, stored):
        raise UsageError(
            f"{name} computes in the bundle's precision, {stored}, not {options.precision}: export that precision"
        )
    return open_plan(bundle, LIBRARIES[name], specialisation=options.specialisation or "lazy")


def _open_openvino(bundle: Bundle, options: EngineOptions) -> Engine:
    from runtime.engines.openvino_engine import OpenVinoEngine

    precision = options.precision or "fp32"
    return OpenVinoEngine(bundle, threads=options.threads, device=options.device.upper(), precision=precision)


def _open_onnxruntime(bundle: Bundle, options: EngineOptions) -> Engine:
    from runtime.engines.ort_engine import OrtEngine

    stored = bundle.manifest.precision.name
    provider = options.provider or ("cuda" if options.device == "gpu" else "cpu")
    in_floats = options.precision == "fp32" and stored.endswith("fp16") and not PROVIDERS[provider].gpu
    if options.precision not in (None, stored) and not in_floats:
        raise UsageError(
            f"onnxruntime computes in the bundle's precision, {stored}, not {options.precision}: export that precision"
        )
    return OrtEngine(
        bundle,
        threads=options.threads,
        provider=provider,
        share_cores=options.share_cores,
        in_floats=in_floats,
    )


def _open_pytorch(bundle: Bundle, options: EngineOptions) -> Engine:
    from runtime.engines.pytorch_engine import PyTorchEngine

    precision = options.precision or "fp32"
    device = "cuda" if options.device == "gpu" else "cpu"
    return PyTorchEngine(bundle, weights=options.weights, threads=options.threads, device=device, precision=precision)


_OPENERS: dict[str, Callable[[Bundle, EngineOptions], Engine]] = {
    TENSORRT: partial(_open_plan, name=TENSORRT),
    RTX: partial(_open_plan, name=RTX),
    "openvino": _open_openvino,
    "onnxruntime": _open_onnxruntime,
    "pytorch": _open_pytorch,
}
