import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporter.checks.fp16_sums import BUDGET, MOST, add_products, affordable_images, loss_db, run_with_fp16_sums
from exporter.checks.tolerance import fp16_sums_tolerance
from runtime.bundle.bundle import open_bundle
from tests.helpers.arm_sums import GRAPHS, make_fp16_graph, recorded

# Its 4,608 products add up to between 4 and 8 on the way, where FP16 has steps of 2^-8.
LONG_STEP = 2.0**-8


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "long"])
def test_sums_are_those_of_onnxruntime_on_arm_to_the_bit(name):
    model, x = make_fp16_graph(name)
    found = run_with_fp16_sums(model, x).outputs["y"].ravel()
    expected = recorded(name)
    assert np.array_equal(found[: len(expected)], expected.astype(np.float32))


def test_long_sums_are_within_one_rounding_of_onnxruntimes_on_arm():
    model, x = make_fp16_graph("long")
    found, expected = run_with_fp16_sums(model, x).outputs["y"].ravel(), recorded("long").astype(np.float32)
    assert np.count_nonzero(found == expected) >= 7
    assert np.abs(found - expected).max() <= LONG_STEP


def test_each_product_is_rounded_once_when_it_is_added():
    # 2048 + 1 is a tie that goes to the even 2048, again and again; in FP32 the sum would be 2058.
    rows, columns = np.ones((1, 10), np.float16), np.ones((10, 1), np.float16)
    assert add_products(rows, columns, np.array([2048], np.float16))[0, 0] == 2048


def test_a_sum_that_overflows_is_noted_with_its_layer():
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="hot")
    graph = helper.make_graph(
        [node],
        "hot",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, (1, 4, 1, 1))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, (1, 1, 1, 1))],
        # 40,000 + 40,000 is above 65,504, and the whole sum is 0.
        [numpy_helper.from_array(np.array([4e4, 4e4, -4e4, -4e4], np.float16).reshape(1, 4, 1, 1), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    run = run_with_fp16_sums(model, np.ones((1, 4, 1, 1), np.float16))
    assert run.layer_db == {"hot": -math.inf}
    assert not np.isfinite(run.outputs["y"]).all()


def test_float32_layers_add_up_in_float32():
    model, x = make_fp16_graph("pointwise")
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for index, tensor in enumerate(model.graph.initializer):
        values = numpy_helper.to_array(tensor).astype(np.float32)
        wide.graph.initializer[index].CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*wide.graph.input, *wide.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    run = run_with_fp16_sums(wide, x.astype(np.float32))
    weight, bias = (numpy_helper.to_array(tensor) for tensor in wide.graph.initializer)
    expected = np.einsum("nchw,kc->nkhw", x.astype(np.float64), weight[:, :, 0, 0]) + bias[:, None, None]
    assert np.allclose(run.outputs["y"], expected, rtol=0, atol=1e-4)
    assert run.layer_db == {}


def test_images_are_as_many_as_the_budget_allows():
    assert affordable_images(BUDGET // 4, 8) == 4
    assert affordable_images(BUDGET // 100, 8) == 8
    assert affordable_images(MOST, 8) == 1
    assert affordable_images(MOST + 1, 8) == 0


def test_the_cost_of_sums_is_the_ratio_of_the_two_noises():
    exact = {"y": np.ones((1, 500), np.float32)}
    # A thousandth of every value is 60 dB, a hundredth 40 dB.
    lost = loss_db(exact, {"y": exact["y"] * np.float32(1.001)}, {"y": exact["y"] * np.float32(1.01)})
    assert lost["y"] == pytest.approx(20.0, abs=0.01)
    assert loss_db(exact, exact, {"y": exact["y"] * np.float32(np.inf)})["y"] == math.inf


def test_a_cost_found_on_some_images_has_a_margin_of_its_own():
    references = {"y": np.ones((2, 500), np.float32)}
    assert fp16_sums_tolerance({"y": 60.0}, {"y": 20.0}, references, images=2)["y"] == pytest.approx(40.0)
    # 500 values: a factor of two in power.
    assert fp16_sums_tolerance({"y": 60.0}, {"y": 20.0}, references, images=1)["y"] == pytest.approx(37.0)


def test_an_fp16_bundle_says_what_fp16_sums_reach_and_the_others_do_not(exported):
    sums = open_bundle(exported.fp16).manifest.precision.fp16_sums
    assert sums is not None
    assert len(sums.losing_most) == 3
    assert sums.min_sqnr_db < sums.expected_db < open_bundle(exported.fp16).manifest.precision.min_sqnr_db
    assert open_bundle(exported.fp32).manifest.precision.fp16_sums is None
