from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibration.graph.checks import prepare
from calibration.layers.search_layers import LayerQuestion, search_layers
from calibration.options import QuantizeOptions
from calibration.qdq.placement import EitherSide, either_sides, place
from calibration.quantize import QuantizedModel, quantize_model
from runtime.bundle.manifest import Preprocessing
from runtime.support.progress import Listener
from tests.helpers.resnet_graphs import basic_block, bottleneck, downsample_block
from tests.helpers.tiny_resnet import MEAN, STD, pictures

PREPROCESSING = Preprocessing(image_size=16, resize_size=16, crop_pct=1, interpolation="bilinear", mean=MEAN, std=STD)
FAST = QuantizeOptions(equalize=False, rounding=False, bias_correction=False, workers=1, threads=1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("pictures"))


def scaled(layer: str, factor: float) -> onnx.ModelProto:
    """A downsample block, one of whose last two convolutions gives a multiple of what it gave."""
    model = downsample_block()
    for tensor in model.graph.initializer:
        if tensor.name in (f"{layer}.weight", f"{layer}.bias"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    return model


def pairs(quantized: QuantizedModel) -> set[str]:
    """The tensors with a pair, read from the graph."""
    return {node.input[0] for node in quantized.model.graph.node if node.op_type == "QuantizeLinear"}


@pytest.mark.parametrize("pooled", [False, True])
def test_either_side_can_have_the_pair_where_both_are_convolutions(pooled: bool) -> None:
    model = prepare(downsample_block(pooled=pooled))
    assert either_sides(model, place(model)) == (EitherSide("b.add", skip="b.downsample", main="b.conv2"),)


@pytest.mark.parametrize("layer", ["b.conv2", "b.downsample"])
def test_an_identity_a_float_convolution_and_a_cpu_leave_no_choice(layer: str) -> None:
    for identity in (basic_block(), bottleneck()):
        assert either_sides(prepare(identity), place(prepare(identity))) == ()
    model = prepare(downsample_block())
    assert either_sides(model, place(model, target="cpu")) == ()
    assert either_sides(model, place(model, keep_float={layer})) == ()


@pytest.mark.parametrize(
    ("layer", "factor", "expected"),
    [("b.conv2", 0.01, "b.conv2"), ("b.conv2", 100, "b.downsample"), ("b.downsample", 100, "b.conv2")],
)
def test_the_side_with_the_smaller_range_has_the_pair(images: Path, layer: str, factor: float, expected: str) -> None:
    quantized = quantize_model(scaled(layer, factor), images, PREPROCESSING, options=FAST)
    assert pairs(quantized) & {"b.conv2", "b.downsample"} == {expected}
    assert [one.name for one in quantized.calibration.activations] == ["x", "act1", "b.act1", expected, "b.act2"]


def test_a_cache_and_layers_kept_float_keep_the_side(images: Path, tmp_path: Path) -> None:
    model, cache = scaled("b.conv2", 0.01), tmp_path / "c.zip"
    first, again = (quantize_model(model, images, PREPROCESSING, options=FAST, cache=cache) for _ in range(2))
    assert again.model.SerializeToString(deterministic=True) == first.model.SerializeToString(deterministic=True)
    question = LayerQuestion(max_drop=None, eval_data=None, labels=(), state=tmp_path / "state.json")
    quantized, _ = search_layers(again, question, Listener())
    assert "b.conv2" in pairs(quantized)
