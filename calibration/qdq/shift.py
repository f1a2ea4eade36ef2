"""All 256 levels for a tensor behind a ReLU, where the engine takes no zero point: the tensor is shifted.

TensorRT stores activations as INT8 with the zero point 0, so a tensor that cannot be negative uses 128 of the 256
levels. Shifted down by 128 steps it uses all of them, and its steps are half as wide: 6 dB less noise. Then the lowest
level stands for zero, and clipping at it is what the ReLU did, so the ReLU goes.

    conv ─► Add ─► Relu ─► Q/DQ ─► conv            conv ─► Add ─► Q/DQ ─► conv
                                                   bias - c                bias + c * sum of its weights

Rules, with c = 128 steps:

1. What makes the tensor gives it less c: the bias of what writes the ReLU's input, or of what the Add before it reads.
   That is a convolution's, or the constant of an Add, as a GroupNorm ends with one. A max pool in between takes no
   notice of a constant.
2. What reads it gives back what c would have given: a convolution takes c times the sum of each output channel's
   weights, those that its integers mean, into its bias; of an Add, the bias on the other side takes c.
3. So all that read the tensor must be quantised convolutions without padding, or residual Adds: padding is zeros, which
   would mean c here. In a bottleneck network that is so for the residual stream, whose noise counts most; a basic
   block's first convolution is 3 x 3 and padded.
4. Nothing is added at run time: other biases, one ReLU less.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from calibration.graph.edit import replace_constant
from calibration.graph.structure import constant
from calibration.weights.scales import WeightQuantization
from runtime.support.arrays import Doubles

# INT8's lowest level is -128.
STEPS = 128


@dataclass(frozen=True)
class Bias:
    """A constant that is added to all of a tensor's values, channel by channel.

    Attributes:
        node: What adds it: a convolution or an Add.
        index: Number of the node's input.
    """

    node: ir.Node
    index: int


def shiftable(value: ir.Value, uses: Collection[tuple[ir.Node, int]], paired: Collection[ir.Value]) -> bool:
    """Return whether a tensor can be shifted; rules 1 and 3.

    Args:
        value: The tensor.
        uses: What reads it quantised: nodes and input indices.
        paired: All tensors with a Q/DQ pair.
    """
    relu = _relu_before(value)
    if relu is None or value.is_graph_output() or len(value.uses()) != len(uses):
        return False
    return _absorber(relu.inputs[0], paired) is not None and all(_gives_back(node, paired) for node, _ in uses)


def shift(
    graph: ir.Graph,
    steps: Mapping[ir.Value, float],
    paired: Collection[ir.Value],
    weights: Mapping[str, WeightQuantization],
) -> dict[ir.Value, ir.Value]:
    """Shift tensors in a graph without Q/DQ, in place.

    Args:
        graph: The graph.
        steps: Each tensor that is `shiftable` to its scale.
        paired: All tensors with a Q/DQ pair.
        weights: Layer name to its INT8 weight; others are taken as they are.

    Returns:
        Each tensor to the one that is quantised in its place: what the ReLU read, where that was right before.
    """
    biases: dict[Bias, Doubles] = {}

    def add(bias: Bias | None, amount: float | Doubles) -> None:
        assert bias is not None
        biases[bias] = biases.get(bias, np.zeros(1)) + amount

    for value, scale in steps.items():
        relu = _relu_before(value)
        assert relu is not None
        add(_absorber(relu.inputs[0], paired), -STEPS * scale)
        for use in value.uses():
            if use.node.op_type == "Conv":
                add(_bias(use.node), STEPS * scale * _sums(use.node, weights))
            else:
                add(_absorber(use.node.outputs[0], paired), STEPS * scale)
    for bias, amount in biases.items():
        before = constant(bias.node, bias.index).astype(np.float64)
        replace_constant(graph, bias.node, bias.index, before + amount)
    return {value: _past_relu(graph, value) for value in steps}


def _relu_before(value: ir.Value | None) -> ir.Node | None:
    """Return the ReLU that a tensor comes from, straight or through max pools that nothing else reads along with."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type == "MaxPool":
        source = node.inputs[0]
        if source is None or not _read_once(source):
            return None
        node = source.producer()
    return node if node is not None and node.op_type == "Relu" else None


def _absorber(value: ir.Value | None, paired: Collection[ir.Value]) -> Bias | None:
    """Return the bias that can move a tensor: of what writes it, or of what the Add that writes it reads."""
    node = value.producer() if value is not None and _read_once(value) else None
    if node is None:
        return None
    if node.op_type == "Add" and (own := _bias(node)) is None:
        return next((found for side in node.inputs if (found := _own_bias(side, paired))), None)
    return own if node.op_type == "Add" else _own_bias(value, paired)


def _own_bias(value: ir.Value | None, paired: Collection[ir.Value]) -> Bias | None:
    """Return the bias of what writes a tensor that one node reads, and that is neither quantised nor an output."""
    if value is None or value in paired or not _read_once(value):
        return None
    node = value.producer()
    return _bias(node) if node is not None else None


def _gives_back(node: ir.Node, paired: Collection[ir.Value]) -> bool:
    """Return whether a node that reads a shifted tensor can make up for it; rules 2 and 3."""
    if node.op_type == "Add":
        return _bias(node) is None and _absorber(node.outputs[0], paired) is not None
    padded = any(node.attributes.get_ints("pads", (0,)))
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    return node.op_type == "Conv" and _bias(node) is not None and not padded and automatic in ("NOTSET", "VALID")


def _bias(node: ir.Node) -> Bias | None:
    """Return the bias of a convolution, or the constant of an Add; None where there is none."""
    indices = {"Conv": (2,), "Add": (0, 1)}.get(node.op_type, ())
    for index in indices:
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None and value.const_value is not None:
            return Bias(node, index)
    return None


def _read_once(value: ir.Value) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output()


def _sums(node: ir.Node, weights: Mapping[str, WeightQuantization]) -> Doubles:
    """Return the sum of each output channel's weights, (K,) float64."""
    quantized = weights.get(node.name or "")
    real = constant(node, 1) if quantized is None else quantized.real
    sums: Doubles = real.reshape(len(real), -1).sum(axis=1, dtype=np.float64)
    return sums


def _past_relu(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Let all that reads a ReLU read what it reads, and take it out; return what is then in the place of `value`."""
    relu = _relu_before(value)
    assert relu is not None
    source, output = relu.inputs[0], relu.outputs[0]
    assert source is not None
    for use in tuple(output.uses()):
        use.node.replace_input_with(use.idx, source)
    graph.remove(relu, safe=True)
    return source if value is output else value
