"""Q/DQ graphs from elsewhere: what NVIDIA's compiler makes of them in real builds, and that it is named before."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from runtime.bundle.plan_json import BatchProfile, BuildOptions
from runtime.commands.plan_options import BuildChoices
from runtime.engines.trt.library import RTX
from runtime.engines.trt.monitor import make_logger
from runtime.engines.trt.versions import require_tensorrt
from runtime.errors import EngineError, GraphError, UsageError, VerificationError
from runtime.plans.build_foreign import build_foreign_plan
from runtime.plans.build_network import BuildCallbacks, build_plan_bytes
from runtime.plans.foreign_graph import read_foreign_graph
from runtime.plans.inspector import LayerInformation, compute_type, read_layer_information
from runtime.plans.layer_log import is_layer_list, layer_information
from tests.conftest import Exported
from tests.helpers.command_lines import refused
from tests.helpers.standin_commands import run
from tests.helpers.tools import needs_rtx

CHANNELS, SIZE = 8, 16
INT8, UINT8 = np.int8, np.uint8


class Deaf:
    """Takes a build's progress, and lets it go on."""

    def phase_started(self, *_: object, **__: object) -> None: ...

    def step_done(self, *_: object, **__: object) -> bool:
        return True

    def phase_finished(self, *_: object, **__: object) -> None: ...


def write(
    folder: Path,
    *,
    zero_point: type[np.generic] | None = INT8,
    zero: int = 0,
    scale: Any = 0.05,
    weight_scale: Any = 0.003,
    transpose_first: bool | None = None,
    batch: str | int = "N",
) -> Path:
    """Write a quantised convolution: input, Q, DQ, Conv with per-channel weights; optionally of NHWC pixels."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, values: Any, dtype: Any = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    data, kind, shape = "x", TensorProto.FLOAT, [batch, CHANNELS, SIZE, SIZE]
    if transpose_first is not None:
        kind, shape, data = TensorProto.UINT8, [batch, SIZE, SIZE, CHANNELS], "image"
        steps: list[tuple[str, dict[str, Any]]] = [
            ("Transpose", {"perm": [0, 3, 1, 2]}),
            ("Cast", {"to": TensorProto.FLOAT}),
        ]
        (first, a), (second, b) = steps if transpose_first else steps[::-1]
        nodes += [helper.make_node(first, ["x"], ["half"], name=first.lower(), **a)]
        nodes += [helper.make_node(second, ["half"], ["image"], name=second.lower(), **b)]
    axis: dict[str, Any] = {"axis": 1} if np.ndim(scale) else {}
    quantised = [data, constant("scale", scale)]
    if zero_point is not None:
        quantised.append(constant("zero", np.full(np.shape(scale), zero), zero_point))
    nodes += [helper.make_node("QuantizeLinear", quantised, ["q"], name="quantise", **axis)]
    nodes += [helper.make_node("DequantizeLinear", ["q", *quantised[1:]], ["dq"], name="dequantise", **axis)]
    weight = np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS, 3, 3)) / 10
    scales = np.broadcast_to(np.asarray(weight_scale, np.float32), (CHANNELS,))
    steps_of_weight = [constant("w", weight), constant("ws", scales), constant("wz", np.zeros(CHANNELS), INT8)]
    nodes += [helper.make_node("QuantizeLinear", steps_of_weight, ["wq"], name="weight_q", axis=0)]
    nodes += [helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wdq"], name="weight_dq", axis=0)]
    nodes += [helper.make_node("Conv", ["dq", "wdq"], ["y"], name="conv", pads=[1, 1, 1, 1])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, CHANNELS, SIZE, SIZE])
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, shape)], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file = folder / "graph.onnx"
    onnx.save(model, str(file))
    return file


def write_float(file: Path) -> Path:
    """Write a convolution with a bias, in FP32."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    bias = rng.standard_normal(CHANNELS).astype(np.float32)
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", CHANNELS, SIZE, SIZE]) for name in ("x", "y")
    ]
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="conv", pads=[1, 1, 1, 1])
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(file))
    return file


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """One batch of noise."""

    def __init__(self) -> None:
        self.batches = iter([{"x": np.random.default_rng(1).standard_normal((1, CHANNELS, SIZE, SIZE)).astype("f4")}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


def compile_unchecked(file: Path) -> tuple[LayerInformation, list[str]]:
    """Build a graph as it is, and return the plan's layers and the warnings."""
    lists: list[str] = []
    warnings: list[str] = []

    def hear(level: str, message: str) -> None:
        if is_layer_list(message):
            lists.append(message)
        if level in ("WARNING", "ERROR"):
            warnings.append(message)

    build_plan_bytes(
        file.read_bytes(),
        BuildOptions(engine="tensorrt-rtx", profile=BatchProfile.parse("1")),
        name=file.name,
        version=require_tensorrt(RTX),
        callbacks=BuildCallbacks(make_logger(hear, verbose=True, library=RTX), Deaf(), lambda: False, lambda: warnings),
        timing_cache=None,
    )
    return read_layer_information(layer_information(lists)), warnings


def runs_in(layers: LayerInformation) -> str:
    return compute_type(next(one for one in layers.layers if "conv" in one.nodes and one.kind == "correlation"))


# By ONNX, a QuantizeLinear without a zero point and one with a UINT8 zero point give UINT8, 0 to 255.
@needs_rtx
@pytest.mark.parametrize(("zero_point", "named"), [(UINT8, "a UINT8 zero point of 0"), (None, "without a zero point")])
def test_unsigned_activations_are_compiled_as_signed_ones_and_are_named_before(
    zero_point: type[np.generic] | None, named: str, tmp_path: Path
) -> None:
    file = write(tmp_path, zero_point=zero_point)
    output = onnx.shape_inference.infer_shapes(onnx.load(str(file))).graph.value_info
    assert next(one for one in output if one.name == "q").type.tensor_type.elem_type == TensorProto.UINT8
    assert runs_in(compile_unchecked(file)[0]) == "int8"
    with pytest.raises(GraphError, match=named) as caught:
        read_foreign_graph(file)
    assert "quantise (QuantizeLinear)" in str(caught.value)


@needs_rtx
@pytest.mark.parametrize(
    ("scales", "word"),
    [
        ({"scale": np.inf}, "infinite"),
        ({"scale": 1e-40}, "subnormal"),
        ({"weight_scale": [0.003] * 7 + [np.inf]}, "infinite"),
        ({"weight_scale": [0.003] * 7 + [1e-40]}, "subnormal"),
    ],
)
def test_scales_that_no_step_can_have_are_compiled_without_a_word_and_are_named_before(
    scales: dict[str, Any], word: str, tmp_path: Path
) -> None:
    file = write(tmp_path, **scales)
    layers, warnings = compile_unchecked(file)
    assert runs_in(layers) == "int8"
    assert warnings == []
    with pytest.raises(GraphError, match=f"a scale is {word}"):
        read_foreign_graph(file)


@needs_rtx
@pytest.mark.parametrize("bad", [0.0, -0.003, np.nan])
def test_scales_that_are_not_positive_are_refused_by_the_compiler_too(bad: float, tmp_path: Path) -> None:
    file = write(tmp_path, weight_scale=[0.003] * 7 + [bad])
    with pytest.raises(EngineError, match="Scale coefficients must all be positive"):
        compile_unchecked(file)
    with pytest.raises(GraphError, match=r"a scale is .*: weight_q \(QuantizeLinear\), weight_dq"):
        read_foreign_graph(file)


@needs_rtx
def test_a_zero_point_other_than_0_is_refused_by_the_compiler_too(tmp_path: Path) -> None:
    file = write(tmp_path, zero=3)
    with pytest.raises(EngineError, match=r"(?i)zero"):
        compile_unchecked(file)
    with pytest.raises(GraphError, match=r"a zero point other than 0 is not taken, quantise symmetrically: quantise"):
        read_foreign_graph(file)


@needs_rtx
def test_biases_of_int32_as_onnxruntime_quantises_them_cannot_be_compiled_and_are_named(tmp_path: Path) -> None:
    pre, file = write_float(tmp_path / "float.onnx"), tmp_path / "quantised.onnx"
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True}
    for bias, refused_too in ((True, True), (False, False)):
        quantize_static(
            str(pre), str(file), Reader(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8, per_channel=True, extra_options={**symmetric, "QuantizeBias": bias},
        )  # fmt: skip
        if refused_too:
            with pytest.raises(EngineError, match="Int32"):
                compile_unchecked(file)
            with pytest.raises(GraphError, match=r"INT32 is not taken, leave biases in floats .*QuantizeBias"):
                read_foreign_graph(file)
        else:
            certificate = build_foreign_plan(file, BuildOptions(engine="tensorrt-rtx")).certificate
            assert (certificate.kept, certificate.promised) == (1, 1)


@needs_rtx
def test_an_activation_with_a_scale_per_channel_is_computed_in_floats_and_breaks_the_promise(tmp_path: Path) -> None:
    file = write(tmp_path, scale=[0.05] * CHANNELS)
    assert runs_in(compile_unchecked(file)[0]) == "fp32"
    (costly,) = read_foreign_graph(file).costly
    assert costly.startswith("quantise (QuantizeLinear) has 8 scales for an activation")
    with pytest.raises(VerificationError, match="conv was promised int8 and ran in fp32"):
        build_foreign_plan(file, BuildOptions(engine="tensorrt-rtx"))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["graph.onnx", "graph.rtx.plan.rejected.json"]


@needs_rtx
def test_a_transpose_of_pixels_before_their_cast_cannot_be_compiled_and_behind_it_can(tmp_path: Path) -> None:
    file = write(tmp_path, transpose_first=True)
    with pytest.raises(EngineError, match="UInt8"):
        compile_unchecked(file)
    with pytest.raises(GraphError, match=r"a Transpose cannot read UINT8, put it behind the Cast: transpose \(Tr"):
        read_foreign_graph(file)
    file = write(tmp_path, transpose_first=False)
    assert runs_in(compile_unchecked(file)[0]) == "int8"
    assert read_foreign_graph(file).costly == ()


def test_every_node_is_named_in_one_message(tmp_path: Path) -> None:
    file = write(tmp_path, zero_point=UINT8, weight_scale=[0.003] * 7 + [np.inf], transpose_first=True)
    with pytest.raises(GraphError) as caught:
        read_foreign_graph(file)
    text = str(caught.value)
    # The QuantizeLinear and DequantizeLinear of the activation, of the weight, and the Transpose.
    assert f"{file} has 5 nodes that NVIDIA's parser refuses or takes in another sense than ONNX: " in text
    assert all(f"{name} (" in text for name in ("transpose", "quantise", "dequantise", "weight_q", "weight_dq"))


@needs_rtx
def test_a_good_graph_is_built_and_certified_beside_itself(tmp_path: Path) -> None:
    file = write(tmp_path)
    result = run("run-ssl", "build", "--onnx", str(file), "--engine", "tensorrt-rtx", cache=tmp_path)
    assert result.exit_code == 0, result.stderr
    assert f"{tmp_path / 'graph.rtx.plan'}: graph.onnx, TensorRT for RTX 1." in result.stdout
    assert "its outputs were not compared with anything" in result.stdout
    names = ["graph.onnx", "graph.rtx.plan", "graph.rtx.plan.json", "graph.rtx.plan.layers.json"]
    assert sorted(one.name for one in tmp_path.iterdir()) == names
    assert (tmp_path / "graph.rtx.plan").read_bytes()[:4] == b"vtrt"
    explained = run("run-ssl", "explain", str(tmp_path / "graph.rtx.plan.layers.json"), cache=tmp_path)
    assert explained.exit_code == 0, explained.stderr


@needs_rtx
def test_a_fixed_batch_is_the_plans_only_batch(tmp_path: Path) -> None:
    described = build_foreign_plan(write(tmp_path, batch=3), BuildOptions(engine="tensorrt-rtx"))
    assert (described.certificate.kept, described.certificate.promised) == (1, 1)


@needs_rtx
def test_a_graph_of_ours_gets_the_certificate_that_its_bundle_gets(exported: Exported, tmp_path: Path) -> None:
    file = tmp_path / "ours.onnx"
    file.write_bytes((exported.fp16 / "model.onnx").read_bytes())
    # A ResNet-18 has 20 convolutions and a classifier.
    certificate = build_foreign_plan(file, BuildOptions(engine="tensorrt-rtx")).certificate
    assert (certificate.kept, certificate.promised) == (21, 21)


def test_nodes_without_a_name_get_one_and_macs_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path)
    model = onnx.load(str(file))
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, str(file))
    (layer,) = read_foreign_graph(file).layers
    # 3 x 3 x 8 products for each of 8 channels of 16 x 16 pixels.
    assert (layer.name, layer.macs, layer.precision) == ("Conv_4", 9 * 8 * 8 * 16 * 16, "int8")


def test_a_size_that_is_unknown_beside_the_batch_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path)
    model = onnx.load(str(file))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(model, str(file))
    with pytest.raises(UsageError, match="expected sizes for all dimensions but the batch"):
        read_foreign_graph(file)


def test_what_is_no_graph_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "noise.onnx"
    file.write_bytes(b"not a graph at all")
    with pytest.raises(GraphError, match=r"noise\.onnx is not a valid ONNX graph"):
        read_foreign_graph(file)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "expected a bundle's directory or --onnx FILE"),
        (["bundle", "--onnx", "x.onnx"], "expected a bundle's directory or --onnx FILE"),
        (["--onnx", "x.onnx"], "--onnx is built by TensorRT for RTX only"),
    ],
)
def test_wrong_arguments_name_what_is_expected(words: list[str], told: str, tmp_path: Path) -> None:
    refused(run("run-ssl", "build", *words, cache=tmp_path), told, code=2)


@needs_rtx
def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    words = ("build", "--onnx", str(tmp_path / "x.onnx"), "--engine", "tensorrt-rtx")
    refused(run("run-ssl", *words, cache=tmp_path), "no such file", code=2)


def test_the_defaults_of_the_command_are_those_of_a_bundle() -> None:
    assert BuildChoices(engine="tensorrt-rtx").read().profile == BatchProfile.parse("1:8:32")
