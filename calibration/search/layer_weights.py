"""The INT8 weights of a graph's layers: rounded to nearest, and by what each layer reads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from calibration.graph.structure import constant
from calibration.qdq.placement import Placement
from calibration.search.parts import Parts, weight_rows
from calibration.weights.bias_correction import mean_output_error
from calibration.weights.rounding import round_rows
from calibration.weights.scales import (
    LEVELS,
    UNSIGNED_LEVELS,
    WeightQuantization,
    fp16_scales,
    max_scales,
    mse_scales,
    round_to_nearest,
)
from calibration.weights.second_moments import LayerMoments, Step
from runtime.support.arrays import Doubles, Floats

Moments = Callable[[ir.Model, Mapping[str, Step]], Iterator[tuple[str, LayerMoments]]]


@dataclass(frozen=True)
class Layers:
    """Layer name to what the moments of its input gave.

    Attributes:
        rounded: The weight rounded layer-wise, or to nearest where that is not asked for.
        biases_nearest: The corrected bias for the weight rounded to nearest, (K,) float32.
        biases_rounded: The same for `rounded`.
    """

    rounded: dict[str, WeightQuantization]
    biases_nearest: dict[str, Floats]
    biases_rounded: dict[str, Floats]


class LayerWeights:
    """Quantises the layers that a placement names.

    Args:
        placement: Where Q/DQ go.
        fp16: Whether what is not INT8 will be FP16.
        rounding: Whether `layer_by_layer` rounds anew, or leaves what was rounded to nearest.
    """

    def __init__(self, placement: Placement, *, fp16: bool, rounding: bool) -> None:
        self._fp16, self._rounding = fp16, rounding
        self._per_tensor = placement.target == "rtx"
        self._unsigned = {tensor.name: tensor.unsigned for tensor in placement.activations}
        # They are wanted for rounding to nearest and again for layer-wise rounding.
        self._mse_scales: dict[ir.Node, Floats] = {}

    def to_nearest(self, nodes: Sequence[ir.Node], *, clipped: bool) -> dict[str, WeightQuantization]:
        """Return each layer's weight rounded to nearest, by name.

        Args:
            nodes: The layers.
            clipped: Whether with the MSE-optimal scales, instead of those of the largest magnitude.
        """
        return {node.name or "": self._to_nearest(node, clipped=clipped) for node in nodes}

    def _to_nearest(self, node: ir.Node, *, clipped: bool) -> WeightQuantization:
        rows, axis = weight_rows(node)
        scaled = rows.reshape(1, -1) if self._per_tensor else rows
        found = self._mse(node, scaled) if clipped else max_scales(scaled)
        scales = self.fit(np.repeat(found, len(rows)) if self._per_tensor else found)
        return _weight(round_to_nearest(rows, scales), scales, node=node, axis=axis)

    def _mse(self, node: ir.Node, rows: Doubles) -> Floats:
        """Return `mse_scales` of a layer's rows, computed once."""
        if node not in self._mse_scales:
            self._mse_scales[node] = mse_scales(rows)
        return self._mse_scales[node]

    def fit(self, scales: Floats) -> Floats:
        """Return scales that the graph can hold, (K,) float32: FP16 numbers where it will be FP16."""
        return fp16_scales(scales) if self._fp16 else scales

    def layer_by_layer(self, nodes: Sequence[ir.Node], nearest: Parts, moments: Moments) -> Layers:
        """Return each layer rounded by what it reads, and the biases for both roundings.

        Args:
            nodes: The layers.
            nearest: The graph with weights rounded to nearest.
            moments: Gives the moments of the layers whose names are asked for.
        """
        steps = {node.name or "": self._step(node, nearest) for node in nodes}
        by_name = {node.name: node for node in nodes}
        layers = Layers({}, {}, {})
        for name, found in moments(nearest.model, steps):
            node = by_name[name]
            rows, axis = weight_rows(node)
            old = nearest.weights[name]
            layers.rounded[name] = self._round(rows, found, old, node=node, axis=axis) if self._rounding else old
            if len(node.inputs) > 2 and node.inputs[2] is not None:
                for biases, weight in (
                    (layers.biases_nearest, old),
                    (layers.biases_rounded, layers.rounded[name]),
                ):
                    real = np.moveaxis(weight.real, axis, 0).reshape(len(rows), -1).astype(np.float64)
                    error = mean_output_error(rows, real, found)
                    biases[name] = (constant(node, 2).astype(np.float64) + error).astype(np.float32)
        return layers

    def _step(self, node: ir.Node, parts: Parts) -> Step:
        source = node.inputs[0]
        assert source is not None
        assert source.name is not None
        unsigned = self._unsigned[source.name]
        lowest, highest = (0, UNSIGNED_LEVELS) if unsigned else (-LEVELS - 1, LEVELS)
        return Step(parts.activation_scales[source.name], lowest, highest)

    def _round(
        self, rows: Doubles, moments: LayerMoments, nearest: WeightQuantization, *, node: ir.Node, axis: int
    ) -> WeightQuantization:
        # Rounding chooses row by row: where all rows share a scale, it may only have that one.
        candidates = (
            (nearest.scales,) if self._per_tensor else (self.fit(max_scales(rows)), self.fit(self._mse(node, rows)))
        )
        groups = len(moments.totals)
        levels, scales = [], []
        for group, part in enumerate(np.split(rows, groups)):
            own = tuple(np.split(one, groups)[group] for one in candidates)
            found, chosen = round_rows(part, moments.products[group], candidates=own)
            levels.append(found)
            scales.append(chosen)
        return _weight(np.concatenate(levels), np.concatenate(scales), node=node, axis=axis)


def _weight(levels: npt.NDArray[np.generic], scales: Floats, *, node: ir.Node, axis: int) -> WeightQuantization:
    """Return levels (K, D) in the shape and order of the layer's weight."""
    shape = constant(node, 1).shape
    values = levels.astype(np.int8)
    return WeightQuantization(values.T.copy() if axis else values.reshape(shape), scales, axis)
