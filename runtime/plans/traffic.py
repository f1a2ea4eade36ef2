"""How many kernels a plan starts for an image, and how many bytes they read and write: counted, not measured.

Only tensors between layers count: weights are read once a batch, however large it is. Padding is not counted.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.bundle.plan_json import Datatype
from runtime.plans.inspector import IDLE, EngineLayer, LayerInformation, Tensor, compute_type, is_convolution

_BYTES: dict[Datatype, float] = {
    "fp32": 4, "int32": 4, "fp16": 2, "bf16": 2, "int64": 8, "int8": 1, "uint8": 1, "fp8": 1, "bool": 1,
    "fp4": 0.5, "int4": 0.5,
}  # fmt: skip
_FLOATS: frozenset[Datatype] = frozenset({"fp32", "fp16"})
_DYNAMIC = -1


@dataclass(frozen=True)
class LayerTraffic:
    """What one kernel moves for an image.

    Attributes:
        name: The layer's name.
        read_bytes: Bytes of the tensors that it reads.
        written_bytes: Bytes of the tensors that it writes.
    """

    name: str
    read_bytes: float
    written_bytes: float

    @property
    def moved_bytes(self) -> float:
        """Bytes read and written."""
        return self.read_bytes + self.written_bytes


@dataclass(frozen=True)
class Traffic:
    """What a plan moves for an image.

    Attributes:
        layers: One per kernel, in order of execution.
        rescaling: Kernels that only take on what INT8 convolutions wrote as floats: they rescale it, add bias and
            residual, and most of them round it to INT8 again.
        rescaled: Names of the INT8 convolutions that write these floats and read INT8 data, a residual apart.
        wide: Whether some of these floats are FP32, as where a weight has a scale for each channel.
        int8: Whether the plan has INT8 convolutions.
    """

    layers: tuple[LayerTraffic, ...]
    rescaling: tuple[LayerTraffic, ...]
    rescaled: frozenset[str]
    wide: bool
    int8: bool

    @property
    def moved_bytes(self) -> float:
        """Bytes that all kernels read and write."""
        return math.fsum(layer.moved_bytes for layer in self.layers)


def traffic(information: LayerInformation) -> Traffic | None:
    """Return what a plan moves for one image.

    Returns:
        None where it cannot be counted: a tensor's datatype is not named, or the batch is fixed, so that nobody can
        tell which share of a tensor is one image's.
    """
    layers = [layer for layer in information.layers if layer.kind not in IDLE]
    tensors = [tensor for layer in layers for tensor in (*layer.inputs, *layer.outputs)]
    if any(tensor.datatype not in _BYTES for tensor in tensors):
        return None
    if not any(_DYNAMIC in tensor.shape for tensor in tensors):
        return None
    int8 = [layer for layer in layers if is_convolution(layer) and compute_type(layer) == "int8"]
    floats = {tensor.name for layer in int8 for tensor in layer.outputs if tensor.datatype in _FLOATS}
    rescaling = [layer for layer in layers if _rescales(layer, floats)]
    taken = {tensor.name for layer in rescaling for tensor in layer.inputs} & floats
    return Traffic(
        layers=tuple(_of_layer(layer) for layer in layers),
        rescaling=tuple(_of_layer(layer) for layer in rescaling),
        rescaled=frozenset(
            layer.name
            for layer in int8
            if {tensor.name for tensor in layer.outputs} & taken and layer.inputs[0].datatype not in _FLOATS
        ),
        wide=any(tensor.datatype == "fp32" for layer in rescaling for tensor in layer.inputs if tensor.name in taken),
        int8=bool(int8),
    )


def _rescales(layer: EngineLayer, floats: set[str]) -> bool:
    return not is_convolution(layer) and any(tensor.name in floats for tensor in layer.inputs)


def _of_layer(layer: EngineLayer) -> LayerTraffic:
    return LayerTraffic(layer.name, _bytes(layer.inputs), _bytes(layer.outputs))


def _bytes(tensors: Iterable[Tensor]) -> float:
    # The batch is the one dynamic dimension; for one image it is 1.
    return math.fsum(
        math.prod(size for size in one.shape if size != _DYNAMIC) * _BYTES[one.datatype] for one in tensors
    )
