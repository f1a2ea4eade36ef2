"""The result of a neighbour check as a table for the terminal."""

import math

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.bundle.results.neighbours_json import Agreement, NeighbourCheck, Recall, Search
from runtime.embed.neighbours.explain import describe_kept, explain_briefly, explain_neighbours
from runtime.support.paragraphs import print_paragraph
from runtime.support.words import percent


def decide_check(check: NeighbourCheck, least: float | None) -> tuple[str, ...]:
    """Return whether the bundle passed and why, in one sentence, or in one for each failure.

    Args:
        check: What was measured.
        least: The recall at 10 that is asked for, a fraction, or None.
    """
    failures = [sentence for sentence in explain_neighbours(check.agreement) if sentence.startswith("FAILED")]
    if least is not None:
        # Cut, not rounded: a recall that is too low must not look like the one asked for.
        recall = math.floor(1e4 * check.recall(10)) / 100
        failed = check.recall(10) < least
        verdict = f"{recall:.2f} % in the worse of two cases, and --min-recall asks for {percent(least)} %."
        if failed or not failures:
            failures.append(f"{'FAILED' if failed else 'Passed'}: recall at 10 is {verdict}")
    if failures:
        return tuple(failures)
    return (f"Better than chance: {describe_kept(check.agreement)}. --min-recall makes it a test.",)


def render_check(check: NeighbourCheck, console: Console, *, least: float | None = None, details: bool = False) -> None:
    """Print whether the bundle passed, recalls, and what they mean.

    Args:
        check: What was measured.
        console: Where to print; 80 columns are enough.
        least: The recall at 10 that is asked for, a fraction, or None.
        details: Whether to print every sentence, and not only those that change the reading of the recalls.
    """
    agreement = check.agreement
    for sentence in decide_check(check, least):
        print_paragraph(sentence, console, style="bold")
    console.print()
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
    for sentence in explain_neighbours(agreement) if details else explain_briefly(agreement):
        if not sentence.startswith("FAILED"):
            print_paragraph(sentence, console, bullet=True)
    if not details:
        print_paragraph("`--details` says how many first neighbours are lost, and by how much.", console)


def _table(agreement: Agreement) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("index")
    recalls = agreement.renewed.recalls
    for heading in (*(f"recall@{recall.k}\n%, 95 % CI" for recall in recalls), f"first in\n{agreement.depth}, %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("noise\n%", justify="right", no_wrap=True)
    table.add_row("from the bundle", *_cells(agreement.renewed))
    table.add_row("from PyTorch", *_cells(agreement.kept))
    table.add_row("chance", *(percent(recall.chance) for recall in recalls), "", "")
    return table


def _cells(search: Search) -> tuple[str, ...]:
    noise = "none" if search.noise is None else percent(search.noise)
    return (*(_recall(recall) for recall in search.recalls), percent(search.first_listed), noise)


def _recall(recall: Recall) -> str:
    low, high = recall.ci95
    return f"{percent(recall.recall)}\n{percent(low)} to {percent(high)}"
