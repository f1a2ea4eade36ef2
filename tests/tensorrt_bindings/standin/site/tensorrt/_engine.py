"""Runtime, engine, inspector."""

import json
import os
import signal
import threading
from functools import cached_property
from typing import Any

import numpy as np
from cuda.bindings._machine import MACHINE, CudaFault, faults

from tensorrt import _jit
from tensorrt._context import ContextState
from tensorrt._graph import Graph, read_graph
from tensorrt._interface import MAJOR, RTX, State, enum
from tensorrt._jit import RuntimeConfigState
from tensorrt._layers import describe_engine
from tensorrt._logging import log
from tensorrt._plan import VERSION, Plan, PlanError, read_plan, write_plan
from tensorrt._values import DimsState, HostMemory


class RuntimeState(State):
    """Runtime; made without a device it is an invalid pointer, and any use of it ends the process.

    TensorRT for RTX's is valid there, and loads nothing.
    """

    interface = "Runtime"

    def __init__(self, logger: Any):
        self._usable = True
        try:
            MACHINE.device()
        except CudaFault as fault:
            self._usable = RTX
            text = f"Error Code 6: API Usage Error (CUDA initialization failure with error: {int(fault.code)})"
            log(logger, "ERROR", f"createInferRuntime: {text}")
        self._logger = logger
        self._host_code = False
        self.max_threads = 1
        self.num_DLA_cores, self.DLA_core = 0, -1
        self.error_recorder = self.gpu_allocator = None
        self.temporary_directory = ""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "interface" and not object.__getattribute__(self, "_usable"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return object.__getattribute__(self, name)

    @property
    def logger(self) -> Any:
        return self._logger

    @property
    def engine_host_code_allowed(self) -> bool:
        return self._host_code

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, allowed: bool) -> None:
        self._host_code = allowed

    def get_engine_validity(self, buffer: Any) -> tuple[Any, int]:
        """Return the verdict and the bits of `EngineInvalidityDiagnostics`; without a GPU there are none."""
        diagnostics = enum("EngineInvalidityDiagnostics")
        try:
            plan, gpu = read_plan(bytes(buffer)), MACHINE.device()
        except PlanError:
            return enum("EngineValidity.INVALID"), int(diagnostics.MALFORMED_ENGINE)
        except CudaFault:
            return enum("EngineValidity.INVALID"), 0
        if plan.version != VERSION:
            return enum("EngineValidity.INVALID"), int(diagnostics.VERSION_MISMATCH)
        if not _named(plan, gpu):
            return enum("EngineValidity.INVALID"), int(diagnostics.UNSUPPORTED_CC)
        if "suboptimal-plan" in faults():
            return enum("EngineValidity.SUBOPTIMAL"), int(diagnostics.OLD_CUDA_DRIVER)
        return enum("EngineValidity.VALID"), 0

    def deserialize_cuda_engine(self, serialized_engine: Any) -> "EngineState | None":
        try:
            plan = read_plan(bytes(serialized_engine))
            problem = self._problem(plan)
        except PlanError as error:
            problem = f"Error Code 1: Serialization ({error})"
        except CudaFault as fault:
            problem = f"Error Code 1: Cuda Runtime (cudaError {int(fault.code)})"
        if problem:
            log(self._logger, "ERROR", f"IRuntime::deserializeCudaEngine: {problem}")
            return None
        log(self._logger, "INFO", f"Loaded engine size: {len(plan.model) >> 20} MiB")
        return EngineState(plan, self._logger)

    def _problem(self, plan: Plan) -> str | None:
        """Return why the plan cannot run here; None when it can."""
        usage = "Error Code 6: API Usage Error"
        if plan.version != (*VERSION, 0)[:4]:
            # Forward compatibility: a newer runtime runs what an older one built, when that was asked for.
            if not (plan.portable and VERSION[:2] >= plan.version[:2]):
                made, here = (".".join(map(str, numbers)) for numbers in (plan.version, VERSION))
                text = "The engine plan file is not compatible with this version of TensorRT, expecting library version"
                return f"{usage} ({text} {made} got {here}, please rebuild.)"
            if not self._host_code:
                return f"{usage} (The engine contains host code: engine_host_code_allowed is false.)"
        gpu = MACHINE.device()
        if RTX:
            return None if _named(plan, gpu) else f"{usage} (the plan is not for compute {gpu.major}.{gpu.minor})"
        here_cc, made_cc = (gpu.major, gpu.minor), tuple(plan.capability)
        ampere = plan.hardware == "AMPERE_PLUS" and gpu.major >= 8
        if here_cc != made_cc and not ampere:
            text = "The engine plan file is generated on an incompatible device, expecting compute"
            return f"{usage} ({text} {gpu.major}.{gpu.minor} got compute {made_cc[0]}.{made_cc[1]}, please rebuild.)"
        if plan.gpu != gpu.name and plan.hardware == "NONE":
            text = "Using an engine plan file across different models of devices is not recommended"
            log(self._logger, "WARNING", f"{text} and is likely to affect performance or even cause errors.")
        return None


def _named(plan: Plan, gpu: Any) -> bool:
    """Return whether a plan of TensorRT for RTX is for a GPU: named, or of Ampere and later where none was."""
    return 10 * gpu.major + gpu.minor in plan.named if plan.named else gpu.major >= 8


class EngineState(State):
    """ICudaEngine."""

    interface = "ICudaEngine"

    def __init__(self, plan: Plan, logger: Any):
        self.plan, self.trt_logger = plan, logger
        self.session_lock = threading.Lock()
        self._last: tuple[dict[str, Any], list[Any]] | None = None
        self.name = self.graph.model.graph.name
        self.num_io_tensors = len(plan.io)
        self.num_optimization_profiles = len(plan.profiles)
        self.num_layers = len(plan.layers)
        self.num_aux_streams = 0
        self.refittable = False
        self.error_recorder = None
        self.hardware_compatibility_level = enum(f"HardwareCompatibilityLevel.{plan.hardware}")
        self.profiling_verbosity = enum(f"ProfilingVerbosity.{plan.verbosity}")
        self.engine_capability = enum("EngineCapability.STANDARD")
        # Plausible: the largest tensor twice, at the largest batch.
        scratch = min(2 * self._largest_batch() * 64 * 112 * 112 * 4, plan.workspace)
        self.device_memory_size_v2 = self.device_memory_size = scratch

    @cached_property
    def graph(self) -> Graph:
        return read_graph(self.plan.model, None)

    @cached_property
    def session(self) -> Any:
        """An onnxruntime session with one thread and without QDQ fusions, so that it computes the graph as written."""
        # Its telemetry would leave a file in the folder for temporary files, which TensorRT does not.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return onnxruntime.InferenceSession(self.plan.model, options, providers=["CPUExecutionProvider"])

    def run(self, feed: dict[str, Any]) -> list[Any]:
        """Return the outputs for an input; the same input as last time is not computed again, as timings ask for."""
        last = self._last
        if last is None or not all(np.array_equal(last[0][name], array) for name, array in feed.items()):
            last = self._last = feed, self.session.run(self.graph.outputs, feed)
        return last[1]

    def _largest_batch(self) -> int:
        return max(shapes[2][0] for profile in self.plan.profiles for shapes in profile.values())

    def get_tensor_name(self, index: int) -> str:
        if not 0 <= index < len(self.plan.io):
            log(self.trt_logger, "ERROR", f"ICudaEngine::getIOTensorName: index {index} is out of range")
            return None  # type: ignore[return-value]
        return self.plan.io[index]

    def __getitem__(self, index: int) -> str:
        return self.plan.io[index]

    def get_tensor_mode(self, name: str) -> Any:
        kind = "INPUT" if name in self.graph.inputs else "OUTPUT" if name in self.graph.outputs else "NONE"
        return enum(f"TensorIOMode.{kind}")

    def get_tensor_dtype(self, name: str) -> Any:
        if name not in self.plan.io:
            log(self.trt_logger, "ERROR", f"ICudaEngine::getTensorDataType: there is no tensor {name}")
            return enum("DataType.FLOAT")
        return enum(f"DataType.{self.graph.datatype(name)}")

    def get_tensor_shape(self, name: str) -> DimsState:
        return DimsState(self.graph.shapes[name] if name in self.plan.io else ())

    def get_tensor_location(self, name: str) -> Any:  # noqa: ARG002
        return enum("TensorLocation.DEVICE")

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:  # noqa: ARG002
        return enum("TensorFormat.LINEAR")

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[DimsState]:
        return [DimsState(shape) for shape in self.plan.profiles[profile_index][name]]

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:  # noqa: ARG002
        return self.device_memory_size_v2

    def create_execution_context(self, choice: Any = None) -> ContextState:
        """Return a context by an allocation strategy, or by a configuration of TensorRT for RTX."""
        config = choice if isinstance(choice, RuntimeConfigState) else None
        strategy = config.get_execution_context_allocation_strategy() if config else choice
        managed = strategy == enum("ExecutionContextAllocationStrategy.USER_MANAGED")
        return ContextState(self, user_managed=managed, config=config)

    def create_runtime_config(self) -> RuntimeConfigState:
        return RuntimeConfigState()

    def create_execution_context_without_device_memory(self) -> ContextState:
        return ContextState(self, user_managed=True)

    def create_engine_inspector(self) -> "InspectorState":
        return InspectorState(self)

    def serialize(self) -> HostMemory:
        return HostMemory(write_plan(self.plan))


class InspectorState(State):
    """EngineInspector."""

    interface = "EngineInspector"

    def __init__(self, engine: EngineState):
        self._engine = engine
        self.execution_context: ContextState | None = None
        self.error_recorder = None

    def get_engine_information(self, format: Any) -> str:  # noqa: A002
        if "garbage-inspector" in faults():
            return "not json"
        information = self._describe()
        if format == enum("LayerInformationFormat.JSON"):
            return json.dumps(information, indent=2)
        return "\n".join(str(layer) for layer in information["Layers"])

    def get_layer_information(self, layer_index: int, format: Any) -> str:  # noqa: A002
        layer = self._describe()["Layers"][layer_index]
        return json.dumps(layer) if format == enum("LayerInformationFormat.JSON") else str(layer)

    def _describe(self) -> dict[str, Any]:
        """Return the layers; without a context, or one without shapes, the batch is -1."""
        plan, context = self._engine.plan, self.execution_context
        batch = -1 if context is None else context.batch
        return describe_engine(plan.layers, plan.io, plan.verbosity, major=MAJOR, batch=batch)


STATES: dict[str, type[State]] = {s.interface: s for s in (RuntimeState, EngineState, InspectorState, ContextState)}
if RTX:
    STATES |= _jit.STATES
