"""One inference of a TensorRT plan on the GPU's own clock: input and outputs stay there."""

from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.engines.trt.cuda_calls import DeviceBuffer, PinnedBuffer, Stream, TimingEvent, copy_to_device
from runtime.engines.trt.trt_engine import TensorRtEngine


class DeviceCall:
    """A plan with its input on the GPU, and events around the kernels.

    Attributes:
        __cuda_array_interface__: The input, as `TensorRtEngine.infer_device` reads it.
    """

    def __init__(self, engine: TensorRtEngine, network_input: npt.NDArray[Any]) -> None:
        self._engine = engine
        self._stream = Stream()
        self._start, self._end = TimingEvent(), TimingEvent()
        self._buffer = DeviceBuffer(network_input.nbytes)
        pinned = PinnedBuffer(network_input.nbytes)
        pinned.array[:] = np.ascontiguousarray(network_input).reshape(-1).view(np.uint8)
        copy_to_device(self._buffer.pointer, pinned.pointer, network_input.nbytes, self._stream.handle)
        self._stream.synchronise()
        pinned.close()
        self.__cuda_array_interface__ = {
            "shape": network_input.shape,
            "typestr": network_input.dtype.str,
            "data": (self._buffer.pointer, False),
            "version": 3,
            "strides": None,
            "stream": self._stream.handle,
        }

    def call(self) -> None:
        """Run once and wait."""
        self.call_timed()

    def call_timed(self) -> float:
        """Return the milliseconds between the events before and after one run."""
        self._start.record(self._stream.handle)
        outputs = self._engine.infer_device(self, stream=self._stream.handle)
        self._end.record(self._stream.handle)
        self._stream.synchronise()
        del outputs
        return self._end.since(self._start)
