import numpy as np
import pytest

from calibration.weights.scales import WeightQuantization, fp16_scales, max_scales, mse_scales, round_to_nearest
from runtime.errors import CalibrationError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(6, 90)) * np.geomspace(1e-3, 10, 6)[:, None]


def squared_error(rows: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The quantiser of ONNX, symmetric and with 127 levels a side, written out."""
    levels = np.clip(np.round(rows / scales[:, None]), -127, 127)
    return ((levels * scales[:, None] - rows) ** 2).sum(axis=1)


def test_the_largest_magnitude_becomes_127_and_its_negative_minus_127() -> None:
    rows = np.array([[0.5, -2.54, 1.0], [-1.27, 1.27, 0.004]])
    scales = max_scales(rows)
    np.testing.assert_allclose(scales, [0.02, 0.01], rtol=1e-6)
    assert round_to_nearest(rows, scales).tolist() == [[25, -127, 50], [-127, 127, 0]]


def test_halves_go_to_the_even_level() -> None:
    rows = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 127.0]])
    assert round_to_nearest(rows, np.array([1.0], np.float32)).tolist() == [[0, 2, 2, 0, -2, 127]]


def test_a_channel_of_zeros_has_scale_one_and_stays_zero() -> None:
    rows = np.zeros((1, 4))
    for rule in (max_scales, mse_scales):
        assert rule(rows).tolist() == [1.0]
    assert not round_to_nearest(rows, max_scales(rows)).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(CalibrationError, match="check the checkpoint"):
        max_scales(np.array([[1.0, bad]]))


def test_mse_scales_are_as_good_as_a_finer_search_by_hand() -> None:
    rows = np.concatenate([ROWS, RNG.standard_t(3, size=(6, 90))])
    reached = squared_error(rows, mse_scales(rows).astype(np.float64))
    amax = np.abs(rows).max(axis=1)
    searched = np.min([squared_error(rows, amax * clip / 127) for clip in np.linspace(0.3, 1, 701)], axis=0)
    # The grid of hundredths misses the best of 701 by a little in single rows.
    assert (reached <= searched * 1.2).all()
    assert (reached <= squared_error(rows, amax / 127) * 1.000001).all()


def test_fp16_scales_are_fp16_numbers_not_below_what_they_replace() -> None:
    scales = np.abs(RNG.normal(size=200)).astype(np.float32) * np.geomspace(1e-7, 10, 200, dtype=np.float32)
    rounded = fp16_scales(scales)
    assert (rounded == rounded.astype(np.float16).astype(np.float32)).all()
    assert (rounded >= scales).all()
    normal = scales > 6.2e-5
    assert (rounded[normal] <= scales[normal] * (1 + 2.0**-10)).all()
    assert rounded.min() == np.float32(2.0**-14)


@pytest.mark.parametrize(("shape", "axis"), [((3, 2, 2, 2), 0), ((4, 3), 1)])
def test_real_is_level_times_the_scale_of_its_output_channel(shape: tuple[int, ...], axis: int) -> None:
    values = RNG.integers(-127, 128, shape).astype(np.int8)
    scales = np.array([0.5, 2.0, 0.25], np.float32)
    real = WeightQuantization(values, scales, axis).real
    for channel in range(3):
        expected = values.take(channel, axis).astype(np.float32) * scales[channel]
        np.testing.assert_array_equal(real.take(channel, axis), expected)
