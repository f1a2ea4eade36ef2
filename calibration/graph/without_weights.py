"""A graph whose large constants stand outside it, so that it is copied, checked and opened without copying them.

A ResNet-18's graph is 33 kB, its weights are 45 MB. Every step from onnx-ir to ONNX's protobuf, to bytes and into
onnxruntime copies what it is given, so the steps here are given the graph alone:

1. A constant from `LARGE` bytes on becomes a stub: name, type and shape, its data said to be external. Its values stay
   the array that they are.
2. onnxruntime takes the arrays beside the graph (`runtime.engines.ort_session.open_session`), without their bytes on
   the way. What it then does is what it does to a constant with its bytes: it folds, fuses, reorders and copies it.
3. ONNX's checker and shape inference would look for the file of external data. For them stubs become inputs of the
   graph, which have a type and a shape and no values. The shapes that they infer depend on small constants alone, which
   keep their values.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

Weights = Mapping[str, npt.NDArray[np.generic]]

NO_WEIGHTS: Weights = {}
# Shapes, axes, scales and biases are below it: what is left inside is copied.
LARGE = 1 << 14
_LOCATION = "beside the graph"


@dataclass(frozen=True)
class Skeleton:
    """A graph and its large constants, apart.

    Attributes:
        model: The graph; its large constants are stubs.
        weights: Name of each stub to its values.
    """

    model: onnx.ModelProto
    weights: Weights

    def to_bytes(self) -> bytes:
        """Return the graph without its large constants, serialised."""
        graph: bytes = self.model.SerializeToString()
        return graph

    def whole(self) -> onnx.ModelProto:
        """Return a copy of the graph that has its large constants."""
        copied = onnx.ModelProto()
        copied.CopyFrom(self.model)
        for tensor in copied.graph.initializer:
            if tensor.name in self.weights:
                tensor.CopyFrom(onnx.numpy_helper.from_array(self.weights[tensor.name], tensor.name))
        return copied


def without_weights(model: ir.Model, *, keep: Collection[str] = ()) -> Skeleton:
    """Return a graph and its large constants apart; the arrays are the model's own where it holds arrays.

    Args:
        model: A graph; not changed.
        keep: Names of constants that stay in the graph, however large.
    """
    copied: ir.Model = model.clone()
    weights: dict[str, npt.NDArray[np.generic]] = {}
    for name, value in copied.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes < LARGE or name in keep:
            continue
        weights[name] = tensor.numpy()
        value.const_value = _stub(name, tensor)
    return Skeleton(ir.to_proto(copied), weights)


def hold_arrays(model: ir.Model) -> None:
    """Let every large constant be an array of its own, in place, so that none keeps a whole protobuf alive."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.nbytes >= LARGE and not isinstance(tensor, ir.Tensor):
            value.const_value = ir.tensor(tensor.numpy(), name=value.name)


def drop_large_constants(model: ir.Model) -> None:
    """Let go of the values of a graph's large constants, in place: what is left has names, types and shapes."""
    for value in model.graph.initializers.values():
        if value.const_value is not None and value.const_value.nbytes >= LARGE:
            value.const_value = None


def stubs_as_inputs(model: onnx.ModelProto) -> None:
    """Make a graph's stubs inputs of it, behind its own, in place; rule 3."""
    graph = model.graph
    stubs = {tensor.name: tensor for tensor in graph.initializer if _is_stub(tensor)}
    kept = [tensor for tensor in graph.initializer if tensor.name not in stubs]
    described = [info for info in graph.value_info if info.name not in stubs]
    # Graphs of old IR versions name their constants among the inputs already.
    given = {info.name for info in graph.input}
    for name, stub in stubs.items():
        if name not in given:
            graph.input.append(onnx.helper.make_tensor_value_info(name, stub.data_type, stub.dims))
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)
    graph.value_info.extend(described)


def put_back(model: onnx.ModelProto, whole: ir.Model) -> ir.Model:
    """Return a graph whose inputs by the names of `whole`'s constants are these constants again.

    Args:
        model: What was made of a graph after `stubs_as_inputs`; changed, and not to be used afterwards.
        whole: The graph that it was made of. The result has its large constants, not copies of them.
    """
    graph, constants = model.graph, whole.graph.initializers
    stored = {tensor.name: tensor for tensor in graph.initializer}
    absent = {info.name for info in graph.input if info.name in constants and info.name not in stored}
    given = {value.name for value in whole.graph.inputs}
    own = [info for info in graph.input if info.name not in absent or info.name in given]
    tensors = []
    for name, value in constants.items():
        if name in absent:
            tensors.append(ir.to_proto(_stub(name, value.const_value)))
        elif name in stored:
            tensors.append(stored.pop(name))
    tensors.extend(stored.values())
    del graph.input[:], graph.initializer[:]
    graph.input.extend(own)
    graph.initializer.extend(tensors)
    returned: ir.Model = ir.from_proto(model)
    for name in absent:
        returned.graph.initializers[name].const_value = constants[name].const_value
    return returned


def stub_names(model: onnx.ModelProto) -> list[str]:
    """Return the names of a graph's large constants that stand outside it."""
    return [tensor.name for tensor in model.graph.initializer if _is_stub(tensor)]


def _is_stub(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _stub(name: str, tensor: ir.TensorProtocol | None) -> ir.ExternalTensor:
    assert tensor is not None
    return ir.ExternalTensor(_LOCATION, 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name)
