"""Round a layer's weights so that its output moves least, not each weight on its own.

Rules:

1. The error of a layer's outputs for weights w and their rounded form q is (w - q) H (w - q)^T, with
   H = E[a a^T] over what the layer reads: all output channels share it.
2. With H = L L^T (Cholesky, L lower) that is the length of L^T (w - q)^T, whose entry i depends on the
   weights from i on. So weights are rounded from the last to the first, each to the level nearest to
   what makes its entry smallest given those already rounded: their errors are handed on to the rest.
3. H gets `DAMPING` times its mean diagonal on the diagonal: directions that the images never show must
   not be free, and a singular H has no Cholesky factor.
4. Per output channel, the scale of largest magnitude and the MSE-optimal one are both tried, and
   rounding to nearest too; what has the smallest error by rule 1, on H without damping, is kept.

It costs nothing at run time: other integers, same graph.

Source: rule 1, Nagel et al. 2020, Up or Down? Adaptive Rounding (arXiv 2004.10568), equation 13.
Rules 2 and 3, Frantar et al. 2022, GPTQ (arXiv 2210.17323), which hands errors on through the
inverse of H; Chen et al. 2025, The Geometry of LLM Quantization: GPTQ as Babai's Nearest Plane
Algorithm (arXiv 2507.18553), which shows the form used here, one Cholesky factor and no inverse.
"""

import numpy as np
import numpy.typing as npt

from calibration.weights.scales import LEVELS, LOWEST, max_scales, mse_scales, round_to_nearest
from runtime.support.arrays import Doubles, Floats

Factor = npt.NDArray[np.floating]

# Share of the mean diagonal; the value of the GPTQ paper.
DAMPING = 0.01
# Columns whose errors are handed on at once, by one matrix product: to all others, and to the rest of their block.
_BLOCK, _NEAR = 128, 16
_WIDE = 1024
# Columns of the factor that are made at once: the rest is one matrix product with them.
_PANEL = 256


def round_rows(
    rows: Doubles, second_moments: npt.NDArray[np.floating], *, candidates: tuple[Floats, ...] | None = None
) -> tuple[npt.NDArray[np.int8], Floats]:
    """Return INT8 weights and their scales, chosen for the smallest error of the layer's outputs.

    Args:
        rows: Weights, one output channel per row, (K, D) float64.
        second_moments: H = E[a a^T], (D, D), symmetric, positive semidefinite; any factor in it cancels out. Not
            there afterwards where it is wide (`cholesky`).
        candidates: Scales to try, each (K,) float32; None for the largest magnitude and the MSE optimum.

    Returns:
        Levels (K, D) int8, and scales (K,) float32.
    """
    factor, damping = cholesky(second_moments)
    best = np.zeros(rows.shape, np.int8)
    best_scales = np.ones(len(rows), np.float32)
    least = np.full(len(rows), np.inf)
    tried = candidates or (max_scales(rows), mse_scales(rows))
    # All candidates in one pass, as if they were rows of their own.
    handed_on, of_them = _hand_on(np.concatenate([rows] * len(tried)), factor, np.concatenate(tried), damping)
    count = len(tried)
    for scales, handed, errors in zip(tried, np.split(handed_on, count), np.split(of_them, count), strict=True):
        nearest = round_to_nearest(rows, scales)
        others = output_errors(rows, nearest, scales, factor=factor, damping=damping)
        for levels, found in ((nearest, others), (handed, errors)):
            better = found < least
            best[better], best_scales[better], least[better] = levels[better], scales[better], found[better]
    return best, best_scales


def output_errors(rows: Doubles, levels: Factor, scales: Floats, *, factor: Factor, damping: float) -> Doubles:
    """Return the mean squared error of each output channel, (K,) float64; rule 1.

    With H + damping I = L L^T it is the squared length of (w - q) L less damping times that of w - q.
    """
    difference = rows - levels * scales[:, None].astype(np.float64)
    seen = (difference.astype(factor.dtype) @ factor).astype(np.float64)
    errors: Doubles = (seen**2).sum(axis=1) - damping * (difference**2).sum(axis=1)
    return errors


def cholesky(second_moments: npt.NDArray[np.floating]) -> tuple[Factor, float]:
    """Return the lower Cholesky factor of the damped matrix, (D, D), and the damping; rule 3.

    From `_WIDE` on the factor is float32: the widest, 4608 x 4608, takes 85 MB so, and half the time. Damped, the
    matrix is far enough from singular for that. A float32 matrix of that width becomes its factor in place: it is
    not there afterwards.
    """
    size = len(second_moments)
    factor = second_moments if size >= _WIDE else second_moments.astype(np.float64)
    if size >= _WIDE and factor.dtype != np.float32:
        factor = factor.astype(np.float32)
    diagonal = np.diag(factor).copy()
    # Where the layer has only ever read zeros, H is zero and any rounding is as good as any other.
    damping = DAMPING * float(diagonal.mean(dtype=np.float64)) or 1.0
    while True:
        factor[np.diag_indices(size)] = diagonal + factor.dtype.type(damping)
        try:
            _factorise(factor)
        except np.linalg.LinAlgError:
            # float32's rounding can still make a very uneven matrix indefinite.
            damping *= 10
        else:
            return factor, damping


def _factorise(matrix: Factor) -> None:
    """Turn a symmetric positive definite matrix, (D, D), into its lower Cholesky factor, in place.

    NumPy's own factorisation copies the matrix twice on the way into LAPACK and back, against the order that memory
    has; of a 4608 x 4608 one it takes 2.4 times as long and three times the memory.

    Raises:
        LinAlgError: The matrix is not positive definite; it is as it was.

    Source: the right-looking blocked algorithm, Golub and Van Loan, Matrix Computations, section 4.2.
    """
    size = len(matrix)
    panels = [(start, min(start + _PANEL, size)) for start in range(0, size, _PANEL)]
    # Only these and what is below them changes until the end: what is above the diagonal restores the rest.
    corners = [matrix[start:end, start:end].copy() for start, end in panels]
    try:
        for start, end in panels:
            corner = np.linalg.cholesky(matrix[start:end, start:end])
            matrix[start:end, start:end] = corner
            inverse = np.linalg.inv(corner.astype(np.float64)).astype(matrix.dtype)
            below = matrix[end:, start:end] @ inverse.T
            matrix[end:, start:end] = below
            for left in range(end, size, _PANEL):
                right = min(left + _PANEL, size)
                matrix[left:, left:right] -= below[left - end :] @ below[left - end : right - end].T
    except np.linalg.LinAlgError:
        for (start, end), corner in zip(panels, corners, strict=True):
            matrix[start:end, start:end] = corner
            matrix[end:, start:end] = matrix[start:end, end:].T
        raise
    for start, end in panels:
        matrix[start:end, end:] = 0


def _hand_on(rows: Doubles, factor: Factor, scales: Floats, damping: float) -> tuple[Factor, Doubles]:
    """Return levels by rule 2, (K, D), in the factor's type, in which they are computed, and `output_errors` of them.

    Where column i is rounded, what is left of entry i of L^T (w - q)^T is known: it needs no product of its own.
    """
    # A column of weights is what is worked on: as a row of its own it is contiguous.
    columns, real = np.ascontiguousarray(rows.T, factor.dtype), scales.astype(factor.dtype)
    levels = np.empty_like(columns)
    # What the errors of the columns behind ask of each column, before division by the factor's diagonal.
    owed = np.zeros_like(columns)
    errors = np.empty_like(columns)
    for end in range(len(columns), 0, -_BLOCK):
        start = max(0, end - _BLOCK)
        for near_end in range(end, start, -_NEAR):
            near = max(start, near_end - _NEAR)
            for column in range(near_end - 1, near - 1, -1):
                wanted = columns[column] + owed[column] / factor[column, column]
                levels[column] = np.clip(np.rint(wanted / real), LOWEST, LEVELS)
                errors[column] = columns[column] - levels[column] * real
                owed[near:column] += factor[column, near:column, np.newaxis] * errors[column]
            owed[start:near] += factor[near:near_end, start:near].T @ errors[near:near_end]
        owed[:start] += factor[start:end, :start].T @ errors[start:end]
    owed += np.diag(factor)[:, np.newaxis] * errors
    seen, moved = (np.einsum("ik,ik->k", part, part, dtype=np.float64) for part in (owed, errors))
    return np.ascontiguousarray(levels.T), seen - damping * moved
