import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.layers.paired_top1 import Infer, Load, count_paired, graph_infer, neighbour_hits, top1_hits
from runtime.data.batches import Batch
from runtime.errors import DataError
from runtime.support.arrays import Pixels

# Each image is one pixel whose three colours are the scores of three classes.
SCORES = np.array([[9, 1, 2], [1, 9, 2], [1, 2, 9], [5, 5, 1], [3, 2, 1]], np.uint8)
LABELS = np.array([0, 1, 0, 0, 2])


def load(*, batch_size: int = 2, images: int = len(LABELS), closed: list[bool] | None = None) -> Load:
    @contextmanager
    def opened() -> Iterator[Iterator[Batch]]:
        indices = np.arange(images)
        pixels = SCORES[:images, None, None, :]
        yield (
            Batch(pixels[i : i + batch_size], LABELS[:images][i : i + batch_size], indices[i : i + batch_size])
            for i in range(0, images, batch_size)
        )
        if closed is not None:
            closed.append(True)

    return opened


def network(weights: list[float]) -> onnx.ModelProto:
    """Logits are the three scores, each times its weight; another output comes first."""
    nodes = [
        helper.make_node("Mul", ["x", "weights"], ["logits"]),
        helper.make_node("Neg", ["x"], ["embedding"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", 3)) for name in ("embedding", "logits", "x")
    ]
    constants = [numpy_helper.from_array(np.array(weights, np.float32), "weights")]
    graph = helper.make_graph(nodes, "test", values[2:], values[:2], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def infer(weights: list[float]) -> Infer:
    return graph_infer(network(weights), feed, threads=1)


def feed(pixels: Pixels) -> np.ndarray:
    return pixels.reshape(len(pixels), 3).astype(np.float32)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_hits_are_those_worked_out_by_hand_whatever_the_batch(batch_size: int) -> None:
    found = top1_hits(infer([1, 1, 1]), load(batch_size=batch_size))
    # The fourth image has two equal scores: the lower class wins, and it is the label.
    assert found.hits.tolist() == [True, True, False, True, False]
    assert found.indices.tolist() == [0, 1, 2, 3, 4]


def test_images_are_opened_for_each_graph_closed_after_it_and_counted() -> None:
    closed: list[bool] = []
    counted: list[int] = []
    for _ in range(2):
        top1_hits(infer([1, 1, 1]), load(closed=closed), on_images=counted.append)
    assert closed == [True, True]
    assert counted == [2, 2, 1] * 2


def test_a_network_that_gives_nan_is_never_right() -> None:
    assert not top1_hits(infer([1, 1, np.nan]), load()).hits.any()


def test_lost_and_gained_are_counted_apart() -> None:
    original = top1_hits(infer([1, 1, 1]), load())
    # Scores become (9, 1, 20), (1, 9, 20), (1, 2, 90), (5, 5, 10), (3, 2, 10): the last class wins everywhere.
    found = count_paired(infer([1, 1, 10]), load(), original=original)
    assert (found.lost, found.gained, found.images) == (3, 1, 5)
    assert found.drop == pytest.approx(2 / 5)


def test_images_that_changed_in_between_are_refused() -> None:
    original = top1_hits(infer([1, 1, 1]), load())
    with pytest.raises(DataError, match="4 images were read, expected the 5"):
        count_paired(infer([1, 1, 1]), load(images=4), original=original)


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="0 images"):
        top1_hits(infer([1, 1, 1]), load(images=0))


def test_without_a_classifier_an_image_gets_the_class_that_all_others_vote_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two near pairs, and an image of the first class that lies with the second.
    scores = np.array([[9, 1, 2], [8, 1, 2], [1, 2, 9], [1, 2, 8], [1, 1, 9]], np.uint8)
    labels = np.array([0, 0, 2, 2, 0])
    monkeypatch.setattr(sys.modules[__name__], "SCORES", scores)
    monkeypatch.setattr(sys.modules[__name__], "LABELS", labels)
    found = neighbour_hits(feed, load(batch_size=2))
    units = scores / np.linalg.norm(scores.astype(float), axis=1, keepdims=True)
    expected = []
    for image in range(5):
        # Fewer than twenty: all others vote, with exp(cosine / 0.07).
        votes = np.zeros(3)
        for other in range(5):
            if other != image:
                votes[labels[other]] += np.exp(units[image] @ units[other] / 0.07)
        expected.append(votes.argmax() == labels[image])
    assert found.hits.tolist() == expected
    assert 0 < sum(expected) < 5
    counts = count_paired(feed, load(), original=found, find_hits=neighbour_hits)
    assert (counts.lost, counts.gained, counts.images) == (0, 0, 5)


def test_one_image_has_no_neighbour() -> None:
    with pytest.raises(DataError, match="gave 1 image, expected at least 2 that can be each other's neighbours"):
        neighbour_hits(feed, load(images=1))
