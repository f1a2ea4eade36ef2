"""Take the mean error that quantisation gives a layer's outputs out of its bias.

With W and a the weight and what it reads, and W', a' their quantised forms, the outputs are off by
E[W a - W' a'] on average; the bias takes that up. It costs nothing at run time.

Source: Nagel et al. 2019 (arXiv 1906.04721), section 4.2, with the means measured on images.
"""

import numpy as np

from calibration.weights.second_moments import LayerMoments
from runtime.support.arrays import Doubles


def mean_output_error(rows: Doubles, rounded_rows: Doubles, moments: LayerMoments) -> Doubles:
    """Return what the bias must be raised by, (K,) float64.

    Args:
        rows: Weights, one output channel per row, groups of channels one after the other, (K, D) float64.
        rounded_rows: What their INT8 form means, (K, D) float64.
        moments: Moments of what the layer reads.
    """
    groups = len(moments.totals)
    shape = (groups, -1, rows.shape[1])
    exact = np.einsum("gkd,gd->gk", rows.reshape(shape), moments.totals)
    rounded = np.einsum("gkd,gd->gk", rounded_rows.reshape(shape), moments.rounded_totals)
    error: Doubles = ((exact - rounded) / max(moments.rows, 1)).reshape(-1)
    return error
