"""Plain Markdown that a code host and the site show alike: tables, escaped text, anchors."""

import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`+[^`]+`+)")
# What would be markup outside of code; an underscore inside a word is none.
_MARKUP = re.compile(r"[\\*<\[\]|]|(?<!\w)_|_(?!\w)")


def escaped(text: str) -> str:
    """Return text that shows as it is written, its code in backticks kept."""
    parts = _CODE.split(text)
    return "".join(part if index % 2 else _MARKUP.sub(r"\\\g<0>", part) for index, part in enumerate(parts))


def one_line(text: str) -> str:
    """Return text for a cell of a table."""
    return escaped(" ".join(text.split()))


def prose(text: str) -> str:
    """Return paragraphs and lists; what is indented by four spaces stays a code block."""
    return "\n".join(line if line.startswith("    ") else escaped(line) for line in text.splitlines())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, its cells being Markdown already; empty without rows."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines])


def code(text: str, language: str) -> str:
    """Return a fenced block."""
    return f"```{language}\n{text.rstrip()}\n```"


def anchor(heading: str) -> str:
    """Return the anchor that a code host gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def page(*parts: str) -> str:
    """Return a page of parts, an empty line between them; empty parts are left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
