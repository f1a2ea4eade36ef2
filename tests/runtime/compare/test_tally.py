from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from runtime.compare.tally import Tally
from runtime.support.paired_statistics import SqnrSum


def sqnr(signal: float, noise: float) -> SqnrSum:
    """Return the sum of one logit, so far from the original's that its square is `noise`."""
    before = np.array([[signal**0.5]], np.float32)
    return SqnrSum().add(before, (before - np.float32(noise**0.5)).astype(np.float32))


# Every field: of one stretch, of another, and of both together.
FIELDS: dict[str, tuple[Any, Any, Any]] = {
    "engine": ("onnxruntime", "onnxruntime", "onnxruntime"),
    "precision": ("fp16", "fp16", "fp16"),
    "images": (64, 32, 96),
    "top1": (40, 20, 60),
    "top5": (50, 30, 80),
    "top5_k": (5, 3, 3),
    "non_finite_logits": (7, 2, 9),
    "non_finite_images": (3, 1, 4),
    "repeated": (2, 3, 5),
    "seconds": (1.5, 0.25, 1.75),
    "warm_up_images": (16, 8, 24),
    "warm_up_seconds": (0.5, 0.125, 0.625),
    "lost": (6, 5, 11),
    "gained": (4, 9, 13),
    "agreed": (54, 18, 72),
    "sqnr": (sqnr(16, 4), sqnr(9, 1), SqnrSum(signal=25.0, noise=5.0)),
}


def test_every_field_of_two_stretches_merges() -> None:
    assert set(FIELDS) == {one.name for one in fields(Tally)}
    first, second = (Tally(**{name: values[place] for name, values in FIELDS.items()}) for place in (0, 1))
    merged = first.merge(second)
    for name, values in FIELDS.items():
        assert getattr(merged, name) == values[2], name


def test_a_stretch_without_an_image_does_not_say_how_many_classes_count() -> None:
    seen = Tally("onnxruntime", "fp16", images=4, top5_k=3)
    assert Tally("onnxruntime", "fp16").merge(seen).top5_k == 3


def test_stretches_of_two_engines_do_not_merge() -> None:
    with pytest.raises(AssertionError, match="two engines"):
        Tally("onnxruntime", "fp16").merge(Tally("openvino", "fp16"))


def test_a_clock_that_did_not_move_is_no_division_by_zero() -> None:
    assert Tally("onnxruntime", "fp16", images=3).images_per_s == pytest.approx(3e9)


def test_batches_that_warmed_up_count_where_there_are_no_others() -> None:
    alone = Tally("onnxruntime", "fp16", images=8, seconds=2.0, warm_up_images=8, warm_up_seconds=2.0)
    assert alone.images_per_s == 4
    more = Tally("onnxruntime", "fp16", images=20, seconds=3.0, warm_up_images=8, warm_up_seconds=2.0)
    assert more.images_per_s == 12


def test_rows_with_nan_agree_with_nothing_and_class_0_is_a_decision() -> None:
    nan = float("nan")
    before = np.array([[2, 1], [1, 2], [nan, 1], [2, 1]], np.float32)
    after = np.array([[2, 1], [2, 1], [nan, 1], [1, nan]], np.float32)
    labels = np.array([0, 0, 0, 0])
    original, engine = Tally("pytorch", "fp32"), Tally("onnxruntime", "fp16")
    truth, verdict = (tally.judge(rows, labels, output=rows) for tally, rows in ((original, before), (engine, after)))
    engine.pair(truth, verdict)
    assert verdict.decisions.tolist() == [0, 0, -1, -1]
    # Right are the images 0 and 3 of the original, 0 and 1 of the engine; they agree on image 0 alone.
    assert (engine.lost, engine.gained, engine.agreed) == (1, 1, 1)
    assert (original.top1, engine.top1, engine.top5, engine.top5_k, engine.images) == (2, 2, 2, 2, 4)
    assert (engine.non_finite_logits, engine.non_finite_images, engine.repeated) == (2, 2, 1)
