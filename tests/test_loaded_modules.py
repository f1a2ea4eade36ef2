"""Each subcommand loads what it needs and no more: which optional packages, and which parts of `runtime`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from tests.test_architecture import HEAVY, OPTIONAL

# Parts of `runtime` that only some subcommands need. What holds their options is always there.
PARTS = ("bench", "embed", "on_ray", "original", "report", "serving", "trt")
COMMAND_LINE = {
    "bench.command",
    "embed.command",
    "on_ray.options",
    "report.command",
    "serving.command",
    "trt.build_arguments",
}
# What pyarrow brings along by itself.
WITH_PYARROW = {"pyarrow", "pandas"}
SCRIPT = """
import json, sys
from runtime.cli import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    print("loaded", json.dumps(sorted(sys.modules)))
"""

# Words of the command line, the optional packages that it may load, and the parts of `runtime` beside the core.
# BUNDLE, PICTURES and OUT stand for a bundle, a folder of pictures, and a place to write.
MAY_LOAD = {
    "--help": (set(), set()),
    "verify BUNDLE --engines openvino": ({"openvino"}, set()),
    "verify BUNDLE --engines onnxruntime": ({"onnxruntime"}, set()),
    "embed BUNDLE PICTURES -o OUT --format npy --engine onnxruntime": ({"onnxruntime"}, {"embed", "on_ray"}),
    "embed BUNDLE PICTURES -o OUT --engine openvino": ({"openvino", *WITH_PYARROW}, {"embed", "on_ray"}),
    "repo BUNDLE OUT": (set(), {"serving", "trt"}),
    "repo BUNDLE OUT --backend openvino": ({"openvino"}, {"serving", "trt"}),
    "report BUNDLE -o OUT": ({"plotly"}, {"bench", "report", "trt"}),
    "doctor": ({"cuda", "onnxruntime", "openvino", "tensorrt"}, {"trt"}),
}


def loaded(words: list[str]) -> set[str]:
    """Return the modules that a subcommand has loaded when it ends."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.rpartition("loaded ")[2]))


@pytest.mark.parametrize("words", MAY_LOAD)
def test_a_subcommand_loads_what_it_needs_and_no_more(words, exported, class_folders, tmp_path):
    packages, parts = MAY_LOAD[words]
    places = {"BUNDLE": exported.fp32, "PICTURES": class_folders, "OUT": tmp_path / "out"}
    modules = loaded([str(places.get(word, word)) for word in words.split()])
    optional = (OPTIONAL | HEAVY | WITH_PYARROW) - {"numpy", "PIL"}
    assert {name.partition(".")[0].lstrip("_") for name in modules} & optional <= packages
    inside = {name.removeprefix("runtime.") for name in modules if name.startswith("runtime.")} - COMMAND_LINE
    assert {name.partition(".")[0] for name in inside if "." in name} & set(PARTS) <= parts


def test_a_package_that_is_not_allowed_would_be_seen(exported):
    assert "openvino" in loaded(["verify", str(exported.fp32), "--engines", "openvino"])


def test_every_part_of_the_runtime_is_listed():
    folders = {path.parent.name for path in Path(runtime.__path__[0]).glob("*/__init__.py")}
    assert folders == set(PARTS)
