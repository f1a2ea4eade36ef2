"""One lane of inference: contexts, a stream, buffers and CUDA graphs that one inference at a time uses.

All memory is allocated when the lane is opened, for the plan's largest batch. For every batch size that comes
there is one execution context and one CUDA graph of copy in, kernels, copy out; the contexts share the scratch
memory, as only one of them runs at a time. TensorRT advises one context per captured graph. TensorRT for RTX records
the kernels' graph itself: there the copies stand beside it, and what runs at the caller's addresses, which change, has
contexts of its own that record none.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from runtime.engines.trt.contexts import Contexts
from runtime.engines.trt.cuda_calls import (
    DeviceBuffer,
    Event,
    Graph,
    PinnedBuffer,
    Stream,
    copy_on_device,
    copy_to_device,
    copy_to_host,
    use_device,
)
from runtime.engines.trt.library import TENSORRT, Library
from runtime.engines.trt.monitor import make_profiler
from runtime.errors import EngineError

if TYPE_CHECKING:
    import tensorrt as trt

# TensorRT's rule for the addresses of inputs and outputs, `IExecutionContext::setTensorAddress`.
ALIGNMENT_BYTES = 256
_Resource = TypeVar("_Resource", Stream, Event, DeviceBuffer, PinnedBuffer)

# Batch sizes that a lane keeps a context and a graph for; the one unused for longest goes first.
_KEPT_SIZES = 8


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a plan.

    Attributes:
        name: Name of the tensor.
        shape: Shape of one image's part, without the batch.
        dtype: Element type.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def image_bytes(self) -> int:
        """Bytes per image."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class PlanTensors:
    """What a plan takes and gives.

    Attributes:
        input: Input of the plan.
        outputs: Outputs of the plan, in the manifest's order.
        min_batch: Smallest batch of its profile.
        max_batch: Largest.
    """

    input: TensorInfo
    outputs: tuple[TensorInfo, ...]
    min_batch: int
    max_batch: int


@dataclass
class _Recording:
    """The context of one batch size, and its graph once it is recorded."""

    context: "trt.IExecutionContext"
    graph: Graph | None = None


class Lane:
    """See the module. Not thread-safe: one thread uses a lane at a time."""

    def __init__(
        self,
        contexts: Contexts,
        tensors: PlanTensors,
        *,
        scratch_bytes: int,
        device: int = 0,
        library: Library = TENSORRT,
    ) -> None:
        """Allocate everything.

        Args:
            contexts: How the plan's contexts are made.
            tensors: What the plan takes and gives.
            scratch_bytes: Scratch memory of a context.
            device: The GPU's index.
            library: The library of the plan.

        Raises:
            EngineError: The GPU's memory does not suffice.
        """
        use_device(device)
        self._contexts, self._tensors, self._device, self._library = contexts, tensors, device, library
        # By batch size, and whether every inference has the lane's own addresses.
        self._recordings: OrderedDict[tuple[int, bool], _Recording] = OrderedDict()
        self._closers: list[Callable[[], None]] = []
        self._batch = 0
        try:
            self._stream = self._own(Stream())
            self._finished = self._own(Event())
            most = tensors.max_batch
            # An engine without scratch memory still wants an address.
            self._scratch = self._own(DeviceBuffer(max(scratch_bytes, ALIGNMENT_BYTES)))
            self._input = self._own(DeviceBuffer(most * tensors.input.image_bytes))
            self._host_input = self._own(PinnedBuffer(most * tensors.input.image_bytes))
            self._outputs = [self._own(DeviceBuffer(most * one.image_bytes)) for one in tensors.outputs]
            self._host_outputs = [self._own(PinnedBuffer(most * one.image_bytes)) for one in tensors.outputs]
        except EngineError:
            self.close()
            raise

    @property
    def stream(self) -> int:
        """Handle of the lane's stream."""
        return self._stream.handle

    def begin(self, images: npt.NDArray[Any]) -> None:
        """Start a batch; nothing waits.

        Args:
            images: The network's input, (n, ...) with 1 <= n <= `max_batch`.
        """
        use_device(self._device)
        self._batch = len(images)
        run = max(self._batch, self._tensors.min_batch)
        flat = images.reshape(-1).view(np.uint8)
        self._host_input.array[: flat.size] = flat
        # What fills a batch up to the profile's smallest is zeros: nothing is left of an earlier image.
        self._host_input.array[flat.size : run * self._tensors.input.image_bytes] = 0
        recording = self._recording(run, own_addresses=True)
        if self._contexts.records_graphs:
            self._enqueue(recording, run)
        else:
            self._graph(recording, run).launch(self._stream)
        self._finished.record(self.stream)

    def done(self) -> bool:
        """Return whether the batch that was started is done."""
        return self._finished.done()

    def finish(self) -> tuple[npt.NDArray[Any], ...]:
        """Wait for the batch that was started, and return its outputs as arrays of their own."""
        use_device(self._device)
        self._finished.synchronise()
        found = []
        for one, host in zip(self._tensors.outputs, self._host_outputs, strict=True):
            used = host.array[: self._batch * one.image_bytes]
            found.append(used.view(one.dtype).reshape(self._batch, *one.shape).copy())
        return tuple(found)

    def run_on_device(self, source: int, batch: int, destinations: list[int], *, stream: int) -> None:
        """Enqueue a batch that lies on the GPU, on a stream of the caller's or the lane's.

        Args:
            source: Address of the network's input, (batch, ...); copied on the GPU if it is not aligned.
            batch: Images, 1 to `max_batch`.
            destinations: Address of each output, in the manifest's order; likewise.
            stream: Handle of the stream.
        """
        use_device(self._device)
        if stream != self.stream:
            # The lane's scratch memory may still be in use by its own stream.
            self._finished.record(self.stream)
            self._finished.hold(stream)
        run = max(batch, self._tensors.min_batch)
        context = self._recording(run).context
        direct = run == batch
        taken = source
        if not direct or source % ALIGNMENT_BYTES:
            copy_on_device(self._input.pointer, source, batch * self._tensors.input.image_bytes, stream)
            taken = self._input.pointer
        given = [
            destination if direct and not destination % ALIGNMENT_BYTES else buffer.pointer
            for destination, buffer in zip(destinations, self._outputs, strict=True)
        ]
        self._execute(context, taken, given, stream)
        for one, wanted, found in zip(self._tensors.outputs, destinations, given, strict=True):
            if wanted != found:
                copy_on_device(wanted, found, batch * one.image_bytes, stream)
        if stream != self.stream:
            self._finished.record(stream)
            self._finished.hold(self.stream)

    def context(self, batch: int) -> "trt.IExecutionContext":
        """Return the execution context of a batch size."""
        return self._recording(batch).context

    def time_layers(self, batch: int, *, runs: int) -> dict[str, list[float]]:
        """Return the times of every layer in milliseconds, one per run, on whatever the input buffer holds."""
        use_device(self._device)
        recording, times = self._recording(batch), dict[str, list[float]]()
        recording.context.profiler = make_profiler(
            lambda layer, ms: times.setdefault(layer, []).append(ms), library=self._library
        )
        for _ in range(runs):
            self._enqueue(recording, batch)
            self._stream.synchronise()
        # A context reports to its profiler for good: it is not used for anything else.
        del self._recordings[batch, False]
        return times

    def close(self) -> None:
        """Free everything. Calling it twice is fine."""
        if self._closers:
            use_device(self._device)
        for recording in self._recordings.values():
            if recording.graph is not None:
                recording.graph.close()
        # The contexts go before the memory that they use.
        self._recordings.clear()
        while self._closers:
            self._closers.pop()()

    def _own(self, resource: _Resource) -> _Resource:
        self._closers.append(resource.close)
        return resource

    def _graph(self, recording: _Recording, batch: int) -> Graph:
        """Return the graph of a batch size, recorded now if there is none."""
        if recording.graph is None:
            # The first run of a context after a change of shape may set things up, which no graph may record.
            self._enqueue(recording, batch)
            self._stream.synchronise()
            recording.graph = Graph(self._stream, lambda: self._enqueue(recording, batch))
        return recording.graph

    def _recording(self, batch: int, *, own_addresses: bool = False) -> _Recording:
        """Return the context of a batch size, made now if there is none."""
        # Our own graphs hold the addresses, the context does not: one serves both.
        fixed = own_addresses and self._contexts.records_graphs
        if (batch, fixed) in self._recordings:
            self._recordings.move_to_end((batch, fixed))
            return self._recordings[batch, fixed]
        if len(self._recordings) >= _KEPT_SIZES:
            _, oldest = self._recordings.popitem(last=False)
            self._stream.synchronise()
            if oldest.graph is not None:
                oldest.graph.close()
        recording = _Recording(self._new_context(batch, fixed_addresses=fixed))
        self._recordings[batch, fixed] = recording
        return recording

    def _new_context(self, batch: int, *, fixed_addresses: bool) -> "trt.IExecutionContext":
        context = self._contexts.make(fixed_addresses)
        if context is None:
            raise EngineError(
                f"{self._library.label} made no execution context: its log says why; free GPU memory and try again"
            )
        context.set_device_memory(self._scratch.pointer, self._scratch.size_bytes)
        given = self._tensors.input
        if not context.set_input_shape(given.name, (batch, *given.shape)):
            raise EngineError(
                f"the plan takes no batch of {batch}: its profile is {self._tensors.min_batch} to "
                f"{self._tensors.max_batch}; build it with another --profile"
            )
        return context

    def _enqueue(self, recording: _Recording, batch: int) -> None:
        """Enqueue copy in, kernels and copies out on the lane's own stream and buffers."""
        size = batch * self._tensors.input.image_bytes
        copy_to_device(self._input.pointer, self._host_input.pointer, size, self.stream)
        pointers = [buffer.pointer for buffer in self._outputs]
        self._execute(recording.context, self._input.pointer, pointers, self.stream)
        for one, device, host in zip(self._tensors.outputs, self._outputs, self._host_outputs, strict=True):
            copy_to_host(host.pointer, device.pointer, batch * one.image_bytes, self.stream)

    def _execute(self, context: "trt.IExecutionContext", source: int, destinations: list[int], stream: int) -> None:
        addresses = [(self._tensors.input.name, source)]
        addresses += [(one.name, pointer) for one, pointer in zip(self._tensors.outputs, destinations, strict=True)]
        for name, pointer in addresses:
            if not context.set_tensor_address(name, pointer):
                raise EngineError(f"{self._library.label} refuses the address {pointer:#x} of {name}: its log says why")
        if not context.execute_async_v3(stream):
            raise EngineError(f"{self._library.label} could not start the inference: its log says why")
