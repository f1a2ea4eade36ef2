"""The 95 % interval of a recall."""

import math

from runtime.support.arrays import Doubles

# Two-sided 95 % quantile of the standard normal distribution. Source: scipy.stats.norm.ppf(0.975).
_Z95 = 1.959963984540054


def recall_ci95(per_query: Doubles, *, k: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean recall over queries like these, as fractions.

    Wilson's interval with an effective number of queries n = p (1 - p) / (variance of the mean):

    1. For k = 1 recalls are 0 or 1, n is the number of queries N, and this is Wilson's own interval.
    2. For k > 1 the recalls of the queries spread less than 0 and 1 would, and n is larger, up to k N.
    3. Where all queries have the same recall, the spread says nothing, and n is k N, the limit that rule 2 comes to
       as the last neighbours are lost, one at a time.

    It covers which queries were drawn, not which images they are searched among: in a larger or denser gallery the
    recall is lower. Queries count as independent though they share that gallery and are each other's neighbours.
    Where images were drawn anew, gallery and all, it held the mean recall in at least 89 % of the draws, and mostly in
    92 % or more (docs/explanation/decisions.md).

    Args:
        per_query: Recall of each query, (N,) float64, 0 to 1, N >= 1.
        k: How many neighbours were asked for.

    Returns:
        The lower and the upper end, 0 <= low <= recall <= high <= 1.

    Source: Wilson, Journal of the American Statistical Association 22 (1927) 209-212; effective size: Korn and
    Graubard, Survey Methodology 24 (1998) 193-201, for proportions.
    """
    queries = len(per_query)
    p, variance = float(per_query.mean()), float(per_query.var())
    size = float(k * queries)
    if variance > 0.0:
        size = min(size, queries * p * (1 - p) / variance)
    square = _Z95 * _Z95
    centre = (p + square / (2 * size)) / (1 + square / size)
    half = _Z95 * math.sqrt(p * (1 - p) / size + square / (4 * size * size)) / (1 + square / size)
    # Rounding can take an end a hair beyond the recall where that is 0 or 1.
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))
