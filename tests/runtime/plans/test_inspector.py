"""Reading what the engine inspector and trtexec's profiler write, of every version."""

import json
from pathlib import Path

import pytest

from runtime.errors import EngineError
from runtime.plans.inspector import (
    EngineLayer,
    Tensor,
    compute_type,
    is_convolution,
    is_known,
    is_quantisation,
    is_reformat,
    read_layer_information,
    read_layer_times,
)
from tests.helpers.paths import ROOT

FIXTURES = Path(__file__).parent / "layers"
NVIDIA = ROOT.parent / "shared" / "tensorrt-inspector"
nvidia = pytest.mark.skipif(not NVIDIA.is_dir(), reason="NVIDIA's inspector files are not at hand")
BUILDS = ("fp32", "fp16", "qat", "qat-residual", "qat-residual-qgap")
# A ResNet-18 has 20 convolutions and a classifier.
RESNET18_PRODUCTS = 21


def layers_of(name: str) -> dict[str, EngineLayer]:
    information = read_layer_information((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return {layer.name: layer for layer in information.layers}


def one_layer(**changes: object) -> EngineLayer:
    layer = {"Name": "conv1 + act1", "LayerType": "CaskConvolution", "Inputs": [], "Outputs": []} | changes
    return read_layer_information(json.dumps({"Layers": [layer], "Bindings": []})).layers[0]


def tensor(text: str) -> dict[str, object]:
    return {"Name": "x", "Dimensions": [1, 8], "Format/Datatype": text}


@pytest.mark.parametrize(
    ("text", "datatype", "layout"),
    [
        ("Row major linear FP32", "fp32", "Row major linear"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16", "Channel major format where channel % 8 == 0"),
        (
            "Thirty-two wide channel vectorized row major Int8 format",
            "int8",
            "Thirty-two wide channel vectorized row major format",
        ),
        ("Channel major INT8 format where channel % 16 == 0", "int8", "Channel major format where channel % 16 == 0"),
        ("Row major linear BFloat16 format", "bf16", "Row major linear format"),
        ("Row major linear UInt8 format", "uint8", "Row major linear format"),
        ("Row major linear BOOL", "bool", "Row major linear"),
        ("Half", "fp16", ""),
        ("Float", "fp32", ""),
        ("FP8", "fp8", ""),
        ("Unknown format", "unknown", "Unknown format"),
        ("N/A due to dynamic shapes", "unknown", "N/A due to dynamic shapes"),
    ],
)
def test_the_one_text_of_version_10_is_split_into_datatype_and_layout(text: str, datatype: str, layout: str) -> None:
    assert one_layer(Inputs=[tensor(text)]).inputs == (Tensor("x", (1, 8), datatype, layout),)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["Datatype", "DataType"])
def test_the_two_keys_of_version_11_give_the_same(key: str) -> None:
    given = {"Name": "x", "Dimensions": [1, 8], "Format": "Row major linear", key: "Half"}
    assert one_layer(Inputs=[given]).inputs == (Tensor("x", (1, 8), "fp16", "Row major linear"),)


def test_a_format_that_names_the_datatype_too_does_not_confuse() -> None:
    given = {"Name": "x", "Dimensions": [], "Format": "Row major linear FP16 format", "Datatype": "Half"}
    assert one_layer(Inputs=[given]).inputs[0].datatype == "fp16"


def test_inputs_and_outputs_of_the_network_are_found_in_both_versions() -> None:
    for name in ("int8_10", "fp16_11"):
        information = read_layer_information((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
        assert information.io == {"pixels", "logits", "embedding"}


@pytest.mark.parametrize("separator", ["\x1e", "\x1f", ""])
def test_onnx_nodes_come_from_the_metadata(separator: str) -> None:
    metadata = separator.join(("[ONNX Layer: layer1.0.conv1]", "[ONNX Layer: act[1]]"))
    layer = one_layer(Name="__myl_ConvRelu_myl0_3", LayerType="kgen", Metadata=metadata)
    assert layer.nodes == {"layer1.0.conv1", "act[1]"}


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("conv1.weight + QuantizeLinear_7 + Conv_9", {"conv1.weight", "QuantizeLinear_7", "Conv_9"}),
        ("a.conv1 || a.downsample.0", {"a.conv1", "a.downsample.0"}),
        ("PWN(PWN(sigmoid), mul)", {"sigmoid", "mul"}),
        ("fc_myl2_1", {"fc"}),
        ("__myl_MulAdd_myl0_0", set()),
        ("Reformatting CopyNode for Input Tensor 0 to conv1 + act1", set()),
    ],
)
def test_onnx_nodes_come_from_the_name(name: str, nodes: set[str]) -> None:
    assert one_layer(Name=name).nodes == nodes


def test_reformats_copy_and_noops_do_not() -> None:
    assert is_reformat(one_layer(LayerType="Reformat"))
    assert not is_reformat(one_layer(LayerType="NoOp"))


def test_quantisation_alone_is_told_from_a_convolution_that_took_it_in() -> None:
    assert is_quantisation(one_layer(Name="x.quantize", LayerType="Reformat", Origin="QDQ"))
    assert is_quantisation(one_layer(Name="__myl_Quan_myl0_1", LayerType="kgen", Metadata="[ONNX Layer: a.dequantize]"))
    assert is_quantisation(one_layer(Name="/block/QuantizeLinear_1", LayerType="PointWiseV2"))
    assert not is_quantisation(one_layer(Name="conv1.weight.dequantize + conv1"))
    assert not is_quantisation(one_layer(Name="Reformatting CopyNode for Input Tensor 0 to a.quantize"))


def test_a_fused_residual_does_not_decide_the_compute_type() -> None:
    inputs = [tensor("Row major Int8 format"), tensor("Row major linear FP32")]
    assert compute_type(one_layer(Inputs=inputs, Weights={"Type": "Int8"})) == "int8"


def test_masks_and_shapes_before_the_data_are_skipped() -> None:
    inputs = [tensor("Bool"), tensor("Int32"), tensor("Half")]
    assert compute_type(one_layer(LayerType="gemm", Inputs=inputs)) == "fp16"


def test_weights_wider_than_the_input_leave_the_compute_type_unknown() -> None:
    assert compute_type(one_layer(Inputs=[tensor("Int8")], Weights={"Type": "Half"})) == "unknown"


@pytest.mark.parametrize(
    ("weights", "tactic", "expected"),
    [
        ("Int8", "sm80_xmma_fprop_implicit_gemm_interleaved_i8f16_i8i32_f32_nchw", "int8"),
        ("Half", "", "fp16"),
        (None, "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc", "fp16"),
        ("Int8", "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc", "unknown"),
        (None, "", "unknown"),
    ],
)
def test_without_formats_the_weights_and_the_kernel_must_agree(weights: str | None, tactic: str, expected: str) -> None:
    changes = {"Weights": {"Type": weights}} if weights else {}
    layer = one_layer(Inputs=[tensor("N/A due to dynamic shapes")], TacticName=tactic, **changes)
    assert compute_type(layer) == expected


def test_layer_types_that_nobody_described_are_not_known() -> None:
    assert all(is_known(kind) for kind in ("CaskConvolution", "kgen", "Reformat", "NoOp"))
    assert not is_known("Zebra")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "layer information is not JSON"),
        ("[]", 'no list "Layers"'),
        ('{"Bindings": []}', 'no list "Layers"'),
        ('{"Layers": ["conv1", "fc"], "Bindings": []}', "only the names of 2 layers.*detailed profiling verbosity"),
        ('{"Layers": [{"Name": "conv1"}]}', 'no "LayerType"'),
    ],
)
def test_layer_information_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        read_layer_information(text)


def test_times_are_medians_or_else_averages_and_add_up_for_one_name() -> None:
    rows = [
        {"count": 10},
        {"name": "a", "timeMs": 9, "averageMs": 3.0, "medianMs": 1.0},
        {"name": "b", "timeMs": 9, "averageMs": 0.5},
        {"name": "a", "medianMs": 0.25},
    ]
    assert read_layer_times(json.dumps(rows)) == {"a": 1.25, "b": 0.5}


@pytest.mark.parametrize("text", ["not json", "{}", '[{"count": 10}]', '[{"name": "a", "timeMs": 1}]'])
def test_a_profile_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="profile"):
        read_layer_times(text)


@nvidia
@pytest.mark.parametrize("build", BUILDS)
def test_nvidias_files_have_the_products_of_a_resnet18_in_the_precision_of_their_name(build: str) -> None:
    information = read_layer_information((NVIDIA / f"{build}.graph.json").read_text(encoding="utf-8"))
    products = [layer for layer in information.layers if is_convolution(layer)]
    assert len(products) == RESNET18_PRODUCTS
    assert {compute_type(layer) for layer in products} == {{"fp32": "fp32", "fp16": "fp16"}.get(build, "int8")}
    assert all(is_known(layer.kind) for layer in information.layers)


@nvidia
@pytest.mark.parametrize("build", BUILDS)
def test_in_nvidias_files_weights_and_kernel_names_tell_what_the_formats_tell(build: str) -> None:
    text = (NVIDIA / f"{build}.graph.json").read_text(encoding="utf-8")
    told = read_layer_information(text).layers
    data = json.loads(text)
    for layer in data["Layers"]:
        for one in (*layer["Inputs"], *layer["Outputs"]):
            one["Format/Datatype"] = "N/A due to dynamic shapes"
    for known, blind in zip(told, read_layer_information(json.dumps(data)).layers, strict=True):
        # ConvActPool has neither weights nor a kernel's name in these files.
        if is_convolution(known) and known.kind != "ConvActPool":
            assert compute_type(blind) == compute_type(known)


@nvidia
def test_nvidias_profile_has_a_time_for_every_layer() -> None:
    for build in BUILDS:
        information = read_layer_information((NVIDIA / f"{build}.graph.json").read_text(encoding="utf-8"))
        times = read_layer_times((NVIDIA / f"{build}.profile.json").read_text(encoding="utf-8"))
        assert times.keys() == {layer.name for layer in information.layers}
