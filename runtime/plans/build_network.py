"""One build, in the process that may crash: graph to plan, with nothing of precision in it."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.bundle.plan_json import BuildOptions, HardwareCompatibility
from runtime.engines.trt.library import LIBRARIES, Library
from runtime.engines.trt.monitor import ProgressSink, make_monitor
from runtime.engines.trt.versions import Version, find_features
from runtime.errors import EngineError
from runtime.plans.failures import explain_refusal, is_refusal
from runtime.plans.parse_onnx import parse_onnx
from runtime.plans.timing_cache import load_timing_cache, save_timing_cache

if TYPE_CHECKING:
    import tensorrt as trt

_MIB = 1 << 20


class BuildCancelled(Exception):  # noqa: N818  (not an error: it was asked for)
    """The build was stopped because it was asked to."""


@dataclass(frozen=True)
class BuiltPlan:
    """A plan.

    Attributes:
        plan: Bytes of the plan.
        seconds: Parsing and building.
        timing_cache: What came of the timing cache, in words.
    """

    plan: bytes
    seconds: float
    timing_cache: str

    @property
    def sha256(self) -> str:
        """The plan's sha256, hexadecimal."""
        return hashlib.sha256(self.plan).hexdigest()


@dataclass(frozen=True)
class BuildCallbacks:
    """Who is told of a build.

    Attributes:
        logger: TensorRT's logger.
        progress: Called with phases and steps; returns whether to go on.
        cancelled: Whether the build was asked to stop.
        errors: TensorRT's error messages so far, oldest first.
    """

    logger: "trt.ILogger"
    progress: ProgressSink
    cancelled: Callable[[], bool]
    errors: Callable[[], list[str]]


def build_plan_bytes(
    model: bytes,
    options: BuildOptions,
    *,
    name: str,
    version: Version,
    callbacks: BuildCallbacks,
    timing_cache: Path | None,
) -> BuiltPlan:
    """Return the plan of a graph, for the current GPU where the library builds on it.

    Args:
        model: The serialised ONNX graph; its batch is dynamic and its precision is in it.
        options: How to build.
        name: The graph's file name, for messages.
        version: The installed version of the library that `options` names.
        callbacks: Receiver of the progress.
        timing_cache: File of kernel times, read and written; None for none.

    Raises:
        EngineError: The library cannot start here, cannot take the graph, or finds no plan for it.
        BuildCancelled: The build was asked to stop.
    """
    library = LIBRARIES[options.engine]
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    began = time.perf_counter()
    try:
        builder = trt.Builder(callbacks.logger)
    except TypeError as error:
        # How the bindings say that CUDA could not be initialised.
        reason = " ".join("; ".join([*callbacks.errors(), str(error)]).split())
        raise EngineError(
            f"{library.label} {version} cannot start ({reason}): its driver or GPU cannot be used; "
            "`run-ssl doctor` says more"
        ) from error
    # The parser owns the weights that the network points to: it lives until the plan is there.
    network, parser = parse_onnx(builder, callbacks.logger, model, name=name, library=library)
    config = builder.create_builder_config()
    _configure(config, options, version=version, library=library)
    config.add_optimization_profile(_batch_profile(builder, network, options))
    config.progress_monitor = make_monitor(callbacks.progress, library=library)
    cached = load_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if callbacks.cancelled():
        raise BuildCancelled
    errors = callbacks.errors()
    if plan is None or any(is_refusal(error) for error in errors):
        raise EngineError(explain_refusal(errors, name=name, library=library))
    del parser
    seconds = time.perf_counter() - began
    if timing_cache is not None:
        save_timing_cache(config, timing_cache)
    return BuiltPlan(plan=bytes(memoryview(plan)), seconds=seconds, timing_cache=cached)


def _configure(config: "trt.IBuilderConfig", options: BuildOptions, *, version: Version, library: Library) -> None:
    """Set everything but the batch profile. TF32 stays as TensorRT has it, on: it is FP32's own arithmetic there."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    # Without details neither the inspector nor the log says anything of a layer's precision.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * _MIB)
    if not library.builds_on_gpu:
        _name_gpus(config, options.compute_capabilities, version=version, library=library)
        return
    config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    config.hardware_compatibility_level = _hardware_level(options.hardware_compatibility, version, library=library)


def _name_gpus(
    config: "trt.IBuilderConfig", capabilities: tuple[str, ...], *, version: Version, library: Library
) -> None:
    """Set the compute capabilities that the plan is for; where there are none, NVIDIA's own stay."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    if find_features(version, library).HAS_COMPUTE_CAPABILITIES:
        members = {
            "7.5": trt.ComputeCapability.SM75,
            "8.0": trt.ComputeCapability.SM80,
            "8.6": trt.ComputeCapability.SM86,
            "8.9": trt.ComputeCapability.SM89,
            "12.0": trt.ComputeCapability.SM120,
            "12.1": trt.ComputeCapability.SM121,
        }
        config.num_compute_capabilities = len(capabilities)
        for index, capability in enumerate(capabilities):
            if not config.set_compute_capability(members[capability], index):
                raise EngineError(
                    f"{library.label} {version} does not take compute capability {capability}: leave it out"
                )


def _hardware_level(
    level: HardwareCompatibility, version: Version, *, library: Library
) -> "trt.HardwareCompatibilityLevel":
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    features = find_features(version, library)
    if level == "ampere+":
        return trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if level == "same-compute-capability":
        if features.HAS_SAME_COMPUTE_CAPABILITY:
            return trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
        raise EngineError(
            f"TensorRT {version} does not have --hardware-compatible same-compute-capability, which came with "
            "10.9: choose ampere+ or none, or update TensorRT"
        )
    return trt.HardwareCompatibilityLevel.NONE


def _batch_profile(
    builder: "trt.Builder", network: "trt.INetworkDefinition", options: BuildOptions
) -> "trt.IOptimizationProfile":
    """Return the profile of the batch sizes, for every input; all other dimensions are fixed.

    A graph from elsewhere may have a fixed batch too, which is then the only one.
    """
    profile, sizes = builder.create_optimization_profile(), options.profile
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *shape = tuple(tensor.shape)
        least, best, most = (batch, batch, batch) if batch >= 0 else (sizes.min, sizes.opt, sizes.max)
        profile.set_shape(tensor.name, (least, *shape), (best, *shape), (most, *shape))
    return profile
