"""`quantize_model` with learned ranges: what is tried, what is kept, what a cache gives back."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.options import QuantizeOptions
from calibration.quantize import QuantizedModel, quantize_model
from calibration.search import learn_ranges
from runtime.bundle.manifest import Preprocessing
from runtime.errors import CalibrationError
from runtime.support.progress import Listener
from tests.helpers.graphs import evaluate
from tests.helpers.resnet_graphs import basic_block
from tests.helpers.tiny_resnet import MEAN, SIZE, STD, draw, pictures, tiny_resnet, with_a_loud_channel

PREPROCESSING = Preprocessing(
    image_size=SIZE, resize_size=SIZE, crop_pct=1, interpolation="bilinear", mean=MEAN, std=STD
)
# Clipping at the largest magnitude, without equalisation, leaves the most to learn.
HIGH = QuantizeOptions(method="max", equalize=False, effort="high", target="cpu", workers=1, threads=1)
PICTURES = 160
STEPS = 100
# Of the whole graph, weights in INT8 too.
LEAST_GAIN_DB = 1.0


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("pictures"), PICTURES)


def loud() -> onnx.ModelProto:
    """A channel is 30 times as large as it was, and counts a hundredth."""
    return with_a_loud_channel(30, divided_by=3000)


@pytest.fixture(scope="module")
def normal(images: Path) -> QuantizedModel:
    return quantize_model(loud(), images, PREPROCESSING, options=replace(HIGH, effort="normal"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `learned` writes."""
    return tmp_path_factory.mktemp("cache") / "c.zip"


@pytest.fixture(scope="module")
def learned(images: Path, cache: Path) -> QuantizedModel:
    with pytest.MonkeyPatch.context() as patch:
        # Enough for a network of this size.
        patch.setattr(learn_ranges, "STEPS", STEPS)
        return quantize_model(loud(), images, PREPROCESSING, options=HIGH, cache=cache)


def noise_db(result: QuantizedModel) -> float:
    """SQNR on pictures that nothing has seen, by onnx's evaluator in NumPy."""
    fresh = np.stack([draw(seed) for seed in range(5000, 5016)])
    given = (fresh.transpose(0, 3, 1, 2) / 255 - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(STD, (1, 3, 1, 1))
    want = evaluate(loud(), given.astype(np.float32))[0]
    have = evaluate(result.model, given.astype(np.float32))[0]
    return float(10 * np.log10((want**2).sum() / ((want - have) ** 2).sum()))


def test_learned_ranges_are_one_more_candidate_and_kept_where_they_are_surely_better(
    learned: QuantizedModel, normal: QuantizedModel
) -> None:
    candidates = learned.calibration.candidates
    before, kept = candidates
    assert [(one.name, one.kept) for one in candidates] == [("max, as it is", False), ("max, learned", True)]
    assert before.gain_ci95_db is not None
    assert before.gain_ci95_db[1] < 0
    assert kept.sqnr_db > before.sqnr_db
    assert [one.name for one in normal.calibration.candidates] == ["max, as it is"]
    assert not learned.parts.factors


def test_they_leave_less_noise_on_pictures_that_nothing_has_seen(
    learned: QuantizedModel, normal: QuantizedModel
) -> None:
    assert noise_db(learned) > noise_db(normal) + LEAST_GAIN_DB
    assert learned.calibration.held_out_sqnr_db > normal.calibration.held_out_sqnr_db


def test_the_graph_has_the_nodes_that_it_has_without_learning(learned: QuantizedModel, normal: QuantizedModel) -> None:
    assert [node.op_type for node in learned.model.graph.node] == [node.op_type for node in normal.model.graph.node]


def test_a_cache_gives_the_same_graph_back(learned: QuantizedModel, images: Path, cache: Path) -> None:
    stages: list[str] = []
    listener = Listener(on_stage=lambda name, _steps: stages.append(name))
    again = quantize_model(loud(), images, PREPROCESSING, options=HIGH, cache=cache, listener=listener)
    assert again.model.SerializeToString(deterministic=True) == learned.model.SerializeToString(deterministic=True)
    assert again.calibration == learned.calibration
    assert stages == ["check the images"]


def test_a_cache_of_the_other_effort_is_refused(images: Path, cache: Path, learned: QuantizedModel) -> None:
    fingerprint = learned.calibration.fingerprint
    assert fingerprint.options["effort"] == "high"
    assert fingerprint.versions["torch"] == version("torch")
    said = "options: effort is not there now, high in the file; pass another --calib-cache"
    with pytest.raises(CalibrationError, match=said):
        quantize_model(loud(), images, PREPROCESSING, options=replace(HIGH, effort="normal"), cache=cache)


def test_a_graph_that_pytorch_is_not_given_says_why_nothing_was_learned(images: Path) -> None:
    model = tiny_resnet()
    # The ReLU of the stem, written as a Clip without an upper end.
    (relu,) = [node for node in model.graph.node if node.name == "act1"]
    relu.CopyFrom(helper.make_node("Clip", [relu.input[0], "zero"], ["act1"], name="act1"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), "zero"))
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.checker.check_model(model)
    found = quantize_model(model, images, PREPROCESSING, options=HIGH)
    (said,) = found.calibration.warnings
    assert said == "ranges were not learned from gradients: the graph has operator Clip, which is not run in PyTorch"
    assert all("learned" not in one.name for one in found.calibration.candidates)


def test_a_network_whose_classifier_is_zero_says_that_nothing_was_learned(images: Path) -> None:
    model = basic_block()
    for tensor in model.graph.initializer:
        if tensor.name in ("fc.weight", "fc.bias"):
            tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name))
    smaller = PREPROCESSING.model_copy(update={"image_size": 16, "resize_size": 16})
    found = quantize_model(model, images, smaller, options=HIGH)
    assert found.calibration.warnings == (
        "ranges were not learned from gradients: an output of the network is zero on all images, or not finite",
    )
    assert [one.name for one in found.calibration.candidates] == ["max, as it is"]
