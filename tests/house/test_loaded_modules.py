"""Each subcommand loads what it needs and no more: which optional packages, and which parts of `runtime`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from tests.helpers.project import HEAVY, OPTIONAL

# Parts of `runtime` that only some subcommands need.
PARTS = (
    "bench",
    "compare",
    "data",
    "embed",
    "engines",
    "engines.trt",
    "health",
    "images",
    "on_ray",
    "original",
    "plans",
    "report",
    "serving",
)
# What is always there: the command line, and what it stands on.
ALWAYS = ("bundle", "commands", "support")
# What pyarrow brings along by itself.
WITH_PYARROW = {"pyarrow", "pandas"}
SCRIPT = """
import json, sys
from runtime.commands.run_ssl import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    print("loaded", json.dumps(sorted(sys.modules)))
"""

# Words of the command line, the optional packages that it may load, and the parts of `runtime` beside the core.
# BUNDLE, PICTURES and OUT stand for a bundle, a folder of pictures, and a place to write.
MAY_LOAD = {
    "--help": (set(), set()),
    "verify BUNDLE --engines openvino": ({"openvino"}, {"engines", "health", "images"}),
    "verify BUNDLE --engines onnxruntime": ({"onnxruntime"}, {"engines", "health", "images"}),
    "embed BUNDLE PICTURES -o OUT --format npy --engine onnxruntime": (
        {"onnxruntime"},
        {"compare", "data", "embed", "engines", "images", "on_ray"},
    ),
    "embed BUNDLE PICTURES -o OUT --engine openvino": (
        {"openvino", *WITH_PYARROW},
        {"compare", "data", "embed", "engines", "images", "on_ray"},
    ),
    "repo BUNDLE OUT": (set(), {"engines", "engines.trt", "health", "images", "plans", "serving"}),
    "repo BUNDLE OUT --backend openvino": (
        {"openvino"},
        {"engines", "engines.trt", "health", "images", "plans", "serving"},
    ),
    "report BUNDLE -o OUT": ({"plotly"}, {"bench", "compare", "engines", "engines.trt", "images", "plans", "report"}),
    "doctor": (
        {"cuda", "onnxruntime", "openvino", "tensorrt"},
        {"engines", "engines.trt", "health", "images", "plans"},
    ),
}


def part_of(module: str) -> str | None:
    """Return the innermost of PARTS that a module of `runtime` lies in."""
    inside = [part for part in PARTS if f"{module}.".startswith(f"{part}.")]
    return max(inside, key=len, default=None)


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
    inside = {name.removeprefix("runtime.") for name in modules if name.startswith("runtime.")}
    assert {part_of(name) for name in inside} - {None} <= parts


def test_a_package_that_is_not_allowed_would_be_seen(exported):
    assert "openvino" in loaded(["verify", str(exported.fp32), "--engines", "openvino"])


def test_every_part_of_the_runtime_is_listed():
    folders = {path.parent.name for path in Path(runtime.__path__[0]).glob("*/__init__.py")}
    assert folders == {part for part in PARTS if "." not in part} | set(ALWAYS)
