"""On a CPU whose INT8 kernels clip sums, the CPU engines compute what ONNX defines; its reference evaluator judges."""

from typing import Any

import numpy as np
import openvino
import pytest
from onnx import helper, numpy_helper

from runtime.bundle.manifest import Precision
from runtime.engines.openvino_floats import compute_in_floats, int8_kernels_differ
from runtime.engines.ort_session import fusion_on_cpu, open_session
from runtime.errors import EngineError
from runtime.support.cpu import cpu_flags, int8_sums_saturate, read_cpuinfo
from tests.helpers.graphs import evaluate, make_model

# Sums of 72 products in another order.
ROUNDINGS: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-4}
# A power of two, so that a value half way between two integers is exactly there after the division.
SCALE = np.float32(2**-5)


def quantised(zero: np.ndarray, kind: type[np.floating[Any]] = np.float32) -> Any:
    """A convolution with Q/DQ around it, whose sums are far beyond 16 bits; activations INT8 or UINT8 by `zero`."""
    rng = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {
        "scale": np.array(SCALE, kind),
        "zero": zero,
        "weight": rng.integers(90, 128, (4, 8, 3, 3)).astype(np.int8),
        "weight_scale": np.full(4, 0.01, kind),
        "weight_zero": np.zeros(4, np.int8),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["cast"], to=helper.np_dtype_to_tensor_dtype(np.dtype(kind))),
        helper.make_node("QuantizeLinear", ["cast", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["dq", "w"], ["map"], kernel_shape=[3, 3]),
        helper.make_node("Cast", ["map"], ["logits"], to=1),
    ]
    return make_model(nodes, constants, input_shape=("batch", 8, 6, 6), outputs={"logits": ("batch", 4, 4, 4)})


def pixels(lowest: float) -> np.ndarray:
    """Values over the whole range of the integers, ties between two of them and values beyond it."""
    steps = np.random.default_rng(1).integers(-20, 540, (2, 8, 6, 6)) / 2
    return ((steps + lowest) * SCALE).astype(np.float32)


@pytest.mark.parametrize(
    ("zero", "lowest"),
    [(np.array(0, np.int8), -128), *((np.array(level, np.uint8), -level) for level in (0, 3, 128, 255))],
    ids=["int8", "uint8", "uint8-3", "uint8-128", "uint8-255"],
)
def test_openvino_in_floats_gives_what_onnx_defines(zero: np.ndarray, lowest: int) -> None:
    model, x = quantised(zero), pixels(lowest)
    graph = compute_in_floats(openvino.Core().read_model(model.SerializeToString()))
    assert "FakeQuantize" not in {node.get_type_name() for node in graph.get_ordered_ops()}
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(x)[0], evaluate(model, x)[0], **ROUNDINGS)


def test_fp16_scales_are_taken_too() -> None:
    model, x = quantised(np.array(0, np.int8), np.float16), pixels(-128)
    graph = compute_in_floats(openvino.Core().read_model(model.SerializeToString()))
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = evaluate(model, x)[0]
    # The sum itself is FP16 in the reference: 2**-11 of it.
    np.testing.assert_allclose(compiled(x)[0], expected, rtol=2**-10, atol=2**-10 * np.abs(expected).max())


def test_scales_by_channel_are_refused_in_a_sentence() -> None:
    model = quantised(np.array(0, np.int8))
    for tensor in model.graph.initializer:
        if tensor.name in ("scale", "zero"):
            values = np.full(8, SCALE) if tensor.name == "scale" else np.zeros(8, np.int8)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(EngineError, match=r"has no constant scale for a whole tensor, .*: export the bundle again"):
        compute_in_floats(openvino.Core().read_model(model.SerializeToString()))


def test_onnxruntime_unfused_gives_what_onnx_defines() -> None:
    model, x = quantised(np.array(0, np.uint8)), pixels(0)
    session = open_session(model.SerializeToString(), fusion="float")
    np.testing.assert_allclose(session.run(None, {"x": x})[0], evaluate(model, x)[0], **ROUNDINGS)


@pytest.mark.parametrize(
    ("flags", "saturate"),
    [
        ("sse2 ssse3 avx2", True),
        ("sse2 ssse3 avx2 avx512f avx512bw", True),
        ("sse2 ssse3 avx2 avx512f avx512_vnni", False),
        ("sse2 ssse3 avx2 avx_vnni", False),
        ("fp asimd asimddp", False),
        ("fp asimd", False),
        ("", False),
    ],
)
def test_x86_without_vnni_saturates_and_nothing_else(flags: str, saturate: bool) -> None:
    assert int8_sums_saturate(frozenset(flags.split())) is saturate


def test_this_machine_is_read_where_no_flags_are_given() -> None:
    assert int8_sums_saturate() is int8_sums_saturate(cpu_flags(read_cpuinfo()))


@pytest.mark.parametrize("saturates", [True, False])
def test_integer_kernels_are_left_to_cpus_whose_sums_are_right(
    monkeypatch: pytest.MonkeyPatch, *, saturates: bool
) -> None:
    monkeypatch.setattr("runtime.engines.ort_session.int8_sums_saturate", lambda: saturates)
    int8: Any = object()
    precision = Precision.model_construct(name="int8", min_sqnr_db=20, int8=int8)
    assert fusion_on_cpu(precision) == ("float" if saturates else "all")
    assert fusion_on_cpu(Precision(name="fp32", min_sqnr_db=100)) == "all"


@pytest.mark.parametrize(
    ("machine", "saturates", "differ"),
    [
        ("x86_64", False, False),
        ("x86_64", True, True),
        ("aarch64", False, True),
        ("arm64", False, True),
        ("ARM64", False, True),
    ],
)
def test_openvino_rounds_in_floats_where_its_kernels_are_another_function(
    monkeypatch: pytest.MonkeyPatch, machine: str, *, saturates: bool, differ: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("runtime.engines.openvino_floats.int8_sums_saturate", lambda: saturates)
    assert int8_kernels_differ() is differ
