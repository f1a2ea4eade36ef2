"""Whether the original does better than guessing: if not, nothing that is measured against it means much."""

import math

from runtime.bundle.results.compare_json import OriginalScore
from runtime.support.words import percent

# One-sided: a network that only guesses would be called better than that in one comparison of twenty.
_SIGNIFICANCE = 0.05


def describe_chance(original: OriginalScore, classes: int) -> tuple[str, ...]:
    """Return a sentence where the original is not better than guessing, else nothing.

    Args:
        original: What the original reached.
        classes: Number of classes of the network.
    """
    hits = round(original.top1 * original.images)
    if classes < 2 or _tail(hits, original.images, 1 / classes) <= _SIGNIFICANCE:
        return ()
    return (
        f"the original gets {percent(original.top1)} % right, no better than guessing among {classes:,} classes "
        f"({percent(1 / classes)} %): expected far more of a trained network; check that the folders, or the labels "
        "file, name the classes as labels.txt of the bundle does, and that mean, std and sizes are those of its "
        "training",
    )


def _tail(hits: int, trials: int, chance: float) -> float:
    """Return the probability of at least so many hits by chance: the binomial distribution's upper tail."""
    mean, deviation = trials * chance, math.sqrt(trials * chance * (1 - chance))
    # Far above the mean the tail is nothing, and its sum long.
    if hits > mean + 10 * deviation + 10:
        return 0.0
    below = sum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(chance)
            + (trials - k) * math.log1p(-chance)
        )
        for k in range(hits)
    )
    return max(0.0, 1 - below)
