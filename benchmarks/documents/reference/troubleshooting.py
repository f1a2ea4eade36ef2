"""The paragraphs of docs/how-to/troubleshooting.md, and which messages of the code each is for.

A paragraph is a heading, a list of quotations, and what to do. A quotation is a piece of a message, with `…` for what
differs from case to case:

    ### A file of a newer version

    - `has schema version …, this run-ssl reads up to …`

    The file was written by a newer export-ssl …
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from benchmarks.documents.reference.markdown import anchor
from benchmarks.documents.reference.messages import VALUE, Message
from benchmarks.documents.reference.sources import ROOT

PAGE = ROOT / "docs" / "how-to" / "troubleshooting.md"
_PARAGRAPH = re.compile(
    r"^### (?P<heading>.+)\n\n(?P<quotations>(?:- `.+`\n)+)\n(?P<text>(?:(?!##).*\n)*)", re.MULTILINE
)


@dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Attributes:
        heading: Heading of the paragraph.
        quotations: Pieces of the messages that it is for.
        text: What it says.
    """

    heading: str
    quotations: tuple[str, ...]
    text: str

    @property
    def anchor(self) -> str:
        """Where a link leads to it."""
        return anchor(self.heading)

    def fit(self, message: Message) -> int:
        """Return how many letters of a message it quotes; 0 where it is not for it."""
        return max((letters(one) for one in self.quotations if is_quoted(one, message.text)), default=0)


def paragraphs() -> list[Paragraph]:
    """Return the paragraphs of the page, in its order."""
    return [
        Paragraph(
            found["heading"], tuple(re.findall(r"^- `(.+)`$", found["quotations"], re.MULTILINE)), found["text"].strip()
        )
        for found in _PARAGRAPH.finditer(PAGE.read_text(encoding="utf-8"))
    ]


def paragraph_for(message: Message, page: Sequence[Paragraph]) -> Paragraph | None:
    """Return the paragraph that a message leads to: of several that quote it, the one that quotes most."""
    best = max(page, key=lambda paragraph: paragraph.fit(message))
    return best if best.fit(message) else None


@cache
def letters(quotation: str) -> int:
    """Return how much a quotation says."""
    return sum(letter.isalpha() for letter in quotation)


def is_quoted(quotation: str, text: str) -> bool:
    """Return whether a quotation is a piece of a text; `…` in it stands for anything."""
    at = 0
    for piece in _pieces(quotation):
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


@cache
def _pieces(quotation: str) -> tuple[str, ...]:
    return tuple(piece.strip(" ") for piece in quotation.split(VALUE))
