"""Sentences for the terminal: wrapped between words, a list with its second lines indented, failures in red."""

import textwrap

from rich.console import Console
from rich.text import Text

# A terminal may claim to be 1 column wide; a paragraph needs room for a word.
_MIN_COLUMNS = 20


def print_paragraph(text: str, console: Console, *, bullet: bool = False, style: str = "") -> None:
    """Print a paragraph in the console's width; one that begins with FAILED is red."""
    filled = textwrap.fill(
        f"- {text}" if bullet else text,
        max(console.width, _MIN_COLUMNS),
        subsequent_indent="  " if bullet else "",
        break_on_hyphens=False,
        break_long_words=False,
    )
    console.print(Text(filled, style="bold red" if text.startswith("FAILED") else style), soft_wrap=True)
