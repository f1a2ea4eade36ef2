"""Numbers and names in sentences: `1 layer`, `2 layers`, `a, b, c and 4 more`, `72.62`."""

import re
from collections.abc import Sequence

# What UTF-8 cannot hold, and the zero byte, which C takes for an end.
_UNPRINTABLE = re.compile("[\0\ud800-\udfff]")
# How many names of a long list a sentence gives: enough to go and look.
_SHOWN = 3
# Verbs that do not take an s after one.
_OF_ONE = {"are": "is", "have": "has"}


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s after any number but 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def verb_for(number: int, verb: str) -> str:
    """Return a verb as it stands after a number of things; `verb` is its form after several."""
    return _OF_ONE.get(verb, f"{verb}s") if number == 1 else verb


def first_few(names: Sequence[str], *, shown: int = _SHOWN, separator: str = ", ") -> str:
    """Return the first names of a list, and how many more there are."""
    told = separator.join(names[:shown])
    return f"{told}{separator.rstrip(', ')} and {len(names) - shown:,} more" if len(names) > shown else told


def listed(names: Sequence[str], *, none: str) -> str:
    """Return all names of a list, or what to say where there is none."""
    return ", ".join(names) or none


def printable(text: str) -> str:
    r"""Return a text that UTF-8 can hold: other bytes become `\xNN`, zero bytes too, and half of a pair `\uNNNN`.

    Args:
        text: A name as Python has it from the file system or from JSON, or a page with such names.
    """
    return _UNPRINTABLE.sub(_spelled, text)


def _spelled(found: "re.Match[str]") -> str:
    code = ord(found[0])
    # Source: PEP 383, bytes of 0x80 and above stand at 0xdc80 and above.
    if code == 0 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}"


def shared_start(names: Sequence[str]) -> str:
    """Return how all names begin, up to a `-`, `_`, `.` or `/`, so that each keeps a rest; "" for fewer than two.

    `digits-fp32`, `digits-int8` and `digits-int8-cpu` begin with `digits-`.
    """
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    same = [one == other for one, other in zip(first, last, strict=False)]
    start = first[: same.index(False) if False in same else len(same)]
    while start and (start[-1] not in "-_./" or start in names):
        start = start[:-1]
    return start


def percent(share: float) -> str:
    """Return a fraction as a percentage with two decimals, without the sign: 0.7262 -> `72.62`."""
    # Adding 0.0 after rounding turns -0.0 into 0.0.
    return f"{round(100 * share, 2) + 0.0:.2f}"


def images_per_second(speed: float) -> str:
    """Return a speed as a whole number, or below 10, where that says too little, with one decimal."""
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}"


def p_value(p: float) -> str:
    """Return a p-value in at most seven characters."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def describe_size(size: int | tuple[int, int]) -> str:
    """Return a size in pixels in words: `224`, or `192x256` for (height, width)."""
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"
