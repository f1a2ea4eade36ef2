"""The trial of the bounds: which interpreters and versions it takes, what counts as passed, and what is recorded."""

import json

import pytest

from benchmarks.documents.bounds_table import KINDS, bounds_table, recorded, thin_table
from tests.bounds import try_bounds
from tests.bounds.case import Case
from tests.bounds.installs import EXTRAS, INSTALLS, Install
from tests.helpers.fresh_environment import CommandFailedError, Environment
from tests.helpers.paths import ROOT
from tests.helpers.project import lower_bounds, release

RECORDED = recorded()
TRIED = [(name, kind) for name, kinds in RECORDED.items() for kind in kinds]


class HereEnvironment(Environment):
    """This environment in place of a fresh one."""

    def _make(self, _python):
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "bin" / "sh").symlink_to("/bin/sh")


@pytest.fixture
def case(tmp_path):
    (tmp_path / "work").mkdir()
    return Case(HereEnvironment(tmp_path / "env", ""), tmp_path / "inputs", tmp_path / "work")


def test_every_extra_is_tried_and_the_base():
    assert {install.extras[0] if install.extras else "base" for install in INSTALLS.values()} == {"base", *EXTRAS}


def test_what_only_resolves_needs_a_gpu():
    assert {name for name, install in INSTALLS.items() if install.use is None} == {"gpu", "gpu-cu12"}


def test_a_lower_bound_is_read_from_every_form_of_requirement():
    requirements = [
        "export-ssl[embed]",
        "A_b>=1.2",
        "ray[data]>=2.40",
        "tomli>=2.0; python_version < '3.11'",
        "x>=1,<2",
    ]
    assert lower_bounds(requirements) == {"a-b": "1.2", "ray": "2.40", "tomli": "2.0", "x": "1"}


@pytest.mark.parametrize(("text", "numbers"), [("1.20.0", (1, 20)), ("3.13.0rc1", (3, 13)), ("0.0.70", (0, 0, 70))])
def test_versions_are_compared_by_their_numbers(text, numbers):
    assert release(text) == numbers


def test_the_lowest_python_that_is_supported_and_the_newest_are_taken(monkeypatch):
    listed = [{"version": one, "path": f"/{one}"} for one in ("3.13.1", "3.12", "3.10.13", "3.9.18")]
    monkeypatch.setattr(try_bounds, "run_uv", lambda _words: json.dumps(listed))
    monkeypatch.setattr(try_bounds, "find_uv", lambda: "uv")
    found = try_bounds.find_pythons()
    assert list(found.values()) == ["/3.10.13", "/3.12", "/3.13.1"]
    embed, docs = (Install(("embed",), None, python=python) for python in ("3.10", "3.11"))
    assert [try_bounds.choose_python(found, kind, embed) for kind in KINDS] == ["/3.10.13", "/3.13.1"]
    assert [try_bounds.choose_python(found, kind, docs) for kind in KINDS] == ["/3.12", "/3.13.1"]


def test_without_a_python_that_is_supported_it_ends_with_a_next_step(monkeypatch):
    monkeypatch.setattr(try_bounds, "run_uv", lambda _words: json.dumps([{"version": "3.9.18", "path": "/3.9.18"}]))
    monkeypatch.setattr(try_bounds, "find_uv", lambda: "uv")
    with pytest.raises(SystemExit, match=r"uv finds no Python from 3\.10 on: put one on PATH"):
        try_bounds.find_pythons()


class StandInEnvironment(HereEnvironment):
    """An environment that uv filled: it has one package, and `python` tells a version."""

    def __init__(self, folder, python, _cache):
        super().__init__(folder, python)
        (folder / "bin" / "python").write_text("#!/bin/sh\necho Python 3.10.1\n", encoding="utf-8")
        (folder / "bin" / "python").chmod(0o755)

    def compile(self, _project, _extras, target, *, lowest):
        target.write_text(f"pyarrow=={'17.0.0' if lowest else '26.0.0'}\nnumpy==2.0.0\n", encoding="utf-8")

    def install(self, *requirements):
        pass


@pytest.fixture
def trial(monkeypatch, tmp_path):
    """Return a function that tries a use with stand-ins for uv and the index."""
    monkeypatch.setattr(try_bounds, "UvEnvironment", StandInEnvironment)
    files = {"wheel": tmp_path / "a.whl", "inputs": tmp_path, "cache": tmp_path}

    def run(use, kind="lowest"):
        return try_bounds.try_install(Install(("embed",), use), kind, "python3", tmp_path / "try", files)

    return run


def test_a_use_that_works_is_recorded_with_its_versions_commands_and_figures(trial, tmp_path):
    def use(case):
        case.command("sh", "-c", "true")
        return {"size_mb": 1}

    result = trial(use)
    assert (result["passed"], result["tried"], result["python"]) == (True, True, "3.10.1")
    assert (result["packages"], result["commands"]) == ({"pyarrow": "17.0.0"}, ["sh -c true"])
    assert result["figures"] == {"size_mb": 1}
    assert not (tmp_path / "try").exists()


def test_a_use_that_fails_is_recorded_with_the_end_of_what_it_said(trial):
    result = trial(lambda case: case.command("sh", "-c", "for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3"))
    assert not result["passed"]
    assert result["said"][0].endswith("exited with 3:")
    assert result["said"][1:] == [f"line {number}" for number in (3, 4, 5, 6, 7)]
    assert "FAILED" in try_bounds.told("embed", "lowest", result)


def test_what_needs_a_gpu_is_resolved_and_not_tried(trial):
    result = trial(None, kind="newest")
    assert (result["passed"], result["tried"], result["packages"]) == (True, False, {"pyarrow": "26.0.0"})


def test_a_refusal_is_exit_code_1_and_one_line(case):
    assert case.refused("sh", "-c", "echo error: no >&2; exit 1") == "error: no"
    for script in ("echo error: no >&2; exit 2", "echo one >&2; echo two >&2; exit 1"):
        with pytest.raises(CommandFailedError, match="expected exit code 1 and one line"):
            case.refused("sh", "-c", script)


def test_results_are_merged_with_those_of_other_environments(tmp_path):
    file = tmp_path / "bounds.json"
    try_bounds.write(file, {"embed": {"lowest": {"passed": True}}, "cpu": {"newest": {"passed": True}}})
    try_bounds.write(file, {"embed": {"newest": {"passed": False}}})
    installs = json.loads(file.read_text(encoding="utf-8"))["installs"]
    assert installs == {
        "cpu": {"newest": {"passed": True}},
        "embed": {"lowest": {"passed": True}, "newest": {"passed": False}},
    }


def test_the_table_has_a_row_for_each_package_and_says_what_failed():
    def one(version, *, passed=True, tried=True):
        return {"python": "3.10.1", "packages": {"pyarrow": version}, "passed": passed, "tried": tried}

    installs = {
        "embed": {"lowest": one("17.0"), "newest": one("26.0", passed=False)},
        "gpu": {"lowest": one("1.0", tried=False), "newest": one("2.0", tried=False)},
        "lance": {"newest": one("14.0")},
    }
    assert bounds_table(installs).splitlines() == [
        "| extra | package | lowest, Python 3.10.1 | newest, Python 3.10.1 | tried |",
        "|---|---|---|---|---|",
        "| `embed` | pyarrow | 17.0 | 26.0 | newest failed |",
        "| `gpu` | pyarrow | 1.0 | 2.0 | resolved only |",
        "| `lance` | pyarrow | - | 14.0 | lowest not run |",
    ]


@pytest.mark.parametrize(("name", "kind"), TRIED)
def test_what_is_recorded_passed(name, kind):
    assert RECORDED[name][kind]["passed"], RECORDED[name][kind].get("said")
    assert RECORDED[name][kind]["tried"] is (INSTALLS[name].use is not None)


@pytest.mark.parametrize("name", [name for name, kind in TRIED if kind == "lowest"])
def test_the_lowest_version_that_was_tried_is_the_bound(name):
    tried = {package: release(version) for package, version in RECORDED[name]["lowest"]["packages"].items()}
    assert tried == {package: release(bound) for package, bound in INSTALLS[name].bounds.items()}


def test_the_install_page_shows_what_is_recorded():
    page = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    assert bounds_table(RECORDED) in page
    assert thin_table(RECORDED) in page
