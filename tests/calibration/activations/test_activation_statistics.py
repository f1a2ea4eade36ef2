import numpy as np
import pytest

from calibration.activations.activation_statistics import (
    CHANNEL_BINS,
    TENSOR_BINS,
    Accumulator,
    TensorStatistics,
    channel_ranges,
    compare_halves,
)
from calibration.activations.histogram import Histograms
from runtime.support.arrays import Floats

IMAGES, CHANNELS, POSITIONS = 7, 4, 60
STRIDE = 7


def activations() -> Floats:
    """Growing from image to image; the last channel is dead, the third zero in the first images."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(IMAGES, CHANNELS, POSITIONS)) * np.geomspace(0.01, 1, IMAGES)[:, None, None]
    values *= np.array([1.0, 50.0, 1e-3, 0.0])[:, None]
    values[:3, 2] = 0
    return values.astype(np.float32)


def gather(values: Floats, *, batch: int, stride: int = 1) -> TensorStatistics:
    accumulator = Accumulator("t", values.shape[1])
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        accumulator.add(part.min(axis=2), part.max(axis=2), part[:, :, ::stride].copy())
    return accumulator.finish()


@pytest.mark.parametrize("batch", [1, 3, IMAGES])
def test_statistics_do_not_depend_on_the_batches_by_a_bit(batch: int) -> None:
    whole, found = gather(activations(), batch=2), gather(activations(), batch=batch)
    assert found.images == IMAGES
    for ours, theirs in (
        (found.low, whole.low),
        (found.high, whole.high),
        (found.halves.counts, whole.halves.counts),
        (found.halves.exponents, whole.halves.exponents),
        (found.channels.counts, whole.channels.counts),
        (found.channels.exponents, whole.channels.exponents),
    ):
        assert ours.tobytes() == theirs.tobytes()


def test_histograms_are_numpys_of_each_channel_and_of_even_and_odd_images() -> None:
    values, found = activations(), gather(activations(), batch=3)
    for channel in range(CHANNELS):
        edges = np.arange(CHANNEL_BINS + 1) * found.channels.widths[channel]
        expected = np.histogram(np.abs(values[:, channel]).astype(np.float64), edges)[0]
        assert found.channels.counts[channel].tolist() == expected.tolist()
    edges = np.arange(TENSOR_BINS + 1) * found.width
    for half in (0, 1):
        expected = np.histogram(np.abs(values[half::2]).astype(np.float64), edges)[0]
        assert found.halves.counts[half].tolist() == expected.tolist()
    assert found.counts.tolist() == np.histogram(np.abs(values).astype(np.float64), edges)[0].tolist()
    assert found.halves.widths[0] == found.halves.widths[1]
    # The largest magnitude lies in the upper half of the bins.
    assert TENSOR_BINS / 2 <= found.amax / found.width < TENSOR_BINS


def test_extremes_are_those_of_all_values_also_of_those_not_sampled() -> None:
    values = activations()
    values[2, 0, 1], values[5, 1, STRIDE + 3] = -999.0, 7777.0
    found = gather(values, batch=2, stride=STRIDE)
    assert found.low.tolist() == values.min(axis=(0, 2)).tolist()
    assert found.high.tolist() == values.max(axis=(0, 2)).tolist()
    assert found.channel_amax.tolist() == np.abs(values).max(axis=(0, 2)).tolist()
    assert found.amax == 7777.0
    assert found.counts.sum() == values[:, :, ::STRIDE].size


@pytest.mark.parametrize("share", [0.5, 0.99, 0.9999])
def test_channel_ranges_are_quantiles_within_a_bin(share: float) -> None:
    values = np.random.default_rng(1).standard_t(4, size=(5, 3, 4000)).astype(np.float32)
    values *= np.array([1e-3, 1, 30], np.float32)[:, None]
    found = gather(values, batch=5)
    magnitudes = np.abs(values).transpose(1, 0, 2).reshape(3, -1)
    expected = np.quantile(magnitudes, share, axis=1, method="inverted_cdf")
    assert (np.abs(channel_ranges(found, share) - expected) <= found.channels.widths).all()


def test_ranges_never_exceed_the_largest_magnitude_and_are_zero_for_a_dead_channel() -> None:
    values = np.zeros((1, 3, 8), np.float32)
    values[0, 0] = 1.001
    values[0, 1, 3] = 2.5
    ranges = channel_ranges(gather(values, batch=1), 1.0)
    assert ranges[0] == np.float32(1.001)
    assert ranges[1] == 2.5
    assert ranges[2] == 0


def test_of_a_channel_without_samples_the_range_is_the_exact_largest_magnitude() -> None:
    nothing = Histograms.empty(2, CHANNEL_BINS)
    low, high = np.array([-3, 0], np.float32), np.array([1, 2], np.float32)
    statistics = TensorStatistics("t", 1, low, high, Histograms.empty(2, TENSOR_BINS), nothing)
    assert channel_ranges(statistics, 0.9999).tolist() == [3.0, 2.0]


def test_halves_are_compared_by_the_larger_threshold() -> None:
    found = compare_halves({"a": (1.0, 1.0), "b": (3.0, 4.0), "c": (2.0, 1.0), "d": (0.9, 1.0)})
    # Changes are 0, 1/4, 1/2 and 1/10: the median lies half-way between 0.1 and 0.25.
    assert found.median == pytest.approx(0.175)
    assert (found.worst, found.worst_tensor) == (0.5, "c")
