"""Colours, symbols and axes that all plots share."""

import math
from typing import Any, NamedTuple

# Names of `page.css`, where the colours are; symbol and dash tell series apart where the colour does not.
_COLOURS = ("--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_PRECISION_COLOURS = (
    ("int8", "var(--c2)"),
    ("fp8", "var(--c4)"),
    ("fp16", "var(--c3)"),
    ("bf16", "var(--c6)"),
    ("fp32", "var(--c1)"),
)
_FRAME = 110
# From this ratio of largest to smallest a linear axis squeezes the small ones into a corner.
_LOG_FROM = 12.0


class SeriesStyle(NamedTuple):
    """How one series looks."""

    colour: str
    symbol: str
    dash: str


def series_styles(labels: list[str]) -> dict[str, SeriesStyle]:
    """Return a look for every label, all different for the first 280."""
    return {
        label: SeriesStyle(
            colour=f"var({_COLOURS[index % len(_COLOURS)]})",
            symbol=_SYMBOLS[index % len(_SYMBOLS)],
            dash=_DASHES[index % len(_DASHES)],
        )
        for index, label in enumerate(dict.fromkeys(labels))
    }


def precision_colour(precision: str) -> str:
    """Return the colour of a precision, the lowest that its words name."""
    words = precision.replace("-", " ").replace(",", " ").split()
    return next((colour for word, colour in _PRECISION_COLOURS if word in words), "var(--muted)")


def rows_axis(labels: list[str]) -> dict[str, Any]:
    """Return a vertical axis with a label on each of the rows 0, 1, ..., from below."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": labels,
        "range": [-0.7, len(labels) - 0.3],
        "automargin": True,
        "fixedrange": True,
        "zeroline": False,
        "showgrid": False,
    }


def rows_height(rows: int, *, per_row: int = 22) -> int:
    """Return the height of a plot with that many rows, pixels."""
    return _FRAME + per_row * rows


def span_axis(title: str, smallest: float, largest: float) -> dict[str, Any]:
    """Return an axis from zero, or a logarithmic one with ticks at 1, 2 and 5 where the values span a lot."""
    axis: dict[str, Any] = {"title": {"text": title}}
    if smallest <= 0 or largest / smallest <= _LOG_FROM:
        return {**axis, "rangemode": "tozero"}
    powers = range(math.floor(math.log10(smallest)) - 1, math.ceil(math.log10(largest)) + 1)
    ticks = [round(step * 10.0**power, 12) for power in powers for step in (1, 2, 5)]
    return {**axis, "type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
