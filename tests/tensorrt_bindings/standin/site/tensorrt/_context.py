"""IExecutionContext: shapes, addresses, and kernels on the stand-in's streams."""

import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from cuda.bindings._machine import MACHINE, CudaFault, faults
from cuda.bindings._streams import enqueue, is_capturing, spoil_capture

from tensorrt._interface import State
from tensorrt._jit import RuntimeConfigState
from tensorrt._layers import layer_times
from tensorrt._logging import log
from tensorrt._values import DimsState

if TYPE_CHECKING:
    from tensorrt._engine import EngineState

_NUMPY = {"FLOAT": "f4", "HALF": "f2", "INT8": "i1", "UINT8": "u1", "INT32": "i4", "INT64": "i8", "BOOL": "?"}


class ContextState(State):
    """One execution context; it may be used by one thread at a time."""

    interface = "IExecutionContext"

    def __init__(self, engine: "EngineState", *, user_managed: bool, config: RuntimeConfigState | None = None):
        self.engine = engine
        self._user_managed = user_managed
        # As it was when the context was made.
        self._jit = None if config is None else config.compiler()
        self._scratch = (0, 0)
        # The shapes of the last inference that was not recorded.
        self._ready: dict[str, list[int]] | None = None
        self.name = ""
        self.profiler = None
        self.error_recorder = None
        self.enqueue_emits_profile = True
        self.debug_sync = False
        self.persistent_cache_limit = 0
        self.active_optimization_profile = 0
        self._busy = threading.Lock()
        self._addresses: dict[str, int] = {}
        static = {name: engine.graph.shapes[name] for name in engine.graph.inputs}
        self._shapes = {name: shape for name, shape in static.items() if -1 not in shape}

    @property
    def all_binding_shapes_specified(self) -> bool:
        return set(self._shapes) == set(self.engine.graph.inputs)

    @property
    def batch(self) -> int:
        """The batch that is set; -1 before."""
        return next((shape[0] for shape in self._shapes.values()), -1)

    def _error(self, text: str) -> bool:
        log(self.engine.trt_logger, "ERROR", f"IExecutionContext::{text}")
        return False

    def set_input_shape(self, name: str, shape: Any) -> bool:
        values = DimsState(shape).values
        if name not in self.engine.graph.inputs:
            return self._error(f"setInputShape: Error Code 3: API Usage Error (there is no input {name})")
        low, _, high = self.engine.plan.profiles[self.active_optimization_profile][name]
        inside = len(values) == len(low) and all(a <= v <= b for a, v, b in zip(low, values, high, strict=True))
        if not inside:
            text = f"Set dimension {values} for tensor {name} does not satisfy any optimization profiles"
            return self._error(f"setInputShape: Error Code 3: API Usage Error ({text}. Valid range: {low}..{high})")
        self._shapes[name] = values
        return True

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:  # noqa: ARG002
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            self._error(f"setOptimizationProfileAsync: profile {profile_index} is out of range")
            raise RuntimeError("Error in set optimization profile async.")
        self.active_optimization_profile = profile_index
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine.plan.io:
            return self._error(f"setTensorAddress: Error Code 3: API Usage Error (there is no tensor {name})")
        if memory % 256:
            return self._error(f"setTensorAddress: Error Code 3: API Usage Error ({name} is not aligned to 256 bytes)")
        self._addresses[name] = memory
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        if not self._user_managed:
            self._error("setDeviceMemoryV2: Error Code 3: API Usage Error (the context has its own device memory)")
        elif memory % 256 or size < self.engine.device_memory_size_v2:
            needed = self.engine.device_memory_size_v2
            self._error(
                f"setDeviceMemoryV2: Error Code 3: API Usage Error ({size} bytes at {memory:#x}, needs {needed})"
            )
        else:
            self._scratch = (memory, size)

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def get_tensor_shape(self, name: str) -> DimsState:
        """Return the shape; outputs have the inputs' batch in place of their first dynamic dimension."""
        if name in self._shapes:
            return DimsState(self._shapes[name])
        if name not in self.engine.plan.io:
            self._error(f"getTensorShape: Error Code 3: API Usage Error (there is no tensor {name})")
            return DimsState(())
        declared = self.engine.graph.shapes[name]
        dynamic = [shape for key, shape in self._shapes.items() if -1 in self.engine.graph.shapes[key]]
        if name in self.engine.graph.inputs or not dynamic:
            return DimsState(declared)
        return DimsState([dynamic[0][0] if size == -1 else size for size in declared])

    def infer_shapes(self) -> list[str]:
        return [name for name in self.engine.graph.inputs if name not in self._shapes]

    def report_to_profiler(self) -> bool:
        if self.profiler is None:
            return False
        self._report(self._shapes)
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("stand-in: one execution context was used by two threads at once")
        try:
            if (problem := self._not_ready()) is not None:
                return self._error(f"enqueueV3: Error Code 3: API Usage Error ({problem})")
            try:
                capturing = is_capturing(stream_handle)
                if capturing and (self.profiler is not None or self._ready != self._shapes):
                    # The first inference after a change of shape sets things up, and a profiler waits for the stream.
                    spoil_capture(stream_handle)
                enqueue(stream_handle, self._kernel())
            except CudaFault as fault:
                return self._error(f"enqueueV3: Error Code 1: Cuda Runtime ({fault})")
            self._ready = self._ready if capturing else dict(self._shapes)
            if self._jit is not None:
                self._jit.ran(self.batch)
            return True
        finally:
            self._busy.release()

    def _not_ready(self) -> str | None:
        """Return what was not set before an inference; None when everything was."""
        missing = self.infer_shapes() or [name for name in self.engine.plan.io if not self._addresses.get(name)]
        if missing:
            return f"no shape or address for {missing[0]}"
        if self._user_managed and self.engine.device_memory_size_v2 and not self._scratch[0]:
            return "no device memory was set"
        return None

    def _kernel(self) -> Any:
        """Return the inference as a job, with the shapes and addresses of now: a graph keeps them."""
        shapes = {name: self.get_tensor_shape(name).values for name in self.engine.plan.io}
        addresses, profiler, scratch = dict(self._addresses), self.profiler, self._scratch

        def run() -> None:
            if self._user_managed:
                MACHINE.kernel_view(*scratch)
            feed = {
                name: _view(self.engine, name, addresses[name], shapes[name]).copy()
                for name in self.engine.graph.inputs
            }
            results = self.engine.run(feed)
            for name, result in zip(self.engine.graph.outputs, results, strict=True):
                sign = -1 if "wrong-output" in faults() and name == "logits" else 1
                _view(self.engine, name, addresses[name], shapes[name])[...] = result * sign
            if profiler is not None and self.enqueue_emits_profile:
                self._report(shapes)

        return run

    def _report(self, shapes: dict[str, list[int]]) -> None:
        batch = shapes[self.engine.graph.inputs[0]][0]
        for name, milliseconds in layer_times(self.engine.plan.layers, batch):
            self.profiler.report_layer_time(name, milliseconds)  # type: ignore[union-attr,attr-defined]


def _view(engine: "EngineState", name: str, address: int, shape: list[int]) -> Any:
    dtype = np.dtype(_NUMPY[engine.graph.datatype(name)])
    raw = MACHINE.kernel_view(address, math.prod(shape) * dtype.itemsize)
    return np.frombuffer(raw, dtype).reshape(shape)
