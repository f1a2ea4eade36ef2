import math

import numpy as np
import numpy.typing as npt
import pytest

from calibration.activations.thresholds import METHODS, threshold
from calibration.options import Method

RNG = np.random.default_rng(0)
BINS = 4096
WIDTH = 2.0**-9
SAMPLES = {
    "normal": np.abs(RNG.normal(size=60_000)),
    "heavy tails": np.minimum(np.abs(RNG.standard_t(3, size=60_000)) * 0.3, 7.9),
    "relu": np.maximum(RNG.normal(size=60_000) - 0.5, 0),
    "lattice": RNG.geometric(0.02, size=60_000).clip(max=480) / 64,
}
# mse: the clips tried are half a per cent apart, and values are taken to lie evenly inside a bin.
MSE_TOLERANCE = 1.002
# Sums of some hundred terms below 1 in another order.
ROUNDING = 1e-12


def histogram(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.bincount((values / WIDTH).astype(np.int64), minlength=BINS)


def squared_error(values: npt.NDArray[np.float64], clip: float, levels: int) -> float:
    """The quantiser of ONNX written out, on the values themselves."""
    scale = clip / levels
    return float(((np.clip(np.round(values / scale), 0, levels) * scale - values) ** 2).sum())


def published_divergences(counts: list[int]) -> dict[int, float]:
    """Bins kept to KL(P || Q) as on Migacz's slides, in plain loops; the first bin as in pytorch-quantization."""
    bins = [float(count) for count in counts]
    bins[0] = bins[1]
    used = max(index for index, count in enumerate(bins) if count) + 1
    found = {}
    for kept in range(128, used + 1):
        p = bins[:kept]
        p[kept - 1] += sum(bins[kept:])
        q = [0.0] * kept
        for level in range(128):
            members = range(level * kept // 128, (level + 1) * kept // 128)
            filled = [index for index in members if bins[index] > 0]
            for index in filled:
                q[index] = sum(bins[other] for other in filled) / len(filled)
        total_p, total_q = sum(p), sum(q)
        found[kept] = 0.0
        for ours, theirs in zip(p, q, strict=True):
            if ours > 0:
                found[kept] += ours / total_p * math.log(ours / total_p / (theirs / total_q)) if theirs else math.inf
    return found


@pytest.mark.parametrize(("method", "share"), [("percentile-99.99", 0.9999), ("percentile-99.999", 0.99999)])
@pytest.mark.parametrize("name", SAMPLES)
def test_percentiles_are_quantiles_of_the_values_within_a_bin(method: Method, share: float, name: str) -> None:
    values = SAMPLES[name]
    found = threshold(histogram(values), WIDTH, float(values.max()), method=method, levels=255)
    assert abs(found - np.quantile(values, share, method="inverted_cdf")) <= WIDTH


@pytest.mark.parametrize("levels", [127, 255])
@pytest.mark.parametrize("name", ["normal", "heavy tails"])
def test_mse_is_as_good_as_trying_every_clip_on_the_values(levels: int, name: str) -> None:
    values = SAMPLES[name]
    amax = float(values.max())
    found = threshold(histogram(values), WIDTH, amax, method="mse", levels=levels)
    best = min(squared_error(values, amax * clip, levels) for clip in np.linspace(0.1, 1, 451))
    assert squared_error(values, found, levels) <= best * MSE_TOLERANCE
    assert squared_error(values, found, levels) <= squared_error(values, amax, levels)


@pytest.mark.parametrize("name", SAMPLES)
def test_entropy_is_as_good_as_the_published_algorithm(name: str) -> None:
    # Eight times coarser than the rest, so that plain loops over all candidates take a moment only.
    counts = histogram(SAMPLES[name]).reshape(-1, 8).sum(axis=1)
    width = WIDTH * 8
    divergences = published_divergences(counts.tolist())
    found = threshold(counts, width, float(SAMPLES[name].max()), method="entropy", levels=127)
    kept = round(found / width - 0.5) if found < SAMPLES[name].max() else max(divergences)
    # What every eighth bin gives in the reference, where the last bin kept is not empty.
    tried = [value for candidate, value in divergences.items() if candidate % 8 == 0 or candidate == max(divergences)]
    assert divergences[kept] <= min(tried) + ROUNDING


def test_entropy_clips_a_lone_outlier_of_a_sparse_histogram() -> None:
    # Only every fourth bin holds anything, and a candidate's last bin falls between those.
    values = np.abs(RNG.normal(size=50_000)) * 40
    counts = np.bincount(np.minimum(values, 250).astype(np.int64) * 4, minlength=2048)
    counts[2040] = 1
    divergences = published_divergences(counts.tolist())
    found = threshold(counts, 1.0, 2040.5, method="entropy", levels=127)
    best = min(divergences, key=divergences.__getitem__)
    assert best < 1100
    assert found < 1100


def test_entropy_merges_bins_to_the_2048_of_the_published_algorithm() -> None:
    counts = histogram(SAMPLES["normal"])
    counts[4000] = 1
    merged = counts.reshape(-1, 2).sum(axis=1)
    amax = 4000.5 * WIDTH
    fine = threshold(counts, WIDTH, amax, method="entropy", levels=127)
    assert fine == threshold(merged, 2 * WIDTH, amax, method="entropy", levels=127) < amax


def test_entropy_of_a_sample_that_holds_zeros_alone_clips_nothing() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[0] = 1000
    assert threshold(counts, WIDTH, 5.0, method="entropy", levels=127) == 5.0


def test_entropy_keeps_all_of_a_histogram_that_needs_no_coarsening() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[:100] = 7
    assert threshold(counts, WIDTH, 5.0, method="entropy", levels=127) == 100 * WIDTH


def test_max_is_the_largest_magnitude() -> None:
    values = SAMPLES["heavy tails"]
    assert threshold(histogram(values), WIDTH, 7.95, method="max", levels=127) == 7.95


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_that_was_always_zero_gets_one(method: Method) -> None:
    counts = np.zeros(BINS, np.int64)
    assert threshold(counts, 2.0**-100, 0.0, method=method, levels=255) == 1.0
    counts[0] = 500
    assert threshold(counts, 2.0**-100, 0.0, method=method, levels=255) == 1.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("amax", [1e-40, 0.3, 7.999, 1e37])
def test_no_threshold_is_above_the_largest_magnitude_or_not_positive(method: Method, amax: float) -> None:
    width = max(2.0 ** (math.frexp(amax)[1] - 12), 2.0**-100)
    for values in (RNG.uniform(0, amax, 500), np.full(9, amax), np.zeros(9), np.array([0, amax])):
        counts = np.bincount((values / width).astype(np.int64), minlength=BINS)
        assert 0 < threshold(counts, width, amax, method=method, levels=255) <= amax
    assert threshold(np.zeros(BINS, np.int64), width, amax, method=method, levels=255) == amax


@pytest.mark.parametrize(
    ("method", "expected"),
    # 99.99 % of 100 values are 99.99: 0.99 of the one value in the third bin, so 0.99 of its width.
    [("percentile-99.99", (2 + 0.99) * 0.5), ("percentile-99.999", (2 + 0.999) * 0.5)],
)
def test_a_percentile_lies_within_its_bin_as_its_values_lie_evenly(method: Method, expected: float) -> None:
    counts = np.array([90, 9, 1, 0])
    assert threshold(counts, 0.5, 1.4999, method=method, levels=127) == pytest.approx(expected)
    # Never beyond the largest magnitude.
    assert threshold(counts, 0.5, 1.49, method=method, levels=127) == 1.49


def test_mse_clips_a_lone_outlier_where_both_errors_together_are_least() -> None:
    # 4,000,000 values lie evenly up to 1, one is 2. With clip c >= 1 the rounding costs 4e6 (c / 127)^2 / 12 and the
    # outlier (2 - c)^2: least where 4e6 c / (6 x 127^2) = 2 (2 - c), so c = 4 / (2 + 41.33): below 1. From there on
    # values are cut by the million, so the best is next to 1; the shares tried are 0.5 % of 2 apart.
    counts = np.zeros(256, np.int64)
    counts[:128] = 4_000_000 // 128
    counts[255] = 1
    found = threshold(counts, 2 / 256, 2.0, method="mse", levels=127)
    assert found == pytest.approx(1.0, abs=0.01)


def test_mse_takes_everything_where_values_are_at_the_ends() -> None:
    counts = np.zeros(256, np.int64)
    counts[[1, 255]] = 1000
    assert threshold(counts, 2 / 256, 2.0, method="mse", levels=127) == pytest.approx(2.0, rel=0.03)


def test_entropy_is_the_middle_of_the_bin_behind_the_best_candidate() -> None:
    counts = histogram(SAMPLES["heavy tails"]).reshape(-1, 8).sum(axis=1)
    divergences = published_divergences(counts.tolist())
    last = max(divergences)
    # Every eighth bin from 128 on, each moved up to the next bin that holds anything.
    filled = [index + 1 for index, count in enumerate(counts.tolist()) if count]
    tried = {min(end for end in filled if end >= wanted) for wanted in (*range(128, last, 8), last)}
    best = min(sorted(tried, reverse=True), key=divergences.__getitem__)
    assert best < last
    found = threshold(counts, 0.25, 1e9, method="entropy", levels=127)
    assert found == (best + 0.5) * 0.25
