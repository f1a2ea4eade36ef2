import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graph_checks import check_graph, check_quantizable, prepare
from runtime.errors import GraphError
from tests.graphs import evaluate, make_model
from tests.resnet_graphs import Network, basic_block, bottleneck

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
    with pytest.raises(GraphError, match=r"BatchNormalization bn1 is not folded.*fold it first"):
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
    with pytest.raises(GraphError, match=r"Conv conv1: its weight is not a constant"):
        prepare(net.finish("conv1", 4))


def test_a_graph_without_a_convolution_is_refused():
    model = make_model(
        [helper.make_node("Relu", ["x"], ["y"], name="act")], {}, input_shape=("n", 3), outputs={"y": ("n", 3)}
    )
    with pytest.raises(GraphError, match="no convolution"):
        prepare(model)


@pytest.mark.parametrize(("opset", "accepted"), [(12, False), (13, True), (20, True)])
def test_opset_13_is_the_oldest_that_is_accepted(opset, accepted):
    model = basic_block()
    model.opset_import[0].version = opset
    if accepted:
        check_quantizable(ir.from_proto(model))
    else:
        with pytest.raises(GraphError, match="opset 12, expected 13 or newer"):
            check_quantizable(ir.from_proto(model))


def test_half_precision_weights_are_refused():
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float16), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv1")],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ("n", 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ("n", 4, 4, 4))],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with pytest.raises(GraphError, match="Conv conv1 has a FLOAT16 weight, expected float32"):
        prepare(model)


def test_an_invalid_graph_is_refused():
    model = basic_block()
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(GraphError, match="not valid ONNX"):
        check_graph(model)
