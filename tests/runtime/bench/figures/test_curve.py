import pytest

from runtime.bench.figures.curve import choose_batches
from runtime.bundle.results.bench_json import Measured
from runtime.errors import UsageError
from tests.helpers.bench_results import subject, summary


def point(
    batch: int,
    *,
    p99_ms: float | None,
    rate: float,
    median_ms: float = 1.0,
    runs: int = 200,
    threads: int | None = None,
) -> Measured:
    return subject(
        f"net openvino batch {batch}",
        latency=summary(median_ms, p99_ms=p99_ms, runs=runs),
        batch=batch,
        images_per_s=rate,
        threads=threads,
    )


# Throughput rises to batch 8 and falls again behind it.
CURVE = [
    point(1, p99_ms=5, rate=200),
    point(4, p99_ms=12, rate=340),
    point(8, p99_ms=20, rate=400),
    point(16, p99_ms=42, rate=390),
]


@pytest.mark.parametrize(("budget_ms", "batch", "rate"), [(5, 1, 200), (19.9, 4, 340), (20, 8, 400), (100, 8, 400)])
def test_the_most_images_per_second_within_the_budget_are_chosen(budget_ms: float, batch: int, rate: float) -> None:
    (choice,) = choose_batches(CURVE[::-1], budget_ms)
    assert (choice.batch, choice.images_per_s, choice.budget_ms) == (batch, rate, budget_ms)


def test_no_batch_within_the_budget_is_said_with_the_fastest() -> None:
    (choice,) = choose_batches(CURVE, 4)
    assert (choice.batch, choice.images_per_s) == (None, None)
    assert choice.text == ("net in openvino (float32): no batch is within 4 ms: the fastest, batch 1, has p99 5 ms")


def test_the_text_says_what_the_next_faster_batch_costs() -> None:
    (choice,) = choose_batches(CURVE, 13)
    assert choice.text == (
        "net in openvino (float32): batch 4 gives 340 images/s, p99 12 ms within 13 ms; "
        "batch 8 gives 400 images/s, but p99 20 ms"
    )


def test_the_text_says_that_no_larger_batch_gives_more() -> None:
    (choice,) = choose_batches(CURVE, 30)
    assert choice.text.endswith("batch 8 gives 400 images/s, p99 20 ms within 30 ms; no larger batch gives more")


def test_the_text_says_that_no_larger_batch_was_measured() -> None:
    (choice,) = choose_batches(CURVE[:3], 30)
    assert choice.text.endswith("p99 20 ms within 30 ms; no larger batch was measured")


def test_a_median_is_held_against_the_budget_where_runs_are_too_few_for_a_p99() -> None:
    few = [point(1, p99_ms=None, median_ms=4, rate=250, runs=100), point(2, p99_ms=None, median_ms=9, rate=220, runs=1)]
    (choice,) = choose_batches(few, 5)
    assert choice.batch == 1
    assert "median 4 ms (100 runs: too few for a p99) within 5 ms" in choice.text
    (none,) = choose_batches(few, 3)
    assert none.text.endswith("batch 1, has median 4 ms (100 runs: too few for a p99)")


def test_a_batch_whose_median_is_within_but_whose_p99_is_not_is_not_chosen() -> None:
    (choice,) = choose_batches([point(1, p99_ms=30, median_ms=2, rate=500)], 10)
    assert choice.batch is None


def test_of_equal_rates_the_smaller_batch_is_chosen() -> None:
    (choice,) = choose_batches([point(2, p99_ms=3, rate=100), point(4, p99_ms=6, rate=100)], 10)
    assert choice.batch == 2


def test_every_thread_count_is_a_curve_of_its_own() -> None:
    one = [point(batch, p99_ms=10 * batch, rate=100, threads=1) for batch in (1, 2)]
    two = [point(batch, p99_ms=6 * batch, rate=170 + batch, threads=2) for batch in (1, 2)]
    first, second = choose_batches([*one, *two], 12)
    assert (first.batch, second.batch) == (1, 2)
    assert "1 thread)" in first.text
    assert "2 threads)" in second.text


def test_no_subject_is_no_choice() -> None:
    assert choose_batches([], 10) == ()


@pytest.mark.parametrize("budget_ms", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_time_is_refused(budget_ms: float) -> None:
    with pytest.raises(UsageError, match="--budget-ms"):
        choose_batches(CURVE, budget_ms)
