"""docs/reference/ is what the code says, and the writing of it says what it should."""

import re
from typing import Any

import pytest

from benchmarks.documents.reference.commands_page import HOW_TO
from benchmarks.documents.reference.docstrings import parse
from benchmarks.documents.reference.files_page import OTHER_SCHEMAS, SCHEMAS, words
from benchmarks.documents.reference.markdown import one_line
from benchmarks.documents.reference.python_page import public_names
from benchmarks.documents.write_reference import REFERENCE, WRITERS
from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: (REFERENCE / name).read_text(encoding="utf-8") for name in WRITERS}


@pytest.mark.parametrize("name", WRITERS)
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == WRITERS[name](), "run `make reference`"


def test_every_option_field_and_argument_is_described(pages: dict[str, str]) -> None:
    assert [line for page in pages.values() for line in page.splitlines() if re.search(r"\|\s+\|$", line)] == []


def test_every_public_name_has_a_section(pages: dict[str, str]) -> None:
    for package in ("runtime", "calibration", "exporter"):
        assert {name for name in public_names(package) if f"\n### {name}\n" not in pages["python.md"]} == set()


def test_no_page_holds_a_path_of_this_machine(pages: dict[str, str]) -> None:
    assert [name for name, page in pages.items() if f"{ROOT}/" in page or "object at 0x" in page] == []


def test_the_schema_versions_of_the_stability_page_are_those_of_the_schemas() -> None:
    page = (REFERENCE / "stability.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([\w./-]+\.json)` \| (\d+) \|", page, re.MULTILINE))
    versions = {
        file: str(schema.model_fields["schema_version"].default)
        for file, schema in {**SCHEMAS, **OTHER_SCHEMAS}.items()
        if "schema_version" in schema.model_fields
    }
    assert told == versions


# Read off runtime/commands/run_ssl.py and exporter/options.py by hand.
@pytest.mark.parametrize(
    ("command", "row"),
    [
        ("run-ssl compare", "| `--batch-size` | whole number, at least 1 | `32` |"),
        ("run-ssl compare", "| `--device` | `cpu`, `gpu` | `cpu` |"),
        ("run-ssl compare", "| `--data` | text | required |"),
        ("run-ssl compare", "| `--json` |  |  |"),
        ("run-ssl compare", "| `BUNDLES …` | path, one or more | required |"),
        ("run-ssl bench", "| `--limit`, `--no-limit` |  | on |"),
        ("run-ssl embed", "| `--output`, `-o` | path | required |"),
        ("run-ssl repo", "| `DIR` | path | required |"),
        ("export-ssl", "| `--optimization-level` | whole number, 0 to 5 | `3` |"),
        ("export-ssl", "| `--input` | `uint8`, `float32` | `uint8` |"),
    ],
)
def test_an_option_stands_with_its_values_and_default(command: str, row: str, pages: dict[str, str]) -> None:
    section = pages["commands.md"].split(f"\n## {command}\n")[1].split("\n## ")[0]
    assert row in section


def test_a_command_links_to_the_pages_that_explain_it(pages: dict[str, str]) -> None:
    for command, stems in HOW_TO.items():
        section = pages["commands.md"].split(f"\n## {command}\n")[1].split("\n## ")[0]
        assert {stem for stem in stems if f"(../how-to/{stem}.md)" not in section} == set()


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 8192}, "whole number from 1 to 8192"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number above 0 to 1"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number or null"),
        ({"const": 1, "enum": [1], "type": "integer"}, "`1`"),
        ({"enum": ["cpu", "gpu"], "type": "string"}, "`cpu`, `gpu`"),
        ({"$ref": "#/$defs/FileEntry"}, "[FileEntry](#fileentry)"),
        ({"type": "array", "items": {"type": "string"}}, "list of strings"),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]}, "list of 2 numbers"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of whole numbers"),
        ({"type": "boolean"}, "true or false"),
    ],
)
def test_a_json_schema_in_words(schema: dict[str, Any], expected: str) -> None:
    assert words(schema) == expected


def test_a_docstring_is_taken_apart() -> None:
    found = parse(
        """Return a thing.

        More of it.

        Args:
            first: What it is
                made of.
            second: Such as `a: b`.

        Returns:
            The thing, (N,) float32.

        Raises:
            DataError: It cannot be made.

        Source: A book,
        second edition.
        """
    )
    assert found.prose == "Return a thing.\n\nMore of it."
    assert found.entries["Args"] == {"first": "What it is made of.", "second": "Such as `a: b`."}
    assert found.entries["Raises"] == {"DataError": "It cannot be made."}
    assert found.texts == {"Returns": "The thing, (N,) float32.", "Source": "A book, second edition."}


def test_text_shows_in_a_table_as_it_is_written() -> None:
    assert one_line("a < b,\n  *not* `a < b` | x_1 _y_") == r"a \< b, \*not\* `a < b` \| x_1 \_y\_"
