"""What a report is made of: sections of paragraphs, tables, plots and pictures, for HTML, Markdown and JSON alike.

Numbers are kept as numbers; `format_cell` is the only place that turns one into text.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Cell = str | int | float | None
# How a column's values are printed; shares are fractions until then.
Form = Literal["text", "count", "ms", "percent", "points", "ratio", "db", "bytes", "number", "rate"]

_UNKNOWN = "-"
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")


class _Part(BaseModel):
    """A frozen part of the report; no NaN, no infinity, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Text(_Part):
    """Paragraphs.

    Attributes:
        paragraphs: One or more, plain text; between backticks is code.
        title: A heading over them; may be empty.
        tone: `warning` is set apart, `list` has a point before each.
    """

    kind: Literal["text"] = "text"
    paragraphs: tuple[str, ...]
    title: str = ""
    tone: Literal["plain", "warning", "list"] = "plain"


class Commands(_Part):
    """Command lines to copy, each with what it is for."""

    kind: Literal["commands"] = "commands"
    title: str
    lines: tuple[str, ...]


class Column(_Part):
    """A column of a table.

    Attributes:
        name: Heading of the column.
        form: How its values are printed; everything but `text` is aligned right.
    """

    name: str
    form: Form = "text"


class Table(_Part):
    """A table.

    Attributes:
        title: What it lists.
        columns: The columns.
        rows: One value per column; None where there is none.
        note: What a reader must know to read it; may be empty.
        sortable: Whether its rows are of one kind, so that another order makes sense.
    """

    kind: Literal["table"] = "table"
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    sortable: bool = True


class Figure(_Part):
    """A plot, as plotly's JSON.

    Colours are `var(--NAME)`, a name of `page.css`, so that a plot follows the page's scheme. Strings hold no
    markup but in `hovertemplate`: the page escapes all others.

    Attributes:
        name: Unique on the page, letters and dashes.
        title: What it shows.
        summary: What it shows in a sentence, for a reader who cannot see it.
        note: How to read it.
        traces: plotly's `data`.
        layout: plotly's `layout`, without fonts and backgrounds.
        height: Pixels.
    """

    kind: Literal["figure"] = "figure"
    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    summary: str
    note: str = ""
    traces: tuple[dict[str, Any], ...]
    layout: dict[str, Any]
    height: int = 420


class Picture(_Part):
    """A picture with what is said of it.

    Attributes:
        jpeg_base64: The picture; not in the JSON of a report.
        title: Title of the picture.
        lines: Text beneath the picture.
    """

    jpeg_base64: str = Field(repr=False, exclude=True)
    title: str
    lines: tuple[str, ...]


class Gallery(_Part):
    """Pictures side by side."""

    kind: Literal["gallery"] = "gallery"
    title: str
    pictures: tuple[Picture, ...]


Block = Text | Commands | Table | Figure | Gallery


class Section(_Part):
    """A part of the report.

    Attributes:
        name: Unique in the report; the link to it.
        title: Heading of the section.
        blocks: What it holds; empty where its input is missing.
        missing: Where its input is missing, what makes it; else empty.
    """

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    blocks: tuple[Block, ...] = ()
    missing: str = ""


class Report(_Part):
    """All of a report.

    Attributes:
        schema_version: Raised when a meaning changes.
        title: The network and the bundles.
        decision: Which precision and engine, what it costs and gains, in two or three sentences.
        warnings: What throws doubt on the figures, in sentences.
        sections: The parts, in reading order.
        licence: Licence of the weights, in sentences.
    """

    schema_version: Literal[1] = 1
    title: str
    decision: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    sections: tuple[Section, ...]
    licence: tuple[str, ...]


def as_json(report: Report) -> str:
    """Return the report as JSON, without the pictures themselves."""
    return report.model_dump_json(indent=1) + "\n"


def format_cell(value: Cell, form: Form) -> str:
    """Return a value as a person reads it; the unit is in it or in the column's heading."""
    if value is None:
        return _UNKNOWN
    if isinstance(value, str):
        return value
    formats = {
        "count": "{:,.0f}",
        "percent": "{:.2f} %",
        "points": "{:+.2f} pp",
        "ratio": "{:.2f} x" if abs(value) < 10 else "{:.1f} x",
        "db": "{:.1f} dB",
        "rate": "{:,.0f}" if abs(value) >= 100 else "{:,.1f}",
    }
    if form in formats:
        # Adding 0.0 after rounding turns -0.0 into 0.0.
        scaled = round(100 * value, 2) + 0.0 if form in ("percent", "points") else value
        return formats[form].format(scaled)
    if form == "ms":
        return format_ms(value)
    if form == "bytes":
        return format_bytes(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_ms(milliseconds: float) -> str:
    """Return a time with three significant digits and its unit, such as `4.21 ms` or `312 µs`."""
    if milliseconds == 0:
        return "0 ms"
    if abs(milliseconds) < 1:
        return f"{_three_digits(1000 * milliseconds)} µs"
    return f"{_three_digits(milliseconds)} ms" if abs(milliseconds) < 10_000 else f"{milliseconds / 1000:,.1f} s"


def format_bytes(size: float) -> str:
    """Return a size with three significant digits, in units of 1000."""
    for unit in _BYTE_UNITS[:-1]:
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" else f"{_three_digits(size)} {unit}"
        size /= 1000
    return f"{_three_digits(size)} {_BYTE_UNITS[-1]}"


def _three_digits(value: float) -> str:
    decimals = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{decimals}f}"
