import collections
import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from benchmarks.int8.accuracy import chosen_peers, with_others
from benchmarks.int8.peer_environments import TOOLS, Tool, tool_python
from benchmarks.int8.peer_task import Original, Task, load_task
from benchmarks.int8.peer_tools.int8_weights import store_int8
from benchmarks.int8.peers import PEERS, placed
from benchmarks.int8.scoring import Score
from benchmarks.int8.verdicts import HIGH, OURS, Row, better_of_counts, judge
from benchmarks.shared.run_measured import Usage
from tests.helpers.paths import ROOT
from tests.helpers.resnet_graphs import downsample_block

STAGE = "+ one technique"


def test_every_peer_has_a_name_and_a_file_of_its_own():
    names = collections.Counter((peer.kind, peer.name) for peer in PEERS)
    files = collections.Counter(peer.file_name for peer in PEERS)
    assert max(names.values()) == max(files.values()) == 1
    assert {peer.tool for peer in PEERS} == {tool.name for tool in TOOLS}
    for tool in TOOLS:
        assert (ROOT / "benchmarks/int8/peer_tools" / f"{tool.name}.py").is_file()


def test_every_package_of_a_peer_is_pinned():
    for tool in TOOLS:
        assert all(package.count("==") == 1 for package in tool.packages)


def test_a_task_is_read_as_it_was_written(tmp_path):
    files = (tmp_path / "model.onnx", tmp_path / "images.npy", tmp_path / "out.onnx")
    task = Task("cle+percentile", "unsigned", "lean", *files, ("image",), ("conv1",), Original("resnet18", "weights"))
    for one in (task, dataclasses.replace(task, original=None, tensors=())):
        one.save(tmp_path / "task.json")
        assert load_task(tmp_path / "task.json") == one
    assert task.steps == ("cle", "percentile")


@pytest.mark.slow
def test_a_tool_that_cannot_be_installed_is_an_error_with_pips_last_words(tmp_path):
    missing = str(tmp_path / "nowhere-1.0-py3-none-any.whl")
    with pytest.raises(RuntimeError, match=r"could not be installed:[\s\S]*nowhere-1\.0"):
        tool_python(Tool("nowhere", (missing,)), tmp_path)


def test_the_main_side_of_an_add_is_quantised_for_cpus_alone_and_not_when_lean(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(downsample_block(), path)
    signed, layers = placed(path, "signed", "same")
    unsigned, others = placed(path, "unsigned", "same")
    assert set(unsigned) - set(signed) == {"b.conv2"}
    assert placed(path, "unsigned", "lean") == (signed, layers)
    assert layers == others
    assert placed(path, "signed", "own") == ((), ())


def convolution(weight):
    tensors = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 3, 3]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 2, 2]),
    ]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


INTEGERS = np.array([[[[1, -128], [127, 0]]], [[[5, 6], [-7, 8]]]], np.int8)
SCALES = np.array([0.5, 0.25], np.float32)


def test_weights_on_a_grid_become_int8_and_mean_the_same():
    weight = INTEGERS * SCALES.reshape(2, 1, 1, 1)
    image = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    model = convolution(weight)
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": image})
    store_int8(model, {"w": SCALES})
    onnx.checker.check_model(model, full_check=True)
    stored = {initializer.name: numpy_helper.to_array(initializer) for initializer in model.graph.initializer}
    assert stored["w.int8"].dtype == np.int8
    np.testing.assert_array_equal(stored["w.int8"], INTEGERS)
    assert "w" not in stored
    (found,) = ReferenceEvaluator(model).run(None, {"x": image})
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("change", [0.1, 128 * 0.5])
def test_weights_beside_their_grid_are_refused(change):
    weight = INTEGERS * SCALES.reshape(2, 1, 1, 1)
    weight[0, 0, 0, 0] += change
    with pytest.raises(ValueError, match="off its INT8 grid"):
        store_int8(convolution(weight), {"w": SCALES})


def test_a_weight_that_the_graph_does_not_have_is_refused():
    with pytest.raises(ValueError, match="no initializer other"):
        store_int8(convolution(INTEGERS.astype(np.float32)), {"other": SCALES})


def row(who, sqnr_db, *, images=512, agreement=0.99, placement="same"):
    found = Score(sqnr_db, agreement, 0.9, 0.0, (-0.01, 0.01), 1.0)
    return Row("net", "signed", who, images, placement, "onnxruntime", found, Usage(1.0, 1.0, 100.0))


def test_ours_is_judged_against_the_best_peer_and_its_own_stages_are_none():
    rows = [row(OURS, 33.0), row(STAGE, 40.0), row("a", 30.0), row("b", 31.5)]
    (verdict,) = judge(rows, stages={STAGE})
    assert (verdict.best_peer, verdict.margin_db, verdict.done) == ("b", 1.5, True)
    (verdict,) = judge([*rows, row("c", 32.5)], stages={STAGE})
    assert (verdict.best_peer, verdict.done) == ("c", False)


def test_both_efforts_are_judged_by_peers_of_the_same_tensors_and_their_agreement():
    lean = row("d", 40.0, placement="lean")
    normal, high = judge([row(OURS, 33.0), row(HIGH, 34.0), row("a", 32.0, agreement=0.995), lean], stages=())
    assert (normal.who, normal.best_peer, normal.margin_db, normal.best_lean) == (OURS, "a", 1.0, "d")
    assert (high.who, high.best_peer, high.margin_db, high.agrees, high.done) == (HIGH, "a", 2.0, False, False)
    (verdict,) = judge([row(OURS, 33.0), row("b", 31.0)], stages=())
    assert (verdict.best_lean, verdict.done) == (None, True)


def test_of_two_counts_of_images_the_better_one_counts():
    kept = better_of_counts([row("a", 30.0), row("a", 31.0, images=128), row("b", 29.0)])
    assert [(one.who, one.images) for one in kept] == [("a", 128), ("b", 512)]


def test_peers_are_chosen_by_tool_and_by_name_and_a_slow_one_only_when_asked_for():
    assert {peer.name for peer in chosen_peers(None, ["MCT mse"], slow=False)} == {"MCT mse"}
    assert {peer.kind for peer in chosen_peers(None, ["MCT mse"], slow=False)} == {"signed", "unsigned"}
    assert {peer.tool for peer in chosen_peers(["aimet"], slow=False)} == {"aimet"}
    assert not any(peer.slow for peer in chosen_peers(None, slow=False))
    assert all(peer.slow for peer in chosen_peers(None, ["MCT gptq, mse"], slow=False))
    with pytest.raises(SystemExit, match="no such peer: MCT"):
        chosen_peers(None, ["MCT"], slow=False)


def test_networks_that_a_run_does_not_measure_keep_what_an_earlier_one_said_and_its_commit():
    def result(commit, top1, *names):
        rows = [{"network": name, "top1": top1} for name in names]
        return {
            "commit": commit,
            "networks": {name: {"top1_fp32": top1, "commit": commit} for name in names},
            "rows": rows,
            "failures": [],
            "verdicts": rows,
        }

    first = result("aaa", 0.5, "one", "two")
    del first["networks"]["two"]["commit"]
    found = with_others(result("bbb", 0.7, "three", "one"), first)
    assert found["commit"] == "bbb"
    assert {name: told["commit"] for name, told in found["networks"].items()} == {
        "three": "bbb",
        "one": "bbb",
        "two": "aaa",
    }
    assert [(row["network"], row["top1"]) for row in found["rows"]] == [("three", 0.7), ("one", 0.7), ("two", 0.5)]
    assert found["verdicts"] == found["rows"]
    assert with_others(first, None) == first
