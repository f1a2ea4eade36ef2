"""A batch that a TensorRT engine is computing: its parts, in the lanes that they take."""

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from runtime.engines.contract import Outputs, checked_outputs
from runtime.engines.trt.lane import Lane

if TYPE_CHECKING:
    from runtime.engines.trt.trt_engine import TensorRtEngine

# A call that is split keeps this many lanes busy: one computes while the next one's images are copied.
_LANES_PER_CALL = 2


class PendingOutputs:
    """A batch that is being computed; `result()` waits for it."""

    def __init__(self, engine: "TensorRtEngine", images: npt.NDArray[Any]) -> None:
        self._engine, self._images = engine, images
        self._size = engine.tensors.max_batch
        self._next = 0
        self._busy: deque[Lane] = deque()
        self._found: list[tuple[npt.NDArray[Any], ...]] = []
        self._fill()

    def done(self) -> bool:
        """Return whether `result()` would not wait."""
        return self._next >= len(self._images) and all(lane.done() for lane in self._busy)

    def result(self) -> Outputs:
        """Return the outputs, which are the caller's own arrays.

        Raises:
            EngineError: The GPU reports an error.
        """
        while self._busy:
            lane = self._busy.popleft()
            self._found.append(self._engine.with_lane(lane, lane.finish))
            self._fill()
        arrays = [np.concatenate(parts) for parts in zip(*self._found, strict=True)]
        return checked_outputs(arrays, self._engine.manifest, images=len(self._images))

    def close(self) -> None:
        """Wait for what is under way and give it up."""
        while self._busy:
            lane = self._busy.popleft()
            self._engine.with_lane(lane, lane.finish)

    def __del__(self) -> None:
        """Give the lanes back even if nobody asked for the result."""
        # At the end of the process the driver takes them back.
        if getattr(self, "_busy", None) and not sys.is_finalizing():
            self.close()

    def _fill(self) -> None:
        """Start as many parts as may be under way."""
        while self._next < len(self._images) and len(self._busy) < _LANES_PER_CALL:
            part = self._images[self._next : self._next + self._size]
            lane = self._engine.take_lane()
            try:
                lane.begin(part)
            except BaseException:
                lane.close()
                raise
            self._busy.append(lane)
            self._next += self._size
