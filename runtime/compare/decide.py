"""Which bundle and engine a comparison speaks for, in one sentence."""

from runtime.bundle.results.compare_json import Comparison, EngineScore, OriginalScore
from runtime.compare.explain import is_suspect, judge_drop, name_score
from runtime.support.words import counted, images_per_second, percent


def decide(comparison: Comparison) -> str:
    """Return which bundle to take and why, or why none.

    1. Fit is an engine with finite outputs, an SQNR that rounding explains, and no drop in accuracy that is more than
       chance: top-1, or without a classifier k-NN accuracy. Where the original itself is not finite, none is.
    2. Of the fit ones the fastest is taken, by its speed in this comparison; `run-ssl bench` measures it better.
    3. What the images leave room for is said beside: few images show no drop of anything.
    """
    original, engines, figure = comparison.original, comparison.engines, comparison.figure
    fit = [score for score in engines if is_sound(original, score) and not _dropped(score)]
    images = counted(original.images, "image")
    if not fit:
        return _take_none(comparison)
    # The original in another precision is no bundle.
    chosen = max(fit, key=lambda score: (score.engine != original.engine, score.images_per_s))
    why = f"no drop in {figure} that is more than chance"
    if len(engines) > 1:
        of_all = "" if len(fit) == len(engines) else f"of {len(engines)} "
        among = f"{of_all}the fastest of {len(fit)}"
        why = (
            f"{among} that lose no {figure} by more than chance" if len(fit) > 1 else f"{why}, alone of {len(engines)}"
        )
    room = chosen.drop_ci95[1]
    shown = f"leave room for a drop of {percent(room)} pp" if room > 0 else "exclude a drop"
    return (
        f"Take {name_score(chosen)}: {why}, {images_per_second(chosen.images_per_s)} images/s against PyTorch's "
        f"{images_per_second(original.images_per_s)}; {images} {shown} (95 %)."
    )


def is_sound(original: OriginalScore, score: EngineScore) -> bool:
    """Return whether both have finite logits, and rounding explains how far the engine's are from the original's."""
    return not (original.non_finite_logits or score.non_finite_logits or is_suspect(score))


def _dropped(score: EngineScore) -> bool:
    return judge_drop(score) == "real" and score.drop > 0


def _take_none(comparison: Comparison) -> str:
    finite = [score for score in comparison.engines if not score.non_finite_logits]
    if comparison.original.non_finite_logits or not finite:
        return f"Take none of these: {comparison.output} are NaN or infinite, so they cannot be compared."
    least = min(finite, key=lambda score: score.drop)
    words = f"{name_score(least)}, loses {percent(least.drop)} pp" if least.drop > 0 else f"{name_score(least)}"
    return (
        f"Take none of these unseen: each loses {comparison.figure} by more than chance, or is further from the "
        f"original than rounding explains. The nearest in {comparison.figure}: {words}."
    )
