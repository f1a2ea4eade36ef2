import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from calibration.graph.checks import infer_shapes
from calibration.graph.without_weights import without_weights
from exporter.passes.fp16 import convert_to_fp16
from exporter.passes.ranges import measure_ranges
from exporter.passes.written_roundings import write_roundings
from tests.helpers.graphs import evaluate, two_convolutions, two_images

# The reference evaluator sums in FP16, onnxruntime in single: two roundings of the largest value.
SUM_TOLERANCE = 2 * 2.0**-11


def _fp16(model, *, ranges=None):
    graph = ir.from_proto(model)
    convert_to_fp16(graph, ranges or measure_ranges(model, two_images()))
    return infer_shapes(graph)


def _written(model):
    return write_roundings(without_weights(model)).to_bytes()


def _run(serialised, level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(serialised, options, providers=["CPUExecutionProvider"])
    return session.run(["logits", "embedding"], {"x": two_images()})


def test_written_roundings_give_what_the_reference_evaluator_gives_in_fp16():
    converted = _fp16(two_convolutions())
    for found, want in zip(_run(_written(converted)), evaluate(converted, two_images()), strict=True):
        np.testing.assert_allclose(found, want, rtol=0, atol=SUM_TOLERANCE * np.abs(want).max())


def test_embedding_is_a_number_of_fp16():
    _logits, embedding = _run(_written(_fp16(two_convolutions())))
    np.testing.assert_array_equal(embedding, embedding.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
def test_activation_that_overflows_fp16_is_seen(level):
    model = two_convolutions(first_scale=2e5, second_scale=1e-5)
    blind = {name: type(found)(0.0, 1.0) for name, found in measure_ranges(model, two_images()).items()}
    written = _written(_fp16(model, ranges=blind))
    logits, _embedding = _run(written, getattr(onnxruntime.GraphOptimizationLevel, level))
    assert not np.isfinite(logits).all()


def test_result_is_valid_onnx_and_the_model_is_left_as_it_was():
    converted = _fp16(two_convolutions())
    before = ir.to_proto(converted).SerializeToString(deterministic=True)
    onnx.checker.check_model(onnx.load_from_string(_written(converted)), full_check=True)
    assert ir.to_proto(converted).SerializeToString(deterministic=True) == before
