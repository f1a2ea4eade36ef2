import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graph.checks import check_onnx, prepare
from runtime.errors import GraphError
from tests.helpers.graphs import evaluate, make_model
from tests.helpers.resnet_graphs import Network, basic_block, bottleneck

IMAGES = np.random.default_rng(5).normal(size=(2, 3, 16, 16)).astype(np.float32)


def test_a_graph_that_can_be_quantised_is_accepted_and_computes_the_same():
    prepared = prepare(bottleneck(group=2))
    for want, have in zip(evaluate(bottleneck(group=2), IMAGES), evaluate(prepared, IMAGES), strict=True):
        np.testing.assert_array_equal(have, want)


def test_constant_nodes_become_initializers():
    model = bottleneck()
    kept = []
    for tensor in list(model.graph.initializer):
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        kept.append(tensor.name)
    want = evaluate(bottleneck(), IMAGES)[0]
    del model.graph.initializer[:]
    prepared = prepare(model)
    assert len(prepared.graph.initializers) == len(kept)
    assert "Constant" not in {node.op_type for node in prepared.graph}
    np.testing.assert_array_equal(evaluate(prepared, IMAGES)[0], want)


def test_batchnorm_is_refused_with_the_next_step():
    net = Network()
    net.conv("conv1", "x", shape=(4, 3, 3))
    for part in ("scale", "shift", "mean", "var"):
        net.constants[f"bn.{part}"] = np.ones(4, np.float32)
    net.node("BatchNormalization", "bn1", "conv1", *(f"bn.{part}" for part in ("scale", "shift", "mean", "var")))
    with pytest.raises(
        GraphError, match=r"BatchNormalization bn1 is not folded into its convolution: .* with export-ssl or"
    ):
        prepare(net.finish("bn1", 4))


def test_a_quantised_graph_is_refused_with_the_next_step():
    net = Network()
    net.constants |= {"scale": np.array(0.1, np.float32), "zero": np.array(0, np.int8)}
    net.node("QuantizeLinear", "q", "x", "scale", "zero")
    net.conv("conv1", net.node("DequantizeLinear", "dq", "q", "scale", "zero"), shape=(4, 3, 3))
    with pytest.raises(GraphError, match=r"quantised already \(QuantizeLinear q\): quantise the float32 graph"):
        prepare(net.finish("conv1", 4))


def test_a_weight_that_is_computed_is_refused_by_name():
    net = Network()
    net.conv("conv1", "x", shape=(4, 3, 3))
    net.node("Abs", "computed", "conv1.weight")
    net.nodes.reverse()
    net.nodes[1].input[1] = "computed"
    with pytest.raises(
        GraphError, match=r"Conv conv1: its weight is not a constant of the graph: expected trained.*onnxsim"
    ):
        prepare(net.finish("conv1", 4))


def test_a_graph_without_a_convolution_is_refused():
    model = make_model(
        [helper.make_node("Relu", ["x"], ["y"], name="act")], {}, input_shape=("n", 3), outputs={"y": ("n", 3)}
    )
    with pytest.raises(GraphError, match="the graph has no convolution: expected a ResNet"):
        prepare(model)


@pytest.mark.parametrize(("opset", "accepted"), [(12, False), (13, True), (20, True)])
def test_opset_13_is_the_oldest_that_is_accepted(opset, accepted):
    model = basic_block()
    model.opset_import[0].version = opset
    if accepted:
        prepare(model)
    else:
        with pytest.raises(GraphError, match="the graph has opset 12, expected 13 or newer: export it again"):
            prepare(model)


def test_fp16_weights_are_refused():
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float16), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv1")],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ("n", 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ("n", 4, 4, 4))],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with pytest.raises(GraphError, match="Conv conv1 has a FLOAT16 weight, expected float32: quantise the FP32 graph"):
        prepare(model)


def test_an_invalid_graph_is_refused():
    model = basic_block()
    model.graph.node[0].input[0] = "nowhere"
    for check in (check_onnx, prepare):
        with pytest.raises(GraphError, match="the graph is not valid ONNX: ") as refused:
            check(model)
        assert "\n" not in str(refused.value)


def test_constants_written_as_attributes_of_a_node_become_initializers_too():
    net = Network()
    net.nodes.append(helper.make_node("Constant", [], ["axes"], value_ints=[2, 3]))
    net.nodes.append(helper.make_node("Constant", [], ["low"], value_float=0.0))
    net.node("Clip", "six", net.conv("conv1", "x", shape=(4, 3, 3)), "low")
    net.node("ReduceMean", "mean", "six", "axes", keepdims=1)
    model = net.finish("mean", 4)
    prepared = prepare(model)
    initializers = prepared.graph.initializers
    assert (initializers["axes"].const_value.numpy().tolist(), initializers["low"].const_value.numpy()) == ([2, 3], 0)
    for want, have in zip(evaluate(model, IMAGES), evaluate(prepared, IMAGES), strict=True):
        np.testing.assert_array_equal(have, want)


def test_every_node_has_a_name_of_its_own_and_those_that_had_one_keep_it():
    model = bottleneck()
    names = {
        "conv1": "",
        "act1": "",
        "b.conv1": "conv",
        "b.act1": "twice",
        "b.act2": "twice",
        "b.conv2": "",
        "b.add": "",
    }
    for node in model.graph.node:
        node.name = names.get(node.name, node.name)
    assert [node.name for node in prepare(model).graph] == [
        *("conv.1", "relu", "conv", "twice", "conv.2", "twice.1", "b.conv3", "add", "b.act3"),
        *("global_pool", "embedding", "fc"),
    ]


def test_the_model_given_is_not_changed():
    model = bottleneck()
    for node in model.graph.node:
        node.ClearField("name")
    before = onnx.ModelProto()
    before.CopyFrom(model)
    prepare(model)
    assert model == before


def test_every_tensor_has_a_type_and_a_shape_afterwards_with_the_batch_left_open():
    model = basic_block()
    del model.graph.value_info[:]
    shapes = {out.name: [str(size) for size in out.shape] for node in prepare(model).graph for out in node.outputs}
    assert shapes["maxpool"] == ["n", "4", "8", "8"]
    assert shapes["global_pool"] == ["n", "4", "1", "1"]
    assert {shape[0] for shape in shapes.values()} == {"n"}


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("MatMul", ["global_pool", "fc.bias"], ["logits"], name="other"),
        helper.make_node("NoSuchOperator", ["global_pool"], ["logits"], name="other"),
    ],
    ids=["sizes", "operator"],
)
def test_wrong_sizes_and_unknown_operators_are_refused(node):
    model = basic_block()
    model.graph.node[-1].CopyFrom(node)
    with pytest.raises(GraphError, match="the graph is not valid ONNX: "):
        check_onnx(model)
