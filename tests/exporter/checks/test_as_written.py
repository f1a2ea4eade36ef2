"""Test that a graph run as it is written gives what ONNX says, with its weights as inputs."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from calibration.graph.without_weights import LARGE, stub_names, without_weights
from exporter.checks.as_written import open_as_written
from exporter.passes.fix_batch import fix_batch
from tests.helpers.graphs import evaluate, make_model

RNG = np.random.default_rng(0)


def network() -> onnx.ModelProto:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "large"], ["c"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Mul", ["c", "small"], ["y"]),
    ]
    constants = {
        "large": RNG.normal(size=(32, 32, 3, 3)).astype(np.float32),
        "small": RNG.normal(size=(1, 32, 1, 1)).astype(np.float32),
    }
    assert constants["large"].nbytes > LARGE > constants["small"].nbytes
    return make_model(nodes, constants, input_shape=("n", 32, 8, 8), outputs={"y": ("n", 32, 8, 8)})


@pytest.mark.parametrize("apart", [False, True])
def test_outputs_are_those_of_the_reference_evaluator(apart: bool) -> None:
    model, x = network(), RNG.normal(size=(3, 32, 8, 8)).astype(np.float32)
    wanted = evaluate(model, x, ["c", "y"])
    skeleton = without_weights(ir.from_proto(model))
    assert stub_names(skeleton.model) == ["large"]
    if apart:
        run, images = open_as_written(skeleton.model, weights=skeleton.weights, threads=1)
        assert run(["y"], x)[0].shape == x.shape
    else:
        run, images = open_as_written(model, threads=1)
    assert images is None
    np.testing.assert_allclose(run(["y"], x)[0], wanted[1], rtol=1e-4, atol=1e-5)


def test_the_weights_are_read_where_they_are() -> None:
    model, x = network(), RNG.normal(size=(1, 32, 8, 8)).astype(np.float32)
    skeleton = without_weights(ir.from_proto(model))
    large = np.array(skeleton.weights["large"], np.float32)
    run, _images = open_as_written(skeleton.model, weights={"large": large}, threads=1)
    large *= 2
    np.testing.assert_allclose(run(["y"], x)[0], 2 * evaluate(model, x)[0], rtol=1e-4, atol=1e-5)


def test_a_fixed_number_of_images_is_told() -> None:
    model = network()
    fix_batch(model, 4)
    assert open_as_written(model, threads=1)[1] == 4
