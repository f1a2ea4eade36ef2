from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.activations.histogram import LOWEST_EXPONENT, Histograms

BINS = 16
RNG = np.random.default_rng(0)
FLOAT32 = st.floats(min_value=0, width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True)
BATCHES = st.lists(st.lists(FLOAT32, min_size=1, max_size=6), min_size=1, max_size=6)


def histogram_of(batches: list[npt.NDArray[np.float32]], bins: int = BINS) -> Histograms:
    """One row, filled batch by batch as the accumulator does."""
    found = Histograms.empty(1, bins)
    largest = np.float32(0)
    for batch in batches:
        largest = max(largest, batch.max())
        found.make_room(np.array([largest]))
        found.add(batch, np.zeros(1, np.int64))
    return found


def smallest_exponent(largest: float, bins: int = BINS) -> int:
    """Rule 1 by trying: the first width at which the largest magnitude is below the last edge."""
    exponent = LOWEST_EXPONENT
    while largest >= bins * 2.0**exponent:
        exponent += 1
    return exponent


def check_against_numpy(found: Histograms, values: npt.NDArray[np.float32], bins: int = BINS) -> None:
    exponent = smallest_exponent(float(values.max()), bins)
    assert found.exponents.tolist() == [exponent]
    edges = np.arange(bins + 1) * 2.0**exponent
    # The last edge is above every value, so that NumPy's closed last bin makes no difference.
    assert found.counts[0].tolist() == np.histogram(values.astype(np.float64), edges)[0].tolist()


@pytest.mark.parametrize("bins", [2, 128, 4096])
@pytest.mark.parametrize("scale", [1e-20, 0.37, 1.0, 5e4, 1e30])
def test_counts_are_numpys_with_the_final_width(bins: int, scale: float) -> None:
    batches = [np.abs(RNG.normal(size=400) * scale * growth).astype(np.float32) for growth in (1, 0.01, 40, 3)]
    check_against_numpy(histogram_of(batches, bins), np.concatenate(batches), bins)


@given(BATCHES)
def test_counts_are_numpys_for_any_values(batches: list[list[float]]) -> None:
    arrays = [np.array(batch, np.float32) for batch in batches]
    check_against_numpy(histogram_of(arrays), np.concatenate(arrays))


@given(BATCHES, st.randoms(use_true_random=False))
def test_neither_order_nor_batches_change_a_bit(batches: list[list[float]], random: Random) -> None:
    values = [value for batch in batches for value in batch]
    whole = histogram_of([np.array(values, np.float32)])
    random.shuffle(values)
    for size in (1, 3):
        parts = [np.array(values[start : start + size], np.float32) for start in range(0, len(values), size)]
        found = histogram_of(parts)
        assert found.counts.tobytes() == whole.counts.tobytes()
        assert found.exponents.tobytes() == whole.exponents.tobytes()


def test_powers_of_two_open_a_bin() -> None:
    found = histogram_of([np.array([0, 0.5, 1, 8, 15.999], np.float32)])
    assert found.widths.tolist() == [1.0]
    assert np.flatnonzero(found.counts[0]).tolist() == [0, 1, 8, 15]
    assert found.counts[0, 0] == 2
    # 16 does not fall inside any more: the bins are merged in pairs.
    found.make_room(np.array([16], np.float32))
    assert found.widths.tolist() == [2.0]
    assert np.flatnonzero(found.counts[0]).tolist() == [0, 4, 7]
    assert found.counts[0, 0] == 3


def test_zeros_leave_the_finest_width_for_what_comes_later() -> None:
    small = np.array([1e-3, 3e-4], np.float32)
    found = histogram_of([np.zeros(4, np.float32), small])
    assert found.exponents.tolist() == [smallest_exponent(1e-3)]
    assert found.counts[0, 0] == 4
    check_against_numpy(found, np.append(small, np.zeros(4, np.float32)))


def test_denormals_fall_into_the_first_bin_and_the_largest_float_into_the_last() -> None:
    denormals = np.array([1e-45, 1e-40], np.float32)
    found = histogram_of([denormals])
    assert found.counts[0].tolist() == [2] + [0] * (BINS - 1)
    found = histogram_of([denormals, np.array([np.finfo(np.float32).max], np.float32)])
    assert found.widths.tolist() == [2.0**124]
    assert found.counts[0].tolist() == [2] + [0] * (BINS - 2) + [1]


def test_rows_widen_apart_from_each_other() -> None:
    values = np.abs(RNG.normal(size=(5, 3, 40))).astype(np.float32) * np.array([1e-3, 1, 70], np.float32)[:, None]
    found = Histograms.empty(3, BINS)
    for batch in values:
        found.make_room(np.maximum(values.max(axis=(0, 2)), 0))
        found.add(batch, np.arange(3)[:, None])
    for row in range(3):
        check_against_numpy(Histograms(found.counts[row : row + 1], found.exponents[row : row + 1]), values[:, row])
