"""Everything that a quantised graph is made of, so that it can be written again with other layers in float."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt
import onnx
import onnx_ir as ir

from calibration.graph.channel_groups import channel_groups
from calibration.graph.checks import infer_shapes
from calibration.graph.edit import replace_constant
from calibration.graph.structure import constant
from calibration.graph.without_weights import Skeleton, without_weights
from calibration.qdq.placement import Placement
from calibration.qdq.write import insert_qdq
from calibration.qdq.zero_points import MIDDLE
from calibration.weights.equalize import apply_factors
from calibration.weights.scales import LEVELS, UNSIGNED_LEVELS, WeightQuantization
from runtime.bundle.calibration_json import Calibration
from runtime.support.arrays import Doubles, Floats


@dataclass(frozen=True)
class Parts:
    """What the calibration has decided.

    Attributes:
        model: The float32 graph, equalised if that was kept; not changed.
        activation_scales: Tensor name to scale, for every tensor that the placement quantises.
        weights: Layer name to its INT8 weight.
        biases: Layer name to its bias with the mean error taken out, (K,) float32; layers left out keep theirs.
        factors: Tensor name to the channel factors that `model` was equalised by; empty if it was not.
        unsigned: Names of the tensors whose scales are for 255 levels above zero.
        zero_points: Tensor name to the zero point, where `cpu` has neither 0 nor 128.
    """

    model: ir.Model
    activation_scales: Mapping[str, float]
    weights: Mapping[str, WeightQuantization] = field(default_factory=dict)
    biases: Mapping[str, Floats] = field(default_factory=dict)
    factors: Mapping[str, Doubles] = field(default_factory=dict)
    unsigned: frozenset[str] = frozenset()
    zero_points: Mapping[str, int] = field(default_factory=dict)

    def for_placement(self, placement: Placement) -> tuple[Placement, dict[str, float]]:
        """Return a placement and its activations' scales, when it is not the one that the scales were chosen for.

        A tensor that a layer kept in float reads too cannot be shifted any more: its scale is then for 127 levels above
        zero. One whose scale is for 127 stays so.

        Args:
            placement: Where Q/DQ go, with more layers in float than before.
        """
        scales, activations = {}, []
        for tensor in placement.activations:
            scale, unsigned = self.activation_scales[tensor.name], tensor.name in self.unsigned
            scales[tensor.name] = scale * UNSIGNED_LEVELS / LEVELS if unsigned and not tensor.unsigned else scale
            activations.append(replace(tensor, unsigned=tensor.unsigned and unsigned))
        return replace(placement, activations=tuple(activations)), scales

    def build(self, placement: Placement, *, float_weights: bool = False) -> onnx.ModelProto:
        """Return the Q/DQ graph, float32, checked.

        Args:
            placement: Which tensors and weights are quantised; others stay float, with their own bias.
            float_weights: Store weights as float with Q/DQ behind them, instead of as INT8.
        """
        inferred: onnx.ModelProto = ir.to_proto(infer_shapes(self._write(placement, float_weights=float_weights)))
        return inferred

    def candidate(self, placement: Placement, *, float_weights: bool = False) -> onnx.ModelProto:
        """Return the same graph unchecked and without shapes, for an engine that checks and infers by itself.

        Args:
            placement: Which tensors and weights are quantised.
            float_weights: Store weights as float with Q/DQ behind them, instead of as INT8.
        """
        proto: onnx.ModelProto = ir.to_proto(self._write(placement, float_weights=float_weights))
        return proto

    def skeleton(self, placement: Placement) -> Skeleton:
        """Return the same graph, weights in INT8, with its large constants apart, so that none is copied.

        Nothing is shifted in it, so that its activations' scales can be set anew.
        """
        return without_weights(self._write(placement, float_weights=False, shifted=False))

    def _write(self, placement: Placement, *, float_weights: bool, shifted: bool = True) -> ir.Model:
        placement, scales = self.for_placement(placement)
        model: ir.Model = self.model.clone()
        for node in list(model.graph):
            if node.name in placement.weights and node.name in self.biases:
                replace_constant(model.graph, node, 2, self.biases[node.name])
        insert_qdq(
            model,
            placement,
            activation_scales=scales,
            weights=self.weights,
            zero_points=self.zero_points,
            float_weights=float_weights,
            shifted=shifted,
        )
        return model

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all but the float graph and the scales of activations, for a cache."""
        found: dict[str, npt.NDArray[Any]] = {f"factors/{name}": array for name, array in self.factors.items()}
        for name, weight in self.weights.items():
            found[f"weight/{name}"], found[f"weight_scale/{name}"] = weight.values, weight.scales
        found.update({f"bias/{name}": bias for name, bias in self.biases.items()})
        return found


def parts_from_arrays(graph: ir.Model, calibration: Calibration, arrays: Mapping[str, npt.NDArray[Any]]) -> Parts:
    """Return the parts that `Parts.arrays` came from.

    Args:
        graph: The float graph.
        calibration: Calibration of the same cache.
        arrays: Arrays of the cache.
    """

    def named(kind: str) -> dict[str, npt.NDArray[Any]]:
        return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}/")}

    factors, scales = named("factors"), named("weight_scale")
    axes = {node.name: weight_rows(node)[1] for node in graph.graph if node.name in scales}
    return Parts(
        model=apply_factors(graph, channel_groups(graph), factors),
        activation_scales={tensor.name: tensor.scale for tensor in calibration.activations},
        weights={
            name: WeightQuantization(values, scales[name], axes[name]) for name, values in named("weight").items()
        },
        biases=named("bias"),
        factors=factors,
        unsigned=frozenset(tensor.name for tensor in calibration.activations if tensor.unsigned),
        zero_points={
            tensor.name: tensor.zero_point
            for tensor in calibration.activations
            if not tensor.unsigned and tensor.zero_point not in (None, MIDDLE)
        },
    )


def weight_rows(node: ir.Node) -> tuple[Doubles, int]:
    """Return a layer's weight, one output channel per row, (K, D) float64, and the axis of those channels."""
    weight = constant(node, 1).astype("float64")
    if node.op_type == "Conv":
        return weight.reshape(len(weight), -1), 0
    if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        return weight, 0
    return weight.T.copy(), 1
