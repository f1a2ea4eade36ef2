"""What a ResNet's graph is made of: layers, global pools, residual Adds, non-negative tensors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from runtime.errors import GraphError

LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_KEEPS_SIGN = frozenset(
    {
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "Reshape",
        "Flatten",
        "Transpose",
        "Identity",
        "Dropout",
        "ReduceMean",
    }
)


@dataclass(frozen=True)
class ResidualAdd:
    """An Add of two activations.

    Attributes:
        node: Name of the Add.
        skip: Index of the input that is the skip side.
    """

    node: str
    skip: int


def constant(node: ir.Node, index: int) -> npt.NDArray[np.float32]:
    """Return a constant input of a node.

    Raises:
        GraphError: The input is not a constant.
    """
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or value.const_value is None:
        raise GraphError(f"{node.op_type} {node.name}: input {index} is not a constant: expected trained parameters")
    array: npt.NDArray[np.float32] = value.const_value.numpy()
    return array


def channel_constant(node: ir.Node) -> int | None:
    """Return which input of a Mul or an Add is one number for each channel, (C, 1, 1) or (1, C, 1, 1); None elsewhere.

    A GroupNorm ends with the two. A single number is none: it does not say how many channels there are.
    """
    if node.op_type not in ("Mul", "Add"):
        return None
    found = [index for index, value in enumerate(node.inputs) if value is not None and value.const_value is not None]
    if len(found) != 1:
        return None
    shape = constant(node, found[0]).shape
    over_channels = len(shape) in (3, 4) and shape[-2:] == (1, 1) and shape[:-3] in ((), (1,)) and shape[-3] > 1
    return found[0] if over_channels else None


def layers(model: ir.Model) -> tuple[ir.Node, ...]:
    """Return convolutions and classifiers in graph order: Conv, Gemm, and MatMul with a constant."""
    return tuple(
        node
        for node in model.graph
        if node.op_type in ("Conv", "Gemm")
        or (node.op_type == "MatMul" and node.inputs[1] is not None and node.inputs[1].const_value is not None)
    )


def is_global_pool(node: ir.Node) -> bool:
    """Return whether a node is the mean over height and width: GlobalAveragePool, or ReduceMean over axes 2 and 3."""
    if node.op_type == "GlobalAveragePool":
        return True
    if node.op_type != "ReduceMean":
        return False
    axes = node.attributes.get_ints("axes", ()) if "axes" in node.attributes else _constant_axes(node)
    return sorted(int(axis) % 4 for axis in axes) == [2, 3]


def _constant_axes(node: ir.Node) -> tuple[int, ...]:
    axes = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
    return tuple(int(axis) for axis in axes.numpy()) if axes is not None else ()


def nonnegative_tensors(model: ir.Model) -> frozenset[str]:
    """Return the tensors that cannot be negative, whatever the image: the graph alone says so."""
    found: set[str] = set()
    for node in model.graph:
        variables = [value.name for value in node.inputs if value is not None and value.const_value is None]
        inherits = node.op_type in _KEEPS_SIGN or node.op_type in ("Add", "Concat")
        from_pixels = node.op_type in ("Cast", "Transpose") and any(
            value is not None and value.dtype == ir.DataType.UINT8 for value in node.inputs
        )
        if (
            node.op_type in ("Relu", "Sigmoid")
            or from_pixels
            or _clips_at_zero(node)
            or (inherits and len(variables) == len(node.inputs) and found.issuperset(variables))
            or (inherits and node.op_type not in ("Add", "Concat") and variables and variables[0] in found)
        ):
            found.update(value.name for value in node.outputs if value.name)
    return frozenset(found)


def _clips_at_zero(node: ir.Node) -> bool:
    if node.op_type != "Clip" or len(node.inputs) < 2 or node.inputs[1] is None:
        return False
    lowest = node.inputs[1].const_value
    return lowest is not None and float(lowest.numpy()) >= 0


def residual_adds(model: ir.Model) -> tuple[ResidualAdd, ...]:
    """Return every Add of two activations, with its skip side.

    Rules:

    1. An input that no convolution of its own leads to (an identity: other nodes read it too, or it comes
       from anything but a Conv) is the skip side.
    2. Where both are outputs of convolutions that only the Add reads, as in a downsample block, or neither
       is, the main branch is the one with more convolutions since the two parted; the other is the skip side.
    3. In a tie it is the second input.
    """
    adds = []
    for node in model.graph:
        first, second = (node.inputs[0], node.inputs[1]) if node.op_type == "Add" else (None, None)
        if first is None or second is None or first.const_value is not None or second.const_value is not None:
            continue
        own = [own_convolution(value) is not None for value in (first, second)]
        if own[0] != own[1]:
            skip = own.index(False)
        else:
            lengths = _branch_lengths(first, second)
            skip = 0 if lengths[0] < lengths[1] else 1
        adds.append(ResidualAdd(node.name or "", skip))
    return tuple(adds)


def relu_partners(model: ir.Model) -> dict[str, str]:
    """Return each tensor that one residual Add alone reads, and a ReLU alone reads the Add, to the Add's other side.

    y = ReLU(a + b) is 0 wherever a <= -b, however far below that a is. So what matters of a is max(a, min(-b, 0)): it
    gives the same y.
    """
    nodes = {node.name: node for node in model.graph}
    found: dict[str, str] = {}
    for add in residual_adds(model):
        node = nodes[add.node]
        if node.outputs[0].is_graph_output() or [use.node.op_type for use in node.outputs[0].uses()] != ["Relu"]:
            continue
        for value, other in (node.inputs, reversed(node.inputs)):
            if value is not None and other is not None and len(value.uses()) == 1 and not value.is_graph_output():
                found[value.name or ""] = other.name or ""
    return found


def own_convolution(value: ir.Value | None) -> ir.Node | None:
    """Return the convolution that writes a tensor, where one node alone reads it; None elsewhere."""
    producer = value.producer() if value is not None and len(value.uses()) == 1 else None
    return producer if producer is not None and producer.op_type == "Conv" else None


def _branch_lengths(first: ir.Value, second: ir.Value) -> tuple[int, int]:
    """Return how many convolutions each branch has since the two parted."""
    of_first, of_second = _ancestors(first), _ancestors(second)
    shared = of_first & of_second

    def length(nodes: set[ir.Node]) -> int:
        return sum(node.op_type == "Conv" for node in nodes - shared)

    return length(of_first), length(of_second)


def _ancestors(value: ir.Value) -> set[ir.Node]:
    found: set[ir.Node] = set()
    waiting = [value]
    while waiting:
        producer = waiting.pop().producer()
        if producer is not None and producer not in found:
            found.add(producer)
            waiting.extend(source for source in producer.inputs if source is not None)
    return found
