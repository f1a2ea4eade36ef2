import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from calibration.graph.run import extract, logits_name, open_session, open_with_constants, run_logits
from tests.helpers.graphs import evaluate, make_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4, 6, 6)).astype(np.float32) * 3
# Sums of 36 products in another order than the reference's.
RTOL = 1e-5


def quantized_convolution() -> onnx.ModelProto:
    """A convolution between Q/DQ whose sums of neighbouring products leave int16, as integer kernels add them."""
    constants: dict[str, np.ndarray] = {
        "scale": np.array(0.02, np.float32),
        "zero": np.array(0, np.uint8),
        "weight": np.full((3, 4, 3, 3), 127, np.int8),
        "weight_scale": np.array([0.01, 0.02, 0.03], np.float32),
        "weight_zero": np.zeros(3, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["dq", "w"], ["map"], kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    outputs = {"pooled": ("batch", 3, 1, 1), "logits": ("batch", 3)}
    return make_model(nodes, constants, input_shape=("batch", 4, 6, 6), outputs=outputs)


def test_logits_are_the_reference_evaluators_batch_by_batch() -> None:
    model = quantized_convolution()
    found = run_logits(model, [X[:2], X[2:]], threads=1)
    assert [array.shape for array in found] == [(2, 3), (3, 3)]
    np.testing.assert_allclose(np.concatenate(found), evaluate(model, X)[1], rtol=RTOL)


def test_scales_that_are_set_anew_give_what_graphs_with_these_scales_give() -> None:
    wanted = [np.array(scale, np.float32) for scale in (0.02, 0.05, 0.007)]
    with open_with_constants(quantized_convolution(), ["logits"], {"scale"}, threads=1) as run:
        found = [run({"scale": scale}, [X[:2], X[2:]]) for scale in wanted]
    for scale, batches in zip(wanted, found, strict=True):
        model = quantized_convolution()
        (constant,) = (tensor for tensor in model.graph.initializer if tensor.name == "scale")
        constant.CopyFrom(numpy_helper.from_array(scale, "scale"))
        logits = np.concatenate([logits for (logits,) in batches])
        np.testing.assert_allclose(logits, evaluate(model, X)[1], rtol=RTOL)


def test_the_session_is_told_not_to_fuse_q_and_dq_and_not_to_spin() -> None:
    options = open_session(quantized_convolution(), threads=1).get_session_options()
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 1


@pytest.mark.parametrize(("outputs", "expected"), [(["pooled", "logits"], "logits"), (["map", "pooled"], "map")])
def test_logits_are_the_output_of_that_name_or_else_the_first(outputs: list[str], expected: str) -> None:
    assert logits_name(extract(quantized_convolution(), outputs)) == expected


def test_an_extracted_part_gives_the_same_values_and_holds_nothing_else() -> None:
    model = quantized_convolution()
    part = extract(model, ["dq"])
    assert [node.op_type for node in part.graph.node] == ["QuantizeLinear", "DequantizeLinear"]
    assert [tensor.name for tensor in part.graph.initializer] == ["scale", "zero"]
    session = open_session(part, threads=1)
    # QuantizeLinear written out: half to even, clipped to 0..255.
    expected = np.clip(np.rint(X / np.float32(0.02)), 0, 255).astype(np.float32) * np.float32(0.02)
    np.testing.assert_allclose(session.run(["dq"], {"x": X})[0], expected, rtol=RTOL)
    assert len(model.graph.node) == 6
