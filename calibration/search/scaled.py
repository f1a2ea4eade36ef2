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
from calibration.qdq.write import scale_name
from calibration.qdq.zero_points import MIDDLE, levels_above, zero_points
from calibration.search.judge import Judge, Judged
from calibration.search.learn_ranges import Ranges
from calibration.search.parts import Parts
from calibration.weights.equalize import SHARE, apply_factors, equalize, equalize_statistics
from calibration.weights.scales import fp16_scales
from runtime.support.arrays import Doubles

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
        zero_points: Tensor name to the zero point, where `cpu` has neither 0 nor 128.
    """

    model: ir.Model
    statistics: Mapping[str, TensorStatistics]
    factors: Mapping[str, Doubles]
    name: str
    zero_points: Mapping[str, int]


@dataclass(frozen=True)
class Scaled:
    """A form with one method's clipping thresholds.

    Attributes:
        form: The graph.
        method: How the thresholds were found.
        clips: Tensor name to the magnitude above which its values are clipped.
        judged: What it reaches with float weights.
    """

    form: Form
    method: Method
    clips: Mapping[str, float]
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
        # The equalised graph is nearly always ahead: tried first, it leaves little to do for the other one.
        for form in reversed(list(self._forms(model, statistics))):
            rival = max((one.judged for one in tried), key=lambda judged: judged.order, default=None)
            clips = [{name: self._clip(form, name, one) for name in self._unsigned} for one in methods]
            # The methods differ in scales alone: one graph, whose scales are set anew for each.
            graph = self.parts(form, clips[0]).skeleton(self._without_weights)
            scales = [
                {scale_name(name): np.array(value, np.float32) for name, value in self._scales(form, found).items()}
                for found in clips
            ]
            reached = self._judge.race(graph.model, scales, weights=graph.weights, rival=rival)
            triples = zip(methods, clips, reached, strict=True)
            tried = [*(Scaled(form, method, found, judged) for method, found, judged in triples), *tried]
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
        zeros = {name: self._zero_point(start.form, name) for name in self._unsigned}
        ranges = learn(model, self._placement.activations, Ranges(start.clips, start.form.factors), zeros)
        if ranges is None:
            return None
        scaled = apply_factors(model, channel_groups(model), ranges.factors)
        learned = _equalized(statistics, ranges.factors)
        # The ranges were learned for these zero points.
        form = Form(scaled, learned, ranges.factors, LEARNED, start.form.zero_points)
        graph = self.parts(form, ranges.clips).skeleton(self._without_weights)
        return Scaled(form, start.method, ranges.clips, self._judge.judge(graph.model, weights=graph.weights))

    def parts(self, form: Form, clips: Mapping[str, float]) -> Parts:
        """Return what a graph with these thresholds and float weights is made of."""
        unsigned = frozenset(name for name, unsigned in self._unsigned.items() if unsigned)
        return Parts(
            form.model,
            self._scales(form, clips),
            factors=form.factors,
            unsigned=unsigned,
            zero_points=form.zero_points,
        )

    @property
    def _without_weights(self) -> Placement:
        """The placement of activations alone."""
        return replace(self._placement, weights=())

    def _forms(self, model: ir.Model, statistics: Mapping[str, TensorStatistics]) -> Iterator[Form]:
        yield Form(model, statistics, {}, "as it is", self._zero_points(model, statistics))
        if self._options.equalize:
            ranges = {name: channel_ranges(found, SHARE) for name, found in statistics.items()}
            equalized, factors = equalize(model, channel_groups(model), ranges)
            if factors:
                found = _equalized(statistics, factors)
                yield Form(equalized, found, factors, "equalised", self._zero_points(equalized, found))

    def _zero_points(self, model: ir.Model, statistics: Mapping[str, TensorStatistics]) -> dict[str, int]:
        return zero_points(model, self._placement, statistics)

    def _clip(self, form: Form, tensor: str, method: Method) -> float:
        found, levels = form.statistics[tensor], levels_above(self._zero_point(form, tensor))
        return threshold(found.counts, found.width, found.amax, method=method, levels=levels)

    def _zero_point(self, form: Form, tensor: str) -> int:
        """Return the zero point that a tensor has, or would have as UINT8."""
        return 0 if self._unsigned[tensor] else form.zero_points.get(tensor, MIDDLE)

    def _scales(self, form: Form, clips: Mapping[str, float]) -> dict[str, float]:
        above = {name: levels_above(self._zero_point(form, name)) for name in clips}
        scales = np.array([clips[name] / above[name] for name in clips], np.float32)
        fitted = fp16_scales(scales) if self._fp16 else scales
        return {name: float(scale) for name, scale in zip(clips, fitted, strict=True)}
