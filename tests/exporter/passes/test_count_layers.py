import numpy as np
import onnx_ir as ir
import pytest
import timm
import torch
from onnx import TensorProto, helper
from torch.utils.flop_counter import FlopCounterMode

from calibration.graph.checks import infer_shapes
from exporter.passes.count_layers import count_layers
from runtime.bundle.bundle import open_bundle
from runtime.bundle.layers import total_macs, total_parameters
from runtime.bundle.node_costs import reduction_length
from runtime.errors import GraphError
from tests.conftest import IMAGE_SIZE
from tests.helpers.exported import graph_at_size
from tests.helpers.graphs import make_model

# FIELD.md, section 1: ResNet-18 with 1000 classes at 224x224.
RESNET18_MACS_AT_224 = 1_814_073_344
RESNET18_PARAMETERS = 11_689_512
# BatchNorm's weight and bias become one bias of the convolution; 4,800 channels have a BatchNorm.
RESNET18_FOLDED_AWAY = 4_800


def layers(transposed=1):
    """Grouped convolution of stride 2, pool, Gemm with either layout of its weight."""
    rows = (5, 6) if transposed else (6, 5)
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["f"], name="flat"),
            helper.make_node("Gemm", ["f", "fc", "fcb"], ["logits"], name="fc", transB=transposed),
        ],
        {
            "w": np.zeros((6, 2, 3, 3), np.float32),
            "b": np.zeros(6, np.float32),
            "fc": np.zeros(rows, np.float32),
            "fcb": np.zeros(5, np.float32),
        },
        input_shape=("n", 4, 8, 8),
        outputs={"logits": ("n", 5)},
    )
    return infer_shapes(ir.from_proto(model))


@pytest.mark.parametrize("transposed", [0, 1])
def test_grouped_convolution_and_classifier_count_what_they_multiply(transposed):
    counted = {layer.name: layer.macs for layer in count_layers(layers(transposed))}
    # 6 filters of 4/2 x 3 x 3 at 4 x 4 places; 6 features for each of 5 classes.
    assert counted == {"conv": 6 * 2 * 9 * 16, "pool": 0, "flat": 0, "fc": 30}


def test_pytorch_counts_the_same_for_the_same_layers():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(6, 5),
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 4, 8, 8))
    assert 2 * total_macs(count_layers(layers())) == counter.get_total_flops()


def test_bytes_and_parameters_are_those_of_one_image():
    conv, pool, _flat, fc = count_layers(layers())
    assert (conv.parameters, fc.parameters, pool.parameters) == (6 * 2 * 9 + 6, 6 * 5 + 5, 0)
    assert (conv.weight_bytes, fc.weight_bytes) == (4 * 114, 4 * 35)
    assert conv.activation_bytes == 4 * (4 * 8 * 8 + 6 * 4 * 4)
    assert conv.output_shape == (6, 4, 4)
    assert (conv.operator, conv.output, conv.precision) == ("Conv", "c", "fp32")


@pytest.mark.parametrize("transposed", [0, 1])
def test_reduction_is_as_long_as_the_sum_for_one_output(transposed):
    lengths = [reduction_length(node) for node in layers(transposed).graph]
    assert lengths == [2 * 3 * 3, 0, 0, 6]


def test_graph_without_shapes_is_refused():
    model = layers()
    next(iter(model.graph)).outputs[0].shape = None
    with pytest.raises(GraphError, match="tensor c has no shape"):
        count_layers(model)


def test_element_type_that_no_bundle_has_is_refused():
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.DOUBLE)],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 2))],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ("n", 2))],
    )
    with pytest.raises(GraphError, match="tensor y has element type"):
        count_layers(ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_exported_resnet18_counts_what_the_field_and_pytorch_count(exported, precision):
    bundle = open_bundle(getattr(exported, precision))
    at_224 = count_layers(ir.from_proto(graph_at_size(bundle.model_path.read_bytes(), 224)))
    assert total_macs(at_224) == RESNET18_MACS_AT_224
    with torch.device("meta"):
        network = timm.create_model("resnet18").eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.empty(1, 3, IMAGE_SIZE, IMAGE_SIZE))
    assert 2 * total_macs(bundle.layers()) == counter.get_total_flops()
    assert 2 * bundle.manifest.model.macs == bundle.manifest.model.flops == counter.get_total_flops()


def test_folded_graph_has_the_originals_parameters_less_the_batchnorms(exported):
    bundle = open_bundle(exported.fp32)
    assert bundle.manifest.model.parameters == RESNET18_PARAMETERS
    body = [layer for layer in bundle.layers() if layer.operator in ("Conv", "Gemm")]
    assert sum(layer.parameters for layer in body) == RESNET18_PARAMETERS - RESNET18_FOLDED_AWAY
    assert total_parameters(bundle.layers()) >= RESNET18_PARAMETERS - RESNET18_FOLDED_AWAY


def test_fp16_layers_take_half_the_bytes(exported):
    wide = {layer.name: layer for layer in open_bundle(exported.fp32).layers() if layer.operator == "Conv"}
    narrow = {layer.name: layer for layer in open_bundle(exported.fp16).layers() if layer.operator == "Conv"}
    assert wide.keys() == narrow.keys()
    for name, layer in narrow.items():
        assert layer.precision == "fp16"
        assert 2 * layer.weight_bytes == wide[name].weight_bytes
        assert 2 * layer.activation_bytes == wide[name].activation_bytes
