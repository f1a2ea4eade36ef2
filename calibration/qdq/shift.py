"""All 256 levels for a tensor behind a ReLU, where the engine takes no zero point: the tensor is shifted.

TensorRT stores activations as INT8 with the zero point 0, so a tensor that cannot be negative uses 128 of the 256
levels. Shifted down by 128 steps it uses all of them, and its steps are half as wide: 6 dB less noise. Then the lowest
level stands for zero, and clipping at it is what the ReLU did, so the ReLU goes.

    conv ─► Add ─► Relu ─► Q/DQ ─► conv            conv ─► Add ─► Q/DQ ─► conv
                                                   bias - c                bias + c * sum of its weights

Rules, with c = 128 steps:

1. What makes the tensor gives it less c: the bias of the convolution before the ReLU, or of one that the Add before it
   reads. A max pool in between takes no notice of a constant.
2. What reads it gives back what c would have given: a convolution takes c times the sum of each output channel's
   weights, those that its integers mean, into its bias; of an Add, the convolution on the other side takes c.
3. So all that read the tensor must be quantised convolutions without padding, or residual Adds: padding is zeros, which
   would mean c here. In a bottleneck network that is so for the residual stream, whose noise counts most; a basic
   block's first convolution is 3 x 3 and padded.
4. Nothing is added at run time: other biases, one ReLU less.
"""

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from calibration.graph.edit import replace_constant
from calibration.graph.structure import constant, own_convolution
from calibration.weights.scales import WeightQuantization
from runtime.support.arrays import Doubles

# INT8's lowest level is -128.
STEPS = 128


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
    biases: dict[ir.Node, Doubles] = {}

    def add(node: ir.Node | None, amount: float | Doubles) -> None:
        assert node is not None
        biases[node] = biases.get(node, np.zeros(1)) + amount

    for value, scale in steps.items():
        relu = _relu_before(value)
        assert relu is not None
        add(_absorber(relu.inputs[0], paired), -STEPS * scale)
        for use in value.uses():
            if use.node.op_type == "Conv":
                add(use.node, STEPS * scale * _sums(use.node, weights))
            else:
                add(_absorber(use.node.outputs[0], paired), STEPS * scale)
    for node, amount in biases.items():
        replace_constant(graph, node, 2, constant(node, 2).astype(np.float64) + amount)
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


def _absorber(value: ir.Value | None, paired: Collection[ir.Value]) -> ir.Node | None:
    """Return the convolution whose bias can move a tensor: its own, or one that the Add before it reads."""
    node = value.producer() if value is not None and _read_once(value) else None
    if node is None:
        return None
    if node.op_type == "Add":
        return next((found for side in node.inputs if (found := _own_convolution(side, paired))), None)
    return _own_convolution(value, paired)


def _own_convolution(value: ir.Value | None, paired: Collection[ir.Value]) -> ir.Node | None:
    """Return the convolution whose bias can move a tensor that is neither quantised nor an output."""
    node = None if value is None or value in paired or value.is_graph_output() else own_convolution(value)
    return node if node is not None and _has_bias(node) else None


def _gives_back(node: ir.Node, paired: Collection[ir.Value]) -> bool:
    """Return whether a node that reads a shifted tensor can make up for it; rules 2 and 3."""
    if node.op_type == "Add":
        return all(side is not None and side.const_value is None for side in node.inputs) and (
            _absorber(node.outputs[0], paired) is not None
        )
    padded = any(node.attributes.get_ints("pads", (0,)))
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    return node.op_type == "Conv" and _has_bias(node) and not padded and automatic in ("NOTSET", "VALID")


def _has_bias(node: ir.Node) -> bool:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return bias is not None and bias.const_value is not None


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
