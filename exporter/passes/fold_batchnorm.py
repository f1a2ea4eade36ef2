"""Fold BatchNorm into the convolution before it.

Rules:

1. A BatchNormalization whose input is a Conv's output, used by nothing else, disappears; the Conv's
   weight and bias take it over. The Conv keeps its name, the output tensor the BatchNorm's.
2. The arithmetic is float64, rounded to float32 once: folding in float32 would add a rounding to
   every weight before any precision has been chosen.
3. A BatchNorm that follows anything else is left in place and counted.

Source: with s = scale / sqrt(var + epsilon), BN(conv(x, W) + b) = conv(x, s W) + s (b - mean) + bias
(ONNX BatchNormalization, opset 15, inference mode).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from calibration.graph.edit import add_constant, drop_unused_constants
from calibration.graph.structure import constant

# ONNX's default for BatchNormalization's epsilon.
_DEFAULT_EPSILON = 1e-5


@dataclass(frozen=True)
class FoldReport:
    """What the pass did.

    Attributes:
        folded: BatchNorms that are gone.
        left: Names of BatchNorms that have no convolution of their own before them.
    """

    folded: int
    left: tuple[str, ...]


def fold_batchnorm(model: ir.Model) -> FoldReport:
    """Fold every BatchNorm that can be folded, in place.

    Raises:
        GraphError: A BatchNorm's or its convolution's parameters are not constants of the graph.
    """
    folded, left = 0, []
    for norm in [node for node in model.graph if node.op_type == "BatchNormalization"]:
        source = norm.inputs[0]
        assert source is not None
        conv = source.producer()
        if conv is None or conv.op_type != "Conv" or len(source.uses()) != 1 or source.is_graph_output():
            left.append(norm.name or "")
            continue
        _fold(model.graph, conv, norm)
        folded += 1
    drop_unused_constants(model.graph)
    return FoldReport(folded=folded, left=tuple(left))


def _fold(graph: ir.Graph, conv: ir.Node, norm: ir.Node) -> None:
    gamma, beta, mean, variance = (constant(norm, index).astype(np.float64) for index in range(1, 5))
    weight = constant(conv, 1).astype(np.float64)
    has_bias = len(conv.inputs) > 2 and conv.inputs[2] is not None
    bias = constant(conv, 2).astype(np.float64) if has_bias else np.zeros(len(gamma))
    scale = gamma / np.sqrt(variance + norm.attributes.get_float("epsilon", _DEFAULT_EPSILON))
    folded_weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    folded_bias = scale * (bias - mean) + beta
    names = (f"{conv.name}.weight", f"{conv.name}.bias")
    output = norm.outputs[0]
    replacement = ir.node(
        "Conv",
        [
            conv.inputs[0],
            *(_register(graph, name, value) for name, value in zip(names, (folded_weight, folded_bias), strict=True)),
        ],
        attributes=conv.attributes.copy(),
        name=conv.name,
    )
    new_output = replacement.outputs[0]
    new_output.shape, new_output.type, name = output.shape, output.type, output.name
    graph.insert_after(norm, replacement)
    ir.convenience.replace_all_uses_with(output, new_output, replace_graph_outputs=True)
    graph.remove([norm, conv], safe=True)
    new_output.name = name


def _register(graph: ir.Graph, name: str, array: npt.NDArray[np.float64]) -> ir.Value:
    """Add a float32 constant; an older one of the same name gives way."""
    if name in graph.initializers:
        graph.initializers[name].name = f"{name}.unfolded"
    return add_constant(graph, name, array.astype(np.float32))
