"""A graph with the scales of its activations: every method, on the graph as it is and equalised, and learned ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from calibration.activations.activation_statistics import TensorStatistics, channel_ranges
from calibration.activations.thresholds import METHODS, threshold
from calibration.graph.channel_groups import channel_groups
from calibration.options import Method, QuantizeOptions
from calibration.qdq.placement import Placement, QuantizedTensor
from calibration.qdq.write import scale_name, zero_point_name
from calibration.qdq.zero_points import MIDDLE, free_tensors, levels_above, share_levels
from calibration.search.judge import Judge, Judged
from calibration.search.learn_ranges import Ranges
from calibration.search.parts import Parts
from calibration.weights.equalize import SHARE, apply_factors, equalize, equalize_statistics
from calibration.weights.scales import fp16_scales
from runtime.support.arrays import Doubles, Feed

# The name of the form whose ranges are learned.
LEARNED = "learned"
# Of a graph, its quantised tensors, ranges to begin with and each tensor's zero point, the learned ranges.
Learn = Callable[[ir.Model, Sequence[QuantizedTensor], Ranges, Mapping[str, int]], Ranges | None]


@dataclass(frozen=True)
class Form:
    """A graph with the statistics of its tensors.

    Attributes:
        model: The float32 graph.
        statistics: Tensor name to what it did, in this graph.
        factors: Tensor name to the channel factors that it was divided by, (C,) float64; empty for the graph as it is.
        name: What a table calls it.
    """

    model: ir.Model
    statistics: Mapping[str, TensorStatistics]
    factors: Mapping[str, Doubles]
    name: str


@dataclass(frozen=True)
class Scaled:
    """A form with one method's clipping thresholds.

    Attributes:
        form: The graph.
        method: How the thresholds were found.
        clips: Tensor name to the value above which it is clipped.
        zero_points: Name of every tensor whose zero point is free to that zero point.
        judged: What it reaches with float weights.
    """

    form: Form
    method: Method
    clips: Mapping[str, float]
    zero_points: Mapping[str, int]
    judged: Judged


def _equalized(
    statistics: Mapping[str, TensorStatistics], factors: Mapping[str, Doubles]
) -> dict[str, TensorStatistics]:
    """Return what the statistics of tensors are once their channels are divided by factors."""
    return {
        name: equalize_statistics(found, factors[name]) if name in factors else found
        for name, found in statistics.items()
    }


class Scaling:
    """Finds the scales of the tensors that a placement quantises.

    Args:
        placement: Where Q/DQ go.
        judge: Says what a graph reaches.
        options: How to quantise.
        fp16: Whether what is not INT8 will be FP16.
    """

    def __init__(self, placement: Placement, judge: Judge, options: QuantizeOptions, *, fp16: bool) -> None:
        self._placement, self._judge, self._options, self._fp16 = placement, judge, options, fp16
        self._unsigned = {tensor.name: tensor.unsigned for tensor in placement.activations}

    def try_methods(self, model: ir.Model, statistics: Mapping[str, TensorStatistics]) -> list[Scaled]:
        """Return every method on both forms, judged with float weights: the graph as it is first.

        Args:
            model: The float32 graph; not changed.
            statistics: Statistics of every tensor that the placement quantises.
        """
        methods = METHODS if self._options.method == "auto" else (self._options.method,)
        tried: list[Scaled] = []
        free = free_tensors(model, self._placement)
        # The equalised graph is nearly always ahead: tried first, it leaves little to do for the other one.
        for form in reversed(list(self._forms(model, statistics))):
            rival = max((one.judged for one in tried), key=lambda judged: judged.order, default=None)
            ranges = [self._ranges(form, one, free) for one in methods]
            # The methods differ in scales and zero points alone: one graph, in which these are set anew for each.
            graph = self._parts(form, *ranges[0]).skeleton(self._without_weights)
            constants = [self._constants(*found) for found in ranges]
            reached = self._judge.race(graph.model, constants, weights=graph.weights, rival=rival)
            triples = zip(methods, ranges, reached, strict=True)
            tried = [*(Scaled(form, method, *found, judged) for method, found, judged in triples), *tried]
        return tried

    def learned(
        self, start: Scaled, model: ir.Model, statistics: Mapping[str, TensorStatistics], learn: Learn
    ) -> Scaled | None:
        """Return the graph with ranges learned from gradients; None where there is nothing to learn from.

        Args:
            start: Where the learning begins.
            model: The float32 graph as it is; not changed.
            statistics: Statistics of its tensors.
            learn: Does it.
        """
        zeros = {name: self._zero_point(name, start.zero_points) for name in self._unsigned}
        ranges = learn(model, self._placement.activations, Ranges(start.clips, start.form.factors), zeros)
        if ranges is None:
            return None
        scaled = apply_factors(model, channel_groups(model), ranges.factors)
        form = Form(scaled, _equalized(statistics, ranges.factors), ranges.factors, LEARNED)
        graph = self._parts(form, ranges.clips, start.zero_points).skeleton(self._without_weights)
        judged = self._judge.judge(graph.model, weights=graph.weights)
        return Scaled(form, start.method, ranges.clips, start.zero_points, judged)

    def parts(self, scaled: Scaled) -> Parts:
        """Return what a graph with these scales and float weights is made of."""
        found = self._parts(scaled.form, scaled.clips, scaled.zero_points)
        # The others share a constant.
        inside = {name: zero_point for name, zero_point in scaled.zero_points.items() if zero_point != MIDDLE}
        return replace(found, zero_points=inside)

    def _parts(self, form: Form, clips: Mapping[str, float], zeros: Mapping[str, int]) -> Parts:
        unsigned = frozenset(name for name, unsigned in self._unsigned.items() if unsigned)
        scales = self._scales(clips, zeros)
        return Parts(form.model, scales, factors=form.factors, unsigned=unsigned, zero_points=zeros)

    @property
    def _without_weights(self) -> Placement:
        """The placement of activations alone."""
        return replace(self._placement, weights=())

    def _forms(self, model: ir.Model, statistics: Mapping[str, TensorStatistics]) -> Iterator[Form]:
        yield Form(model, statistics, {}, "as it is")
        if self._options.equalize:
            ranges = {name: channel_ranges(found, SHARE) for name, found in statistics.items()}
            equalized, factors = equalize(model, channel_groups(model), ranges)
            if factors:
                yield Form(equalized, _equalized(statistics, factors), factors, "equalised")

    def _ranges(self, form: Form, method: Method, free: frozenset[str]) -> tuple[dict[str, float], dict[str, int]]:
        """Return the value above which each tensor is clipped, and the zero points of those whose one is free."""
        clips, zeros = {}, {}
        for name, found in form.statistics.items():
            clips[name] = self._clip(found, method, 0 if self._unsigned[name] else MIDDLE)
            if name in free:
                # The steps become finer, and what they cost decides how much is clipped: once more with these.
                _, finer = share_levels(found, clips[name])
                clips[name], zeros[name] = share_levels(found, self._clip(found, method, finer))
        return clips, zeros

    def _clip(self, statistics: TensorStatistics, method: Method, zero_point: int) -> float:
        levels = levels_above(zero_point)
        return threshold(statistics.counts, statistics.width, statistics.amax, method=method, levels=levels)

    def _zero_point(self, tensor: str, zeros: Mapping[str, int]) -> int:
        """Return the zero point that a tensor has, or would have as UINT8."""
        return 0 if self._unsigned[tensor] else zeros.get(tensor, MIDDLE)

    def _constants(self, clips: Mapping[str, float], zeros: Mapping[str, int]) -> Mapping[str, Feed]:
        """Return the constants that hold scales and free zero points, by name."""
        scales = {scale_name(name): np.array(scale, np.float32) for name, scale in self._scales(clips, zeros).items()}
        return scales | {zero_point_name(name): np.array(zero, np.uint8) for name, zero in zeros.items()}

    def _scales(self, clips: Mapping[str, float], zeros: Mapping[str, int]) -> dict[str, float]:
        above = {name: levels_above(self._zero_point(name, zeros)) for name in clips}
        scales = np.array([clips[name] / above[name] for name in clips], np.float32)
        fitted = fp16_scales(scales) if self._fp16 else scales
        return {name: float(scale) for name, scale in zip(clips, fitted, strict=True)}
