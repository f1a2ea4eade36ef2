"""What there is to choose from: engines with an accuracy and a latency, and the front of these."""

from dataclasses import dataclass

from runtime.bundle.results.bench_json import BenchResult, Measured
from runtime.bundle.results.compare_json import Comparison, EngineScore
from runtime.compare.decide import is_sound
from runtime.report.inputs import Inputs, bundle_name

ORIGINAL = "pytorch"


@dataclass(frozen=True)
class Candidate:
    """An engine with what it costs.

    Attributes:
        measured: Latency of the engine at the smallest batch that was measured.
        top1: Share of images that it scores right.
        score: Comparison with the original; None for the original itself.
        images: Images of that comparison.
        sound: Whether its logits are finite and as near to the original's as rounding leaves them.
    """

    measured: Measured
    top1: float
    score: EngineScore | None
    images: int
    sound: bool = True

    @property
    def label(self) -> str:
        """The bundle, the engine and the precision in words."""
        return subject_label(self.measured)

    @property
    def latency_ms(self) -> float:
        """The median of one call."""
        return self.measured.latency.median_ms

    @property
    def drop(self) -> float:
        """The top-1 lost against the original, a fraction."""
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
    """Return the candidates that no other one beats in both speed and accuracy, fastest first."""
    front: list[Candidate] = []
    for one in sorted(candidates, key=lambda one: (one.latency_ms, -one.top1)):
        if not front or one.top1 > front[-1].top1:
            front.append(one)
    return front


def timed_alone(inputs: Inputs, candidates: list[Candidate]) -> list[Measured]:
    """Return the engines of the bundles reported on that were timed at the smallest batch but not compared."""
    batch = smallest_batch(inputs.benches)
    judged = {one.measured.name for one in candidates}
    timed = fastest_by_subject(inputs.benches, batch) if batch is not None else []
    return [one for one in timed if one.kind == "bundle" and inputs.reports_on(one.bundle) and one.name not in judged]


def _candidate(measured: Measured, comparison: Comparison) -> Candidate | None:
    original = comparison.original
    if measured.kind == "peer":
        # A peer runs the network of a bundle in its own way; of PyTorch in FP32 the accuracy is the original's.
        is_original = measured.engine.startswith(ORIGINAL) and measured.precision == original.precision
        return Candidate(measured, original.top1, None, original.images) if is_original else None
    if measured.engine == ORIGINAL and measured.precision == original.precision:
        return Candidate(measured, original.top1, None, original.images)
    for score in comparison.engines:
        same_bundle = bundle_name(score.bundle) == bundle_name(measured.bundle) or not score.bundle
        if same_bundle and (score.engine, score.precision) == (measured.engine, measured.precision):
            return Candidate(measured, score.top1, score, original.images, sound=is_sound(original, score))
    return None
