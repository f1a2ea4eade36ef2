"""What a search over embeddings keeps of PyTorch's neighbours, and why first ones are lost."""

from typing import Any

from runtime.bundle.results.neighbours_json import NeighbourCheck, Recall, Search
from runtime.embed.neighbours.explain import explain_neighbours
from runtime.report.document import Block, Cell, Column, Figure, Section, Table, Text
from runtime.report.inputs import BundleInputs, Inputs
from runtime.report.style import rows_axis, rows_height

# The two questions of `run-ssl embed --check`.
_REBUILT, _KEPT = "index from the bundle", "index from PyTorch"
_LOOKS = ((_REBUILT, "var(--c1)", "circle"), (_KEPT, "var(--c2)", "square"))


def neighbours_section(inputs: Inputs) -> Section:
    """Return the recalls of every bundle whose neighbours were checked, and why first neighbours are lost."""
    title = "Nearest neighbours"
    found = [(one, one.neighbours) for one in inputs.bundles if one.neighbours is not None]
    if not found:
        missing = f"run-ssl embed {inputs.bundles[0].bundle.path} IMAGES --check --save"
        return Section(name="neighbours", title=title, missing=missing)
    blocks: list[Block] = [Text(paragraphs=_measured_on(found)), _recall_figure(found), _recall_table(found)]
    for one, check in found:
        heading = f"Why first neighbours are lost: {_label(one, check)}"
        blocks.append(Text(title=heading, paragraphs=explain_neighbours(check.agreement), tone="list"))
    return Section(name="neighbours", title=title, blocks=tuple(blocks))


def _label(one: BundleInputs, check: NeighbourCheck) -> str:
    return f"{one.name}, {check.engine} ({check.precision})"


def _measured_on(found: list[tuple[BundleInputs, NeighbourCheck]]) -> tuple[str, ...]:
    """Return on what recall was measured, a sentence for each sample."""
    samples = {
        f"Recall at k is the share of PyTorch's k nearest neighbours that a search finds, among"
        f" {check.agreement.images:,} images{f' of {check.source}' if check.source else ''} by"
        f" {check.agreement.metric} distance.": None
        for _, check in found
    }
    different = ("The bundles were checked on different samples: do not compare their recalls.",)
    return (*samples, *(different if len(samples) > 1 else ()))


def _recall_figure(found: list[tuple[BundleInputs, NeighbourCheck]]) -> Figure:
    rows = [
        (f"{_label(one, check)}, at {renewed.k}", (renewed, kept))
        for one, check in found
        for renewed, kept in zip(check.agreement.renewed.recalls, check.agreement.kept.recalls, strict=True)
    ][::-1]
    worst = min((recall for _, pair in rows for recall in pair), key=lambda recall: recall.recall)
    return Figure(
        name="recall-plot",
        title="Neighbours that a search keeps",
        summary=f"Recalls of {len(found)} bundles; the lowest is {100 * worst.recall:.2f} %, at {worst.k}.",
        note="Further to the right is better. Bars: 95 % interval over the queries.",
        traces=tuple(
            _recall_trace([(label, pair[place]) for label, pair in rows], place=place) for place in range(len(_LOOKS))
        ),
        layout={
            "xaxis": {"title": {"text": "recall, %"}},
            "yaxis": rows_axis([label for label, _ in rows]),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        },
        height=rows_height(len(rows), per_row=40),
    )


def _recall_trace(rows: list[tuple[str, Recall]], *, place: int) -> dict[str, Any]:
    name, colour, symbol = _LOOKS[place]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [100 * recall.recall for _, recall in rows],
        # Apart, so that the intervals of both questions can be seen.
        "y": [row + 0.14 - 0.28 * place for row in range(len(rows))],
        "marker": {"size": 9, "color": colour, "symbol": symbol},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [100 * (recall.ci95[1] - recall.recall) for _, recall in rows],
            "arrayminus": [100 * (recall.recall - recall.ci95[0]) for _, recall in rows],
            "thickness": 1.5,
            "color": colour,
        },
        "text": [label for label, _ in rows],
        "customdata": [[100 * recall.ci95[0], 100 * recall.ci95[1]] for _, recall in rows],
        "hovertemplate": "<b>%{text}</b><br>%{x:.2f} % (%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra>"
        f"{name}</extra>",
    }


def _recall_table(found: list[tuple[BundleInputs, NeighbourCheck]]) -> Table:
    ks = [recall.k for recall in found[0][1].agreement.renewed.recalls]
    recalls = [
        column
        for k in ks
        for column in (
            Column(name=f"recall at {k}", form="percent"),
            Column(name="95 % low", form="percent"),
            Column(name="95 % high", form="percent"),
        )
    ]
    return Table(
        title="Recall of nearest neighbours",
        columns=(
            Column(name="bundle, engine (precision)"),
            Column(name="searched in"),
            *recalls,
            Column(name="first ones lost", form="count"),
            Column(name="of these near-ties", form="count"),
            Column(name=f"first in {found[0][1].agreement.depth}", form="percent"),
            Column(name="noise of distances", form="percent"),
        ),
        rows=tuple(
            _recall_row(_label(one, check), question, search, ks)
            for one, check in found
            for question, search in ((_REBUILT, check.agreement.renewed), (_KEPT, check.agreement.kept))
        ),
        note="A near-tie is farther than the true neighbour by less than usually separates two neighbours.",
    )


def _recall_row(label: str, question: str, search: Search, ks: list[int]) -> tuple[Cell, ...]:
    by_k = {recall.k: recall for recall in search.recalls}
    cells: list[Cell] = []
    for k in ks:
        recall = by_k.get(k)
        cells += (recall.recall, *recall.ci95) if recall else (None, None, None)
    return (label, question, *cells, search.lost, search.near_ties, search.first_listed, search.noise)
