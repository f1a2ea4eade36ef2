import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from calibration.activations.thresholds import METHODS
from calibration.image_passes import takes_pixels
from calibration.images.sampling import sample_images, split_held_out
from calibration.options import QuantizeOptions
from calibration.quantize import QuantizedModel, quantize_model
from runtime.bundle.manifest import Preprocessing
from runtime.errors import CalibrationError, DataError, GraphError
from runtime.support.progress import Listener
from tests.helpers.damaged_images import DAMAGES, write_damaged
from tests.helpers.graphs import evaluate
from tests.helpers.resnet_graphs import basic_block
from tests.helpers.tiny_resnet import IMAGES, MEAN, SIZE, STD, draw, pictures, tiny_resnet, with_a_loud_channel

PREPROCESSING = Preprocessing(
    image_size=SIZE, resize_size=SIZE, crop_pct=1, interpolation="bilinear", mean=MEAN, std=STD
)
FAST = QuantizeOptions(equalize=False, rounding=False, bias_correction=False, workers=1, threads=1)
ALL = QuantizeOptions(workers=1, threads=1)
# Measured: 48 to 50 dB. One layer's scales in the wrong order leave 15 to 38, one tensor clipped at half its range 22
# to 42; another onnxruntime or NumPy may round single values otherwise, which costs or gives less than 1.
FLOOR_DB = 44.0
# onnx's evaluator and onnxruntime sum in other orders, so that single activations round to the other level.
EVALUATORS_DB = 0.2
# float32 against float64, relative to a quantisation step.
ROUNDING = 1e-3
# Layer-wise rounding hands errors on to other weights: nine in ten move by less than a step, single ones by 1.4.
HANDED_ON = 2.0


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("pictures"))


def test_images_in_a_parquet_file_calibrate_like_those_in_a_folder(images: Path, tmp_path: Path) -> None:
    files = sorted(file for file in images.rglob("*") if file.is_file())
    pq.write_table(pa.table({"image": [file.read_bytes() for file in files]}), tmp_path / "t.parquet")
    calibration = quantize_model(tiny_resnet(), tmp_path / "t.parquet", PREPROCESSING, options=FAST).calibration
    assert calibration.images == len(files)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `quantized` writes."""
    return tmp_path_factory.mktemp("cache") / "c.zip"


@pytest.fixture(scope="module")
def quantized(images: Path, cache: Path) -> QuantizedModel:
    return quantize_model(tiny_resnet(), images, PREPROCESSING, options=ALL, cache=cache)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> QuantizedModel:
    """On enough pictures that what is kept is kept for sure: of five held-out ones nearly everything is a tie."""
    return quantize_model(tiny_resnet(), pictures(tmp_path_factory.mktemp("many"), 240), PREPROCESSING, options=ALL)


def feed(pixels: np.ndarray, model: onnx.ModelProto) -> np.ndarray:
    """What a graph takes, by NumPy in float64."""
    if model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8:
        return pixels
    scaled = (pixels.transpose(0, 3, 1, 2) / 255 - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(STD, (1, 3, 1, 1))
    return scaled.astype(np.float32)


def reference_sqnr_db(model: onnx.ModelProto, float_model: onnx.ModelProto, pixels: np.ndarray) -> float:
    """SQNR of the logits, both graphs run by onnx's reference evaluator."""
    want, have = (np.float64(evaluate(newer(graph), feed(pixels, graph))[0]) for graph in (float_model, model))
    return float(10 * np.log10((want**2).sum() / ((want - have) ** 2).sum()))


def newer(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph in opset 20: the evaluator has Q/DQ from 19 on, where per-channel Q/DQ mean what they do in 13."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import[0].version = 20
    return copy


def held_out_pixels(folder: Path) -> np.ndarray:
    held_out = split_held_out(sample_images(folder))[1]
    return np.stack([np.asarray(Image.open(Path(str(image.source)))) for image in held_out.images])


def in_bytes(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def weights(model: onnx.ModelProto) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Layer name to INT8 weight and scales, read from the graph: Conv, Gemm <- DequantizeLinear <- initializer."""
    found, values = {}, constants(model)
    producers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm") and node.input[1] in producers:
            dequantize = producers[node.input[1]]
            found[node.name] = values[dequantize.input[0]], values[dequantize.input[1]]
    return found


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("pixels", [False, True])
def test_the_quantised_graph_is_valid_and_computes_nearly_the_same(images: Path, pixels: bool, opset: int) -> None:
    model = tiny_resnet(pixels=pixels, opset=opset)
    before = model.SerializeToString()
    result = quantize_model(model, images, PREPROCESSING, options=replace(ALL, method="max", equalize=False))
    onnx.checker.check_model(result.model, full_check=True)
    assert result.model.opset_import[0].version == opset
    assert model.SerializeToString() == before
    fresh = np.stack([draw(seed) for seed in range(1000, 1008)])
    assert reference_sqnr_db(result.model, model, fresh) > FLOOR_DB


def test_what_calibration_json_says_is_what_the_reference_evaluator_measures(
    quantized: QuantizedModel, images: Path
) -> None:
    pixels = held_out_pixels(images)
    assert len(pixels) == quantized.calibration.held_out == 5
    assert quantized.calibration.images == IMAGES
    measured = reference_sqnr_db(quantized.model, tiny_resnet(), pixels)
    assert measured == pytest.approx(quantized.calibration.held_out_sqnr_db, abs=EVALUATORS_DB)


def test_each_weight_is_within_half_a_step_of_the_float_one(images: Path) -> None:
    options = replace(FAST, method="max", classifier=True)
    result = quantize_model(tiny_resnet(), images, PREPROCESSING, options=options)
    floats, found = constants(tiny_resnet()), weights(result.model)
    assert found.keys() == {"conv1", "a.conv1", "a.conv2", "b.conv1", "b.conv2", "b.downsample", "fc"}
    for name, (values, scales) in found.items():
        steps = floats[f"{name}.weight"] / scales.reshape(-1, *[1] * (values.ndim - 1))
        assert values.dtype == np.int8
        # A scale may clip; what is clipped is at the last level.
        assert np.abs(values - np.clip(steps, -127, 127)).max() <= 0.5 + ROUNDING


def test_layer_wise_rounding_moves_weights_by_little_more_than_a_step(searched: QuantizedModel) -> None:
    assert "layer-wise rounding" in [technique.name for technique in searched.calibration.techniques if technique.kept]
    floats = {node.name: node.inputs[1].const_value for node in searched.parts.model.graph if len(node.inputs) > 1}
    for name, (values, scales) in weights(searched.model).items():
        tensor = floats[name]
        assert tensor is not None
        steps = tensor.numpy() / scales.reshape(-1, *[1] * (values.ndim - 1))
        moved = np.abs(values - np.clip(steps, -127, 127))
        assert moved.max() <= HANDED_ON
        assert np.quantile(moved, 0.9) <= 1


def uneven() -> onnx.ModelProto:
    """The same function, worse to quantise."""
    return with_a_loud_channel(50, divided_by=50)


def test_the_equalised_graph_that_weights_come_from_computes_what_the_given_one_does(images: Path) -> None:
    quantized = quantize_model(uneven(), images, PREPROCESSING, options=replace(FAST, equalize=True, rounding=True))
    assert quantized.parts.factors
    pixels = feed(np.stack([draw(seed) for seed in range(1000, 1004)]), tiny_resnet())
    want, have = evaluate(tiny_resnet(), pixels)[0], evaluate(quantized.parts.model, pixels)[0]
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


def test_the_chosen_candidate_is_the_best_of_its_graph_and_what_is_kept_is_better_for_sure(
    searched: QuantizedModel,
) -> None:
    candidates, techniques = searched.calibration.candidates, searched.calibration.techniques
    assert {name for method in METHODS for name in (f"{method}, as it is", f"{method}, equalised")} == {
        candidate.name for candidate in candidates
    }
    (chosen,) = [candidate for candidate in candidates if candidate.kept]
    method, form = chosen.name.split(", ")
    assert chosen.sqnr_db == max(candidate.sqnr_db for candidate in candidates if candidate.name.endswith(form))
    assert (method, chosen.gain_ci95_db) == (searched.calibration.method, None)
    # The simplest graph that the weights are in has nothing before it.
    first, *later = [technique for technique in techniques if not technique.name.startswith("instead")]
    assert first.gain_ci95_db is None
    for technique in later:
        assert technique.gain_ci95_db is not None
        low, high = technique.gain_ci95_db
        assert (low <= high, low > 0) == (True, technique.kept)
    kept = [technique.sqnr_db for technique in techniques if technique.kept]
    assert kept == sorted(kept)
    assert searched.calibration.held_out_sqnr_db == kept[-1]


def on_int8_levels() -> onnx.ModelProto:
    """The graph with weights that INT8 with the scale of largest magnitude holds exactly."""
    model = tiny_resnet()
    for tensor in model.graph.initializer:
        if tensor.name.endswith(".weight"):
            values = numpy_helper.to_array(tensor)
            rows = values.reshape(len(values), -1)
            levels = np.rint(rows / np.abs(rows).max(axis=1, keepdims=True) * 127)
            tensor.CopyFrom(
                numpy_helper.from_array((levels / 512).astype(np.float32).reshape(values.shape), tensor.name)
            )
    return model


def test_weights_rounded_to_nearest_are_judged_on_all_images_only_where_nothing_better_comes(tmp_path: Path) -> None:
    folder = pictures(tmp_path, 260)
    better = quantize_model(tiny_resnet(), folder, PREPROCESSING, options=ALL).calibration
    judged = {technique.name: technique.images for technique in better.techniques}
    assert better.held_out == 32
    assert judged["weights: largest magnitude"] == judged["weights: MSE clipping"] == 16
    assert judged["layer-wise rounding"] is None
    # Nothing to gain by rounding.
    options = replace(ALL, equalize=False)
    exact = quantize_model(on_int8_levels(), folder, PREPROCESSING, options=options).calibration
    (kept,) = [technique for technique in exact.techniques if technique.kept]
    assert kept.name == "weights: largest magnitude"
    assert (kept.images, kept.sqnr_db) == (None, exact.held_out_sqnr_db)


def test_of_graphs_that_tie_the_simpler_one_is_kept(quantized: QuantizedModel) -> None:
    # Five held-out pictures say that the equalised graph is 2 dB better, give or take more than that.
    best = max(quantized.calibration.candidates, key=lambda candidate: candidate.sqnr_db)
    (chosen,) = [candidate for candidate in quantized.calibration.candidates if candidate.kept]
    assert best.name.endswith("equalised")
    assert chosen.name.endswith("as it is")
    assert best.gain_ci95_db is not None
    assert best.gain_ci95_db[0] <= 0 < best.gain_ci95_db[1]
    assert not quantized.parts.factors


def test_auto_is_as_good_as_the_best_single_method_on_the_held_out_images(images: Path) -> None:
    smaller = PREPROCESSING.model_copy(update={"image_size": 16, "resize_size": 16})

    def best(method: Any) -> float:
        result = quantize_model(basic_block(), images, smaller, options=replace(FAST, method=method))
        assert method in ("auto", result.calibration.method)
        return next(candidate.sqnr_db for candidate in result.calibration.candidates if candidate.kept)

    assert best("auto") == max(best(method) for method in METHODS)


def test_the_same_inputs_give_the_same_bytes_wherever_they_lie(
    quantized: QuantizedModel, cache: Path, tmp_path: Path
) -> None:
    folder, other = pictures(tmp_path / "elsewhere"), tmp_path / "other.zip"
    again = quantize_model(tiny_resnet(), folder, PREPROCESSING, options=ALL, cache=other)
    assert in_bytes(again.model) == in_bytes(quantized.model)
    assert again.calibration.to_bytes() == quantized.calibration.to_bytes()
    assert other.read_bytes() == cache.read_bytes()


def test_a_cache_gives_the_same_graph_without_running_it_on_images(
    quantized: QuantizedModel, images: Path, cache: Path
) -> None:
    stages: list[str] = []
    listener = Listener(on_stage=lambda name, _steps: stages.append(name))
    again = quantize_model(tiny_resnet(), images, PREPROCESSING, options=ALL, cache=cache, listener=listener)
    assert in_bytes(again.model) == in_bytes(quantized.model)
    assert again.calibration == quantized.calibration
    assert again.findings == quantized.findings
    assert stages == ["check the images"]
    assert [path.name for path in cache.parent.iterdir()] == ["c.zip"]


def test_the_cache_of_another_seed_or_picture_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    folder, cache = pictures(tmp_path / "pictures"), tmp_path / "c.zip"
    quantize_model(tiny_resnet(), folder, PREPROCESSING, options=FAST, cache=cache)
    with pytest.raises(CalibrationError, match="options: seed is 1 now, 0 in the file; pass another --calib-cache"):
        quantize_model(tiny_resnet(), folder, PREPROCESSING, options=FAST, cache=cache, seed=1)
    Image.fromarray(draw(5000)).save(folder / "class0" / "00.png")
    with pytest.raises(CalibrationError, match="something else: images_sha256 is"):
        quantize_model(tiny_resnet(), folder, PREPROCESSING, options=FAST, cache=cache)


def test_warnings_that_only_decoding_shows_are_given_again_from_a_cache(tmp_path: Path) -> None:
    folder, cache = pictures(tmp_path / "pictures"), tmp_path / "c.zip"
    broken = sorted(folder.glob("*/*.png"))
    for path in (*broken[:2], split_file(folder)):
        path.write_bytes(path.read_bytes()[:100])
    Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8)).save(broken[7])
    first = quantize_model(tiny_resnet(), folder, PREPROCESSING, options=FAST, cache=cache)
    moved = folder.rename(tmp_path / "moved")
    second = quantize_model(tiny_resnet(), moved, PREPROCESSING, options=FAST, cache=cache)
    texts = [finding.text for finding in first.findings]
    assert len(texts) == 3
    assert "pictures gave 40 different calibration images" in texts[0]
    assert "1 calibration images are one flat colour" in texts[1]
    assert re.match(r"3 calibration images cannot be read \(.*\); they were left out", texts[2])
    assert first.calibration.warnings == tuple(texts[1:])
    assert "moved gave 40 different" in second.findings[0].text
    assert second.findings[1:] == first.findings[1:]
    assert str(tmp_path).encode() not in cache.read_bytes()
    assert (first.calibration.images, first.calibration.held_out) == (37, 4)


@pytest.mark.parametrize("kind", DAMAGES)
def test_whatever_pillow_raises_for_damaged_pictures_they_are_left_out(kind: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures")
    judging = split_file(folder)
    for path in (sorted(folder.glob("*/*.png"))[0], judging):
        write_damaged(path, kind)
    found = quantize_model(tiny_resnet(), folder, PREPROCESSING, options=FAST)
    assert (found.calibration.images, found.calibration.held_out) == (IMAGES - 2, IMAGES // 8 - 1)
    assert found.calibration.warnings[-1].startswith("2 calibration images cannot be read (")


def split_file(folder: Path) -> Path:
    """A picture that only judges."""
    return Path(str(split_held_out(sample_images(folder))[1].images[-1].source))


def test_an_unreadable_picture_is_an_error_where_it_may_not_be_left_out(tmp_path: Path) -> None:
    folder = pictures(tmp_path)
    (folder / "class1" / "01.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"01\.png"):
        quantize_model(tiny_resnet(), folder, PREPROCESSING, options=replace(FAST, skip_unreadable=False))


def test_pictures_of_one_flat_colour_are_refused(tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGB", (SIZE, SIZE), (number, 0, 200)).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match="one flat colour: pass real images"):
        quantize_model(tiny_resnet(), tmp_path, PREPROCESSING, options=FAST)


def test_calibrating_on_the_evaluation_pictures_is_refused(images: Path) -> None:
    with pytest.raises(DataError, match="40 of 40 calibration images are also in"):
        quantize_model(tiny_resnet(), images, PREPROCESSING, options=FAST, eval_data=images)


def test_a_graph_of_another_size_is_refused_with_what_was_given_and_expected() -> None:
    other = PREPROCESSING.model_copy(update={"image_size": 64, "resize_size": 64})
    with pytest.raises(GraphError, match=r"takes .*x.*32.*: expected one input, uint8 \(N, 64, 64, 3\) or float32"):
        takes_pixels(tiny_resnet(), other)


def make_double(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def make_channels_last(model: onnx.ModelProto) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", SIZE, SIZE, 3)))


def make_size_free(model: onnx.ModelProto) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, "h", "w")))


def add_an_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ("n", 1)))


@pytest.mark.parametrize("change", [make_double, make_channels_last, make_size_free, add_an_input])
def test_another_kind_of_input_is_refused_with_the_next_step(change: Callable[[onnx.ModelProto], None]) -> None:
    model = tiny_resnet()
    change(model)
    with pytest.raises(GraphError, match=r"expected one input, uint8 \(N, 32, 32, 3\).*set them, or image_size"):
        takes_pixels(model, PREPROCESSING)


def test_inputs_of_pixels_and_floats_are_told_apart() -> None:
    assert takes_pixels(tiny_resnet(pixels=True), PREPROCESSING)
    assert not takes_pixels(tiny_resnet(), PREPROCESSING)


def test_a_graph_with_two_inputs_is_refused_before_the_images_are_read(tmp_path: Path) -> None:
    model = tiny_resnet()
    add_an_input(model)
    with pytest.raises(GraphError, match=r"the graph takes .*mask.*: expected one input"):
        quantize_model(model, pictures(tmp_path, 8), PREPROCESSING, options=FAST)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.conv2.weight", "weight"), ("conv1.bias", "bias"), ("fc.weight", "weight")]
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_refused_and_the_layer_named(
    images: Path, name: str, kind: str, value: float
) -> None:
    model = tiny_resnet()
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[3] = value
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    layer = name.rpartition(".")[0]
    with pytest.raises(
        CalibrationError, match=rf"{re.escape(layer)}: its {kind} holds NaN or infinity: check the check"
    ):
        quantize_model(model, images, PREPROCESSING, options=FAST)


def test_activations_that_overflow_are_refused_and_the_layer_named(images: Path) -> None:
    model = tiny_resnet()
    for tensor in model.graph.initializer:
        if tensor.name in ("conv1.weight", "a.conv1.weight"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e22), tensor.name))
    with pytest.raises(CalibrationError, match=r"\(tensor .*\) gives NaN or infinity on the calibration images"):
        quantize_model(model, images, PREPROCESSING, options=FAST)


def leave_batchnorm(model: onnx.ModelProto) -> None:
    relu = next(node for node in model.graph.node if node.name == "act1")
    names = [f"bn.{part}" for part in ("scale", "bias", "mean", "var")]
    model.graph.initializer.extend(numpy_helper.from_array(np.ones(8, np.float32), name) for name in names)
    relu.input[0] = "normalised"
    norm = helper.make_node("BatchNormalization", ["conv1", *names], ["normalised"], name="bn1")
    model.graph.node.insert(list(model.graph.node).index(relu), norm)


def compute_a_weight(model: onnx.ModelProto) -> None:
    conv = next(node for node in model.graph.node if node.name == "conv1")
    model.graph.node.insert(0, helper.make_node("Abs", ["conv1.weight"], ["computed"], name="abs"))
    conv.input[1] = "computed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (leave_batchnorm, "BatchNormalization bn1 is not folded into its convolution: fold it first"),
        (compute_a_weight, "Conv conv1: its weight is not a constant of the graph"),
    ],
)
def test_a_graph_that_cannot_be_quantised_is_refused_with_the_next_step(
    images: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    model = tiny_resnet()
    change(model)
    with pytest.raises(GraphError, match=message):
        quantize_model(model, images, PREPROCESSING, options=FAST)


def test_a_quantised_graph_is_not_quantised_again(quantized: QuantizedModel, images: Path) -> None:
    with pytest.raises(GraphError, match=r"quantised already .*: quantise the float32 graph"):
        quantize_model(quantized.model, images, PREPROCESSING, options=FAST)


@pytest.mark.parametrize("stage", ["calibration images", "layer-wise rounding", "candidates"])
def test_ctrl_c_leaves_no_cache_file(images: Path, tmp_path: Path, stage: str) -> None:
    reached: list[str] = []

    def interrupt(_steps: int) -> None:
        if reached[-1] == stage:
            raise KeyboardInterrupt

    listener = Listener(on_stage=lambda name, _steps: reached.append(name), on_steps=interrupt)
    with pytest.raises(KeyboardInterrupt):
        quantize_model(
            tiny_resnet(),
            images,
            PREPROCESSING,
            options=replace(ALL, method="max", equalize=False),
            cache=tmp_path / "c.zip",
            listener=listener,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_cache_in_a_missing_folder_is_refused_before_the_work(images: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    with pytest.raises(CalibrationError, match="absent is not a directory: create it first"):
        quantize_model(
            tiny_resnet(),
            images,
            PREPROCESSING,
            cache=tmp_path / "absent" / "c.zip",
            listener=Listener(on_stage=lambda name, _steps: stages.append(name)),
        )
    assert stages == []


def scale_values(model: onnx.ModelProto) -> np.ndarray:
    """Every scale of the graph, of activations and of weights."""
    values = constants(model)
    scales = {node.input[1] for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    return np.concatenate([values[name].reshape(-1) for name in sorted(scales)])


def test_scales_for_an_fp16_graph_are_exact_fp16_numbers(quantized: QuantizedModel, images: Path) -> None:
    options = replace(ALL, method="max", equalize=False)
    for_fp16 = quantize_model(tiny_resnet(), images, PREPROCESSING, options=options, fp16=True)
    scales = scale_values(for_fp16.model)
    assert scales.dtype == np.float32
    np.testing.assert_array_equal(scales, scales.astype(np.float16).astype(np.float32))
    full = scale_values(quantized.model)
    assert (full != full.astype(np.float16).astype(np.float32)).any()


def test_layers_that_are_kept_float_keep_their_weights_and_read_what_is_not_quantised(images: Path) -> None:
    options = replace(FAST, method="max", keep_float=frozenset({"conv1", "b.downsample"}))
    result = quantize_model(tiny_resnet(), images, PREPROCESSING, options=options)
    assert set(weights(result.model)) == {"a.conv1", "a.conv2", "b.conv1", "b.conv2"}
    assert result.calibration.float_layers == ("conv1", "b.downsample", "fc")
    nodes = {node.name: node for node in result.model.graph.node}
    assert list(nodes["conv1"].input) == ["x", "conv1.weight", "conv1.bias"]
    assert nodes["b.downsample"].input[0] == "a.act2"
    for name in ("conv1.weight", "b.downsample.weight"):
        np.testing.assert_array_equal(constants(result.model)[name], constants(tiny_resnet())[name])


def test_a_layer_to_keep_float_that_does_not_exist_is_named(images: Path) -> None:
    with pytest.raises(GraphError, match="no layer conv9: expected names such as conv1"):
        quantize_model(tiny_resnet(), images, PREPROCESSING, options=replace(FAST, keep_float=frozenset({"conv9"})))


@pytest.mark.parametrize("classifier", [False, True])
def test_the_classifier_is_quantised_only_if_asked_for(images: Path, classifier: bool) -> None:
    options = replace(FAST, method="max", classifier=classifier)
    result = quantize_model(tiny_resnet(), images, PREPROCESSING, options=options)
    producers = {node.output[0]: node.op_type for node in result.model.graph.node}
    gemm = next(node for node in result.model.graph.node if node.name == "fc")
    expected = "DequantizeLinear" if classifier else "Flatten"
    assert producers[gemm.input[0]] == expected
    assert producers.get(gemm.input[1]) == ("DequantizeLinear" if classifier else None)
    assert ("fc" in result.calibration.layers, "fc" in result.calibration.float_layers) == (classifier, not classifier)


def test_for_a_cpu_all_are_unsigned_and_what_follows_a_relu_begins_at_zero(images: Path) -> None:
    result = quantize_model(tiny_resnet(), images, PREPROCESSING, options=replace(FAST, method="max", target="cpu"))
    zero_points = {
        node.input[0]: constants(result.model)[node.input[2]]
        for node in result.model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert {zero_point.dtype for zero_point in zero_points.values()} == {np.dtype(np.uint8)}
    found = {name: int(zero_point) for name, zero_point in zero_points.items()}
    sides = {"a.conv2", "b.conv2", "b.downsample"}
    assert {name: zero_point for name, zero_point in found.items() if name not in sides} == {
        name: 128 if name == "x" else 0 for name in found.keys() - sides
    }
    # What the ReLU behind the Adds makes zero gets no levels.
    assert all(0 < found[name] < 128 and found[name] % 2 == 0 for name in sides)
    assert found == {tensor.name: tensor.zero_point for tensor in result.calibration.activations}
    fresh = np.stack([draw(seed) for seed in range(1000, 1008)])
    assert reference_sqnr_db(result.model, tiny_resnet(), fresh) > FLOOR_DB


def test_levels_that_a_relu_hides_make_the_others_finer(images: Path, tmp_path: Path) -> None:
    model = tiny_resnet()
    # A main branch that lifts the skip side by little, as trained downsample blocks have it.
    for tensor in model.graph.initializer:
        if tensor.name.startswith("b.conv2."):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / 20, tensor.name))
    options = replace(FAST, method="max", target="cpu")
    result = quantize_model(model, images, PREPROCESSING, options=options, cache=tmp_path / "c.zip")
    fresh = np.stack([draw(seed) for seed in range(1000, 1064)])
    scales = {tensor.name: tensor for tensor in result.calibration.activations}
    skip = scales["b.downsample"]
    assert skip.zero_point is not None
    assert skip.zero_point < 30
    # As every tensor that can be negative was stored: as many levels below zero as above.
    middle = onnx.ModelProto()
    middle.CopyFrom(result.model)
    step = np.array(skip.high / 127, np.float32)
    for tensor in middle.graph.initializer:
        if tensor.name == "b.downsample.scale":
            tensor.CopyFrom(numpy_helper.from_array(step, tensor.name))
    middle.graph.initializer.append(numpy_helper.from_array(np.array(128, np.uint8), "middle"))
    for node in middle.graph.node:
        if node.name in ("b.downsample.quantize", "b.downsample.dequantize"):
            node.input[2] = "middle"
    assert step / skip.scale > 1.7
    assert reference_sqnr_db(result.model, model, fresh) > reference_sqnr_db(middle, model, fresh)
    again = quantize_model(model, images, PREPROCESSING, options=options, cache=tmp_path / "c.zip")
    assert in_bytes(again.model) == in_bytes(result.model)


@pytest.mark.parametrize("method", ["max", "percentile-99.99", "mse"])
def test_below_zero_nothing_is_clipped_nearer_than_above(images: Path, method: Any) -> None:
    # Percentiles and mse clip nearer than the highest value; the lower side keeps its own end or that threshold.
    options = replace(FAST, method=method, target="cpu")
    found = quantize_model(tiny_resnet(), images, PREPROCESSING, options=options).calibration.activations
    sides = [tensor for tensor in found if tensor.name in ("a.conv2", "b.conv2", "b.downsample")]
    assert len(sides) == 3
    for tensor in sides:
        assert tensor.zero_point is not None
        assert tensor.zero_point * tensor.scale >= min(-tensor.low, tensor.clip) * (1 - ROUNDING)
    assert (method == "max") == all(tensor.clip == pytest.approx(tensor.high) for tensor in sides)
