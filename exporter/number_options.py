"""Options that take one number or several, which Click's options cannot: `--img-size 192 256`, `--mean 0.5 0.5 0.5`."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from runtime.errors import UsageError

NUMBER_OPTIONS = ("--img-size", "--resize-size", "--mean", "--std")
_SMALLEST_IMAGE = 32


class NumbersCommand(TyperCommand):
    """A command without arguments, whose `NUMBER_OPTIONS` take every number that follows them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; see `join_numbers`."""
        return super().parse_args(ctx, join_numbers(args))


def join_numbers(arguments: Sequence[str]) -> list[str]:
    """Return a command line whose numbers behind one of `NUMBER_OPTIONS` are one word, with commas between them."""
    joined: list[str] = []
    after_option = together = False
    for word in arguments:
        if _is_number(word) and together:
            joined[-1] += f",{word}"
            continue
        joined.append(word)
        # The option's own value is a word of its own, also a negative one; what follows is added to it.
        together = after_option and _is_number(word)
        after_option = word in NUMBER_OPTIONS
    return joined


def read_size(option: str, text: str | None) -> int | tuple[int, int] | None:
    """Return a size in pixels, or (height, width); None where nothing was given.

    Args:
        option: What messages call it.
        text: What was typed, numbers with commas between them.

    Raises:
        UsageError: The text is not one whole number or two, or one is less than 32.
    """
    if text is None:
        return None
    words = text.split(",")
    sizes = [int(word) for word in words if word.isdecimal()]
    if len(sizes) != len(words) or len(sizes) not in (1, 2) or min(sizes) < _SMALLEST_IMAGE:
        raise UsageError(
            f"{option} {text.replace(',', ' ')}: expected one whole number, or a height and a width, of at least "
            f"{_SMALLEST_IMAGE} pixels, such as {option} 192 256"
        )
    return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])


def read_numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Return numbers, or None where none was given.

    Args:
        option: What messages call it.
        text: What was typed, numbers with commas between them.

    Raises:
        UsageError: A word is no number.
    """
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"{option} {text}: expected one number for all channels, or one for each, such as {option} 0.5 0.5 0.5"
        ) from error


def _is_number(word: str) -> bool:
    try:
        float(word.replace(",", ""))
    except ValueError:
        return False
    return True
