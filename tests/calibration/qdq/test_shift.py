from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from calibration.graph.checks import prepare
from calibration.options import QuantizeOptions
from calibration.qdq.placement import place
from calibration.qdq.write import write_qdq
from calibration.quantize import quantize_model
from calibration.search.parts import Parts
from calibration.weights.scales import WeightQuantization
from runtime.bundle.manifest import Preprocessing
from tests.helpers.graphs import evaluate
from tests.helpers.resnet_graphs import Network, basic_block, bottleneck, downsample_block, group_norm_bottleneck
from tests.helpers.tiny_resnet import MEAN, STD, pictures

PREPROCESSING = Preprocessing(image_size=16, resize_size=16, crop_pct=1, interpolation="bilinear", mean=MEAN, std=STD)
FAST = QuantizeOptions(equalize=False, rounding=False, bias_correction=False, workers=1, threads=1)
Floats = npt.NDArray[np.float32]


def pooled_bottleneck() -> onnx.ModelProto:
    """A stem with a max pool, then a bottleneck whose downsample is a convolution, as a ResNet-50 begins."""
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 3)))
    net.node("MaxPool", "maxpool", "act1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.node("Relu", "b.act1", net.conv("b.conv1", "maxpool", shape=(4, 4, 1)))
    net.node("Relu", "b.act2", net.conv("b.conv2", "b.act1", shape=(4, 4, 3)))
    main = net.conv("b.conv3", "b.act2", shape=(8, 4, 1))
    net.node("Add", "b.add", main, net.conv("b.downsample", "maxpool", shape=(8, 4, 1)))
    net.node("Relu", "c.act1", net.conv("c.conv1", net.node("Relu", "b.act3", "b.add"), shape=(4, 8, 1)))
    net.node("Relu", "c.act2", net.conv("c.conv2", "c.act1", shape=(4, 4, 3)))
    net.node("Add", "c.add", net.conv("c.conv3", "c.act2", shape=(8, 4, 1)), "b.act3")
    return net.finish(net.node("Relu", "c.act3", "c.add"), 8)


def valid_padding() -> onnx.ModelProto:
    """A 3 x 3 convolution without padding reads a ReLU, and one that says VALID reads the next."""
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 3)))
    net.node("Relu", "act2", net.conv("conv2", "act1", shape=(4, 4, 3)))
    del net.nodes[-2].attribute[:]
    net.conv("conv3", "act2", shape=(4, 4, 3))
    del net.nodes[-1].attribute[:]
    net.nodes[-1].attribute.append(helper.make_attribute("auto_pad", "VALID"))
    return net.finish("conv3", 4)


def relus(model: onnx.ModelProto) -> set[str]:
    return {node.name for node in model.graph.node if node.op_type == "Relu"}


def weights_to_nearest(model: onnx.ModelProto, layers: tuple[str, ...]) -> dict[str, WeightQuantization]:
    """One scale for each output channel: the largest magnitude / 127."""
    found = {}
    for tensor in model.graph.initializer:
        layer = tensor.name.removesuffix(".weight")
        if tensor.name.endswith(".weight") and layer in layers:
            values = numpy_helper.to_array(tensor)
            scales = (np.abs(values).max(axis=(1, 2, 3)) / 127).astype(np.float32)
            found[layer] = WeightQuantization(np.rint(values / scales[:, None, None, None]).astype(np.int8), scales, 0)
    return found


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param(basic_block(), set(), id="padded: basic block"),
        pytest.param(downsample_block(), set(), id="padded: downsample"),
        pytest.param(bottleneck(), {"act1", "b.act2"}, id="identity and 1 x 1"),
        pytest.param(pooled_bottleneck(), {"maxpool", "b.act2", "b.act3", "c.act2"}, id="max pool and downsample"),
        pytest.param(valid_padding(), {"act1", "act2"}, id="3 x 3 without padding"),
        pytest.param(group_norm_bottleneck(), {"act1", "b.act2"}, id="GroupNorm"),
    ],
)
@pytest.mark.parametrize("target", ["tensorrt", "rtx"])
def test_what_unpadded_convolutions_and_adds_alone_read_is_shifted(model, expected, target) -> None:
    placement = place(prepare(model), target=target)
    assert {tensor.name for tensor in placement.activations if tensor.unsigned} == expected


def test_a_float_reader_an_output_and_a_missing_bias_forbid_it() -> None:
    def shifted(model: onnx.ModelProto, **options) -> set[str]:
        return {tensor.name for tensor in place(prepare(model), **options).activations if tensor.unsigned}

    assert shifted(bottleneck(), keep_float={"b.conv1"}) == {"b.act2"}
    # A float convolution can still take a constant into its bias.
    assert shifted(bottleneck(), keep_float={"b.conv3"}) == {"act1"}
    seen = bottleneck()
    seen.graph.output.append(helper.make_tensor_value_info("act1", onnx.TensorProto.FLOAT, ("n", 8, 16, 16)))
    assert shifted(seen) == {"b.act2"}
    bare = bottleneck()
    (reader,) = [node for node in bare.graph.node if node.name == "b.conv3"]
    del reader.input[2]
    # Neither can b.act2's reader take a constant, nor the identity's Add.
    assert shifted(bare) == set()
    # A Clip from 0 to 6 cannot be left out as a ReLU is: it has an upper end too.
    clipped = bottleneck()
    (relu,) = [node for node in clipped.graph.node if node.name == "b.act2"]
    relu.op_type = "Clip"
    for name, value in (("low", 0.0), ("high", 6.0)):
        clipped.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
        relu.input.append(name)
    assert shifted(clipped) == {"act1"}


@pytest.mark.parametrize("make", [bottleneck, pooled_bottleneck, valid_padding, group_norm_bottleneck])
@pytest.mark.parametrize("main", [False, True])
def test_the_shifted_graph_computes_what_unsigned_bytes_would(make, main: bool) -> None:
    """Both forms by onnx's reference evaluator; `cpu`'s integers on the same tensors are the other form."""
    model = make()
    prepared = prepare(model)
    placement = place(prepared, main_sides={"b.add"} if main and make is pooled_bottleneck else ())
    rng = np.random.default_rng(3)
    pictures = rng.normal(size=(4, 3, 16, 16)).astype(np.float32)
    names = [tensor.name for tensor in placement.activations]
    floats = dict(zip(names, evaluate(model, pictures, names), strict=True))
    levels = {tensor.name: 255 if tensor.unsigned else 127 for tensor in placement.activations}
    scales = {name: float(np.abs(floats[name]).max() / levels[name]) for name in names}
    weights = weights_to_nearest(model, placement.weights)
    shifted = write_qdq(prepared, placement, activation_scales=scales, weights=weights)
    plain = Parts(prepared, scales, weights, unsigned=frozenset(n for n in names if levels[n] == 255))
    want = evaluate(plain.skeleton(placement).whole(), pictures)[0]
    have = evaluate(shifted, pictures)[0]
    # Sums in float32 with another bias: what lies at the border of two levels may still fall to either side.
    np.testing.assert_allclose(have, want, atol=2e-3 * np.abs(want).max())
    wanted = relus(model) - {"act1" if name == "maxpool" else name for name in names if levels[name] == 255}
    assert {node.name for node in shifted.graph if node.op_type == "Relu"} == wanted


def test_the_lowest_level_stands_for_zero_and_the_sum_is_what_it_was(images: Path) -> None:
    quantized = quantize_model(bottleneck(), images, PREPROCESSING, options=FAST)
    (act1,) = [one for one in quantized.calibration.activations if one.name == "act1"]
    assert act1.unsigned
    assert act1.scale == pytest.approx(act1.clip / 255)
    picture = np.random.default_rng(0).uniform(-1.5, 1.5, (2, 3, 16, 16)).astype(np.float32)
    (real,) = evaluate(bottleneck(), picture, ["act1"])
    (found,) = evaluate(quantized.model, picture, ["act1.dequantized"])
    # The stem reads a quantised picture too: what differs is its noise, not 128 steps.
    np.testing.assert_allclose(found + 128 * act1.scale, np.minimum(real, act1.clip), atol=20 * act1.scale)
    assert np.abs(found + 128 * act1.scale - np.minimum(real, act1.clip)).mean() < 2 * act1.scale
    (integers,) = evaluate(quantized.model, picture, ["act1.quantized"])
    assert integers.dtype == np.int8
    assert integers.min() == -128
    assert set(relus(quantized.model)) == {"b.act1", "b.act3"}


def test_a_layer_taken_back_to_float_takes_the_shift_back_too(images: Path) -> None:
    quantized = quantize_model(bottleneck(), images, PREPROCESSING, options=FAST)
    scales = {one.name: one.scale for one in quantized.calibration.activations}
    kept = place(quantized.parts.model, keep_float={"b.conv1"})
    placement, found = quantized.parts.for_placement(kept)
    kinds = {tensor.name: tensor.unsigned for tensor in placement.activations}
    assert (kinds["act1"], kinds["b.act2"]) == (False, True)
    assert found["act1"] == pytest.approx(scales["act1"] * 255 / 127)
    assert found["b.act2"] == scales["b.act2"]
    built = quantized.parts.build(kept)
    onnx.checker.check_model(built, full_check=True)
    assert "act1" in relus(built)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("pictures"))
