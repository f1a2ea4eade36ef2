import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from calibration.graph.checks import prepare
from calibration.weights.bias_correction import mean_output_error
from calibration.weights.second_moments import LayerMoments, Step, collect_moments
from tests.helpers.graphs import evaluate, make_model

RNG = np.random.default_rng(0)
SIDE = 6
X = np.abs(RNG.normal(size=(4, 4, SIDE, SIDE))).astype(np.float32)
STEP = Step(scale=0.3, lowest=0, highest=6)
# Means of some hundred float32 outputs of size 1.
ATOL = 1e-5


def run_convolution(
    weight: npt.NDArray[np.float32], x: npt.NDArray[np.float32], groups: int
) -> npt.NDArray[np.float64]:
    """Mean output per channel by onnx's reference evaluator."""
    return evaluate(convolution(weight, groups), x)[0].mean(axis=(0, 2, 3), dtype=np.float64)


def convolution(weight: npt.NDArray[np.float32], groups: int) -> onnx.ModelProto:
    nodes = [helper.make_node("Conv", ["x", "weight"], ["y"], name="conv", group=groups, pads=[1] * 4, strides=[1, 2])]
    outputs: dict[str, tuple[int | str, ...]] = {"y": ("n", len(weight), SIDE, SIDE // 2)}
    return make_model(nodes, {"weight": weight}, input_shape=("n", 4, SIDE, SIDE), outputs=outputs)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_correction_takes_the_mean_error_out_of_the_running_layer(groups: int) -> None:
    weight = RNG.normal(size=(8, 4 // groups, 3, 3)).astype(np.float32)
    coarse = (np.round(weight * 4) / 4).astype(np.float32)
    (found,) = collect_moments(prepare(convolution(weight, groups)), {"conv": STEP}, [X[:3], X[3:]], threads=1)
    rows, rounded_rows = (array.reshape(8, -1).astype(np.float64) for array in (weight, coarse))
    correction = mean_output_error(rows, rounded_rows, found[1])
    # Padding is zero, and zero stays zero when it is quantised.
    quantized = (np.clip(np.round(X / 0.3), 0, 6) * 0.3).astype(np.float32)
    wanted = run_convolution(weight, X, groups) - run_convolution(coarse, quantized, groups)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(correction, wanted, atol=ATOL)


def test_the_correction_of_two_channels_is_hand_worked() -> None:
    # Two groups of one channel each with two weights, and four rows read.
    moments = LayerMoments(
        products=np.zeros((2, 2, 2), np.float32),
        totals=np.array([[4.0, 8.0], [2.0, 0.0]]),
        rounded_totals=np.array([[4.0, 4.0], [4.0, 0.0]]),
        rows=4,
    )
    rows, rounded_rows = np.array([[1.0, 2.0], [3.0, 9.0]]), np.array([[2.0, 2.0], [1.0, 5.0]])
    # Channel 0: (1 * 4 + 2 * 8 - 2 * 4 - 2 * 4) / 4 = 1; channel 1: (3 * 2 - 1 * 4) / 4 = 0.5.
    assert mean_output_error(rows, rounded_rows, moments).tolist() == [1.0, 0.5]


def test_a_layer_that_nothing_was_read_of_is_not_corrected() -> None:
    nothing = LayerMoments(np.zeros((1, 3, 3), np.float32), np.zeros((1, 3)), np.zeros((1, 3)))
    assert mean_output_error(np.ones((2, 3)), np.zeros((2, 3)), nothing).tolist() == [0.0, 0.0]
