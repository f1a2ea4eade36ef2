"""The engines of plans, TensorRT's and TensorRT for RTX's: pinned buffers and CUDA graphs, without PyTorch.

Any number of threads may call one engine: each call takes a lane (`runtime/engines/trt/lane.py`) of its own, and lanes
are kept for the next call.
"""

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from runtime.bundle.bundle import Bundle
from runtime.bundle.manifest import Manifest, TensorSpec
from runtime.bundle.plan_json import Sidecar
from runtime.engines.contract import EngineBase, Outputs, Specialisation
from runtime.engines.trt.buffer_pool import BufferPool, Lease
from runtime.engines.trt.contexts import Contexts, open_contexts
from runtime.engines.trt.cuda_calls import use_device
from runtime.engines.trt.device_arrays import DeviceArray, read_device_array, stream_handle
from runtime.engines.trt.kernel_file import KernelsOf, discard, read_kernels, write_kernels
from runtime.engines.trt.lane import Lane, PlanTensors, TensorInfo
from runtime.engines.trt.library import TENSORRT, Library
from runtime.engines.trt.machine import Machine, find_machine
from runtime.engines.trt.monitor import make_logger
from runtime.engines.trt.pending import PendingOutputs
from runtime.engines.trt.preflight import check_plan
from runtime.engines.trt.validity import find_invalidity
from runtime.engines.trt.versions import Version, find_features
from runtime.errors import EngineError
from runtime.support.arrays import Pixels

if TYPE_CHECKING:
    import tensorrt as trt

LOGGER = logging.getLogger("export_ssl.tensorrt")
_T = TypeVar("_T")

# TensorRT's error messages that are kept for an exception's text.
_KEPT_ERRORS = 4


class DeviceOutputs(NamedTuple):
    """Outputs of one batch on the GPU.

    Attributes:
        logits: (N, classes) float32; (N, 0), which has no memory, without a classifier.
        embedding: (N, embedding_dim) float32.
    """

    logits: DeviceArray
    embedding: DeviceArray


class TensorRtEngine(EngineBase):
    """A plan in its library; see the module.

    Attributes:
        tensors: What the plan takes and gives.
        kernels_from: Where the library compiles at load: the file that kernels compiled earlier were taken from, ''
            where all are compiled now. None for a library that does not.
    """

    runs_on_gpu = True

    def __init__(
        self,
        manifest: Manifest,
        plan: bytes,
        *,
        precision: str,
        host_code_allowed: bool = False,
        library: Library = TENSORRT,
        kernels: Path | None = None,
        specialisation: Specialisation = "lazy",
    ) -> None:
        """Load a plan.

        Args:
            manifest: The bundle's.
            plan: The plan's bytes, checked by `runtime/engines/trt/preflight.py`: a plan from a stranger can do harm.
            precision: What it executes, in words.
            host_code_allowed: Whether the plan holds host code that may run, as version-compatible ones do.
            library: The library of the plan.
            kernels: File that keeps compiled kernels between processes, where the library compiles at load; None
                keeps none.
            specialisation: When it compiles kernels for a batch size.

        Raises:
            EngineError: There is no such library or GPU, or the plan cannot be loaded.
        """
        super().__init__(manifest)
        # Before the library is touched: without a driver TensorRT gives an invalid pointer, and every use of that
        # crashes.
        machine = find_machine(library)
        if machine.problem:
            raise EngineError(machine.problem)
        version, device = machine.tensorrt, machine.device
        assert version is not None
        assert device is not None
        if TYPE_CHECKING:
            import tensorrt as trt
        else:
            trt = library.load()

        self.name, self._library = library.engine, library
        self.precision = precision
        self._device = device.index
        self._errors: deque[str] = deque(maxlen=_KEPT_ERRORS)
        self._lock = threading.Lock()
        self._idle: list[Lane] = []
        self._buffers = BufferPool(device.index)
        self._logger = make_logger(self._log, library=library)
        use_device(device.index)
        self._runtime = trt.Runtime(self._logger)
        if host_code_allowed:
            self._runtime.engine_host_code_allowed = True
        self._engine: trt.ICudaEngine | None = self._load(plan, version)
        self.tensors = _read_tensors(self._engine, manifest, library)
        self._kernel_file = kernels if library.compiles_at_load else None
        self._kernels_of = _kernels_of(plan, machine)
        self._contexts, self._kept = self._open_contexts(self._engine, version, specialisation)
        self.kernels_from = (str(kernels) if self._kept is not None else "") if library.compiles_at_load else None

    @property
    def closed(self) -> bool:
        """Whether the engine was closed."""
        return self._engine is None

    @property
    def device_memory_bytes(self) -> int:
        """Scratch memory of one lane."""
        return int(self._require_open().device_memory_size_v2)

    def infer(self, pixels: Pixels) -> Outputs:
        """Run one batch of any size; see `Engine.infer`. The arrays returned are the caller's own."""
        return self.infer_async(pixels).result()

    def infer_async(self, pixels: Pixels) -> PendingOutputs:
        """Start one batch and return at once; see `infer`.

        Up to two of the plan's largest batches are under way after this; the rest of a larger one is started
        in `result()`. The pixels are copied before this returns, but for such a rest.
        """
        self._require_open()
        return PendingOutputs(self, np.ascontiguousarray(self.network_input(pixels)))

    def infer_device(self, images: object, *, stream: object = None) -> DeviceOutputs:
        """Run a batch that lies on the GPU, and leave the outputs there: nothing is copied to or from the host.

        Args:
            images: The network's input on the same GPU, C-contiguous, with `__dlpack__` or
                `__cuda_array_interface__`: (N, H, W, C) uint8, or for a float input (N, C, H, W) float32
                normalised. It is read where it lies, if its address is a multiple of 256 as allocators give it.
            stream: A stream of the caller's, on which everything is enqueued and nothing waits; it must not end
                before the outputs are read. None runs on a stream of the engine's and waits.

        Returns:
            The outputs, with `__dlpack__` and `__cuda_array_interface__`. Their memory is used again for a later
            batch once they and everything made from them are gone.

        Raises:
            EngineError: The array is not the network's input, or not on the GPU.
        """
        lane = self.take_lane()
        try:
            handle = lane.stream if stream is None else stream_handle(stream)
            array = read_device_array(images, stream=handle)
            self._check_device_array(array)
        except EngineError:
            self.with_lane(lane, lambda: None)
            raise
        return self.with_lane(lane, lambda: self._infer_device(lane, array, handle))

    def layer_information(self) -> str:
        """Return the engine inspector's JSON, at the plan's largest batch: what each layer is and computes in."""
        if TYPE_CHECKING:
            import tensorrt as trt
        else:
            trt = self._library.load()

        engine, lane = self._require_open(), self.take_lane()

        def inspect() -> str:
            inspector = engine.create_engine_inspector()
            # Without a context, formats and types that depend on the batch are left out.
            inspector.execution_context = lane.context(self.tensors.max_batch)
            return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))

        return self.with_lane(lane, inspect)

    def layer_times_ms(self, batch: int, *, warmup: int = 5, runs: int = 20) -> dict[str, float]:
        """Return each layer's median time in milliseconds; their sum is more than an inference takes.

        Args:
            batch: Images per inference.
            warmup: Inferences before those that count.
            runs: Inferences that count.
        """
        lane = self.take_lane()
        times = self.with_lane(lane, lambda: lane.time_layers(batch, runs=warmup + runs))
        return {name: float(np.median(found[warmup:])) for name, found in times.items()}

    def take_lane(self) -> Lane:
        """Return a lane that nobody uses, made now if there is none."""
        engine = self._require_open()
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Lane(
            self._contexts,
            self.tensors,
            scratch_bytes=int(engine.device_memory_size_v2),
            device=self._device,
            library=self._library,
        )

    def with_lane(self, lane: Lane, work: Callable[[], _T]) -> _T:
        """Return what `work` returns, and keep the lane for the next call, or free it if `work` fails."""
        try:
            result = work()
        except BaseException:
            lane.close()
            raise
        with self._lock:
            if not self.closed:
                self._idle.append(lane)
                return result
        lane.close()
        return result

    def close(self) -> None:
        """Keep what was compiled, then free the lanes and the plan. Calling it twice is fine."""
        with self._lock:
            lanes, self._idle = self._idle, []
            was_open, self._engine = not self.closed, None
        if was_open and self._kernel_file is not None:
            self._keep_kernels(self._kernel_file)
        for lane in lanes:
            lane.close()
        # They hold the plan.
        self._contexts = Contexts(lambda _: None)
        self._buffers.close()

    def _load(self, plan: bytes, version: Version) -> "trt.ICudaEngine":
        """Return a plan that was loaded.

        Raises:
            EngineError: The library cannot load it.
        """
        label, library = self._library.label, self._library
        able, fault = find_invalidity(self._runtime, plan, library, find_features(version, library))
        loaded = self._runtime.deserialize_cuda_engine(plan) if able else None
        if loaded is None:
            reason = "; ".join([*self._errors, *([fault] if fault else [])]) or "it gives no reason"
            raise EngineError(f"{label} {version} cannot load the plan ({reason}): build it again")
        if fault:
            LOGGER.warning("%s says that the plan may be slower here than it could be: %s", label, fault)
        return loaded

    def _open_contexts(
        self, engine: "trt.ICudaEngine", version: Version, specialisation: Specialisation
    ) -> tuple[Contexts, bytes | None]:
        """Return how contexts are made, and the kernels that were taken for them; None for none."""
        file = self._kernel_file
        kernels = None if file is None else read_kernels(file, self._kernels_of)
        features = find_features(version, self._library)
        contexts = open_contexts(engine, self._library, features, specialisation=specialisation, kernels=kernels)
        if file is not None and kernels is not None and not contexts.took_kernels:
            discard(file, f"{self._library.label} does not take it")
            kernels = None
        return contexts, kernels

    def _keep_kernels(self, file: Path) -> None:
        use_device(self._device)
        compiled = self._contexts.compiled()
        if compiled is not None and compiled != self._kept:
            write_kernels(file, compiled, self._kernels_of)

    def _infer_device(self, lane: Lane, array: DeviceArray, stream: int) -> DeviceOutputs:
        batch, tensors = array.shape[0], self.tensors
        buffers = [self._buffers.take(batch * one.image_bytes) for one in tensors.outputs]
        lease = Lease(self._buffers, buffers, source=array)
        for start in range(0, batch, tensors.max_batch):
            size = min(tensors.max_batch, batch - start)
            places = [
                buffer.pointer + start * one.image_bytes for buffer, one in zip(buffers, tensors.outputs, strict=True)
            ]
            lane.run_on_device(array.pointer + start * tensors.input.image_bytes, size, places, stream=stream)
        lease.written.record(stream)
        own = stream == lane.stream
        if own:
            lease.written.synchronise()
        made = [
            DeviceArray(
                buffer.pointer,
                (batch, *one.shape),
                one.dtype,
                stream=None if own else stream,
                device=self._device,
                owner=lease,
                written=None if own else lease.written,
            )
            for buffer, one in zip(buffers, tensors.outputs, strict=True)
        ]
        if len(made) == 1:
            made.insert(0, DeviceArray(0, (batch, 0), np.dtype(np.float32), device=self._device, owner=lease))
        return DeviceOutputs(*made)

    def _check_device_array(self, array: DeviceArray) -> None:
        expected = self.tensors.input
        if array.dtype != expected.dtype or array.shape[1:] != expected.shape or not array.shape[0]:
            raise EngineError(
                f"the array is {array.shape} {array.dtype}, expected (N, {', '.join(map(str, expected.shape))}) "
                f"{expected.dtype} with N >= 1, C-contiguous on the GPU"
            )
        if array.device != self._device:
            raise EngineError(f"the array is on GPU {array.device}, the engine on GPU {self._device}: move it there")

    def _log(self, level: str, message: str) -> None:
        if level in ("ERROR", "CRITICAL"):
            self._errors.append(" ".join(message.split()))
        LOGGER.log(logging.getLevelName(level), "%s", message)

    def _require_open(self) -> "trt.ICudaEngine":
        if self._engine is None:
            raise EngineError(f"the {self.name} engine is closed: open it again with load_engine")
        return self._engine


def open_plan(
    bundle: Bundle, library: Library = TENSORRT, *, specialisation: Specialisation = "lazy"
) -> TensorRtEngine:
    """Return the engine of a bundle's plan, after the checks that spare the library's late and obscure ones.

    Raises:
        EngineError: The plan is not for this machine, or cannot be loaded.
        BundleError: There is no plan, or it is damaged.
    """
    machine = find_machine(library)
    checked = check_plan(bundle, machine)
    assert machine.device is not None
    return TensorRtEngine(
        bundle.manifest,
        checked.plan,
        precision=describe_plan(checked.sidecar),
        host_code_allowed=checked.sidecar.options.version_compatible,
        library=library,
        kernels=bundle.path / library.files.kernels(machine.device.name),
        specialisation=specialisation,
    )


def describe_plan(sidecar: Sidecar) -> str:
    """Return what a plan executes, in words, by its certificate."""
    certificate = sidecar.certificate
    if not certificate.promised:
        return sidecar.precision
    return f"{sidecar.precision}, {certificate.kept} of {certificate.promised} layers"


def _kernels_of(plan: bytes, machine: Machine) -> KernelsOf:
    """Return what kernels compiled here are of."""
    assert machine.device is not None
    return KernelsOf(
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        gpu=machine.device.name,
        compute_capability=machine.device.compute_capability,
        driver=machine.cuda.driver,
        version=str(machine.tensorrt),
    )


def _read_tensors(engine: "trt.ICudaEngine", manifest: Manifest, library: Library) -> PlanTensors:
    """Return what a plan takes and gives, after comparing it with the manifest.

    Raises:
        EngineError: The plan and the manifest differ.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [spec.name for spec in manifest.outputs]
    if inputs != [manifest.input.name] or {*names} != {manifest.input.name, *outputs}:
        raise EngineError(
            f"the plan has tensors {', '.join(names)}, the bundle {', '.join([manifest.input.name, *outputs])}: "
            "build it again"
        )
    # A batch that is fixed in the graph needs no profile.
    fixed = manifest.fixed_batch
    smallest, _, largest = engine.get_tensor_profile_shape(manifest.input.name, 0) if fixed is None else [(fixed,)] * 3
    return PlanTensors(
        input=_tensor(engine, manifest.input, library),
        outputs=tuple(_tensor(engine, spec, library) for spec in manifest.outputs),
        min_batch=int(smallest[0]),
        max_batch=int(largest[0]),
    )


def _tensor(engine: "trt.ICudaEngine", spec: TensorSpec, library: Library) -> TensorInfo:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    types = {trt.DataType.UINT8: np.uint8, trt.DataType.FLOAT: np.float32}
    kind = engine.get_tensor_dtype(spec.name)
    if kind not in types:
        raise EngineError(f"the plan's {spec.name} is {kind}, expected UINT8 or FLOAT: build it again")
    shape, dtype = tuple(int(size) for size in tuple(engine.get_tensor_shape(spec.name))[1:]), np.dtype(types[kind])
    if (shape, dtype) != (spec.shape[1:], np.dtype(spec.dtype)):
        raise EngineError(
            f"the plan's {spec.name} is {shape} {dtype}, the bundle says {spec.shape[1:]} {spec.dtype}: build it again"
        )
    return TensorInfo(spec.name, shape, dtype)
