"""A tool that is absent is a skip with Debian's package in its reason, and with CI=true a failure."""

from pathlib import Path

import pytest

from tests.helpers.tools import require_flags, require_tool


@pytest.fixture
def no_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)


@pytest.mark.usefixtures("no_path")
def test_an_absent_program_is_a_skip_that_names_the_package() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^clang-tidy not found: apt-get install clang-tools$"):
        require_tool("clang-tidy", "clang-tidy-14", package="clang-tools")


@pytest.mark.usefixtures("no_path")
@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_in_continuous_integration_it_is_a_failure(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CI", value)
    with pytest.raises(pytest.fail.Exception, match=r"clang-tidy not found: apt-get install clang-tidy .*CI=true"):
        require_tool("clang-tidy", package="clang-tidy")


@pytest.mark.usefixtures("no_path")
def test_the_first_name_that_is_there_is_taken(tmp_path: Path) -> None:
    program(tmp_path / "chromium-browser", "exit 0")
    program(tmp_path / "google-chrome", "exit 0")
    found = require_tool("chromium", "chromium-browser", "google-chrome", package="chromium")
    assert found == str(tmp_path / "chromium-browser")


def test_a_compiler_that_does_not_link_is_a_skip_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    compiler = program(tmp_path / "clang++", "cat >&2; echo 'ld: no libclang_rt.asan' >&2; exit 1")
    words = r"^clang\+\+ does not link -fsanitize=address \(it is\): apt-get install libclang-rt-dev$"
    with pytest.raises(pytest.skip.Exception, match=words):
        require_flags(compiler, ["-fsanitize=address"], package="libclang-rt-dev", program="it is\n")


def test_a_compiler_that_links_is_no_skip(tmp_path: Path) -> None:
    require_flags(program(tmp_path / "clang++", "cat >/dev/null"), ["-fsanitize=address"], package="libclang-rt-dev")


def program(path: Path, script: str) -> str:
    """Write a shell script, and return its path as a text."""
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)
