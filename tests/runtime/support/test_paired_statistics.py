import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.metrics import top_k_accuracy_score

from runtime.errors import DataError, VerificationError
from runtime.support.paired_statistics import (
    NO_DECISION,
    SqnrSum,
    label_ranks,
    mcnemar_p,
    paired_drop_ci95,
    sqnr_db,
    top1_decisions,
)

# Sums of some thousand squares in float64 differ in the last digits with the order of summation.
SUM_ORDER_DB = 1e-9
# scipy's tail comes from a continued fraction, ours from whole numbers.
BINOMIAL_RELATIVE = 1e-9
# The bounded optimiser stops about this far from a maximum that lies on the boundary.
OPTIMISER_ABSOLUTE = 2e-6


def rows(*logits: list[float]) -> np.ndarray:
    return np.array(logits, dtype=np.float32)


def labels(*classes: int) -> np.ndarray:
    return np.array(classes, dtype=np.int64)


def test_sqnr_is_20_db_when_the_difference_is_a_tenth_of_the_reference() -> None:
    # 3^2 + 4^2 = 25 over 0.5^2 = 0.25 is a factor of 100.
    assert sqnr_db(rows([3, 4]), rows([3, 3.5])) == pytest.approx(20, abs=SUM_ORDER_DB)


def test_equal_outputs_have_infinite_sqnr() -> None:
    assert sqnr_db(rows([1, 2]), rows([1, 2])) == math.inf


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_fail_every_tolerance(broken: float) -> None:
    assert sqnr_db(rows([1, 2]), rows([1, broken])) == -math.inf
    assert sqnr_db(rows([1, broken]), rows([1, broken])) == -math.inf


def test_an_all_zero_reference_that_is_missed_has_sqnr_minus_infinity() -> None:
    assert sqnr_db(rows([0, 0]), rows([0, 1])) == -math.inf


def test_batches_add_up_to_the_sqnr_of_all_images() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(301, 7)).astype(np.float32)
    other = reference + rng.normal(scale=0.01, size=reference.shape).astype(np.float32)
    running = SqnrSum()
    for start in range(0, 301, 64):
        running = running.add(reference[start : start + 64], other[start : start + 64])
    exact = reference.astype(np.longdouble), other.astype(np.longdouble)
    expected = 10 * np.log10((exact[0] ** 2).sum() / ((exact[0] - exact[1]) ** 2).sum())
    assert running.db == pytest.approx(float(expected), abs=SUM_ORDER_DB)


def test_one_broken_batch_breaks_the_whole_sum() -> None:
    running = SqnrSum().add(rows([1]), rows([math.nan])).add(rows([1]), rows([1]))
    assert running.db == -math.inf


def test_half_precision_outputs_are_squared_without_overflow() -> None:
    # 300^2 is beyond FP16's 65504; the ratio of 300 to 3 is 40 dB.
    reference, other = np.array([300], dtype=np.float16), np.array([297], dtype=np.float16)
    assert sqnr_db(reference, other) == pytest.approx(40, abs=SUM_ORDER_DB)


def test_sqnr_refuses_to_broadcast() -> None:
    with pytest.raises(VerificationError, match=r"shaped \(2,\), expected the reference's \(1, 2\)"):
        sqnr_db(rows([1, 2]), np.array([1, 2], dtype=np.float32))


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_hits_equal_torch_and_scikit_learn_on_untied_logits(k: int) -> None:
    rng = np.random.default_rng(k)
    logits = rng.permuted(np.tile(np.arange(12.0), (400, 1)), axis=1).astype(np.float32)
    truth = rng.integers(0, 12, size=400)
    by_torch = (torch.topk(torch.from_numpy(logits), k).indices == torch.from_numpy(truth)[:, None]).any(1)
    hits = label_ranks(logits, truth) < k
    np.testing.assert_array_equal(hits, by_torch.numpy())
    if k < 12:  # scikit-learn warns that k = classes is meaningless
        assert hits.mean() == top_k_accuracy_score(truth, logits, k=k, labels=np.arange(12))


def test_of_equal_logits_the_lower_class_wins_as_in_argmax() -> None:
    tied = rows([1, 5, 5, 0], [1, 5, 5, 0])
    np.testing.assert_array_equal(label_ranks(tied, labels(1, 2)) < 1, [True, False])
    np.testing.assert_array_equal(label_ranks(tied, labels(1, 2)) < 2, [True, True])
    np.testing.assert_array_equal(top1_decisions(tied), np.argmax(tied, axis=1))


def test_a_row_with_nan_is_never_a_hit_and_decides_nothing() -> None:
    broken = rows([math.nan, 1], [1, math.nan], [math.nan, math.nan], [0, 1])
    truth = labels(0, 0, 0, 1)
    for k in (1, 2):
        np.testing.assert_array_equal(label_ranks(broken, truth) < k, [False, False, False, True])
    np.testing.assert_array_equal(label_ranks(broken, truth), [2, 2, 2, 0])
    np.testing.assert_array_equal(top1_decisions(broken), [NO_DECISION, NO_DECISION, NO_DECISION, 1])


def test_infinite_logits_still_rank() -> None:
    np.testing.assert_array_equal(label_ranks(rows([math.inf, 1, -math.inf]), labels(0)) < 1, [True])


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_that_the_network_does_not_know_is_refused(label: int) -> None:
    with pytest.raises(DataError, match="expected 0 to 1 for this network"):
        label_ranks(rows([1, 2]), labels(label))


@pytest.mark.parametrize(
    ("lost", "gained"),
    [(0, 0), (1, 0), (0, 1), (3, 3), (3, 4), (10, 30), (30, 10), (59, 12), (700, 801), (24_700, 25_300)],
)
def test_mcnemar_equals_scipys_exact_binomial_test(lost: int, gained: int) -> None:
    expected = 1.0 if lost + gained == 0 else stats.binomtest(lost, lost + gained).pvalue
    assert mcnemar_p(lost, gained) == pytest.approx(expected, rel=BINOMIAL_RELATIVE)


def test_mcnemar_of_50000_one_sided_images_is_zero_and_not_an_error() -> None:
    # 2 / 2^50000 is below the smallest float64.
    assert mcnemar_p(0, 50_000) == 0.0


def score_statistic(*, lost: int, gained: int, images: int) -> Callable[[float], float]:
    """Return drop -> z of the score test, with the nuisance parameter found by an optimiser, not by algebra."""

    def statistic(drop: float) -> float:
        def minus_log_likelihood(only_engine: float) -> float:
            counts = np.array([lost, gained, images - lost - gained])
            chances = np.array([only_engine + drop, only_engine, 1 - 2 * only_engine - drop])
            seen = counts > 0
            return -float((counts[seen] * np.log(np.maximum(chances[seen], 1e-300))).sum())

        bounds = (max(0.0, -drop), (1 - drop) / 2)
        best = optimize.minimize_scalar(minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12})
        variance = 2 * best.x + drop - drop * drop
        return (lost - gained - images * drop) / math.sqrt(images * variance)

    return statistic


@pytest.mark.parametrize(
    ("lost", "gained", "images"),
    [(10, 30, 1000), (7, 2, 360), (1, 0, 50), (0, 5, 44), (3, 3, 100), (43, 26, 5000), (2, 30, 40)],
)
def test_interval_is_where_the_score_test_rejects_at_5_percent(lost: int, gained: int, images: int) -> None:
    statistic = score_statistic(lost=lost, gained=gained, images=images)
    z95 = stats.norm.ppf(0.975)
    drop = (lost - gained) / images
    low = optimize.brentq(lambda d: statistic(d) - z95, -1 + 1e-6, drop)
    high = optimize.brentq(lambda d: statistic(d) + z95, drop, 1 - 1e-6)
    assert paired_drop_ci95(lost, gained, images) == pytest.approx((low, high), abs=OPTIMISER_ABSOLUTE)


@pytest.mark.parametrize("images", [1, 360, 50_000])
def test_without_a_differing_image_the_interval_is_z2_over_n_plus_z2(images: int) -> None:
    # By hand: q = 0, so (n d)^2 = z^2 n d (1 - d), hence d = z^2 / (n + z^2).
    bound = stats.norm.ppf(0.975) ** 2 / (images + stats.norm.ppf(0.975) ** 2)
    assert paired_drop_ci95(0, 0, images) == pytest.approx((-bound, bound), rel=1e-12)


def test_the_interval_of_a_total_loss_ends_at_one() -> None:
    assert paired_drop_ci95(8, 0, 8)[1] == 1.0
    assert paired_drop_ci95(0, 8, 8)[0] == -1.0


@given(st.tuples(*[st.integers(0, 3000)] * 3).filter(lambda counts: sum(counts) > 0))
def test_the_interval_holds_the_drop_and_mirrors(counts: tuple[int, int, int]) -> None:
    lost, gained, _both = counts
    images = sum(counts)
    low, high = paired_drop_ci95(lost, gained, images)
    assert -1 <= low <= (lost - gained) / images <= high <= 1
    assert paired_drop_ci95(gained, lost, images) == (-high, -low)
