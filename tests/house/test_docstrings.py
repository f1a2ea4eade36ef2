"""Every entry of a docstring reads alone: "Seed of the random draw.", not "Of the draw."."""

import ast
import inspect
import re
from collections.abc import Iterator

import pytest

from tests.helpers.paths import ROOT

FOLDERS = ("runtime", "calibration", "exporter", "benchmarks", "tests")
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")
_NAMED = re.compile(r"^ {4}\*{0,2}\w[\w.]*: (.*)$")
# What a reader can only understand by climbing to another line: a preposition or a pronoun without its noun, a verb
# without its subject, and a question word that stands for the whole answer ("Where to.").
_HEADLESS = re.compile(
    r"^(?:(?:Of|In|At|By|For|From|To|With|Without|As|Such|So|It|Its|They|Their|Them|Those|Who|Whose|Is|Are)\b"
    r"|(?:Where|Which|What)(?: \w+)?[.,;:])"
)


def entries(docstring: str) -> Iterator[str]:
    """Yield the entries of all sections, each as its first line without its name."""
    section, first = "", False
    for line in inspect.cleandoc(docstring).splitlines():
        if head := _SECTION.match(line):
            section, first = head[1], True
        elif line and not line.startswith("    "):
            section = ""
        elif section in ("Args", "Attributes", "Raises"):
            if named := _NAMED.match(line):
                yield named[1]
        elif section and line and first:
            yield line.strip()
            first = False


def headless(source: str) -> list[str]:
    """Return the entries of a module's docstrings that do not read alone."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = (ast.get_docstring(node) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))
    return [entry for text in texts if text for entry in entries(text) if _HEADLESS.match(entry)]


def test_every_entry_of_a_docstring_reads_alone() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): headless(path.read_text(encoding="utf-8"))
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    assert len(found) > 500
    assert {path: said for path, said in found.items() if said} == {}


@pytest.mark.parametrize(
    ("section", "entry", "refused"),
    [
        ("Args", "seed: Of the draw.", "Of the draw."),
        (
            "Attributes",
            "busy: Of it, work of any process and of the kernel.",
            "Of it, work of any process and of the kernel.",
        ),
        ("Attributes", "platform: Such as `linux-x86_64`.", "Such as `linux-x86_64`."),
        ("Attributes", "*flags: Its flags.", "Its flags."),
        ("Raises", "zipfile.BadZipFile: It is truncated.", "It is truncated."),
        ("Args", "listener: Is told of progress.", "Is told of progress."),
        ("Args", "console: Where to.", "Where to."),
        ("Returns", "In the order of `now`.", "In the order of `now`."),
        ("Yields", "With their names, the images.", "With their names, the images."),
    ],
)
def test_a_headless_entry_is_found(section: str, entry: str, refused: str) -> None:
    assert headless(f'def f():\n    """Do.\n\n    {section}:\n        {entry}\n    """\n') == [refused]


@pytest.mark.parametrize(
    "entry",
    [
        "seed: Seed of the random draw.",
        "ratio: How long the second takes over the first.",
        "folder: Where the bundle is written; of a job, its parts too.",
        "size: Length in bytes:\n            of the part, not of the whole.",
        "name: Information that is shown.",
    ],
)
def test_an_entry_that_reads_alone_is_let_be(entry: str) -> None:
    assert headless(f'def f():\n    """Do.\n\n    Of these, the first.\n\n    Args:\n        {entry}\n    """\n') == []
