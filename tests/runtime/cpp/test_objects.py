"""A compiler that lacks a library's header is a skip with Debian's package; whatever else it refuses is a failure."""

from pathlib import Path

import pytest

from tests.helpers.cpp.objects import build_program


@pytest.mark.parametrize(
    "said",
    [
        "plan_check.cpp:5:10: fatal error: nlohmann/json.hpp: No such file or directory",
        "plan_check.cpp:5:10: fatal error: 'nlohmann/json.hpp' file not found",
    ],
)
def test_a_librarys_header_that_is_absent_is_a_skip_for_gcc_and_clang(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    compiler = program(tmp_path / "c++", f'echo "{said}" >&2; exit 1')
    source = tmp_path / "a.cpp"
    source.touch()
    with pytest.raises(
        pytest.skip.Exception, match=r"^nlohmann/json.hpp not found: apt-get install nlohmann-json3-dev$"
    ):
        build_program(compiler, tmp_path / "a", [source])


def test_any_other_words_of_a_compiler_are_a_failure(tmp_path: Path) -> None:
    compiler = program(tmp_path / "c++", "echo 'fatal error: plan_check.h: No such file or directory' >&2; exit 1")
    source = tmp_path / "a.cpp"
    source.touch()
    with pytest.raises(AssertionError, match=r"plan_check\.h"):
        build_program(compiler, tmp_path / "a", [source])


def program(path: Path, script: str) -> str:
    """Write a shell script, and return its path as a text."""
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)
