"""The result of a neighbour check as a table for the terminal."""

import textwrap

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.bundle.results.neighbours_json import Agreement, NeighbourCheck, Recall, Search
from runtime.embed.neighbours.explain import explain_neighbours
from runtime.support.words import percent

# A terminal may claim to be 1 column wide; a paragraph needs room for a word.
_MIN_COLUMNS = 20


def render_check(check: NeighbourCheck, console: Console) -> None:
    """Print recalls, and what they mean.

    Args:
        check: What was measured.
        console: Where to print; 80 columns are enough.
    """
    agreement = check.agreement
    console.print(Text(f"{check.model}: {check.bundle} in {check.engine}, {check.precision}, against PyTorch"))
    console.print(
        Text(
            f"{agreement.images:,} images, {agreement.metric} distance; embeddings of one image: cosine"
            f" {agreement.cosine_mean:.6f} on average, {agreement.cosine_lowest:.6f} at the lowest"
        )
    )
    console.print()
    console.print(_table(agreement))
    console.print()
    for sentence in explain_neighbours(agreement):
        paragraph = textwrap.fill(
            f"- {sentence}", max(console.width, _MIN_COLUMNS), subsequent_indent="  ", break_on_hyphens=False
        )
        console.print(Text(paragraph, style="bold red" if sentence.startswith("FAILED") else ""))


def _table(agreement: Agreement) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("index")
    recalls = agreement.renewed.recalls
    for heading in (*(f"recall@{recall.k}\n%, 95 % CI" for recall in recalls), f"first in\n{agreement.depth}, %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("noise\n%", justify="right", no_wrap=True)
    table.add_row("made anew", *_cells(agreement.renewed))
    table.add_row("kept, PyTorch's", *_cells(agreement.kept))
    table.add_row("chance", *(percent(recall.chance) for recall in recalls), "", "")
    return table


def _cells(search: Search) -> tuple[str, ...]:
    noise = "none" if search.noise is None else percent(search.noise)
    return (*(_recall(recall) for recall in search.recalls), percent(search.first_listed), noise)


def _recall(recall: Recall) -> str:
    low, high = recall.ci95
    return f"{percent(recall.recall)}\n{percent(low)} to {percent(high)}"
