import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from runtime.compare.score import Scores, compare
from runtime.engines.contract import Outputs
from runtime.errors import DataError, EngineError
from tests.helpers.fake_engine import FakeEngine

CLASSES = 10
SIDE = 4
# Our sums run batch by batch, the expected one over all images.
SUM_ORDER_DB = 1e-9


@dataclass(frozen=True)
class Batch:
    pixels: np.ndarray
    labels: np.ndarray


class LinearEngine(FakeEngine):
    """A linear map whose logits a test may bend."""

    def __init__(self, precision: str, *, bend: Callable[[np.ndarray], np.ndarray] = np.asarray) -> None:
        self.name, self.precision, self.bend = "fake", precision, bend
        self.weights = np.random.default_rng(1).normal(size=(SIDE * SIDE * 3, CLASSES)).astype(np.float32)

    def infer(self, pixels: np.ndarray) -> Outputs:
        flat: Any = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
        return Outputs(logits=self.bend(flat @ self.weights), embedding=flat)


def coarse(logits: np.ndarray) -> np.ndarray:
    # Whole logits, and a slope so that no two classes tie.
    return (np.round(logits) + np.arange(CLASSES) * 1e-3).astype(np.float32)


def batches(images: int = 700, size: int = 64) -> list[Batch]:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, size=(images, SIDE, SIDE, 3), dtype=np.uint8)
    # The label is the original's first or second choice, so that rounding both loses and gains hits.
    ranking = LinearEngine("fp32").infer(pixels).logits.argsort(axis=1)
    labels = np.where(rng.random(images) < 0.5, ranking[:, -1], ranking[:, -2])
    labels = np.where(rng.random(images) < 0.1, ranking[:, 0], labels)
    return [Batch(pixels[i : i + size], labels[i : i + size]) for i in range(0, images, size)]


def run(*engines: LinearEngine, data: list[Batch] | None = None) -> Scores:
    return compare(batches() if data is None else data, original=LinearEngine("fp32"), engines=engines)


def everything(engine: LinearEngine, data: list[Batch]) -> tuple[np.ndarray, np.ndarray]:
    logits = np.concatenate([engine.infer(batch.pixels).logits for batch in data])
    return logits, np.concatenate([batch.labels for batch in data])


def test_accuracies_equal_scikit_learns_over_all_images_at_once() -> None:
    data = batches()
    scores = run(LinearEngine("coarse", bend=coarse), data=data)
    pairs: list[tuple[Any, LinearEngine]] = [
        (scores.original, LinearEngine("fp32")),
        (scores.engines[0], LinearEngine("coarse", bend=coarse)),
    ]
    for score, engine in pairs:
        logits, truth = everything(engine, data)
        assert score.top1 == accuracy_score(truth, logits.argmax(axis=1))
        assert score.top5 == top_k_accuracy_score(truth, logits, k=5, labels=np.arange(CLASSES))
        assert (score.non_finite_logits, score.non_finite_images) == (0, 0)
    assert scores.original.images == 700
    assert scores.original.top5_k == 5


def test_paired_figures_equal_those_from_all_logits_at_once() -> None:
    data = batches()
    score = run(LinearEngine("coarse", bend=coarse), data=data).engines[0]
    before, truth = everything(LinearEngine("fp32"), data)
    after, _ = everything(LinearEngine("coarse", bend=coarse), data)
    right, still = before.argmax(axis=1) == truth, after.argmax(axis=1) == truth
    lost, gained = int((right & ~still).sum()), int((still & ~right).sum())
    assert lost > 0
    assert gained > 0
    assert (score.only_original_right, score.only_engine_right) == (lost, gained)
    assert score.drop == (lost - gained) / 700
    assert score.drop_ci95[0] < score.drop < score.drop_ci95[1]
    assert score.mcnemar_p == pytest.approx(stats.binomtest(lost, lost + gained).pvalue)
    assert score.agreement == accuracy_score(before.argmax(axis=1), after.argmax(axis=1))
    wide = torch.from_numpy(before).double()
    noise = (wide - torch.from_numpy(after).double()).square().sum()
    assert score.sqnr_db == pytest.approx(float(10 * torch.log10(wide.square().sum() / noise)), abs=SUM_ORDER_DB)
    assert not score.identical


def test_equal_logits_are_identical_and_their_sqnr_is_null_in_json() -> None:
    score = run(LinearEngine("fp32")).engines[0]
    assert score.identical
    assert (score.drop, score.agreement, score.mcnemar_p) == (0, 1, 1)
    assert json.loads(score.model_dump_json())["sqnr_db"] is None


def test_nan_is_counted_and_named_and_never_a_hit() -> None:
    def break_one_image_per_batch(logits: np.ndarray) -> np.ndarray:
        logits[0, :3] = math.nan
        return logits

    data = batches(images=256, size=64)
    score = run(LinearEngine("fp16", bend=break_one_image_per_batch), data=data).engines[0]
    assert (score.non_finite_logits, score.non_finite_images) == (12, 4)
    assert score.agreement == 252 / 256
    assert score.sqnr_db is None
    assert not score.identical
    logits, truth = everything(LinearEngine("fp32"), data)
    still = (logits.argmax(axis=1) == truth) & (np.arange(256) % 64 != 0)
    assert score.top1 == still.mean()


def test_an_original_with_nan_agrees_with_nobody_and_says_so() -> None:
    broken = LinearEngine("fp32", bend=lambda logits: np.full_like(logits, math.nan))
    scores = compare(batches(images=8), original=broken, engines=[broken, LinearEngine("fp32")])
    assert (scores.original.top1, scores.original.non_finite_images) == (0, 8)
    assert [score.agreement for score in scores.engines] == [0, 0]


def test_with_fewer_than_five_classes_top5_counts_them_all() -> None:
    def three(logits: np.ndarray) -> np.ndarray:
        return logits[:, :3]

    data = [Batch(batches(images=8)[0].pixels, np.arange(8, dtype=np.int64) % 3)]
    original = LinearEngine("fp32", bend=three)
    assert compare(data, original=original, engines=[]).original.top5_k == 3
    assert compare(data, original=original, engines=[]).original.top5 == 1


def test_every_batch_is_reported_with_the_images_done_so_far() -> None:
    done: list[int] = []
    compare(batches(images=150), original=LinearEngine("fp32"), engines=[], on_batch=done.append)
    assert done == [64, 128, 150]


def test_speed_leaves_out_the_first_batch_and_the_other_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    for module in ("score", "tally"):
        monkeypatch.setattr(f"runtime.compare.{module}.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def taking(*seconds: float) -> LinearEngine:
        left = iter(seconds)

        def wait(logits: np.ndarray) -> np.ndarray:
            now[0] += next(left)
            return logits

        return LinearEngine("fp32", bend=wait)

    scores = compare(batches(images=150), original=taking(9, 2, 1), engines=[taking(5, 0.25, 0.25)])
    assert scores.original.images_per_s == (64 + 22) / 3
    assert scores.engines[0].images_per_s == (64 + 22) / 0.5
    assert scores.seconds == 17.5
    assert scores.images_per_s == 150 / 17.5
    alone = compare(batches(images=10), original=taking(4), engines=[])
    assert alone.original.images_per_s == 10 / 4


def test_batches_are_read_one_at_a_time() -> None:
    alive = []

    def stream():
        for batch in batches(images=256):
            alive.append("read")
            yield batch
            assert alive.pop() == "scored"

    def note(_images: int) -> None:
        assert alive.pop() == "read"
        alive.append("scored")

    compare(stream(), original=LinearEngine("fp32"), engines=[LinearEngine("fp32")], on_batch=note)
    assert alive == []


def test_no_image_at_all_is_an_error_that_names_the_next_step() -> None:
    with pytest.raises(DataError, match="0 images, expected at least 1: check the data folder and --limit"):
        run(data=[])


def test_a_network_with_another_number_of_classes_is_refused() -> None:
    other = LinearEngine("fp32", bend=lambda logits: logits[:, :7])
    with pytest.raises(EngineError, match=r"shaped \(64, 7\), expected \(64, 10\)"):
        run(other)


def test_an_engine_that_loses_images_is_refused() -> None:
    with pytest.raises(EngineError, match=r"shaped \(1, 10\), expected \(64, 10\)"):
        run(LinearEngine("fp32", bend=lambda logits: logits[:1]))


def test_labels_beyond_the_networks_classes_are_refused() -> None:
    batch = batches(images=4)[0]
    with pytest.raises(DataError, match="expected 0 to 9"):
        run(data=[Batch(batch.pixels, batch.labels + 10)])


def test_json_keys_are_the_documented_ones() -> None:
    score = json.loads(run(LinearEngine("coarse", bend=coarse)).engines[0].model_dump_json())
    documented = "engine precision top1 top5 drop drop_ci95 mcnemar_p agreement sqnr_db images_per_s"
    assert set(documented.split()) <= set(score)
    assert len(score["drop_ci95"]) == 2
