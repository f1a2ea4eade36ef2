import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from runtime.bench.figures.intervals import (
    MOST_BLOCKS,
    RESAMPLES,
    draw_blocks,
    resampled_mean,
    resampled_percentile,
    split_blocks,
    student_t,
)
from runtime.bench.figures.percentiles import describe_latency
from runtime.errors import UsageError

# The series and its inversion are exact to rounding; scipy inverts another function.
QUANTILE_RELATIVE = 1e-9
# The ends of two bootstraps of 2,000 and 20,000 resamples: at the 0.9 % level of 10 rounds an end has a standard error
# of about 0.1 standard errors of the statistic, and scipy's own interval is one of many draws too.
BOOTSTRAP_SHARE = 0.15
# Simulated intervals that hold the truth, of 300: three standard errors of a share of 95 % are 3.8 %.
LEAST_COVERAGE, MOST_COVERAGE = 0.90, 0.99


def rounds_of(values: np.ndarray) -> list[list[float]]:
    return [list(row) for row in values]


def simulated(seed: int, *, rounds: int, calls: int, drift: float) -> np.ndarray:
    """Skewed times about 1 ms whose rounds differ by `drift`, a standard deviation, relatively."""
    rng = np.random.default_rng(seed)
    return np.exp(0.05 * rng.standard_exponential((rounds, calls)) + drift * rng.standard_normal((rounds, 1)))


def true_values(drift: float) -> tuple[float, float]:
    """Median and mean of the distribution that `simulated` draws from, from 4 million independent draws."""
    rng = np.random.default_rng(12345)
    draws = np.exp(0.05 * rng.standard_exponential(4_000_000) + drift * rng.standard_normal(4_000_000))
    return float(np.median(draws)), float(draws.mean())


def test_four_hundred_known_calls_have_the_percentiles_worked_by_hand() -> None:
    # 1, 2, ..., 400 ms, dealt to ten rounds. Linear: 1 + 399 p.
    calls = np.arange(1.0, 401.0).reshape(40, 10).T
    latency = describe_latency(rounds_of(calls), seed=0)
    assert latency.runs == 400
    assert latency.median_ms == pytest.approx(200.5)
    assert latency.mean_ms == pytest.approx(200.5)
    assert (latency.min_ms, latency.max_ms) == (1, 400)
    assert latency.p90_ms == pytest.approx(1 + 399 * 0.90)
    assert latency.p95_ms == pytest.approx(1 + 399 * 0.95)
    assert latency.p99_ms == pytest.approx(1 + 399 * 0.99)
    assert latency.p99_ci95 is not None


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        (49, set()),
        (50, {"p90_ms"}),
        (99, {"p90_ms"}),
        (100, {"p90_ms", "p95_ms"}),
        (199, {"p90_ms", "p95_ms"}),
        (200, {"p90_ms", "p95_ms", "p99_ms"}),
        (367, {"p90_ms", "p95_ms", "p99_ms"}),
        (368, {"p90_ms", "p95_ms", "p99_ms", "p99_ci95"}),
    ],
)
def test_a_percentile_with_too_few_runs_is_none(runs: int, told: set[str]) -> None:
    calls = np.random.default_rng(0).uniform(1, 2, runs)
    latency = describe_latency([list(part) for part in np.array_split(calls, 8)], seed=0)
    names = ("p90_ms", "p95_ms", "p99_ms", "p99_ci95")
    assert {name for name in names if getattr(latency, name) is not None} == told


def test_with_368_runs_the_slowest_is_beyond_p99_often_enough_for_an_interval() -> None:
    assert stats.binom.pmf(0, 368, 0.01) <= 0.025 < stats.binom.pmf(0, 367, 0.01)


def test_p99_has_no_interval_from_a_few_long_rounds() -> None:
    calls = np.random.default_rng(0).uniform(1, 2, (3, 200))
    latency = describe_latency(rounds_of(calls), seed=0)
    assert latency.p99_ms is not None
    assert latency.p99_ci95 is None


@pytest.mark.parametrize("rounds", [[], [[]], [[1.0] * 5], [[1.0, 2.0], [3.0]]])
def test_fewer_runs_than_a_median_needs_are_refused(rounds: list[list[float]]) -> None:
    with pytest.raises(UsageError, match="expected at least 6"):
        describe_latency(rounds, seed=0)


@pytest.mark.parametrize("broken", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_times_are_refused(broken: float) -> None:
    with pytest.raises(UsageError, match="expected positive times"):
        describe_latency([[1.0] * 10, [1.0] * 9 + [broken]], seed=0)


def test_equal_calls_have_intervals_of_no_width() -> None:
    for rounds in (1, 3, 10, 50):
        latency = describe_latency([[2.5] * 40] * rounds, seed=0)
        assert latency.median_ci95.low == latency.median_ci95.high == latency.median_ms == 2.5
        assert latency.mean_ci95.low == pytest.approx(2.5, rel=1e-12)
        assert latency.mean_ci95.high == pytest.approx(2.5, rel=1e-12)


def test_the_same_calls_and_seed_give_the_same_interval_and_another_seed_another() -> None:
    rounds = rounds_of(simulated(1, rounds=10, calls=20, drift=0.02))
    assert describe_latency(rounds, seed=3) == describe_latency(rounds, seed=3)
    assert describe_latency(rounds, seed=3).mean_ci95 != describe_latency(rounds, seed=4).mean_ci95


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_the_interval_agrees_with_scipy_resampling_whole_rounds(statistic: str) -> None:
    values = simulated(5, rounds=20, calls=15, drift=0.03)
    compute = getattr(np, statistic)
    # The level by which Hesterberg (2015) widens a percentile interval of 20 rounds.
    level = 1 - 2 * stats.norm.cdf(-np.sqrt(20 / 19) * stats.t.ppf(0.975, 19))
    theirs = stats.bootstrap(
        (np.arange(20),),
        lambda drawn: compute(values[drawn]),
        vectorized=False,
        n_resamples=20_000,
        confidence_level=level,
        method="percentile",
        random_state=0,  # scipy 1.15 and later also call it `rng`
    )
    ours = getattr(describe_latency(rounds_of(values), seed=0), f"{statistic}_ci95")
    tolerance = BOOTSTRAP_SHARE * theirs.standard_error
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.floats(0.1, 10), min_size=1, max_size=9), min_size=2, max_size=8),
    st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]),
)
def test_a_resampled_percentile_is_numpys_of_the_written_out_resample(rounds: list[list[float]], share: float) -> None:
    blocks = [np.array(calls) for calls in rounds]
    draws = draw_blocks(len(blocks), np.random.default_rng(0))
    found = resampled_percentile(blocks, draws, share)
    means = resampled_mean(blocks, draws)
    assert found.shape == means.shape == (RESAMPLES,)
    for i in range(0, RESAMPLES, 100):
        written = np.concatenate([np.tile(block, times) for block, times in zip(blocks, draws[i], strict=True)])
        assert found[i] == pytest.approx(np.quantile(written, share), rel=1e-12)
        assert means[i] == pytest.approx(written.mean(), rel=1e-12)


# One shape per way to an interval: a bootstrap of some rounds, of joined rounds, and Student's t of few rounds.
@pytest.mark.slow
@pytest.mark.parametrize(("rounds", "calls"), [(10, 20), (45, 8), (3, 70)])
@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_95_of_100_intervals_hold_the_truth(rounds: int, calls: int, drift: float) -> None:
    median, mean = true_values(drift)
    held = np.zeros(2)
    simulations = 300
    for seed in range(simulations):
        latency = describe_latency(rounds_of(simulated(seed, rounds=rounds, calls=calls, drift=drift)), seed=seed)
        held += [
            latency.median_ci95.low <= median <= latency.median_ci95.high,
            latency.mean_ci95.low <= mean <= latency.mean_ci95.high,
        ]
    assert (held / simulations >= LEAST_COVERAGE).all(), held / simulations
    assert (held / simulations <= MOST_COVERAGE).all(), held / simulations


@pytest.mark.slow
def test_the_interval_of_p99_holds_the_truth_nine_times_of_ten() -> None:
    # A percentile so near the end is known less surely than the interval says: 85 to 99 of 100.
    truth = float(np.exp(0.05 * stats.expon.ppf(0.99)))
    held = 0
    for seed in range(300):
        calls = simulated(seed, rounds=20, calls=50, drift=0.0)
        interval = describe_latency(rounds_of(calls), seed=seed).p99_ci95
        assert interval is not None
        held += interval.low <= truth <= interval.high
    assert 0.85 <= held / 300 <= MOST_COVERAGE


def test_drift_between_rounds_widens_the_interval() -> None:
    still = simulated(0, rounds=10, calls=20, drift=0.0)
    # The same calls with a machine that slows by 20 % on the way: all spread is between rounds.
    drifting = still * np.linspace(1, 1.2, 10)[:, np.newaxis]
    width = {}
    for name, values in (("still", still), ("drifting", drifting)):
        interval = describe_latency(rounds_of(values), seed=0).mean_ci95
        width[name] = interval.high - interval.low
    # t interval of ten round means, 1 to 1.2 evenly: their standard deviation 0.0673 / sqrt(10) * 2.26 * 2 = 0.096.
    assert width["still"] < 0.03
    assert width["drifting"] == pytest.approx(0.096, rel=0.15)


def test_many_rounds_are_joined_with_their_neighbours() -> None:
    blocks = split_blocks([[float(i)] for i in range(1, 62)])
    assert len(blocks) == MOST_BLOCKS
    assert np.concatenate(blocks).tolist() == list(range(1, 62))
    assert {block.size for block in blocks} == {2, 3}


def test_one_round_is_cut_and_empty_rounds_are_left_out() -> None:
    assert [block.size for block in split_blocks([[], [1.0] * 40])] == [4] * 10
    assert [block.size for block in split_blocks([[1.0] * 7])] == [1] * 7
    assert [block.size for block in split_blocks([[1.0, 2.0], [], [3.0]])] == [2, 1]


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 19, 29, 100, 999])
def test_students_quantile_is_scipys(degrees: int) -> None:
    assert student_t(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=QUANTILE_RELATIVE)


def test_few_rounds_have_students_interval_of_their_logarithms() -> None:
    values = simulated(2, rounds=4, calls=50, drift=0.03)
    logs = np.log(np.median(values, axis=1))
    half = stats.t.ppf(0.975, 3) * stats.sem(logs)
    interval = describe_latency(rounds_of(values), seed=0).median_ci95
    assert interval.low == pytest.approx(np.median(values) * np.exp(-half))
    assert interval.high == pytest.approx(np.median(values) * np.exp(half))
