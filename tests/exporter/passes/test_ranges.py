import numpy as np
import pytest
from onnx import helper

from exporter.passes.ranges import measure_ranges
from runtime.errors import GraphError
from tests.helpers.graphs import make_model


def _model(constants=None):
    return make_model(
        [
            helper.make_node("Mul", ["x", "scale"], ["m"], name="mul"),
            helper.make_node("Relu", ["m"], ["y"], name="act"),
        ],
        constants or {"scale": np.array(3.0, np.float32)},
        input_shape=("n", 2),
        outputs={"y": ("n", 2)},
    )


def test_ranges_are_the_exact_extremes_of_every_tensor():
    ranges = measure_ranges(_model(), np.array([[-1.5, 0.25], [2.0, -4.0]], np.float32))
    assert {name: (found.low, found.high) for name, found in ranges.items()} == {
        "x": (-4.0, 2.0),
        "m": (-12.0, 6.0),
        "y": (0.0, 6.0),
    }
    assert ranges["m"].amax == 12.0


def test_measuring_leaves_the_model_as_it_was():
    model = _model()
    before = model.SerializeToString(deterministic=True)
    measure_ranges(model, np.ones((1, 2), np.float32))
    assert model.SerializeToString(deterministic=True) == before


def test_tensor_that_overflows_float32_is_named():
    model = _model({"scale": np.array(3e38, np.float32)})
    with pytest.raises(GraphError, match="tensor m holds NaN or infinity"):
        measure_ranges(model, np.full((1, 2), 100.0, np.float32))
