"""The layers that a build logs, read into what the engine inspector would say."""

import json

import pytest

from runtime.errors import EngineError
from runtime.plans.inspector import Tensor, is_known, read_layer_information
from runtime.plans.layer_log import activation_bytes, is_layer_list, layer_information
from tests.helpers import rtx_layers

# As TensorRT for RTX 1.7 wrote it of an INT8 ResNet-18, shortened.
LINES = (
    "Layers:",
    "Name: __mye2132_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , "
    "StreamId: 0, Metadata: ",
    "Name: layer1.0.conv2_myl0_8, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [-1,64,16,16], Strides: "
    "[16384,1,1024,64], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }, { Name: b, "
    "Dimensions: [-1,64,16,16], Strides: [16384,1,1024,64], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) "
    "Channel major format }], Constants: [ { Name: w, Dimensions: [64,64,3,3], Strides: [576,1,192,64], StrideOrder: "
    "[3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }, { Name: s, Dimensions: [], Strides: [], "
    "StrideOrder: [], Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [ { Name: c, Dimensions: "
    "[-1,64,16,16], Strides: [16384,1,1024,64], StrideOrder: [3,0,2,1], Datatype: Float, Format: (NHWC) Channel major "
    "format }], TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: layer1.0.conv2]"
    "[ONNX Layer: layer1.0.add]__gemm_from_conv1x1",
    "Name: __mye16461_myl0_18, LayerType: wait, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 1, "
    "EventId: 2, Metadata: ",
    "",
    "I/O Tensors:",
    " Name: pixels, IOMode: Input, DataType: UInt8, Dimensions: [-1,64,64,3], Location: Device, IsShapeInferenceIO: "
    "false, ProfileInfo: [ { MinShape: [1,64,64,3], OptShape: [8,64,64,3], MaxShape: [32,64,64,3], Format: Row major "
    "linear UINT8 format (kLINEAR) }]",
    "",
    "Engine Metadata:",
    " Multi-Device: Disabled",
)
MESSAGE = "\n".join(LINES)


def test_every_fact_of_a_layer_stands_where_the_inspector_puts_it() -> None:
    layers = json.loads(layer_information([MESSAGE]))["Layers"]
    assert [layer["Name"] for layer in layers] == ["__mye2132_0_myl0_0", "layer1.0.conv2_myl0_8", "__mye16461_myl0_18"]
    assert layers[1]["LayerType"] == "correlation"
    assert layers[1]["Inputs"][1] == {
        "Name": "b",
        "Dimensions": [-1, 64, 16, 16],
        "Strides": [16384, 1, 1024, 64],
        "StrideOrder": [3, 0, 2, 1],
        "Datatype": "Half",
        "Format": "(NHWC) Channel major format",
    }
    assert [(one["Name"], one["Dimensions"]) for one in layers[1]["Constants"]] == [("w", [64, 64, 3, 3]), ("s", [])]
    assert layers[1]["TacticName"] == "__myelin_CASK_STUB"
    assert (layers[2]["StreamId"], layers[2]["EventId"]) == (1, 2)
    assert (layers[0]["TacticName"], layers[0]["Metadata"]) == ("", "")


def test_the_inspector_s_reader_takes_it() -> None:
    information = read_layer_information(layer_information([MESSAGE]))
    assert information.io == {"pixels"}
    convolution = information.layers[1]
    assert convolution.nodes == {"layer1.0.conv2", "layer1.0.add"}
    assert convolution.weights == "int8"
    assert convolution.outputs == (Tensor("c", (-1, 64, 16, 16), "fp32", "(NHWC) Channel major format"),)


def test_lists_of_a_plan_in_parts_are_one() -> None:
    layers = json.loads(layer_information([MESSAGE, MESSAGE]))["Layers"]
    assert len(layers) == 6


def test_only_the_message_with_the_layers_is_a_list() -> None:
    assert is_layer_list(MESSAGE)
    assert not is_layer_list("Original: 71 layers")
    assert not is_layer_list("After dead-layer removal: 70 Layers:")


def test_a_build_that_tells_no_layers_is_an_error() -> None:
    with pytest.raises(EngineError, match="logged no list of layers"):
        layer_information([])


@pytest.mark.parametrize(
    ("find", "replacement"),
    [("LayerType: correlation, ", ""), ("Datatype: Half, ", ""), ("StreamId: 0", "Stream: 0"), ("{ Name: b", "{ b")],
)
def test_a_layer_in_another_form_is_an_error_and_not_left_out(find: str, replacement: str) -> None:
    with pytest.raises(EngineError, match="in a form that this version does not know"):
        layer_information([MESSAGE.replace(find, replacement)])


def test_memory_is_told_by_one_message_alone() -> None:
    assert activation_bytes("Total Activation Memory: 19464192 bytes") == 19464192
    assert activation_bytes("Total Weights Memory: 11242128 bytes") == 0
    assert activation_bytes("Max Scratch Memory: 19464192 bytes") == 0


@pytest.mark.parametrize("name", rtx_layers.NAMES)
def test_no_layer_of_a_real_build_is_lost_or_unknown(name: str) -> None:
    plan = rtx_layers.read(name)
    layers = json.loads(layer_information([plan.log]))["Layers"]
    assert len(layers) == plan.log.count("LayerType: ")
    assert sum(len(layer[key]) for layer in layers for key in ("Inputs", "Constants", "Outputs")) == plan.log.count(
        "StrideOrder: "
    )
    assert all(is_known(layer["LayerType"]) for layer in layers)
