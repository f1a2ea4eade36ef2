"""How far an engine is from the original on the same images: SQNR, top-k hits, McNemar, Tango's interval.

The images are paired: both networks see every image, so only the images that exactly one of them
scores right say anything about a difference. Throughout, `lost` counts images that only the original
gets right, and `gained` those that only the engine gets right.
"""

import math
from dataclasses import dataclass

import numpy as np

from runtime.errors import DataError, VerificationError
from runtime.support.arrays import AnyFloats, Ints

# Class index of a row that holds NaN: such a row decides nothing.
NO_DECISION = -1
# Two-sided 95 % quantile of the standard normal distribution. Source: any table; scipy.stats.norm.ppf(0.975).
_Z95 = 1.959963984540054
# Each halving adds one bit; [-1, 1] is exhausted at float64's 53 bits, and 64 leaves room near zero.
_BISECTIONS = 64


@dataclass(frozen=True)
class SqnrSum:
    """The two sums of an SQNR, to which batches are added one by one.

    Attributes:
        signal: Sum of squares of the reference's finite batches, float64.
        noise: Sum of squares of the difference, float64; infinity once any value was not finite.
    """

    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: AnyFloats, other: AnyFloats) -> "SqnrSum":
        """Return the sums with one batch more.

        Args:
            reference: What the original gave, any shape, any float dtype.
            other: What is judged, shaped like `reference`.

        Raises:
            VerificationError: The shapes differ.
        """
        if reference.shape != other.shape:
            raise VerificationError(
                f"SQNR was given outputs shaped {other.shape}, expected the reference's {reference.shape}:"
                " compare outputs of the same images and classes"
            )
        if not (np.isfinite(reference).all() and np.isfinite(other).all()):
            return SqnrSum(self.signal, math.inf)
        exact = reference.astype(np.float64)
        signal = float(np.square(exact).sum())
        noise = float(np.square(exact - other.astype(np.float64)).sum())
        return SqnrSum(self.signal + signal, self.noise + noise)

    def merge(self, other: "SqnrSum") -> "SqnrSum":
        """Return the sums with those of other batches."""
        return SqnrSum(self.signal + other.signal, self.noise + other.noise)

    @property
    def db(self) -> float:
        """SQNR in decibels: 10 log10(signal / noise).

        Infinity when every value is equal; minus infinity when either side held NaN or infinity, or
        when an all-zero reference met something else, so that such outputs fail every tolerance.
        """
        if self.noise == 0.0:
            return math.inf
        if self.signal == 0.0 or math.isinf(self.noise):
            return -math.inf
        return 10.0 * (math.log10(self.signal) - math.log10(self.noise))


def sqnr_db(reference: AnyFloats, other: AnyFloats) -> float:
    """Return the signal-to-quantisation-noise ratio of `other` in decibels, over all elements.

    The definition of the whole project: 10 log10(sum(reference^2) / sum((reference - other)^2)), in
    float64; infinite cases as in `SqnrSum.db`.

    Args:
        reference: What the original gave, any shape, any float dtype.
        other: What is judged, shaped like `reference`.

    Raises:
        VerificationError: The shapes differ.
    """
    return SqnrSum().add(reference, other).db


def label_ranks(logits: AnyFloats, labels: Ints) -> Ints:
    """Return how many classes rank above the label of each image; 0 is a top-1 hit.

    Equal logits rank by class index, the lower one first, which is what `numpy.argmax` does. In a row
    with NaN nothing can be ranked: its rank is C, beyond the last class.

    Args:
        logits: (N, C), any float dtype.
        labels: Class indices, (N,) int64, 0 <= label < C.

    Returns:
        Ranks, (N,) int64.

    Raises:
        DataError: A label is not a class of the network.
    """
    images, classes = logits.shape
    assert labels.shape == (images,), f"{labels.shape} labels for {images} rows of logits"
    if images and (labels.min() < 0 or labels.max() >= classes):
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1} for this network:"
            " give the data that it was trained for, or --labels FILE"
        )
    own = np.take_along_axis(logits, labels[:, np.newaxis], axis=1)
    earlier = np.arange(classes) < labels[:, np.newaxis]
    above = np.count_nonzero((logits > own) | ((logits == own) & earlier), axis=1)
    ranks: Ints = np.where(np.isnan(logits).any(axis=1), classes, above).astype(np.int64)
    return ranks


def top1_decisions(logits: AnyFloats) -> Ints:
    """Return the class with the highest logit of each image, `NO_DECISION` for a row with NaN.

    Args:
        logits: (N, C), any float dtype; of equal logits the lower class index wins.

    Returns:
        Class indices, (N,) int64.
    """
    broken = np.isnan(logits).any(axis=1)
    return np.where(broken, NO_DECISION, logits.argmax(axis=1)).astype(np.int64)


def mcnemar_p(lost: int, gained: int) -> float:
    """Return the exact two-sided p-value for "both networks are right equally often".

    Under that hypothesis the smaller of the two counts is Binomial(lost + gained, 1/2). The tail is
    summed in whole numbers and divided once, so the result is correctly rounded for any counts.

    Args:
        lost: Images that only the original gets right.
        gained: Images that only the engine gets right.

    Source: McNemar, Psychometrika 12 (1947) 153-157, with the binomial in place of its chi-square.
    """
    assert min(lost, gained) >= 0, f"{lost} and {gained} images"
    discordant = lost + gained
    if lost == gained:
        return 1.0  # the doubled tail would count the middle term twice
    term = tail = 1
    for i in range(min(lost, gained)):
        term = term * (discordant - i) // (i + 1)
        tail += term
    return tail / (1 << (discordant - 1))


def paired_drop_ci95(lost: int, gained: int, images: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of the drop (lost - gained) / images, as fractions.

    Tango's score interval: all drops that the score test does not reject at 5 %. Unlike the textbook
    interval it stays honest when the two networks hardly differ; with lost = gained = 0 it is
    +-z^2 / (images + z^2), not a point.

    Args:
        lost: Images that only the original gets right.
        gained: Images that only the engine gets right.
        images: All images, >= lost + gained and >= 1.

    Returns:
        The lower and the upper end, -1 <= low <= drop <= high <= 1.

    Source: Tango, Statistics in Medicine 17 (1998) 891-908.
    """
    assert min(lost, gained) >= 0, f"{lost} and {gained} images"
    assert images >= max(1, lost + gained), f"{lost} + {gained} of {images} images"
    # The upper end is the lower end of the mirrored question.
    return _lower_end(lost, gained, images), 0.0 - _lower_end(gained, lost, images)


def _lower_end(lost: int, gained: int, images: int) -> float:
    """Return the smallest drop that the score test does not reject, by bisection."""
    low, high = -1.0, (lost - gained) / images
    for _ in range(_BISECTIONS):
        drop = (low + high) / 2
        excess = lost - gained - images * drop
        if excess > _Z95 * math.sqrt(images * _pair_variance(drop, lost=lost, gained=gained, images=images)):
            low = drop
        else:
            high = drop
    return high


def _pair_variance(drop: float, *, lost: int, gained: int, images: int) -> float:
    """Return the variance of one image's (original right - engine right), were `drop` the truth.

    It is 2 q + drop (1 - drop), with q the likeliest probability that only the engine is right given
    `drop`: the larger root of 2 n q^2 + linear q + constant = 0.

    Source: Tango (1998), equations for the restricted maximum-likelihood estimator of q21.
    """
    linear = (2 * images - lost + gained) * drop - lost - gained
    constant = -gained * drop * (1 - drop)
    # Rounding can take either difference a hair below its exact lower bound of 0.
    root = math.sqrt(max(0.0, linear * linear - 8 * images * constant))
    only_engine = (root - linear) / (4 * images)
    return max(0.0, 2 * only_engine + drop * (1 - drop))
