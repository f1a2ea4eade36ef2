import gc

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from calibration.graph.checks import infer_shapes, prepare
from calibration.graph.run import open_session, open_with_constants, run_outputs
from calibration.graph.without_weights import (
    LARGE,
    drop_large_constants,
    hold_arrays,
    put_back,
    stub_names,
    stubs_as_inputs,
    without_weights,
)
from runtime.errors import GraphError
from tests.helpers.graphs import evaluate, make_model

CHANNELS = 32


def constants():
    rng = np.random.default_rng(0)
    return {
        "large": rng.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32),
        "levels": rng.integers(-127, 128, (CHANNELS, CHANNELS, 5, 5)).astype(np.int8),
        "scale": np.full(CHANNELS, 0.01, np.float32),
        "zero": np.zeros(CHANNELS, np.int8),
    }


def network():
    nodes = [
        helper.make_node("Conv", ["x", "large"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="act"),
        helper.make_node("DequantizeLinear", ["levels", "scale", "zero"], ["w"], name="weight", axis=0),
        helper.make_node("Conv", ["r", "w"], ["y"], name="second", pads=[2, 2, 2, 2]),
    ]
    return make_model(nodes, constants(), input_shape=("n", CHANNELS, 8, 8), outputs={"y": ("n", CHANNELS, 8, 8)})


def images():
    return np.random.default_rng(1).normal(size=(2, CHANNELS, 8, 8)).astype(np.float32)


def test_large_constants_stand_outside_and_small_ones_stay():
    skeleton = without_weights(ir.from_proto(network()))
    assert sorted(skeleton.weights) == ["large", "levels"] == sorted(stub_names(skeleton.model))
    assert len(skeleton.to_bytes()) < LARGE
    np.testing.assert_array_equal(skeleton.weights["large"], constants()["large"])
    small = {tensor.name for tensor in skeleton.model.graph.initializer} - skeleton.weights.keys()
    assert small == {"scale", "zero"}


def test_the_whole_graph_is_what_it_was():
    whole = without_weights(ir.from_proto(network())).whole()
    assert [tensor.name for tensor in whole.graph.initializer] == list(constants())
    for tensor in whole.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), constants()[tensor.name])
    np.testing.assert_allclose(evaluate(whole, images())[0], evaluate(network(), images())[0])


def test_the_outputs_keep_their_types_and_shapes():
    """Lost by onnx-ir 0.1.14 where it copies a graph: onnxsim refuses what is left."""
    skeleton = without_weights(ir.from_proto(network())).model
    assert [(info.name, info.type) for info in skeleton.graph.output] == [
        (info.name, info.type) for info in network().graph.output
    ]


def test_arrays_are_not_copied():
    model = ir.from_proto(network())
    hold_arrays(model)
    first, second = without_weights(model), without_weights(infer_shapes(model))
    assert all(np.shares_memory(first.weights[name], second.weights[name]) for name in ("large", "levels"))


def test_onnxruntime_gives_what_it_gives_of_the_whole_graph():
    whole = network()
    skeleton = without_weights(ir.from_proto(whole))
    (((found,),), ((want,),)) = (
        run_outputs(model, ["y"], [images()], weights=weights)
        for model, weights in ((skeleton.model, skeleton.weights), (whole, {}))
    )
    np.testing.assert_array_equal(found, want)
    np.testing.assert_allclose(found, evaluate(whole, images())[0], rtol=0, atol=1e-3 * np.abs(want).max())


def test_a_session_keeps_the_weights_that_nothing_else_holds():
    skeleton = without_weights(ir.from_proto(network()))
    weights = {name: array.copy() for name, array in skeleton.weights.items()}
    session = open_session(skeleton.model, weights=weights)
    want = session.run(["y"], {"x": images()})[0]
    weights.clear()
    gc.collect()
    taken = [np.full(constants()["large"].shape, 7.0, np.float32) for _ in range(8)]
    np.testing.assert_array_equal(session.run(["y"], {"x": images()})[0], want)
    assert len(taken) == 8


def test_scales_are_set_anew_beside_weights_that_stand_outside():
    skeleton = without_weights(ir.from_proto(network()))
    scales = [{"scale": np.full(CHANNELS, value, np.float32)} for value in (0.01, 0.02)]
    with open_with_constants(skeleton.model, ["y"], {"scale"}, weights=skeleton.weights) as run:
        one, two = (run(scale, [images()])[0][0] for scale in scales)
    np.testing.assert_allclose(two, 2 * one, rtol=1e-5, atol=1e-5 * np.abs(two).max())


def test_shapes_are_those_that_onnx_infers_of_the_whole_graph():
    inferred = infer_shapes(ir.from_proto(network()))
    whole = onnx.shape_inference.infer_shapes(network(), check_type=True, strict_mode=True, data_prop=True)
    again = ir.to_proto(inferred)
    assert {info.name: info.type for info in again.graph.value_info} == {
        info.name: info.type for info in ir.to_proto(ir.from_proto(whole)).graph.value_info
    }
    assert [tensor.name for tensor in again.graph.initializer] == list(constants())
    for tensor in again.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), constants()[tensor.name])
    onnx.checker.check_model(again, full_check=True)


def test_constants_among_the_inputs_as_in_old_graphs_stay_there():
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("large", 1, constants()["large"].shape))
    inferred = ir.to_proto(infer_shapes(ir.from_proto(model)))
    assert [info.name for info in inferred.graph.input] == ["x", "large"]
    assert sorted(tensor.name for tensor in inferred.graph.initializer) == sorted(constants())


def test_a_constant_that_a_pass_took_out_stays_out_and_a_new_one_comes_in():
    whole = ir.from_proto(network())
    skeleton = without_weights(whole)
    stubs_as_inputs(skeleton.model)
    graph = skeleton.model.graph
    del graph.node[2:]
    graph.output[0].name = "r"
    graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "new"))
    kept = [info for info in graph.input if info.name != "levels"]
    del graph.input[:]
    graph.input.extend(kept)
    returned = put_back(skeleton.model, whole)
    assert list(returned.graph.initializers) == ["large", "scale", "zero", "new"]
    np.testing.assert_array_equal(returned.graph.initializers["large"].const_value.numpy(), constants()["large"])


def test_a_graph_that_is_not_valid_is_refused():
    model = network()
    model.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(GraphError, match="the graph is not valid ONNX"):
        infer_shapes(ir.from_proto(model))


def test_prepare_takes_the_weights_of_an_ir_graph_as_they_are():
    model = ir.from_proto(network())
    hold_arrays(model)
    model.graph.remove(model.graph[3], safe=False)
    model.graph.remove(model.graph[2], safe=False)
    model.graph.outputs[0] = model.graph[1].outputs[0]
    prepared = prepare(model)
    assert np.shares_memory(
        prepared.graph.initializers["large"].const_value.numpy(), model.graph.initializers["large"].const_value.numpy()
    )


def test_a_graph_whose_large_constants_are_dropped_keeps_the_small_ones_and_all_names():
    model = ir.from_proto(network())
    drop_large_constants(model)
    values = {name: value.const_value for name, value in model.graph.initializers.items()}
    assert {name for name, value in values.items() if value is None} == {"large", "levels"}
    assert values.keys() == constants().keys()
    np.testing.assert_array_equal(values["scale"].numpy(), constants()["scale"])
