"""Each subcommand loads what it needs and no more: which optional packages, and which parts of `runtime`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

import runtime
from runtime.commands.run_ssl import app
from runtime.embed.request import EmbedRequest
from tests.helpers.embed_jobs import embed
from tests.helpers.paths import ROOT
from tests.helpers.project import HEAVY, OPTIONAL
from tests.tensorrt_bindings.standin import standin_environment

# Parts of `runtime` that only some subcommands need; a module counts for the innermost that it is in.
PARTS = (
    "bench",
    "bench.limits",
    "compare",
    "data",
    "embed",
    "engines",
    "engines.trt",
    "health",
    "images",
    "neighbours",
    "on_ray",
    "original",
    "plans",
    "plans.inspector",
    "report",
    "search",
    "serving",
)
# What is always there: the command line, and what it stands on.
ALWAYS = ("bundle", "commands", "support")
# What pyarrow brings along by itself.
WITH_PYARROW = {"pyarrow", "pandas"}
# What timm and torch do.
WITH_TIMM = {"cuda", "huggingface_hub", "safetensors", "timm", "torch", "torchgen", "torchvision"}
# A package's own `__init__.py` is a docstring: it is no part that was needed.
SCRIPT = """
import json, sys
from runtime.commands.run_ssl import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    folders = {name for name in sys.modules if name.startswith("runtime") and hasattr(sys.modules[name], "__path__")}
    print("loaded", json.dumps(sorted({*sys.modules} - folders)))
"""

# Words of the command line, the optional packages that it may load, and the parts of `runtime` beside the core.
# BUNDLE, FP16, PICTURES, PICTURE, EMBEDDED, LAYERS and OUT stand for bundles, a folder of pictures, one of these, their
# embeddings, an engine inspector's file, and a place to write.
MAY_LOAD = {
    "--help": (set(), set()),
    "verify BUNDLE --engines openvino": ({"openvino"}, {"engines", "health", "images"}),
    "verify BUNDLE --engines onnxruntime": ({"onnxruntime"}, {"engines", "health", "images"}),
    "compare BUNDLE --data PICTURES --engines onnxruntime": (
        {"onnxruntime", *WITH_TIMM},
        {"compare", "data", "engines", "images", "neighbours", "on_ray", "original"},
    ),
    # The stand-in of TensorRT reads the graph with onnx.
    "build FP16": ({"cuda", "onnx", "tensorrt"}, {"engines.trt", "plans", "plans.inspector"}),
    "explain LAYERS": (set(), {"plans", "plans.inspector"}),
    "embed BUNDLE PICTURES -o OUT --format npy --engine onnxruntime": (
        {"onnxruntime"},
        {"data", "embed", "engines", "images", "neighbours", "on_ray"},
    ),
    "embed BUNDLE PICTURES -o OUT --engine openvino": (
        {"openvino", *WITH_PYARROW},
        {"data", "embed", "engines", "images", "neighbours", "on_ray"},
    ),
    "search EMBEDDED PICTURE": (
        {"openvino", *WITH_PYARROW},
        {"data", "embed", "engines", "images", "neighbours", "search"},
    ),
    "search EMBEDDED PICTURE --html OUT": (
        {"openvino", *WITH_PYARROW},
        {"data", "embed", "engines", "images", "neighbours", "report", "search"},
    ),
    "repo BUNDLE OUT": (set(), {"engines", "images", "serving"}),
    "repo BUNDLE OUT --backend openvino": ({"openvino"}, {"engines", "images", "serving"}),
    "report BUNDLE -o OUT": (
        {"plotly"},
        {"bench", "bench.limits", "compare", "embed", "engines.trt", "plans.inspector", "report"},
    ),
    "doctor": (
        {"cuda", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings", "tensorrt_rtx_libs"},
        {"engines", "engines.trt", "health", "images"},
    ),
    "bench BUNDLE --engines onnxruntime --runs 8 --rounds 2 --no-limit --output OUT": (
        {"cuda"},
        {"bench", "bench.limits", "engines", "engines.trt", "images", "plans", "plans.inspector"},
    ),
}


def part_of(module: str) -> str | None:
    """Return the innermost of PARTS that a module of `runtime` lies in."""
    inside = [part for part in PARTS if f"{module}.".startswith(f"{part}.")]
    return max(inside, key=len, default=None)


def loaded(words: list[str], environment: dict[str, str] | None = None) -> set[str]:
    """Return the modules that a subcommand has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.rpartition("loaded ")[2]))


@pytest.mark.parametrize("words", MAY_LOAD)
def test_a_subcommand_loads_what_it_needs_and_no_more(words, exported, class_folders, tmp_path):
    packages, parts = MAY_LOAD[words]
    places = {
        "BUNDLE": exported.fp32,
        # A plan is built into its bundle.
        "FP16": shutil.copytree(exported.fp16, tmp_path / "fp16"),
        "PICTURES": class_folders,
        "LAYERS": ROOT / "tests/runtime/plans/layers/int8_10.json",
        "EMBEDDED": tmp_path / "embedded",
        "PICTURE": next(class_folders.rglob("*.png")),
        "OUT": tmp_path / "out",
    }
    if "EMBEDDED" in words:
        embed(EmbedRequest(exported.fp32, (class_folders,), places["EMBEDDED"], engine="openvino"))
    environment = standin_environment(XDG_CACHE_HOME=str(tmp_path)) if words.startswith("build") else None
    modules = loaded([str(places.get(word, word)) for word in words.split()], environment)
    optional = (OPTIONAL | HEAVY | WITH_PYARROW) - {"numpy", "PIL"}
    assert {name.partition(".")[0].lstrip("_") for name in modules} & optional <= packages
    inside = {name.removeprefix("runtime.") for name in modules if name.startswith("runtime.")}
    assert {part_of(name) for name in inside} - {None} <= parts


def test_every_subcommand_is_run():
    commands = get_command(app)
    assert isinstance(commands, TyperGroup)
    assert {words.split()[0] for words in MAY_LOAD} - {"--help"} == set(commands.commands)


def test_a_package_that_is_not_allowed_would_be_seen(exported):
    assert "openvino" in loaded(["verify", str(exported.fp32), "--engines", "openvino"])


def test_every_part_of_the_runtime_is_listed():
    folders = {path.parent.name for path in Path(runtime.__path__[0]).glob("*/__init__.py")}
    assert folders == {part for part in PARTS if "." not in part} | set(ALWAYS)
