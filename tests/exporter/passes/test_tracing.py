import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import timm
import torch
from torch import nn

from exporter.passes.tracing import trace_network
from runtime.bundle.manifest import Preprocessing
from runtime.errors import GraphError
from runtime.original.network import wrap
from runtime.original.random_weights import randomise
from tests.conftest import MEAN, STD, crops
from tests.helpers.paths import ROOT

SIZE, CLASSES = 64, 10
PREPROCESSING = Preprocessing(
    image_size=SIZE, resize_size=73, crop_pct=0.875, interpolation="bilinear", mean=MEAN, std=STD
)
# ResNet-18 sums 31,635 products on the way to a logit: unit roundoff 2^-24 times the root of that is 1.1e-5
# of a logit's size; five standard deviations for the worst of some hundred values.
FLOAT32_TOLERANCE = 5 * 1.1e-5


@pytest.fixture(scope="module")
def network():
    network = timm.create_model("resnet18", num_classes=CLASSES).eval().requires_grad_(False)
    randomise(network, 0)
    return network


@pytest.fixture(scope="module")
def traced(network):
    return ir.to_proto(
        trace_network(wrap(network, PREPROCESSING, input_kind="uint8"), image_size=SIZE, input_kind="uint8")
    )


@pytest.fixture(scope="module")
def traced_floats(network):
    module = wrap(network, PREPROCESSING, input_kind="float32")
    return ir.to_proto(trace_network(module, image_size=SIZE, input_kind="float32"))


def pictures(count):
    return np.stack([np.asarray(picture.resize((SIZE, SIZE))) for picture in crops()[::5][:count]])


def normalised(pixels):
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def run(model, feed):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits", "embedding"], {session.get_inputs()[0].name: feed})


def assert_equals_timm(found, network, feed):
    with torch.no_grad():
        expected = network(feed).numpy(), network.forward_head(network.forward_features(feed), pre_logits=True).numpy()
    for want, have in zip(expected, found, strict=True):
        assert have.dtype == np.float32
        np.testing.assert_allclose(have, want, rtol=0, atol=FLOAT32_TOLERANCE * np.abs(want).max())


def described(value):
    tensor = value.type.tensor_type
    shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return value.name, onnx.TensorProto.DataType.Name(tensor.elem_type), shape


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_any_batch_gives_pytorchs_logits_and_embedding(network, traced, batch):
    pixels = pictures(batch)
    assert len(pixels) == batch
    assert_equals_timm(run(traced, pixels), network, normalised(pixels))


@pytest.mark.parametrize("batch", [1, 3])
def test_float_input_takes_normalised_planes(network, traced_floats, batch):
    feed = normalised(pictures(batch))
    assert [described(value) for value in traced_floats.graph.input] == [("input", "FLOAT", ["batch", 3, SIZE, SIZE])]
    assert_equals_timm(run(traced_floats, feed.numpy()), network, feed)


def test_inputs_and_outputs_have_fixed_names_and_only_the_batch_is_dynamic(traced):
    assert [described(value) for value in traced.graph.input] == [("pixels", "UINT8", ["batch", SIZE, SIZE, 3])]
    assert [described(value) for value in traced.graph.output] == [
        ("logits", "FLOAT", ["batch", CLASSES]),
        ("embedding", "FLOAT", ["batch", 512]),
    ]


def test_graph_is_plain_onnx_of_opset_20_and_ir_version_9(traced):
    onnx.checker.check_model(traced, full_check=True)
    assert [(opset.domain, opset.version) for opset in traced.opset_import] == [("", 20)]
    assert traced.ir_version == 9
    assert not traced.functions
    assert {node.domain for node in traced.graph.node} == {""}
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in traced.graph.initializer)


def test_nothing_of_the_exporting_machine_is_in_the_graph(traced, traced_floats):
    folders = {str(ROOT), sys.prefix, str(Path(torch.__file__).parent), str(Path.home())} - {"/"}
    traces = {'File "', "site-packages", ".py", "stack_trace", "pkg.torch", "forward("}
    for traced_model in (traced, traced_floats):
        model = onnx.ModelProto()
        model.CopyFrom(traced_model)
        for tensor in model.graph.initializer:
            # 45 MB of weights hold any three letters by chance.
            tensor.ClearField("raw_data")
        content = model.SerializeToString()
        assert [text for text in folders | traces if text.encode() in content] == []
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
        assert not any(value.metadata_props or value.doc_string for value in model.graph.value_info)
        assert not any((model.metadata_props, model.doc_string, model.graph.doc_string))


def test_the_same_network_traced_twice_gives_the_same_bytes(network, traced):
    module = wrap(network, PREPROCESSING, input_kind="uint8")
    again = ir.to_proto(trace_network(module, image_size=SIZE, input_kind="uint8"))
    assert again.SerializeToString() == traced.SerializeToString()


@pytest.mark.parametrize(
    ("operator", "module"),
    [("Conv", nn.Conv2d), ("BatchNormalization", nn.BatchNorm2d), ("Gemm", nn.Linear), ("MaxPool", nn.MaxPool2d)],
)
def test_every_layer_is_in_the_graph_once_under_timms_name(network, traced, operator, module):
    expected = {name for name, layer in network.named_modules() if isinstance(layer, module)}
    found = [node.name for node in traced.graph.node if node.op_type == operator]
    assert sorted(found) == sorted(expected)


def test_activations_carry_the_name_of_their_block(network, traced):
    modules = dict(network.named_modules())
    activations = [node.name for node in traced.graph.node if node.op_type == "Relu"]
    assert len(activations) == 17
    assert all(isinstance(modules[name], nn.ReLU) for name in activations)


def test_weights_carry_timms_names_and_values(network, traced):
    state = network.state_dict()
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in traced.graph.initializer}
    for name in ("conv1.weight", "layer4.1.conv2.weight", "layer1.0.bn1.running_var", "fc.bias"):
        np.testing.assert_array_equal(found[name], state[name].numpy())


def test_network_that_depends_on_its_values_is_refused_in_one_line():
    class Undecided(nn.Module):
        def forward(self, pixels):
            planes = pixels.float()
            return (planes, planes) if planes.sum() > 0 else (planes * 2, planes)

    with pytest.raises(GraphError, match="PyTorch cannot trace this network: ") as refused:
        trace_network(Undecided().eval(), image_size=SIZE, input_kind="uint8")
    assert "\n" not in str(refused.value)


def test_what_pytorch_logs_of_a_failed_trace_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    class Mismatched(nn.Module):
        def forward(self, pixels):
            means = pixels.float().mean((1, 2))
            logging.getLogger("torch._subclasses.fake_tensor").error("fake tensor raised TypeError")
            return means + torch.zeros(3, 5), means

    level = logging.getLogger("torch").level
    with pytest.raises(GraphError, match="PyTorch cannot trace this network: "):
        trace_network(Mismatched().eval(), image_size=SIZE, input_kind="uint8")
    assert capsys.readouterr() == ("", "")
    assert logging.getLogger("torch").level == level
