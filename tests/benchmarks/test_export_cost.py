import json
import sys

import pytest

from benchmarks.export.cost import BUNDLE, OTHER, OURS, commands, compare_bundles, run_rounds, summarise
from benchmarks.shared.run_measured import Usage, run_measured

MEGABYTE = 1 << 20


def test_a_process_that_holds_memory_and_computes_is_measured_and_its_output_kept(tmp_path):
    program = f"data = bytearray({300 * MEGABYTE}); data[::4096] = b'x' * len(data[::4096]); print('done')"
    usage = run_measured([sys.executable, "-c", program], log=tmp_path / "log")
    assert 300 < usage.peak_mb < 400
    assert 0 < usage.cpu_seconds < 60
    assert usage.seconds > 0
    assert (tmp_path / "log").read_text() == "done\n"


def test_a_process_that_fails_is_an_error_with_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match=r"exited with 3:\nno luck"):
        run_measured([sys.executable, "-c", "print('no luck'); raise SystemExit(3)"], log=tmp_path / "log")


def test_both_sides_run_in_every_round_in_folders_of_their_own(tmp_path):
    program = "import os, pathlib; pathlib.Path(f'{len(os.listdir())}').touch()"
    lines = {OURS: [sys.executable, "-c", program], OTHER: [sys.executable, "-c", program]}
    found = run_rounds(lines, tmp_path, 3)
    assert {name: len(taken) for name, taken in found.items()} == {OURS: 3, OTHER: 3}
    assert sorted(path.name for path in (tmp_path / OURS).iterdir()) == ["0", "1", "2"]


def test_the_ratio_is_the_median_of_the_rounds_own_ratios():
    found = {
        OURS: [Usage(10.0, 8.0, 1000.0), Usage(30.0, 9.0, 1000.0), Usage(12.0, 8.0, 1100.0)],
        OTHER: [Usage(20.0, 16.0, 4000.0), Usage(40.0, 16.0, 4000.0), Usage(20.0, 16.0, 2000.0)],
    }
    summary = summarise(found)
    # By hand: 0.5, 0.75, 0.6; 0.5, 0.5625, 0.5; 0.25, 0.25, 0.55.
    assert summary["ratio"] == {"seconds": 0.6, "cpu_seconds": 0.5, "peak_mb": 0.25}
    assert summary["median"]["seconds"] == {OURS: 12.0, OTHER: 20.0}


@pytest.mark.parametrize(("content", "same"), [(b"graph", True), (b"other", False)])
def test_bundles_of_equal_graphs_are_told_from_others(tmp_path, content, same):
    for name, graph, sqnr_db in ((OURS, b"graph", 31.25), (OTHER, content, 31.5)):
        bundle = tmp_path / name / BUNDLE
        bundle.mkdir(parents=True)
        (bundle / "model.onnx").write_bytes(graph)
        manifest = {"precision": {"name": "int8", "int8": {"held_out_sqnr_db": sqnr_db}}}
        (bundle / "bundle.json").write_text(json.dumps(manifest))
    assert compare_bundles(tmp_path) == {"same_graph": same, "held_out_sqnr_db": {OURS: 31.25, OTHER: 31.5}}


def test_nothing_is_said_of_bundles_where_a_peer_writes_none(tmp_path):
    assert compare_bundles(tmp_path) == {}


def test_only_int8_reads_pictures(tmp_path):
    int8 = commands("int8", "there/bin/export-ssl", tmp_path, 64)
    fp16 = commands("fp16", "there/bin/export-ssl", tmp_path, 64)
    assert all("--calib" in line for line in int8.values())
    assert not any("--calib" in line for line in fp16.values())
    assert int8[OURS][1:] == int8[OTHER][1:]
    assert int8[OTHER][0].endswith("/there/bin/export-ssl")
