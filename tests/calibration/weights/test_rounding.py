import itertools

import numpy as np
import pytest

from calibration.weights.rounding import DAMPING, cholesky, output_errors, round_rows
from calibration.weights.scales import max_scales, round_to_nearest

RNG = np.random.default_rng(0)


def layer(rows: int, length: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and what a layer behind a ReLU reads: correlated and not negative."""
    inputs = np.maximum(RNG.normal(size=(samples, 4)) @ RNG.normal(size=(4, length)) + 0.3, 0)
    return RNG.normal(size=(rows, length)), inputs


def output_error(weights: np.ndarray, rounded: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Mean squared error of the layer's outputs, measured by running it."""
    return (((weights - rounded) @ inputs.T) ** 2).mean(axis=1)


def nearest_plane(weights: np.ndarray, moments: np.ndarray, scale: float) -> list[float]:
    """Babai's nearest plane algorithm for one row, in plain loops, last coordinate first."""
    lower = np.linalg.cholesky(moments)
    levels, errors = [0.0] * len(weights), [0.0] * len(weights)
    for i in reversed(range(len(weights))):
        carried = sum(lower[j, i] * errors[j] for j in range(i + 1, len(weights))) / lower[i, i]
        levels[i] = float(np.clip(np.round((weights[i] + carried) / scale), -127, 127))
        errors[i] = weights[i] - levels[i] * scale
    return levels


def test_the_outputs_move_less_than_with_rounding_to_nearest() -> None:
    rows, inputs = layer(8, 40, 500)
    moments = inputs.T @ inputs / len(inputs)
    levels, scales = round_rows(rows, moments)
    nearest = round_to_nearest(rows, max_scales(rows)) * max_scales(rows)[:, None]
    ours = output_error(rows, levels * scales[:, None].astype(np.float64), inputs)
    assert (ours <= output_error(rows, nearest, inputs) * 1.000001).all()
    # Four directions carry most of what forty weights read: most of the error can be handed on.
    assert ours.sum() < output_error(rows, nearest, inputs).sum() / 4


def test_output_errors_are_those_of_the_running_layer() -> None:
    rows, inputs = layer(3, 12, 200)
    scales = max_scales(rows) * 9
    levels = round_to_nearest(rows, scales)
    factor, damping = cholesky(inputs.T @ inputs / len(inputs))
    found = output_errors(rows, levels, scales, factor=factor, damping=damping)
    np.testing.assert_allclose(found, output_error(rows, levels * scales[:, None].astype(np.float64), inputs))


def test_errors_are_handed_on_as_in_babais_algorithm_over_several_blocks() -> None:
    rows, inputs = layer(2, 300, 900)
    inputs += RNG.normal(size=inputs.shape) * 0.1
    moments = inputs.T @ inputs / len(inputs)
    damped = moments + DAMPING * np.diag(moments).mean() * np.eye(300)
    scales = (max_scales(rows) * 12).astype(np.float32)
    levels, chosen = round_rows(rows, moments, candidates=(scales,))
    assert (chosen == scales).all()
    for row, scale, found in zip(rows, scales, levels, strict=True):
        assert found.tolist() == nearest_plane(row, damped, float(scale))


def test_three_weights_are_rounded_nearly_as_well_as_by_trying_everything() -> None:
    moments = np.array([[1.0, 0.9, 0.5], [0.9, 1.0, 0.4], [0.5, 0.4, 1.0]])
    scales = np.array([1.0], np.float32)
    for _ in range(50):
        row = RNG.uniform(-3, 3, (1, 3))
        levels, _ = round_rows(row, moments, candidates=(scales,))
        difference = [row[0] - level for level in itertools.product(range(-4, 5), repeat=3)]
        best = min(float(delta @ moments @ delta) for delta in difference)
        ours = row[0] - levels[0]
        assert float(ours @ moments @ ours) <= best + 0.25


def test_a_layer_that_only_ever_read_zeros_is_rounded_to_nearest() -> None:
    rows = RNG.normal(size=(2, 5))
    levels, scales = round_rows(rows, np.zeros((5, 5)))
    assert (np.abs(levels * scales[:, None] - rows) <= scales[:, None] * 0.500001).all()


def test_moments_of_too_few_images_still_have_a_factor() -> None:
    one = RNG.normal(size=(1, 30))
    factor, damping = cholesky(one.T @ one)
    np.testing.assert_allclose(factor @ factor.T, one.T @ one + damping * np.eye(30))


def test_a_wide_layer_is_rounded_in_float32_as_well_as_in_float64() -> None:
    rows, inputs = layer(2, 1100, 300)
    moments = inputs.T @ inputs / len(inputs)
    factor, _ = cholesky(moments)
    assert factor.dtype == np.float32
    levels, scales = round_rows(rows, moments)
    nearest = round_to_nearest(rows, max_scales(rows)) * max_scales(rows)[:, None]
    ours = output_error(rows, levels * scales[:, None].astype(np.float64), inputs)
    assert ours.sum() < output_error(rows, nearest, inputs).sum() / 4


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700, 1100])
def test_factor_of_several_panels_is_numpys(size: int) -> None:
    inputs = RNG.normal(size=(2 * size + 8, size))
    moments = inputs.T @ inputs / len(inputs)
    before = moments.copy()
    factor, damping = cholesky(moments)
    want = np.linalg.cholesky(moments + damping * np.eye(size))
    # From 1,024 on it is computed in float32: some 1e-7 of the largest entry for each step.
    tolerance = 1e-12 if size < 1024 else 1e-4
    np.testing.assert_allclose(factor, want, rtol=0, atol=tolerance * np.abs(want).max())
    np.testing.assert_array_equal(moments, before)


@pytest.mark.parametrize(("size", "tolerance"), [(300, 1e-6), (1100, 1e-5)])
def test_matrix_that_is_indefinite_behind_the_first_panel_gets_more_damping(size: int, tolerance: float) -> None:
    noise = RNG.normal(size=(size, size), scale=5e-4)
    moments = (np.eye(size) + noise + noise.T).astype(np.float32)
    moments[-2, -1] = moments[-1, -2] = 1.5
    before = moments.astype(np.float64)
    # Wide, the matrix is overwritten by each attempt, and is to be whole again before the next.
    factor, damping = cholesky(moments)
    # Positive definite from about 0.5 on: 0.01 and 0.1 are too little.
    assert damping == pytest.approx(1.0, rel=0.01)
    np.testing.assert_allclose(factor @ factor.T, before + damping * np.eye(size), rtol=0, atol=tolerance)


def test_wide_float32_matrix_becomes_its_factor_in_place() -> None:
    inputs = RNG.normal(size=(2208, 1100)).astype(np.float32)
    moments = inputs.T @ inputs / len(inputs)
    factor, _ = cholesky(moments)
    assert factor is moments
