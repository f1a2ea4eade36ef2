"""Numbers and names in sentences: `1 layer`, `2 layers`, `a, b, c and 4 more`, `72.62`."""

from collections.abc import Sequence

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


def percent(share: float) -> str:
    """Return a fraction as a percentage with two decimals, without the sign: 0.7262 -> `72.62`."""
    # Adding 0.0 after rounding turns -0.0 into 0.0.
    return f"{round(100 * share, 2) + 0.0:.2f}"


def p_value(p: float) -> str:
    """Return a p-value in at most seven characters."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
