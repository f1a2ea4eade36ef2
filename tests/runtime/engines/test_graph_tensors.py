"""A graph that is not what its manifest describes: refused when an engine opens it, or when it runs.

The graphs are made by onnx itself, and their files have the right hashes: a stranger can write those too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.engines.open_engine import load_engine
from runtime.errors import BundleError, EngineError
from tests.helpers.bundles import CLASSES, DIM, SIZE, write_hand_made
from tests.helpers.exported import copy_bundle

ENGINES = ("onnxruntime", "openvino")
OPSET, IR_VERSION = 20, 9


def graph(
    *,
    pixels: str = "pixels",
    kind: int = TensorProto.UINT8,
    batch: int | str = "batch",
    side: int | str = SIZE,
    classes: int | str = CLASSES,
    more: tuple[str, ...] = (),
    tail: Callable[[list[onnx.NodeProto]], None] = lambda _nodes: None,
) -> bytes:
    """Return a network of two linear layers on the mean of the pixels: what `write_hand_made` describes."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", [pixels], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "to_embedding"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "to_logits"], ["logits"]),
    ]
    tail(nodes)
    width = CLASSES if isinstance(classes, str) else classes
    constants: dict[str, npt.NDArray[Any]] = {
        "axes": np.array([1, 2], np.int64),
        "to_embedding": rng.normal(size=(3, DIM)).astype(np.float32),
        "to_logits": rng.normal(size=(DIM, width)).astype(np.float32),
    }
    made = helper.make_graph(
        nodes,
        "network",
        [
            helper.make_tensor_value_info(pixels, kind, [batch, side, side, 3]),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in more),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, DIM]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def bundle_with(folder: Path, network: bytes) -> Path:
    return copy_bundle(write_hand_made(folder / "described"), folder / "bundle", files={"model.onnx": network})


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("open_sizes", [False, True])
def test_a_graph_that_fits_its_manifest_runs_whether_or_not_it_states_its_sizes(
    tmp_path: Path, name: str, open_sizes: bool
) -> None:
    network = graph(side="side", classes="classes") if open_sizes else graph()
    with load_engine(bundle_with(tmp_path, network), name) as engine:
        logits, embedding = engine.infer(np.zeros((2, SIZE, SIZE, 3), np.uint8))
    assert (logits.shape, embedding.shape) == ((2, CLASSES), (2, DIM))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pixels": "picture"}, "takes picture and gives logits, embedding, the manifest says pixels"),
        ({"more": ("scale",)}, "takes pixels, scale and gives"),
        ({"kind": TensorProto.FLOAT}, r"has pixels as float32 \(any, 8, 8, 3\), the manifest says uint8 \(batch, 8, 8"),
        ({"side": 9}, r"has pixels as uint8 \(any, 9, 9, 3\)"),
        ({"classes": CLASSES + 1}, r"has logits as float32 \(any, 4\), the manifest says float32 \(batch, 3\)"),
        ({"batch": 2}, r"has pixels as uint8 \(2, 8, 8, 3\)"),
    ],
)
def test_a_graph_with_other_tensors_than_its_manifest_is_refused(
    tmp_path: Path, name: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        load_engine(bundle_with(tmp_path, graph(**changes)), name)


def _of_the_pixels(nodes: list[onnx.NodeProto], operator: str, first: int, second: int) -> None:
    """Give the logits a last step whose size is in the pixels, so that no engine can know it before it runs.

    Args:
        nodes: The network; its last node gives the logits.
        operator: `Reshape` or `Tile`.
        first: First number that it takes.
        second: Second number where all pixels are 0.
    """
    nodes[-1].output[0] = "whole"
    for name, number in (("first", first), ("second", second)):
        constant = numpy_helper.from_array(np.array([number], np.int64))
        nodes.append(helper.make_node("Constant", [], [name], value=constant))
    nodes += [
        helper.make_node("ReduceMax", ["floats"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["whole_number"], to=TensorProto.INT64),
        helper.make_node("Add", ["second", "whole_number"], ["sum"]),
        helper.make_node("Concat", ["first", "sum"], ["sizes"], axis=0),
        helper.make_node(operator, ["whole", "sizes"], ["logits"]),
    ]


@pytest.mark.parametrize("name", ENGINES)
def test_outputs_of_another_size_than_the_manifest_says_are_refused(tmp_path: Path, name: str) -> None:
    network = graph(classes="classes", tail=lambda nodes: _of_the_pixels(nodes, "Tile", 1, 2))
    said = r"the network's logits is \([12], 6\) float32, expected \([12], 3\) float32 as the manifest says"
    with (
        pytest.raises(EngineError, match=said),
        load_engine(bundle_with(tmp_path, network), name) as engine,
    ):
        engine.infer(np.zeros((2, SIZE, SIZE, 3), np.uint8))


@pytest.mark.parametrize("name", ENGINES)
def test_a_graph_that_cannot_be_run_is_one_line(tmp_path: Path, name: str) -> None:
    network = graph(classes="classes", tail=lambda nodes: _of_the_pixels(nodes, "Reshape", -1, 7))
    with (
        pytest.raises(EngineError, match=rf"^{name} cannot run [12] images? through this graph: .*: pass fewer|; pass"),
        load_engine(bundle_with(tmp_path, network), name) as engine,
    ):
        engine.infer(np.zeros((2, SIZE, SIZE, 3), np.uint8))
