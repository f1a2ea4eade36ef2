"""A table in which a row is one line: columns that a reader misses least give way on a narrow terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Column(Generic[_Row]):
    """A column.

    Attributes:
        heading: What stands over it, in one line or two.
        cell: What a row has in it.
        figures: Whether it holds figures, on the right, and not words.
        rank: 0 for what always stays; of the others the largest gives way first.
    """

    heading: str
    cell: Callable[[_Row], Text | str]
    figures: bool = True
    rank: int = 0


def fitting_columns(
    columns: Sequence[Column[_Row]], rows: Sequence[_Row], console: Console
) -> tuple[Column[_Row], ...]:
    """Return the columns of which every row is one line in this console; those of rank 0 stay where that is too wide.

    A column in which no row has anything is left out.
    """
    kept = [column for column in columns if any(_width(column.cell(row)) for row in rows)]
    while _table_width(kept, rows, gap=1) > console.width:
        least = max(kept, key=lambda column: column.rank)
        if not least.rank:
            break
        kept.remove(least)
    return tuple(kept)


def make_table(columns: Sequence[Column[_Row]], rows: Sequence[_Row], console: Console) -> Table:
    """Return a table of these columns, one line for each row where the console is as wide as they are."""
    # The box puts one space between columns; there is a second one where there is room for it.
    roomy = _table_width(columns, rows, gap=2) <= console.width
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, int(roomy), 0, 0))
    for column in columns:
        if column.figures:
            table.add_column(column.heading, justify="right", no_wrap=True)
        else:
            table.add_column(column.heading, overflow="fold")
    for row in rows:
        table.add_row(*(column.cell(row) for column in columns))
    return table


def _table_width(columns: Sequence[Column[_Row]], rows: Sequence[_Row], *, gap: int) -> int:
    return sum(_column_width(column, rows) + gap for column in columns) - gap


def _column_width(column: Column[_Row], rows: Sequence[_Row]) -> int:
    return max(_width(text) for text in (column.heading, *(column.cell(row) for row in rows)))


def _width(text: Text | str) -> int:
    return max((len(line) for line in str(text).splitlines()), default=0)
