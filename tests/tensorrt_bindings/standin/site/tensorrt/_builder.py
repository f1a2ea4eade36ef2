"""Builder, configuration, optimization profiles and timing cache."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from cuda.bindings._machine import MACHINE, CudaFault, Gpu, faults

from tensorrt import _timing
from tensorrt._interface import RTX, State, enum
from tensorrt._layers import layer_list, make_layers
from tensorrt._logging import log
from tensorrt._network import NetworkState
from tensorrt._plan import Plan, write_plan
from tensorrt._timing import TimingCacheState
from tensorrt._values import DimsState, HostMemory


class ProfileState(State):
    """IOptimizationProfile."""

    interface = "IOptimizationProfile"

    def __init__(self, logger: Any):
        self._logger = logger
        self._valid = True
        self.extra_memory_target = 1.0
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        shapes = [DimsState(shape).values for shape in (min, opt, max)]
        for selector, shape in zip(("min", "opt", "max"), shapes, strict=True):
            if len(shape) != len(shapes[0]) or any(size < 0 for size in shape):
                raise RuntimeError(f"Shape provided for {selector} is inconsistent with other shapes.")
        if not all(low <= middle <= high for low, middle, high in zip(*shapes, strict=True)):
            # C++ compares the three only when the profile is used, says so in the log, and the profile is then invalid.
            self._valid = False
            log(self._logger, "ERROR", "4: Specified optimization profiles must satisfy MIN<=OPT<=MAX.")
        self.shapes[input] = shapes

    def get_shape(self, input: str) -> list[DimsState]:  # noqa: A002
        return [DimsState(shape) for shape in self.shapes.get(input, [])]

    def __bool__(self) -> bool:
        return self._valid

    __nonzero__ = __bool__


class ConfigState(State):
    """IBuilderConfig with TensorRT's defaults."""

    interface = "IBuilderConfig"

    def __init__(self, logger: Any):
        self._logger = logger
        self._level = 3
        self._limits: dict[int, int] = {}
        self.capabilities: list[Any] = []
        self.profiles: list[ProfileState] = []
        self.cache: TimingCacheState | None = None
        self.flags = 1 << int(enum("BuilderFlag.TF32"))
        self.avg_timing_iterations = 1
        self.DLA_core = -1
        self.default_device_type = enum("DeviceType.GPU")
        self.engine_capability = enum("EngineCapability.STANDARD")
        self.hardware_compatibility_level = enum("HardwareCompatibilityLevel.NONE")
        self.max_aux_streams = 0
        self.max_num_tactics = -1
        self.plugins_to_serialize: list[str] = []
        self.profile_stream = 0
        self.profiling_verbosity = enum("ProfilingVerbosity.LAYER_NAMES_ONLY")
        self.progress_monitor = None
        self.runtime_platform = enum("RuntimePlatform.SAME_AS_BUILD")
        if enum("TilingOptimizationLevel") is not None:
            self.tiling_optimization_level = enum("TilingOptimizationLevel.NONE")
            self.l2_limit_for_tiling = 0

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level: int) -> None:
        if 0 <= level <= 5:
            self._level = level
        else:
            text = f"Error Code 3: API Usage Error (level {level}, expected 0 to 5)"
            log(self._logger, "ERROR", f"IBuilderConfig::setBuilderOptimizationLevel: {text}")

    @property
    def num_optimization_profiles(self) -> int:
        return len(self.profiles)

    @property
    def num_compute_capabilities(self) -> int:
        return len(self.capabilities)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        self.capabilities = [enum("ComputeCapability.NONE")] * count

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        if not 0 <= index < len(self.capabilities):
            log(self._logger, "ERROR", f"IBuilderConfig::setComputeCapability: index {index} is out of range")
            return False
        self.capabilities[index] = compute_capability
        return True

    def set_flag(self, flag: Any) -> None:
        self.flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags >> int(flag) & 1)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        if not 0 <= pool_size < 1 << 64:
            raise TypeError("set_memory_pool_limit(): incompatible function arguments.")
        self._limits[int(pool)] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        total = MACHINE.gpu.memory if isinstance(MACHINE.gpu, Gpu) else 0
        return self._limits.get(int(pool), total)

    def add_optimization_profile(self, profile: ProfileState) -> int:
        if not profile:
            log(self._logger, "ERROR", "addOptimizationProfile: Error Code 3: API Usage Error (the profile is invalid)")
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> TimingCacheState | None:
        return _timing.create(bytes(serialized_timing_cache), self._logger)

    def set_timing_cache(self, cache: TimingCacheState, ignore_mismatch: bool) -> bool:
        if not cache.matches() and not ignore_mismatch:
            log(self._logger, "WARNING", "The timing cache was made by another TensorRT version or on another device.")
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCacheState | None:
        return self.cache


class BuilderState(State):
    """Builder; without a device its factory returns a null pointer."""

    interface = "Builder"

    def __init__(self, logger: Any):
        self.logger = logger
        self.max_threads = 1
        self.num_DLA_cores = 0
        self.max_DLA_batch_size = 1
        self.platform_has_fast_fp16 = self.platform_has_fast_int8 = self.platform_has_tf32 = True
        self.error_recorder = self.gpu_allocator = None
        try:
            MACHINE.device()
        except CudaFault as fault:
            if RTX:
                # It builds without a GPU.
                return
            text = f"Error Code 6: API Usage Error (CUDA initialization failure with error: {int(fault.code)})"
            log(logger, "ERROR", f"createInferBuilder: {text}")
            raise TypeError("pybind11::init(): factory function returned nullptr") from None
        log(logger, "INFO", "[MemUsageChange] Init CUDA: CPU +0, GPU +0, now: CPU 100, GPU 500 (MiB)")

    def create_network(self, flags: int) -> NetworkState:
        return NetworkState(flags)

    def create_builder_config(self) -> ConfigState:
        return ConfigState(self.logger)

    def create_optimization_profile(self) -> ProfileState:
        return ProfileState(self.logger)

    def reset(self) -> None:
        pass

    def is_network_supported(self, network: NetworkState, config: ConfigState) -> bool:
        return self._refusal(network, config) is None

    def build_serialized_network(self, network: NetworkState, config: ConfigState, kernel_text: Any = None) -> Any:  # noqa: ARG002
        if (refusal := self._refusal(network, config)) is not None:
            log(self.logger, "ERROR", refusal)
            return None
        assert network.graph is not None
        layers = make_layers(network.graph)
        if not _report_progress(config.progress_monitor, [layer["Name"] for layer in layers]):
            log(self.logger, "WARNING", "The build was cancelled by the progress monitor.")
            return None
        if "no-implementation" in faults():
            node = "layer1.0.conv1 + layer1.0.act1"
            text = f"Error Code 10: Internal Error (Could not find any implementation for node {node}.)"
            log(self.logger, "ERROR", f"IBuilder::buildSerializedNetwork: {text}")
            return None
        if config.cache is not None and not config.get_flag(enum("BuilderFlag.DISABLE_TIMING_CACHE")):
            config.cache.learn(layers)
        if RTX:
            log(self.logger, "VERBOSE", layer_list(layers))
            log(self.logger, "VERBOSE", "Total Activation Memory: 1048576 bytes")
        log(self.logger, "INFO", "Engine generation completed in 1.5 seconds.")
        return HostMemory(write_plan(_make_plan(network, config, layers)))

    def _refusal(self, network: NetworkState, config: ConfigState) -> str | None:
        prefix = "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error"
        if network.graph is None:
            return f"{prefix} (Network must have at least one output.)"
        if not network.strongly_typed and not RTX:
            return f"{prefix} (stand-in: the network is not strongly typed)"
        dynamic = [name for name in network.graph.inputs if -1 in network.graph.shapes[name]]
        if dynamic and not config.profiles:
            return f"{prefix} (Network has dynamic or shape inputs, but no optimization profile has been defined.)"
        for profile in config.profiles:
            for name in dynamic:
                if name not in profile.shapes:
                    return f"{prefix} ({name}: optimization profile is missing values for this dynamic input.)"
            for name, shapes in profile.shapes.items():
                if name not in network.graph.inputs or any(not _fits(network.graph.shapes[name], s) for s in shapes):
                    return f"{prefix} ({name}: the profile's shape does not fit the network's input.)"
        return None


def _fits(declared: list[int], shape: list[int]) -> bool:
    return len(declared) == len(shape) and all(d in (-1, s) for d, s in zip(declared, shape, strict=True))


def _make_plan(network: NetworkState, config: ConfigState, layers: list[dict[str, Any]]) -> Plan:
    graph = network.graph
    assert graph is not None
    gpu = None if RTX else MACHINE.device()
    static = {name: [graph.shapes[name]] * 3 for name in graph.inputs}
    return Plan(
        gpu=gpu.name if gpu else "",
        capability=[gpu.major, gpu.minor] if gpu else [],
        hardware=config.hardware_compatibility_level.name,
        portable=config.get_flag(enum("BuilderFlag.VERSION_COMPATIBLE")),
        verbosity=config.profiling_verbosity.name,
        profiles=[{**static, **profile.shapes} for profile in config.profiles] or [static],
        workspace=config.get_memory_pool_limit(enum("MemoryPoolType.WORKSPACE")),
        layers=layers,
        io=[*graph.inputs, *graph.outputs],
        model=graph.model.SerializeToString(),
        named=tuple(int(one) for one in config.capabilities),
    )


def _die_if_asked() -> None:
    if "crash-build" in faults():
        os.kill(os.getpid(), signal.SIGSEGV)
    if "oom-build" in faults():
        os.kill(os.getpid(), signal.SIGKILL)


def _report_progress(monitor: Any, layers: list[str]) -> bool:
    """Tell the monitor of the phases, nested as TensorRT's; False when it asks to stop."""
    pause = 0.2 if "slow-build" in faults() else 0.0
    if monitor is None:
        _die_if_asked()
        time.sleep(pause * 10)
        return True
    phases = {"Compilation": 4, "Tactic Timing": len(layers), "Engine Serialization": 1}
    monitor.phase_start("Building Engine", None, len(phases))
    going = True
    for index, (name, steps) in enumerate(phases.items()):
        monitor.phase_start(name, "Building Engine", steps)
        if name == "Tactic Timing":
            _die_if_asked()
        for step in range(steps):
            time.sleep(pause)
            if pause and "STANDIN_SIGN" in os.environ:
                Path(os.environ["STANDIN_SIGN"]).touch()
            going = going and monitor.step_complete(name, step)
            if not going:
                break
        monitor.phase_finish(name)
        going = going and monitor.step_complete("Building Engine", index)
        if not going:
            break
    monitor.phase_finish("Building Engine")
    return going


STATES: dict[str, type[State]] = {s.interface: s for s in (ProfileState, ConfigState, BuilderState, TimingCacheState)}
