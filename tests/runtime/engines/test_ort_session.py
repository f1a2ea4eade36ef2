"""What a session is told, and what onnxruntime makes of it."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from runtime.engines.ort_session import Fusion, open_session, read_profile
from runtime.errors import EngineError
from tests.helpers.graphs import make_model

Level = onnxruntime.GraphOptimizationLevel
X = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype(np.float32)


def quantized_convolution() -> onnx.ModelProto:
    """Q/DQ around a convolution, for which onnxruntime has a kernel, behind a node that does nothing."""
    constants: dict[str, np.ndarray] = {
        "scale": np.array(0.05, np.float32),
        "zero": np.array(128, np.uint8),
        "weight": np.full((3, 4, 3, 3), 3, np.int8),
        "weight_scale": np.array([0.01, 0.02, 0.03], np.float32),
        "weight_zero": np.zeros(3, np.int8),
    }
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("QuantizeLinear", ["same", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["dq", "w"], ["map"], kernel_shape=[3, 3]),
        helper.make_node("QuantizeLinear", ["map", "scale", "zero"], ["q_map"]),
        helper.make_node("DequantizeLinear", ["q_map", "scale", "zero"], ["logits"]),
    ]
    return make_model(nodes, constants, input_shape=("batch", 4, 6, 6), outputs={"logits": ("batch", 3, 4, 4)})


def has_entry(options: onnxruntime.SessionOptions, key: str) -> bool:
    """Return whether an entry was made; onnxruntime has no other way to ask than to read it."""
    try:
        options.get_session_config_entry(key)
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize(
    ("fusion", "level", "unfused"),
    [
        ("none", Level.ORT_DISABLE_ALL, True),
        ("float", Level.ORT_ENABLE_ALL, True),
        ("all", Level.ORT_ENABLE_ALL, False),
    ],
)
def test_session_is_told_what_it_may_fuse(fusion: Fusion, level: object, unfused: bool) -> None:
    options = open_session(quantized_convolution().SerializeToString(), fusion=fusion).get_session_options()
    assert options.graph_optimization_level == level
    assert has_entry(options, "session.disable_quant_qdq") == unfused


@pytest.mark.parametrize(
    ("fusion", "kernels"),
    [
        ("none", {"Identity": 1, "QuantizeLinear": 2, "DequantizeLinear": 3, "Conv": 1}),
        # The weight is dequantised once and for all.
        ("float", {"QuantizeLinear": 2, "DequantizeLinear": 2, "Conv": 1}),
        ("all", {"QuantizeLinear": 1, "QLinearConv": 1, "DequantizeLinear": 1}),
    ],
)
def test_what_may_be_fused_is_and_nothing_else(fusion: Fusion, kernels: dict[str, int], tmp_path: Path) -> None:
    model = quantized_convolution().SerializeToString()
    session = open_session(model, fusion=fusion, threads=1, profile=tmp_path / "profile")
    session.run(None, {"x": X})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ran = Counter(event["args"]["op_name"] for event in events if event["name"].endswith("_kernel_time"))
    # Other layouts in memory are the machine's own affair.
    assert {name: count for name, count in ran.items() if not name.startswith(("Transpose", "Reorder"))} == kernels


def test_threads_spinning_and_memory_are_as_asked() -> None:
    model = quantized_convolution().SerializeToString()
    options = open_session(model, fusion="all", threads=3, spin=False, memory_pattern=False).get_session_options()
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_mem_pattern


def test_what_is_not_asked_is_onnxruntimes_own() -> None:
    options = open_session(quantized_convolution().SerializeToString(), fusion="all").get_session_options()
    default = onnxruntime.SessionOptions()
    assert options.intra_op_num_threads == default.intra_op_num_threads
    assert not has_entry(options, "session.intra_op.allow_spinning")
    assert options.enable_mem_pattern == default.enable_mem_pattern
    assert options.enable_profiling == default.enable_profiling


def test_graph_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^onnxruntime \S+ cannot load the graph: .+$"):
        open_session(b"no graph", fusion="all")
    with pytest.raises(EngineError, match=rf"^onnxruntime \S+ cannot load {re.escape(str(tmp_path))}/no\.onnx: .+$"):
        open_session(tmp_path / "no.onnx", fusion="all")


@pytest.mark.parametrize("profile", [None, b"", b'[{"cat" : "Session","name" : "mod'])
def test_a_profile_that_could_not_be_written_is_one_line(profile: bytes | None, tmp_path: Path) -> None:
    if profile is not None:
        (tmp_path / "profile.json").write_bytes(profile)
    with pytest.raises(EngineError, match=r"could not write which kernels ran, into .*: free some space"):
        read_profile(tmp_path / "profile.json")


def test_a_graph_that_cannot_be_loaded_is_one_error_and_no_line_of_onnxruntimes(tmp_path, capfd):
    with pytest.raises(EngineError, match=r"cannot load .*absent\.onnx"):
        open_session(tmp_path / "absent.onnx", fusion="all", profile=tmp_path / "profile")
    assert capfd.readouterr() == ("", "")
