"""Which bundle and engine to take: what has an accuracy and a latency, the front of these, the choice in words."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.bundle.results.bench_json import BenchResult, Interval, Measured
from runtime.bundle.results.compare_json import Comparison, EngineScore
from runtime.report.document import format_ms
from runtime.report.inputs import Inputs, bundle_name

_RESAMPLES = 2000
# With fewer rounds the bootstrap's interval is narrower than the truth.
_MIN_ROUNDS = 5
_ORIGINAL = "pytorch"


@dataclass(frozen=True)
class Candidate:
    """An engine with what it costs.

    Attributes:
        measured: Its latency at the smallest batch that was measured.
        top1: Share of images that it scores right.
        score: Its comparison with the original; None for the original itself.
        images: Images of that comparison.
    """

    measured: Measured
    top1: float
    score: EngineScore | None
    images: int

    @property
    def label(self) -> str:
        """Bundle, engine and precision in words."""
        return subject_label(self.measured)

    @property
    def latency_ms(self) -> float:
        """Median of one call."""
        return self.measured.latency.median_ms

    @property
    def drop(self) -> float:
        """Top-1 lost against the original, a fraction."""
        return self.score.drop if self.score else 0.0


def subject_label(measured: Measured) -> str:
    """Return what was timed in words: `digits-int8, openvino (int8)`, or a peer's name."""
    name = bundle_name(measured.bundle)
    if measured.kind == "peer":
        return f"{measured.engine} ({measured.precision})"
    return f"{name}, {measured.engine} ({measured.precision})"


def smallest_batch(benches: tuple[BenchResult, ...]) -> int | None:
    """Return the smallest batch of all that were measured; None where nothing was."""
    return min((one.batch for bench in benches for one in bench.measured), default=None)


def fastest_by_subject(benches: tuple[BenchResult, ...], batch: int) -> list[Measured]:
    """Return what was measured at a batch, of several numbers of threads the fastest, fastest first."""
    best: dict[tuple[str, ...], Measured] = {}
    for one in (one for bench in benches for one in bench.measured if one.batch == batch):
        key = (one.kind, one.bundle, one.engine, one.precision)
        if key not in best or one.latency.median_ms < best[key].latency.median_ms:
            best[key] = one
    return sorted(best.values(), key=lambda one: one.latency.median_ms)


def find_candidates(inputs: Inputs) -> list[Candidate]:
    """Return every engine whose accuracy and latency are both known, fastest first."""
    batch = smallest_batch(inputs.benches)
    if batch is None:
        return []
    found = []
    for measured in fastest_by_subject(inputs.benches, batch):
        for comparison in inputs.comparisons:
            candidate = _candidate(measured, comparison)
            if candidate is not None:
                found.append(candidate)
                break
    return found


def pareto_front(candidates: list[Candidate]) -> list[Candidate]:
    """Return those than which none is both faster and at least as accurate, fastest first."""
    front: list[Candidate] = []
    for one in sorted(candidates, key=lambda one: (one.latency_ms, -one.top1)):
        if not front or one.top1 > front[-1].top1:
            front.append(one)
    return front


def choose(inputs: Inputs, candidates: list[Candidate]) -> Candidate | None:
    """Return the fastest engine of the bundles reported on that is accurate enough; None if none is.

    Accurate enough: a top-1 drop of at most `max_drop`, and finite logits.
    """
    good = [
        one
        for one in _own(inputs, candidates)
        if one.drop <= inputs.max_drop and (one.score is None or not one.score.non_finite_logits)
    ]
    return min(good, key=lambda one: one.latency_ms, default=None)


def _own(inputs: Inputs, candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates that are engines of the bundles reported on, the original itself left out."""
    return [
        one
        for one in candidates
        if one.measured.kind == "bundle" and one.score is not None and inputs.reports_on(one.measured.bundle)
    ]


def describe_decision(inputs: Inputs, candidates: list[Candidate]) -> tuple[str, ...]:
    """Return which precision and engine to take, what it costs and what it gains, in two or three sentences."""
    chosen = choose(inputs, candidates)
    if chosen is None:
        return _without_choice(inputs, candidates)
    assert chosen.score is not None
    name = bundle_name(chosen.measured.bundle)
    take = (
        f"Take {name} on {chosen.measured.engine}, which executes {chosen.measured.precision}: it is the fastest of"
        f" {len(_own(inputs, candidates))} that were measured, among those with a top-1 drop of at most"
        f" {_points(inputs.max_drop)}."
    )
    return (take, _cost(chosen, inputs.max_drop), _gain(inputs, candidates, chosen))


def speed_ratio(slow: Measured, fast: Measured) -> tuple[float, Interval | None]:
    """Return how many times as fast `fast` is, with a 95 % interval where there are rounds enough.

    The rounds of one run are neighbours in time, so their medians are compared in pairs: the median of the ratios,
    and the bootstrap's interval of it. Without that it is the ratio of the two medians.
    """
    pairs = list(zip(slow.rounds_ms, fast.rounds_ms, strict=False))
    ratios = np.array([np.median(a) / np.median(b) for a, b in pairs if a and b], np.float64)
    if len(ratios) < _MIN_ROUNDS:
        return slow.latency.median_ms / fast.latency.median_ms, None
    draws = _resample(ratios)
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(np.median(ratios)), Interval(low=float(low), high=float(high))


def _resample(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return rng.choice(values, (_RESAMPLES, len(values)))


def _candidate(measured: Measured, comparison: Comparison) -> Candidate | None:
    original = comparison.original
    if measured.kind == "peer":
        # A peer runs the network of a bundle in its own way; of PyTorch in FP32 the accuracy is the original's.
        is_original = measured.engine.startswith(_ORIGINAL) and measured.precision == original.precision
        return Candidate(measured, original.top1, None, original.images) if is_original else None
    if measured.engine == _ORIGINAL and measured.precision == original.precision:
        return Candidate(measured, original.top1, None, original.images)
    for score in comparison.engines:
        same_bundle = bundle_name(score.bundle) == bundle_name(measured.bundle) or not score.bundle
        if same_bundle and (score.engine, score.precision) == (measured.engine, measured.precision):
            return Candidate(measured, score.top1, score, original.images)
    return None


def _cost(chosen: Candidate, max_drop: float) -> str:
    assert chosen.score is not None
    low, high = chosen.score.drop_ci95
    drop = chosen.score.drop
    change = f"loses {_points(drop)}" if drop > 0 else f"gains {_points(-drop)}" if drop < 0 else "changes nothing"
    sentence = (
        f"It {change} of top-1 against the PyTorch original ({100 * chosen.top1:.2f} % on {chosen.images:,} images;"
        f" 95 % interval of the drop {100 * low:+.2f} to {100 * high:+.2f} pp)"
    )
    if high > max_drop:
        return f"{sentence}; that interval does not exclude a drop above {_points(max_drop)}, more images would tell."
    return f"{sentence}."


def _gain(inputs: Inputs, candidates: list[Candidate], chosen: Candidate) -> str:
    batch = chosen.measured.batch
    speed = f"One call of batch {batch} takes {format_ms(chosen.latency_ms)}"
    parts = []
    others = [one for one in candidates if one is not chosen]
    floats = [one for one in others if one.measured.kind == "bundle" and one.measured.precision == "fp32"]
    for words, group in (
        ("the fastest FP32 engine", floats),
        ("PyTorch", [one for one in others if one.measured.engine.startswith(_ORIGINAL) and one.score is None]),
    ):
        if group:
            slow = min(group, key=lambda one: one.latency_ms)
            parts.append(
                f"{_ratio(slow.measured, chosen.measured, inputs)} as fast as {words} ({slow.measured.engine})"
            )
    return f"{speed}: {' and '.join(parts)}." if parts else f"{speed}; nothing slower was measured to compare it with."


def _ratio(slow: Measured, fast: Measured, inputs: Inputs) -> str:
    together = any(slow in bench.measured and fast in bench.measured for bench in inputs.benches)
    ratio, interval = speed_ratio(slow, fast) if together else (slow.latency.median_ms / fast.latency.median_ms, None)
    spread = f" ({_three(interval.low)} to {_three(interval.high)})" if interval else ""
    return f"{_three(ratio)} times{spread}"


def _three(ratio: float) -> str:
    """Return a ratio with three significant digits."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}" if ratio < 100 else f"{ratio:,.0f}"


def _without_choice(inputs: Inputs, candidates: list[Candidate]) -> tuple[str, ...]:
    names = inputs.paths
    if _own(inputs, candidates):
        return (
            f"Take none of these as they are: every bundle that was measured loses more than {_points(inputs.max_drop)}"
            " of top-1, or has logits that are not finite.",
            "The tables below say by how much; keep the FP32 original, or export with --max-drop.",
        )
    if not inputs.benches and not inputs.comparisons:
        return (
            f"Nothing was measured yet: `run-ssl compare {names} --data FOLDER --save` gives the accuracy and"
            f" `run-ssl bench {names}` the speed.",
        )
    if not inputs.benches:
        best = max(inputs.comparisons[0].engines, key=lambda one: one.images_per_s, default=None)
        fastest = f" In the comparison itself {best.engine} ({best.precision}) was the fastest." if best else ""
        return (f"Accuracy is known, latency is not: `run-ssl bench {names}` measures it.{fastest}",)
    if not inputs.comparisons:
        batch = smallest_batch(inputs.benches) or 1
        fastest_one = fastest_by_subject(inputs.benches, batch)[0] if inputs.benches[0].measured else None
        words = f" {subject_label(fastest_one)} is the fastest at batch {batch}." if fastest_one else ""
        return (
            f"Latency is known, accuracy is not: `run-ssl compare {names} --data FOLDER --save` measures it.{words}",
        )
    return ("The benchmark and the comparison have no bundle and engine in common: run both on the same bundles.",)


def _points(share: float) -> str:
    return f"{100 * share:.2f} pp"
