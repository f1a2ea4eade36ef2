"""The messages that docs/how-to/troubleshooting.md quotes are messages of the code."""

import ast
import re

import pytest

from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
# The page leaves out what differs from case to case; the code has a value there.
LEFT_OUT = "…"
# Shorter pieces of a message would be found anywhere.
SHORTEST_PIECE = 6
# Messages of the libraries below: Typer's usage errors.
NOT_OURS = frozenset({"Usage: ", "Invalid value for "})


def texts_of_the_code() -> str:
    """Return every string of the packages, a new line each, with a new line for each value in it."""
    found: list[str] = []
    for package in ("runtime", "calibration", "exporter"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "\n" for part in node.values)
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def quoted() -> list[str]:
    """Return what the page quotes at the head of its paragraphs."""
    heads = re.findall(r"^\*\*(.+?)\*\*", re.sub(r"(?<!\n)\n(?!\n)", " ", PAGE), re.MULTILINE)
    return [message for head in heads for message in re.findall(r"`([^`]+)`", head)]


@pytest.fixture(scope="module")
def texts() -> str:
    return texts_of_the_code()


def test_the_page_quotes_messages() -> None:
    assert len(quoted()) > 100


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_one_of_the_code(message: str, texts: str) -> None:
    pieces = {piece for piece in message.split(LEFT_OUT) if len(piece.strip()) >= SHORTEST_PIECE} - NOT_OURS
    assert {piece for piece in pieces if piece.strip() not in texts} == set()
