"""Choose scales and weights: every technique is tried, and kept only if held-out images say so.

    statistics ─► [equalize] x method ─► activation scales ─► weight clipping ─► rounding ─► bias correction
                                          └► [learn them]

1. Every method is tried on the graph as it is and on the equalised one, with float weights: the scales of
   activations are judged by what they cost alone. The best pair is kept for the next step. With the effort `high`,
   ranges are learned from there (`calibration/search/learn_ranges.py`), and kept in its place if they are better.
2. Weights are rounded to nearest, with the scales of largest magnitude and with the MSE-optimal ones. Where layer-wise
   rounding follows, which tries both scales for every channel, the first images choose between them.
3. Layer-wise rounding (`calibration/weights/rounding.py`), then bias correction, each on top of the best so far.
4. Of the graph that lost in rule 1, rule 2 is done too; where it is ahead of the other's end, it goes through rule 3
   as well, and is judged against the other.

What is judged is the SQNR of the outputs on images that no statistic has seen (`calibration/search/judge.py`). They are
few, and a gain on them can be luck: where the 95 % interval of a gain has zero in it, the two graphs are a tie, and the
simpler one is kept. Simpler is the graph as it is, the scales of largest magnitude, rounding to nearest, and the biases
as they are. The methods are equally simple, one number for each tensor, so the best of them is taken. What is surely
worse on the first images is not judged on the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from calibration.activations.activation_statistics import TensorStatistics
from calibration.options import Method, QuantizeOptions
from calibration.qdq.placement import Placement
from calibration.search.judge import Judge, Judged
from calibration.search.layer_weights import LayerWeights, Moments
from calibration.search.parts import Parts
from calibration.search.scaled import Learn, Scaled, Scaling
from runtime.bundle.calibration_json import Tried


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
class _Whole:
    """A whole INT8 graph on the way.

    Attributes:
        scaled: Where its activations' scales come from.
        parts: What it is made of.
        judged: What it reaches.
        trials: What was tried on it.
    """

    scaled: Scaled
    parts: Parts
    judged: Judged
    trials: tuple[Tried, ...]


def _surely_better(judged: Judged, before: Judged) -> bool:
    """Return whether a graph is better than a simpler one beyond the luck of few images."""
    gain = judged.gain_ci95(before)
    return judged.db > before.db if gain is None else gain[0] > 0


def _reached(one: Scaled | _Whole) -> tuple[int, float]:
    return one.judged.order


class Chooser:
    """The search over one network; `choose` runs it."""

    def __init__(self, placement: Placement, judge: Judge, options: QuantizeOptions, *, fp16: bool) -> None:
        self._placement, self._judge, self._options, self._fp16 = placement, judge, options, fp16
        self._per_tensor = placement.target == "rtx"
        self._scaling = Scaling(placement, judge, options, fp16=fp16)
        self._weights = LayerWeights(placement, fp16=fp16, rounding=options.rounding)

    def choose(
        self, model: ir.Model, statistics: Mapping[str, TensorStatistics], moments: Moments, learn: Learn | None = None
    ) -> Choice:
        """Return the best of what was tried.

        Args:
            model: The float32 graph; not changed.
            statistics: Statistics of every tensor that the placement quantises.
            moments: Gives the moments of the layers whose names are asked for.
            learn: Learns ranges; None leaves that out.
        """
        tried = self._scaling.try_methods(model, statistics)
        leaders = [max(group, key=_reached) for group in self._by_form(tried)]
        if len(leaders) > 1 and _surely_better(leaders[1].judged, leaders[0].judged):
            leaders.reverse()
        if learn is not None and (learned := self._scaling.learned(leaders[0], model, statistics, learn)) is not None:
            tried.append(learned)
            if _surely_better(learned.judged, leaders[0].judged):
                leaders.insert(0, learned)
        if self._per_tensor:
            # With one scale for all channels the weights lose more than the activations: they decide.
            wholes = sorted(map(self._clip_weights, leaders), key=_reached, reverse=True)
            best = self._refine(wholes[0], moments)
            others = wholes[1:]
        else:
            best = self._refine(self._clip_weights(leaders[0]), moments)
            others = [self._clip_weights(leader, rival=best.judged) for leader in leaders[1:]]
        for other in others:
            best = self._instead(best, other, moments)
        kept = best.scaled
        candidates = tuple(
            self._tried(
                f"{one.method}, {one.form.name}",
                one.judged,
                kept=one is kept,
                before=None if one is kept else kept.judged,
            )
            for one in tried
        )
        return Choice(best.parts, best.scaled.method, best.scaled.clips, candidates, best.trials)

    def _instead(self, best: _Whole, other: _Whole, moments: Moments) -> _Whole:
        """Return the better of the graph so far and of the other form's, refined where it may be better; rule 4."""
        name = f"instead, {other.scaled.form.name}: weights to nearest"
        told = self._tried(name, other.judged, kept=False, before=best.judged)
        best = replace(best, trials=(told, *best.trials))
        # What equalisation costs the weights shows only here; layer-wise rounding nearly always makes up for it.
        if _reached(other) <= _reached(best):
            return best
        refined = self._refine(other, moments)
        simpler = not refined.scaled.form.factors
        better = _surely_better(refined.judged, best.judged) or (simpler and refined.judged.db > best.judged.db)
        return refined if better else best

    def _tried(self, name: str, judged: Judged, *, kept: bool, before: Judged | None = None) -> Tried:
        gain = None if before is None else judged.gain_ci95(before)
        ends = None if gain is None else (round(gain[0], 3), round(gain[1], 3))
        images = judged.images if judged.images < self._judge.images else None
        return Tried(name=name, sqnr_db=round(judged.db, 3), kept=kept, gain_ci95_db=ends, images=images)

    def _by_form(self, tried: Sequence[Scaled]) -> list[list[Scaled]]:
        forms = dict.fromkeys(one.form.name for one in tried)
        return [[one for one in tried if one.form.name == name] for name in forms]

    def _clip_weights(self, scaled: Scaled, *, rival: Judged | None = None) -> _Whole:
        """Return the INT8 graph with weights rounded to nearest, by the better rule for their scales; rule 2.

        Args:
            scaled: Where its activations' scales come from.
            rival: Another graph; if this one is surely worse with the first rule, the second one is not tried.
        """
        parts = self._scaling.parts(scaled)
        nodes = self._nodes(parts)
        widest = replace(parts, weights=self._weights.to_nearest(nodes, clipped=False))
        briefly = rival is None and self._options.rounding and not self._per_tensor
        judged = self._judged_on_first(widest) if briefly else self._judged(widest, rival=rival)
        told = self._tried("weights: largest magnitude", judged, kept=True)
        if rival is not None and judged.surely_worse(rival):
            return _Whole(scaled, widest, judged, (told,))
        clipped = replace(parts, weights=self._weights.to_nearest(nodes, clipped=True))
        reached = self._judged_on_first(clipped) if briefly else self._judged(clipped, rival=judged)
        found = self._the_better(_Whole(scaled, widest, judged, (told,)), clipped, reached, "weights: MSE clipping")
        # One rule in place of the other: of the two, one is kept.
        replaced = told.model_copy(update={"kept": found.parts is widest})
        return replace(found, trials=(replaced, *found.trials[1:]))

    def _refine(self, whole: _Whole, moments: Moments) -> _Whole:
        """Return the graph after layer-wise rounding and bias correction, each if it helps; rule 3."""
        if not self._options.needs_moments:
            return whole
        layers = self._weights.layer_by_layer(self._nodes(whole.parts), whole.parts, moments)
        if self._options.rounding:
            rounded = replace(whole.parts, weights=layers.rounded)
            reached = self._judged(rounded, rival=whole.judged)
            if not _surely_better(reached, whole.judged):
                whole = self._judged_on_all(whole)
            whole = self._the_better(whole, rounded, reached, "layer-wise rounding")
        if self._options.bias_correction:
            rounds = whole.parts.weights is layers.rounded
            corrected = replace(whole.parts, biases=layers.biases_rounded if rounds else layers.biases_nearest)
            reached = self._judged(corrected, rival=whole.judged)
            whole = self._the_better(whole, corrected, reached, "bias correction")
        return whole

    def _judged_on_all(self, whole: _Whole) -> _Whole:
        """Return a graph that was judged on the first images, judged on all."""
        if whole.judged.images == self._judge.images:
            return whole
        judged = self._judged(whole.parts)
        reached = {"sqnr_db": round(judged.db, 3), "images": None}
        trials = tuple(trial.model_copy(update=reached) if trial.kept else trial for trial in whole.trials)
        return replace(whole, judged=judged, trials=trials)

    def _the_better(self, whole: _Whole, trial: Parts, reached: Judged, name: str) -> _Whole:
        """Return the graph so far, or the trial where it is surely better, with the trial told."""
        better = _surely_better(reached, whole.judged)
        trials = (*whole.trials, self._tried(name, reached, kept=better, before=whole.judged))
        return _Whole(whole.scaled, trial, reached, trials) if better else replace(whole, trials=trials)

    def _nodes(self, parts: Parts) -> list[ir.Node]:
        return [node for node in parts.model.graph if node.name in self._placement.weights]

    def _judged_on_first(self, parts: Parts) -> Judged:
        graph = parts.skeleton(self._placement)
        return self._judge.judge_on_first(graph.model, weights=graph.weights)

    def _judged(self, parts: Parts, *, rival: Judged | None = None) -> Judged:
        graph = parts.skeleton(self._placement)
        return self._judge.judge(graph.model, weights=graph.weights, rival=rival)
