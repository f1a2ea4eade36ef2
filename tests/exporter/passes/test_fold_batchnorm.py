import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from exporter.passes.fold_batchnorm import fold_batchnorm
from runtime.errors import GraphError
from tests.helpers.graphs import evaluate, make_model, operators

# One rounding of each weight to float32, through a 27-term sum.
FOLD_TOLERANCE = 2e-6


def _statistics(rng, channels, prefix):
    return {
        f"{prefix}.scale": rng.uniform(0.5, 1.5, channels).astype(np.float32),
        f"{prefix}.bias": rng.normal(size=channels).astype(np.float32),
        f"{prefix}.mean": rng.normal(size=channels).astype(np.float32),
        f"{prefix}.var": rng.uniform(0.1, 2.0, channels).astype(np.float32),
    }


def _norm(source, result, prefix, epsilon=1e-5):
    inputs = [source, *(f"{prefix}.{part}" for part in ("scale", "bias", "mean", "var"))]
    return helper.make_node("BatchNormalization", inputs, [result], name=prefix, epsilon=epsilon)


def _conv_norm_model(*, bias, epsilon=1e-5, groups=1):
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(4, 4 // groups, 3, 3)).astype(np.float32), **_statistics(rng, 4, "bn")}
    inputs = ["x", "w"]
    if bias:
        constants["b"] = rng.normal(size=4).astype(np.float32)
        inputs.append("b")
    conv = helper.make_node("Conv", inputs, ["c"], name="conv", pads=[1, 1, 1, 1], group=groups)
    return make_model(
        [conv, _norm("c", "y", "bn", epsilon)], constants, input_shape=("n", 4, 6, 6), outputs={"y": ("n", 4, 6, 6)}
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_folded_graph_computes_what_the_reference_computes_for_the_unfolded_one(bias, groups):
    model = _conv_norm_model(bias=bias, groups=groups)
    x = np.random.default_rng(1).normal(size=(2, 4, 6, 6)).astype(np.float32)
    expected = evaluate(model, x)[0]
    folded = ir.from_proto(model)
    report = fold_batchnorm(folded)
    assert (report.folded, report.left) == (1, ())
    assert operators(folded) == ["Conv"]
    np.testing.assert_allclose(evaluate(folded, x)[0], expected, rtol=0, atol=FOLD_TOLERANCE * np.abs(expected).max())


def test_epsilon_of_the_batchnorm_is_used_and_not_a_default():
    x = np.random.default_rng(1).normal(size=(1, 4, 6, 6)).astype(np.float32)
    model = _conv_norm_model(bias=False, epsilon=0.5)
    folded = ir.from_proto(model)
    fold_batchnorm(folded)
    expected = evaluate(model, x)[0]
    np.testing.assert_allclose(evaluate(folded, x)[0], expected, rtol=0, atol=FOLD_TOLERANCE * np.abs(expected).max())


def test_folding_rounds_each_weight_once_from_float64():
    model = _conv_norm_model(bias=False)
    constants = {value.name: np.asarray(ir.from_proto(value).numpy(), np.float64) for value in model.graph.initializer}
    folded = ir.from_proto(model)
    fold_batchnorm(folded)
    scale = constants["bn.scale"] / np.sqrt(constants["bn.var"] + np.float64(np.float32(1e-5)))
    expected = (constants["w"] * scale[:, None, None, None]).astype(np.float32)
    np.testing.assert_array_equal(folded.graph.initializers["conv.weight"].const_value.numpy(), expected)


def test_batchnorm_after_an_addition_is_left_and_named():
    rng = np.random.default_rng(0)
    model = make_model(
        [helper.make_node("Add", ["x", "x"], ["s"], name="add"), _norm("s", "y", "bn")],
        _statistics(rng, 4, "bn"),
        input_shape=("n", 4, 2, 2),
        outputs={"y": ("n", 4, 2, 2)},
    )
    folded = ir.from_proto(model)
    report = fold_batchnorm(folded)
    assert (report.folded, report.left) == (0, ("bn",))
    assert operators(folded) == ["Add", "BatchNormalization"]


def test_convolution_whose_output_has_a_second_user_is_not_folded():
    rng = np.random.default_rng(0)
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            _norm("c", "n", "bn"),
            helper.make_node("Add", ["c", "n"], ["y"], name="add"),
        ],
        {"w": rng.normal(size=(4, 4, 1, 1)).astype(np.float32), **_statistics(rng, 4, "bn")},
        input_shape=("n", 4, 2, 2),
        outputs={"y": ("n", 4, 2, 2)},
    )
    folded = ir.from_proto(model)
    assert fold_batchnorm(folded).left == ("bn",)


def test_weight_that_is_not_a_constant_is_an_error_that_names_the_node():
    rng = np.random.default_rng(0)
    model = make_model(
        [
            helper.make_node("Identity", ["w"], ["w2"], name="identity"),
            helper.make_node("Conv", ["x", "w2"], ["c"], name="conv"),
            _norm("c", "y", "bn"),
        ],
        {"w": rng.normal(size=(4, 4, 1, 1)).astype(np.float32), **_statistics(rng, 4, "bn")},
        input_shape=("n", 4, 2, 2),
        outputs={"y": ("n", 4, 2, 2)},
    )
    with pytest.raises(GraphError, match="Conv conv: input 1 is not a constant"):
        fold_batchnorm(ir.from_proto(model))
