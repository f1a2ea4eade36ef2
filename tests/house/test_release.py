"""The version stands in one place, the changelog says what is in it, and SECURITY.md quotes messages that exist."""

import re
import sys

import pytest

from tests.helpers.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HEADER = ROOT / "runtime/cpp/include/resnet_engine.h"
VERSION = ".".join(
    re.search(rf"RNE_VERSION_{part} (\d+)", HEADER.read_text(encoding="utf-8"))[1]
    for part in ("MAJOR", "MINOR", "PATCH")
)
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
FOLDERS = ("runtime", "calibration", "exporter", "docs")
SUFFIXES = {".py", ".toml", ".txt", ".in", ".h", ".cpp", ".inc", ".md", ".yml", ".js", ""}
# Each with the code that it names and the messages that it quotes.
REFUSALS = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## What is not protected")[0].split("### ")[1:]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The changelog dates a version, so it may name it; recorded results say what they were measured with. `make coverage`
# leaves a database.
_OTHERS = {"CHANGELOG.md", ".coverage"}
SOURCES = [
    path
    for path in (*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")))
    if path.suffix in SUFFIXES and path.is_file() and path.name not in _OTHERS
]


def test_no_file_but_the_header_has_the_version() -> None:
    written = re.compile(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])")
    assert HEADER in SOURCES
    assert ROOT / "runtime/cpp/CMakeLists.txt" in SOURCES
    assert ROOT / "pyproject.toml" in SOURCES
    assert [str(path.relative_to(ROOT)) for path in SOURCES if written.search(path.read_text(encoding="utf-8"))] == []


def test_the_builds_take_the_version_from_the_header() -> None:
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    cmake = (ROOT / "runtime/cpp/CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"^project\(ResnetEngine VERSION (\S+)", cmake, re.MULTILINE) == [
        "${version_MAJOR}.${version_MINOR}.${version_PATCH}"
    ]


def test_the_changelog_begins_with_what_is_not_released_and_then_this_version() -> None:
    headings = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(VERSION)} - \d{{4}}-\d{{2}}-\d{{2}}", headings[1])


def test_every_entry_of_the_changelog_is_one_line_and_a_sentence() -> None:
    entries = [line for line in CHANGELOG.splitlines() if line.startswith("- ")]
    assert entries
    assert [line for line in entries if not line.endswith(".")] == []
    assert [line for line in CHANGELOG.splitlines() if line.startswith(" ")] == []  # a second line of an entry


@pytest.mark.parametrize("section", REFUSALS, ids=lambda section: section.partition("\n")[0])
def test_the_messages_of_security_md_are_in_the_code_that_it_names(section: str) -> None:
    named = [ROOT / name for name in re.findall(r"`((?:runtime|calibration|exporter)/[\w/]+\.py)`", section)]
    code = "".join(path.read_text(encoding="utf-8") for path in named)
    quoted = re.findall(r"^\| .+ \| `(.+)` \|$", section, re.MULTILINE)
    assert [message for message in quoted if message not in code] == []
    assert quoted or section.startswith("The report")


def test_security_md_is_about_everything_that_comes_from_strangers() -> None:
    headings = " ".join(section.partition("\n")[0].lower() for section in REFUSALS)
    wanted = "checkpoints bundles onnx caches images archives parquet plans labels report"
    assert [word for word in wanted.split() if word not in headings] == []
