"""What a reader of a benchmark must know beside its table: which one is the fastest, and at most five notes."""

from collections.abc import Iterable

from runtime.bench.figures.ratios import Ratio, paired_ratio
from runtime.bundle.results.bench_json import BenchResult, Interval, Measured
from runtime.engines.open_engine import parse_engine
from runtime.errors import UsageError
from runtime.support.words import first_few

# More are not read.
_MOST_NOTES = 5
_FP32 = "fp32"


def speeds_against_fp32(result: BenchResult) -> dict[str, Ratio]:
    """Return how many times as fast each subject is as FP32 in the same engine, batch and threads, by its name.

    Pairs of rounds are compared, which are neighbours in time. FP32 is the first bundle that was run in it; what has
    none in its engine, as most peers, or has no times of single calls, is left out.
    """
    found = {}
    for subject in result.measured:
        reference = next((other for other in result.measured if _is_fp32_of(other, subject)), None)
        if reference is None:
            continue
        try:
            found[subject.name] = _inverse(paired_ratio(subject, reference))
        except UsageError:
            # A program that prints a summary alone has no rounds to pair.
            continue
    return found


def _is_fp32_of(other: Measured, subject: Measured) -> bool:
    return other.precision == _FP32 and other.kind == "bundle" and _setting(other) == _setting(subject)


def _setting(subject: Measured) -> tuple[object, ...]:
    """Return what two subjects must share: `openvino:bf16` runs in the same engine as `openvino`."""
    if subject.kind == "peer":
        return (subject.engine, "", subject.batch, subject.threads)
    choice = parse_engine(subject.engine)
    return (choice.name, choice.provider, subject.batch, subject.threads)


def _inverse(ratio: Ratio) -> Ratio:
    """Return a ratio of speeds for one of times."""
    low, high = ratio.ratio_ci95.low, ratio.ratio_ci95.high
    return ratio.model_copy(update={"ratio": 1 / ratio.ratio, "ratio_ci95": Interval(low=1 / high, high=1 / low)})


def is_shown(ratio: Ratio) -> bool:
    """Return whether a difference is shown: the interval leaves 1 out."""
    return not ratio.ratio_ci95.low <= 1 <= ratio.ratio_ci95.high


def describe_fastest(result: BenchResult, speeds: dict[str, Ratio]) -> str:
    """Return which bundle and engine answers soonest and which gives most images per second, in one sentence.

    Args:
        result: What was measured.
        speeds: `speeds_against_fp32`'s.
    """
    bundles = [subject for subject in result.measured if subject.kind == "bundle"] or list(result.measured)
    smallest = min(subject.batch for subject in bundles)
    soonest = min((one for one in bundles if one.batch == smallest), key=lambda one: one.latency.median_ms)
    most = max(bundles, key=lambda one: one.images_per_s)
    words = f"Fastest: {soonest.name}, {soonest.latency.median_ms:.3g} ms"
    ratio = speeds.get(soonest.name)
    if ratio is not None and ratio.name != ratio.reference:
        low, high = ratio.ratio_ci95.low, ratio.ratio_ci95.high
        words += f", {ratio.ratio:.2f} times FP32's speed there ({low:.2f} to {high:.2f})"
    if most is not soonest:
        words += f"; most images: {most.name}, {most.images_per_s:,.0f} a second"
    if result.noise.warnings:
        words += ". The machine was noisy: trust ratios, not milliseconds"
    return f"{words}. Whether it is as accurate, run-ssl compare says."


def list_notes(result: BenchResult, speeds: dict[str, Ratio]) -> tuple[str, ...]:
    """Return what changes the reading of the table, the most important first; what is said of many is said once.

    Of more than five the last holds all that are left, so that none is hidden.

    Args:
        result: What was measured.
        speeds: `speeds_against_fp32`'s.
    """
    notes = [*_noise(result), *_choices(result), *_absent(result), *_slower(speeds), *_unsure(speeds)]
    notes += _of_subjects(result.measured)
    if len(notes) > _MOST_NOTES:
        notes = [*notes[: _MOST_NOTES - 1], " ".join(notes[_MOST_NOTES - 1 :])]
    return tuple(notes)


def _noise(result: BenchResult) -> list[str]:
    return [f"noise: {' '.join(result.noise.warnings)}"] if result.noise.warnings else []


def _choices(result: BenchResult) -> list[str]:
    """Return the choice with the most images per second for the latency budget, where one was asked for."""
    fit = [choice for choice in result.choices if choice.images_per_s is not None]
    best = max(fit, key=lambda choice: choice.images_per_s or 0, default=None)
    if best is None:
        return [choice.text for choice in result.choices[:1]] if result.choices else []
    more = len(result.choices) - 1
    return [f"{best.text}{f' (best of {more + 1}; the others: `--details`)' if more else ''}."]


def _absent(result: BenchResult) -> list[str]:
    if not result.absent:
        return []
    return ["; ".join(f"{name} was not measured: {reason}" for name, reason in result.absent.items()) + "."]


def _slower(speeds: dict[str, Ratio]) -> list[str]:
    names = [name for name, ratio in speeds.items() if is_shown(ratio) and ratio.ratio < 1]
    return [f"Slower than FP32 in the same engine: {first_few(names)}; `--details` says why."] if names else []


def _unsure(speeds: dict[str, Ratio]) -> list[str]:
    if all(is_shown(ratio) or ratio.name == ratio.reference for ratio in speeds.values()):
        return []
    return ["A `~` before a speed: no difference from FP32 is shown, as its 95 % interval includes 1."]


def _of_subjects(measured: Iterable[Measured]) -> list[str]:
    """Return what must be known of single subjects, with the names of all that share it."""
    names: dict[str, list[str]] = {}
    for subject in measured:
        for note in subject.notes:
            names.setdefault(note, []).append(subject.name)
    return [f"{first_few(sharing)}: {note}." for note, sharing in names.items()]
