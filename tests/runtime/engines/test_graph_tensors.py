"""A graph that is not what its manifest describes: refused when an engine opens it, or when it runs.

The graphs are made by onnx itself, and their files have the right hashes: a stranger can write those too.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from runtime.engines.open_engine import load_engine
from runtime.errors import BundleError, EngineError
from tests.helpers.bundles import CLASSES, DIM, SIZE
from tests.helpers.linear_graph import bundle_with, graph, of_the_pixels

ENGINES = ("onnxruntime", "openvino")


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


@pytest.mark.parametrize("name", ENGINES)
def test_outputs_of_another_size_than_the_manifest_says_are_refused(tmp_path: Path, name: str) -> None:
    network = graph(classes="classes", tail=lambda nodes: of_the_pixels(nodes, "Tile", 1, 2))
    said = r"the network's logits is \([12], 6\) float32, expected \([12], 3\) float32 as the manifest says"
    with (
        pytest.raises(EngineError, match=said),
        load_engine(bundle_with(tmp_path, network), name) as engine,
    ):
        engine.infer(np.zeros((2, SIZE, SIZE, 3), np.uint8))


@pytest.mark.parametrize("name", ENGINES)
def test_a_graph_that_cannot_be_run_is_one_line(tmp_path: Path, name: str) -> None:
    network = graph(classes="classes", tail=lambda nodes: of_the_pixels(nodes, "Reshape", -1, 7))
    with (
        pytest.raises(EngineError, match=rf"^{name} cannot run [12] images? through this graph: .*: pass fewer|; pass"),
        load_engine(bundle_with(tmp_path, network), name) as engine,
    ):
        engine.infer(np.zeros((2, SIZE, SIZE, 3), np.uint8))
