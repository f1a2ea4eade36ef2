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


def best_on_the_grid(row: np.ndarray) -> int:
    """The best of the 19 shares that are tried of one row, in hundredths, in float64."""

    def error(hundredths: int) -> float:
        return float(squared_error(row[None], np.array([np.abs(row).max() * hundredths / 100 / 127]))[0])

    coarse = min(range(100, 49, -5), key=error)
    return min([coarse, *(share for share in range(coarse - 4, coarse + 5) if 50 <= share <= 100)], key=error)


def test_each_row_takes_the_best_of_every_fifth_hundredth_and_those_around_it() -> None:
    # The more small weights there are beside a large one, the further it is worth clipping.
    small = np.geomspace(2000, 150_000, 24)[:, None]
    rows = RNG.uniform(-0.02, 0.02, (24, 150_000)) * (np.arange(150_000) < small)
    rows[:, 0] = 1.0
    best = np.array([best_on_the_grid(row) for row in rows])
    amax = np.abs(rows).max(axis=1)
    # Two shares may be as good as each other to float32's rounding.
    reached, expected = squared_error(rows, mse_scales(rows)), squared_error(rows, amax * best / 100 / 127)
    np.testing.assert_allclose(reached, expected, rtol=5e-5)
    # The sample has rows at each distance from a fifth hundredth, and at both ends.
    assert {int(share) % 5 for share in best} == {0, 1, 2, 3, 4}
    assert best.min() < 60
    assert best.max() > 97


def test_no_share_below_a_half_is_tried() -> None:
    # Of 200,000 small weights the rounding error would want the one large one clipped to less.
    row = np.concatenate([RNG.uniform(-0.02, 0.02, 400_000), [1.0]])[None]
    assert mse_scales(row)[0] == pytest.approx(0.5 / 127)


@pytest.mark.parametrize("rows", [1, 2, 700])
def test_a_row_has_the_same_scale_alone_and_among_others(rows: int) -> None:
    # 700 rows of 200 are more than are worked on at once.
    weights = RNG.normal(size=(rows, 200))
    alone = [mse_scales(weights[at : at + 1])[0] for at in range(rows)]
    assert mse_scales(weights).tolist() == [float(one) for one in alone]


def test_levels_beyond_the_last_are_clipped_on_both_sides() -> None:
    rows = np.array([[200.0, -200.0, 127.4, -127.6]])
    assert round_to_nearest(rows, np.array([1.0], np.float32)).tolist() == [[127, -127, 127, -127]]
