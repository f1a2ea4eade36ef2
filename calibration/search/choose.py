"""Choose scales and weights: every technique is tried, and kept only if held-out images say so.

    statistics ─► [equalize] x method ─► activation scales ─► weight clipping ─► rounding ─► bias correction

1. Every method is tried on the graph as it is and on the equalised one, with float weights: the scales of
   activations are judged by what they cost alone. The best pair is kept for the next step.
2. Weights are rounded to nearest, with the scales of largest magnitude and with the MSE-optimal ones.
3. Layer-wise rounding (`calibration/weights/rounding.py`), then bias correction, each on top of the best so far.
4. Of the graph that lost in rule 1, rule 2 is done too; where it is ahead of the other's end, it goes through rule 3
   as well, and the better one is taken.

What is judged is the SQNR of the outputs on images that no statistic has seen (`calibration/search/judge.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from calibration.activations.activation_statistics import TensorStatistics, channel_ranges
from calibration.activations.thresholds import METHODS, threshold
from calibration.graph.channel_groups import channel_groups
from calibration.graph.structure import constant
from calibration.options import Method, QuantizeOptions
from calibration.qdq.placement import Placement
from calibration.qdq.write import scale_name
from calibration.search.judge import Judge
from calibration.search.parts import Parts, weight_rows
from calibration.weights.bias_correction import mean_output_error
from calibration.weights.equalize import SHARE, equalize, equalize_statistics
from calibration.weights.rounding import round_rows
from calibration.weights.scales import (
    LEVELS,
    WeightQuantization,
    fp16_scales,
    max_scales,
    mse_scales,
    round_to_nearest,
)
from calibration.weights.second_moments import LayerMoments, Step
from runtime.bundle.calibration_json import Tried
from runtime.support.arrays import Doubles, Floats

UNSIGNED_LEVELS = 255

# Scales of a layer's weights, (K,) float32, from its node and rows (K, D) float64.
Rule = Callable[[ir.Node, Doubles], Floats]
Moments = Callable[[ir.Model, Mapping[str, Step]], Iterator[tuple[str, LayerMoments]]]


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        parts: What the graph is made of.
        method: How the clipping thresholds of activations were found.
        clips: Tensor name to the magnitude above which its values are clipped.
        candidates: Every method with float weights, on both graphs.
        techniques: What came on top, in order; each was judged on the whole INT8 graph.
    """

    parts: Parts
    method: Method
    clips: Mapping[str, float]
    candidates: tuple[Tried, ...]
    techniques: tuple[Tried, ...]


@dataclass(frozen=True)
class _Form:
    """A graph with the statistics of its tensors."""

    model: ir.Model
    statistics: Mapping[str, TensorStatistics]
    factors: Mapping[str, Doubles]
    name: str


@dataclass(frozen=True)
class _Scaled:
    """A form with one method's clipping thresholds, tensor by tensor."""

    form: _Form
    method: Method
    clips: Mapping[str, float]
    sqnr_db: float


@dataclass(frozen=True)
class _Whole:
    """A whole INT8 graph on the way.

    Attributes:
        scaled: Where its activations' scales come from.
        parts: What it is made of.
        sqnr_db: What it reaches.
        trials: What was tried on it.
    """

    scaled: _Scaled
    parts: Parts
    sqnr_db: float
    trials: tuple[Tried, ...]


@dataclass(frozen=True)
class _Layers:
    """Layer name to what the moments of its input gave."""

    rounded: dict[str, WeightQuantization]
    biases_nearest: dict[str, Floats]
    biases_rounded: dict[str, Floats]


def _tried(name: str, sqnr_db: float, *, kept: bool) -> Tried:
    return Tried(name=name, sqnr_db=round(sqnr_db, 3), kept=kept)


def _sqnr_db(judged: _Scaled | _Whole) -> float:
    return judged.sqnr_db


class Chooser:
    """The search over one network; `choose` runs it."""

    def __init__(self, placement: Placement, judge: Judge, options: QuantizeOptions, *, fp16: bool) -> None:
        self._placement, self._judge, self._options, self._fp16 = placement, judge, options, fp16
        self._per_tensor = placement.target == "rtx"
        self._unsigned = {tensor.name: tensor.unsigned for tensor in placement.activations}
        # They are wanted for rounding to nearest and again for layer-wise rounding.
        self._mse_scales: dict[ir.Node, Floats] = {}

    def choose(self, model: ir.Model, statistics: Mapping[str, TensorStatistics], moments: Moments) -> Choice:
        """Return the best of what was tried.

        Args:
            model: The float32 graph; not changed.
            statistics: Statistics of every tensor that the placement quantises.
            moments: Gives the moments of the layers whose names are asked for.
        """
        tried = list(self._try_methods(model, statistics))
        leaders = [max(group, key=_sqnr_db) for group in self._by_form(tried)]
        wholes = [self._clip_weights(leader) for leader in sorted(leaders, key=_sqnr_db, reverse=True)]
        if self._per_tensor:
            # With one scale for all channels the weights lose more than the activations: they decide.
            wholes.sort(key=_sqnr_db, reverse=True)
        first, *others = wholes
        best = self._refine(first, moments)
        for other in others:
            told = _tried(f"instead, {other.scaled.form.name}: weights to nearest", other.sqnr_db, kept=False)
            best = replace(best, trials=(told, *best.trials))
            # What equalisation costs the weights shows only here; layer-wise rounding nearly always makes up for it.
            if other.sqnr_db > best.sqnr_db:
                best = max(best, self._refine(other, moments), key=_sqnr_db)
        candidates = tuple(
            _tried(f"{one.method}, {one.form.name}", one.sqnr_db, kept=one is best.scaled) for one in tried
        )
        return Choice(best.parts, best.scaled.method, best.scaled.clips, candidates, best.trials)

    def _by_form(self, tried: Sequence[_Scaled]) -> list[list[_Scaled]]:
        forms = dict.fromkeys(one.form.name for one in tried)
        return [[one for one in tried if one.form.name == name] for name in forms]

    def _try_methods(self, model: ir.Model, statistics: Mapping[str, TensorStatistics]) -> Iterator[_Scaled]:
        methods = METHODS if self._options.method == "auto" else (self._options.method,)
        placement = replace(self._placement, weights=())
        for form in self._forms(model, statistics):
            clips = [{name: self._clip(form.statistics[name], one) for name in self._unsigned} for one in methods]
            scales = [self._scales(found) for found in clips]
            # The methods differ in scales alone: one graph, whose scales are set anew for each.
            graph = Parts(form.model, scales[0]).skeleton(placement)
            named = [{scale_name(name): np.array(value, np.float32) for name, value in one.items()} for one in scales]
            reached = self._judge.each_sqnr_db(graph.model, named, weights=graph.weights)
            for method, found, sqnr_db in zip(methods, clips, reached, strict=True):
                yield _Scaled(form, method, found, sqnr_db)

    def _forms(self, model: ir.Model, statistics: Mapping[str, TensorStatistics]) -> Iterator[_Form]:
        yield _Form(model, statistics, {}, "as it is")
        if self._options.equalize:
            ranges = {name: channel_ranges(found, SHARE) for name, found in statistics.items()}
            equalized, factors = equalize(model, channel_groups(model), ranges)
            if factors:
                scaled = {
                    name: equalize_statistics(found, factors[name]) if name in factors else found
                    for name, found in statistics.items()
                }
                yield _Form(equalized, scaled, factors, "equalised")

    def _clip(self, statistics: TensorStatistics, method: Method) -> float:
        levels = self._levels(statistics.name)
        return threshold(statistics.counts, statistics.width, statistics.amax, method=method, levels=levels)

    def _levels(self, tensor: str) -> int:
        return UNSIGNED_LEVELS if self._unsigned[tensor] else LEVELS

    def _scales(self, clips: Mapping[str, float]) -> dict[str, float]:
        scales = self._fit(np.array([clips[name] / self._levels(name) for name in clips], np.float32))
        return {name: float(scale) for name, scale in zip(clips, scales, strict=True)}

    def _clip_weights(self, scaled: _Scaled) -> _Whole:
        """Return the INT8 graph with weights rounded to nearest, by the better rule for their scales; rule 2."""
        parts = Parts(scaled.form.model, self._scales(scaled.clips), factors=scaled.form.factors)
        nodes = self._nodes(parts)
        found = []
        rules: dict[str, Rule] = {
            "weights: largest magnitude": lambda _node, rows: max_scales(rows),
            "weights: MSE clipping": lambda node, rows: self._mse(node, rows),
        }
        for name, rule in rules.items():
            trial = replace(parts, weights={node.name or "": self._to_nearest(node, rule) for node in nodes})
            found.append((name, trial, self._sqnr_db(trial)))
        best = max(found, key=lambda trial: trial[2])
        trials = tuple(_tried(name, reached, kept=trial is best[1]) for name, trial, reached in found)
        return _Whole(scaled, best[1], best[2], trials)

    def _refine(self, whole: _Whole, moments: Moments) -> _Whole:
        """Return the graph after layer-wise rounding and bias correction, each if it helps; rule 3."""
        if not self._options.needs_moments:
            return whole
        layers = self._layer_by_layer(self._nodes(whole.parts), whole.parts, moments)
        if self._options.rounding:
            whole = self._keep_if_better(whole, replace(whole.parts, weights=layers.rounded), "layer-wise rounding")
        if self._options.bias_correction:
            rounded = whole.parts.weights is layers.rounded
            biases = layers.biases_rounded if rounded else layers.biases_nearest
            whole = self._keep_if_better(whole, replace(whole.parts, biases=biases), "bias correction")
        return whole

    def _keep_if_better(self, whole: _Whole, trial: Parts, name: str) -> _Whole:
        reached = self._sqnr_db(trial)
        better = reached > whole.sqnr_db
        trials = (*whole.trials, _tried(name, reached, kept=better))
        return _Whole(whole.scaled, trial, reached, trials) if better else replace(whole, trials=trials)

    def _nodes(self, parts: Parts) -> list[ir.Node]:
        return [node for node in parts.model.graph if node.name in self._placement.weights]

    def _sqnr_db(self, parts: Parts) -> float:
        graph = parts.skeleton(self._placement)
        return self._judge.sqnr_db(graph.model, weights=graph.weights)

    def _to_nearest(self, node: ir.Node, rule: Rule) -> WeightQuantization:
        rows, axis = weight_rows(node)
        found = rule(node, rows.reshape(1, -1) if self._per_tensor else rows)
        scales = self._fit(np.repeat(found, len(rows)) if self._per_tensor else found)
        return _weight(round_to_nearest(rows, scales), scales, node=node, axis=axis)

    def _mse(self, node: ir.Node, rows: Doubles) -> Floats:
        """Return `mse_scales` of a layer's rows, computed once."""
        if node not in self._mse_scales:
            self._mse_scales[node] = mse_scales(rows)
        return self._mse_scales[node]

    def _fit(self, scales: Floats) -> Floats:
        return fp16_scales(scales) if self._fp16 else scales

    def _layer_by_layer(self, nodes: Sequence[ir.Node], nearest: Parts, moments: Moments) -> _Layers:
        """Return each layer rounded by what it reads, and the biases for both roundings."""
        steps = {node.name or "": self._step(node, nearest) for node in nodes}
        by_name = {node.name: node for node in nodes}
        layers = _Layers({}, {}, {})
        for name, found in moments(nearest.model, steps):
            node = by_name[name]
            rows, axis = weight_rows(node)
            old = nearest.weights[name]
            layers.rounded[name] = (
                self._round(rows, found, old, node=node, axis=axis) if self._options.rounding else old
            )
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
            (nearest.scales,) if self._per_tensor else (self._fit(max_scales(rows)), self._fit(self._mse(node, rows)))
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
