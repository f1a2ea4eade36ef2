"""The names of a bundle's files are typed in one place."""

import ast

from runtime.bundle import layout
from tests.helpers.paths import ROOT

NAMES = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)}
# The layout, and Triton's names for the files of a backend, of which two happen to be ours.
NAMING = {"runtime/bundle/layout.py", "runtime/serving/backends.py"}
SOURCES = sorted(path for folder in ("runtime", "calibration", "exporter") for path in (ROOT / folder).rglob("*.py"))


def typed_names(source):
    """Return the string constants of a module that are a bundle's file name and nothing else."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES
    ]


def test_the_files_of_a_bundle_are_named_by_the_layout_alone():
    others = {path for path in SOURCES if path.relative_to(ROOT).as_posix() not in NAMING}
    found = {path: typed_names(path.read_text(encoding="utf-8")) for path in others}
    assert {str(path): names for path, names in found.items() if names} == {}


def test_a_typed_name_would_be_seen():
    assert typed_names('plan = path / "model.plan"\n"""Of model.plan."""\n') == ["model.plan"]


def test_no_two_names_stand_for_one_file():
    named = [value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)]
    # TensorRT's are among the constants.
    rtx = layout.PLANS["tensorrt-rtx"]
    named += [rtx.plan, rtx.sidecar, rtx.layers, rtx.rejected]
    assert len(named) == len(set(named))
