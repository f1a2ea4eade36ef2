"""Which side of a residual Add has the Q/DQ pair, where either can: the one with the smaller range.

Where both sides are convolutions that nothing else reads (a downsample block), one of them is stored in INT8, and the
other one's kernel adds it. Whatever the side, its rounding errors enter the same sum, so nothing but their size
counts, and that goes with the range. The main branch of a trained block is mostly the smaller one: it adds a little
to what the downsample convolution carries on (docs/explanation/decisions.md has the figures).
"""

from collections.abc import Iterable, Mapping

from calibration.activations.activation_statistics import TensorStatistics
from calibration.activations.thresholds import threshold
from calibration.qdq.placement import EitherSide
from calibration.weights.scales import LEVELS


def smaller_main_sides(sides: Iterable[EitherSide], statistics: Mapping[str, TensorStatistics]) -> frozenset[str]:
    """Return the names of the Adds whose main branch has the smaller range; in a tie the skip side keeps the pair.

    Args:
        sides: Where either side can have the pair.
        statistics: Statistics of both tensors of each.
    """

    def reach(tensor: str) -> float:
        """Return the MSE-optimal clipping threshold, which one outlier does not move as it does the largest value."""
        found = statistics[tensor]
        return threshold(found.counts, found.width, found.amax, method="mse", levels=LEVELS)

    return frozenset(side.add for side in sides if reach(side.main) < reach(side.skip))
