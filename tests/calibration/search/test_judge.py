import math
from typing import Any

import numpy as np
import onnx
import pytest
from scipy import stats

from calibration.search.judge import Judge, Judged, spread
from tests.helpers.graphs import make_model
from tests.helpers.resnet_graphs import Network

# A percentile of 2,000 draws against one of scipy's 9,999: both have the error of a Monte Carlo run.
DRAWN_DB = 0.03


def judged(signal: Any, noise: Any) -> Judged:
    return Judged(np.array(signal, np.float64), np.array(noise, np.float64))


def test_the_figure_is_that_of_the_mean_of_both_outputs_noises() -> None:
    # 10 / 1000 and 30 / 1000 of the signal: their mean is 2 %.
    assert judged([[600, 400], [500, 500]], [[4, 6], [30, 0]]).db == pytest.approx(-10 * math.log10(0.02))


def test_an_output_without_noise_and_one_that_is_not_finite() -> None:
    assert judged([[1, 1]], [[0, 0]]).db == math.inf
    assert judged([[1, 0]], [[0.5, math.inf]]).db == -math.inf


def test_what_every_image_costs_both_alike_leaves_no_doubt() -> None:
    # Images differ by a factor of 1,000; of each, one graph has half the other's noise: 3.01 dB, whatever is drawn.
    noise = np.logspace(0, 3, 64)
    gain = judged([np.full(64, 1e6)], [noise / 2]).gain_ci95(judged([np.full(64, 1e6)], [noise]))
    assert gain == pytest.approx((10 * math.log10(2),) * 2)


def test_the_interval_is_scipys_paired_percentile_bootstrap() -> None:
    rng = np.random.default_rng(1)
    signal, before = rng.uniform(50, 150, (2, 64)), rng.gamma(1.0, 1.0, (2, 64))
    after = before * rng.uniform(0.4, 1.4, (2, 64))

    def gain(*columns: np.ndarray, axis: int) -> np.ndarray:
        power, old, new = (np.stack(columns[start::3]) for start in range(3))
        shares = [(noise.sum(axis) / power.sum(axis)).mean(axis=0) for noise in (old, new)]
        found: np.ndarray = 10 * np.log10(shares[0] / shares[1])
        return found

    columns = [array[place] for place in (0, 1) for array in (signal, before, after)]
    wanted = stats.bootstrap(
        columns, gain, paired=True, vectorized=True, method="percentile", n_resamples=9999, rng=np.random.default_rng(2)
    ).confidence_interval
    found = judged(signal, after).gain_ci95(judged(signal, before))
    assert found == pytest.approx((wanted.low, wanted.high), abs=DRAWN_DB)


def test_no_interval_without_noise_or_with_outputs_that_are_not_finite() -> None:
    fine = judged([[1, 1]], [[0.1, 0.2]])
    assert fine.gain_ci95(judged([[1, 1]], [[0, 0]])) is None
    assert judged([[1, 0]], [[0.1, math.inf]]).gain_ci95(fine) is None


def test_signal_and_noise_are_summed_image_by_image_and_output_by_output() -> None:
    net = Network()
    net.node("Relu", "logits", "x")
    net.node("Neg", "embedding", "x")
    outputs: dict[str, tuple[int | str, ...]] = {"logits": ("n", 2), "embedding": ("n", 2)}
    model = make_model(net.nodes, net.constants, input_shape=("n", 2), outputs=outputs)
    batches = [np.array([[3, 4], [1, -1]], np.float32), np.array([[2, 0]], np.float32)]
    # The float network gave twice as much for the first batch, and 1 more for the second.
    reference = [[2 * np.maximum(batches[0], 0), -2 * batches[0]], [np.maximum(batches[1], 0) + 1, -batches[1] + 1]]
    found = Judge(batches, reference, threads=1).judge(model)
    np.testing.assert_array_equal(found.signal, [[100, 4, 10], [100, 8, 2]])
    np.testing.assert_array_equal(found.noise, [[25, 1, 2], [25, 2, 2]])


def scaled_copy() -> onnx.ModelProto:
    """A graph that multiplies by a constant `factor`."""
    net = Network()
    net.constants["factor"] = np.array(1, np.float32)
    net.node("Mul", "logits", "x", "factor")
    return make_model(net.nodes, net.constants, input_shape=("n", 2), outputs={"logits": ("n", 2)})


def test_what_is_surely_worse_on_the_first_images_is_not_judged_on_the_others() -> None:
    # The noise of a factor f is (f - 1)^2 of the signal, image by image: no draw of images changes it.
    batches = [np.ones((8, 2), np.float32) for _ in range(5)]
    judge = Judge(batches, [[batch] for batch in batches], threads=1)
    factors = [{"factor": np.array(factor, np.float32)} for factor in (1.5, 1.25, 1.125)]
    found = judge.race(scaled_copy(), factors)
    assert [one.images for one in found] == [16, 16, 40]
    assert [one.db for one in found] == pytest.approx([-20 * math.log10(step) for step in (0.5, 0.25, 0.125)])
    # A rival that is better drops all of them, one that is worse none.
    rival = found[2]
    assert [one.images for one in judge.race(scaled_copy(), factors[:2], rival=rival)] == [16, 16]
    assert judge.judge(scaled_copy(), rival=found[0]).images == 40
    assert found[0].surely_worse(rival)
    assert not rival.surely_worse(found[0])


def test_a_graph_is_judged_on_the_first_images_alone_where_that_is_asked_for() -> None:
    batches = [np.ones((8, 2), np.float32) for _ in range(5)]
    found = Judge(batches, [[batch] for batch in batches], threads=1).judge_on_first(scaled_copy())
    assert found.images == 16


def test_ties_and_few_images_are_judged_on_all() -> None:
    batches = [np.ones((8, 2), np.float32) for _ in range(5)]
    same = [{"factor": np.array(1.5, np.float32)}] * 2
    judge = Judge(batches, [[batch] for batch in batches], threads=1)
    assert [one.images for one in judge.race(scaled_copy(), same)] == [40, 40]
    few = Judge(batches[:3], [[batch] for batch in batches[:3]], threads=1)
    different = [{"factor": np.array(factor, np.float32)} for factor in (1.5, 1.25)]
    assert [one.images for one in few.race(scaled_copy(), different)] == [24, 24]


def test_the_first_images_are_spread_over_all() -> None:
    images = np.arange(64, dtype=np.float32).reshape(64, 1)
    batches = spread([images[at : at + 8] for at in range(0, 64, 8)])
    assert [len(batch) for batch in batches] == [8] * 8
    np.testing.assert_array_equal(np.concatenate(batches[:2]).ravel(), np.arange(0, 64, 4))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches), axis=None), np.arange(64))
    assert [list(batch.ravel()) for batch in spread([images[:3], images[3:5]])] == [[0, 1, 2], [3, 4]]
    assert spread([]) == []
