"""A comparison for the terminal: what to take, a row for each engine, and what changes the reading of it.

The only place where accuracies become percentages.
"""

from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import TypeAlias

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.bundle.results.compare_json import Comparison, DataReport, EmbeddingScore, EngineScore, OriginalScore
from runtime.compare.decide import decide
from runtime.compare.explain import explain, explain_briefly, explain_failures
from runtime.engines.contract import shorten_precision
from runtime.support.narrow_table import Column, fitting_columns, make_table
from runtime.support.paragraphs import print_paragraph
from runtime.support.words import first_few, images_per_second, p_value, percent, shared_start

_Score: TypeAlias = OriginalScore | EngineScore


def render(comparison: Comparison, console: Console, *, details: bool = False) -> None:
    """Print which bundle to take, the scores, what changes their reading, and the licence.

    Args:
        comparison: What was measured and what is known about the model.
        console: Where to print; 80 columns are enough.
        details: Whether to print every figure, a sentence on each engine, and parameters, MACs and FLOPs side by side.
    """
    for failure in explain_failures(comparison):
        print_paragraph(failure, console)
    print_paragraph(decide(comparison), console, style="bold")
    console.print()
    print_paragraph(_data_line(comparison), console)
    for note in comparison.data.notes:
        print_paragraph(f"note: {note}", console)
    console.print()
    scores: tuple[_Score, ...] = (comparison.original, *comparison.engines)
    columns = _columns(comparison)
    shown = fitting_columns(columns, scores, console)
    console.print(make_table(shown, scores, console))
    console.print()
    if comparison.neighbour_vote is not None:
        _render_embeddings(comparison, console)
    if details:
        _render_details(comparison, console, [column for column in columns if column not in shown])
    else:
        for sentence in explain_briefly(comparison):
            print_paragraph(sentence, console, bullet=True)
        print_paragraph(_counts_line(comparison), console, bullet=True)
        print_paragraph("`--details` has every figure and a sentence on each engine.", console, bullet=True)
    licence = comparison.licence
    told = f"Licence of the weights: {licence.spdx}. {licence.notice} {licence.url}"
    print_paragraph(" ".join(told.split()), console)


def _render_embeddings(comparison: Comparison, console: Console) -> None:
    """Print how far the engines' embeddings are from the original's."""
    names = [column for column in _columns(comparison) if column.rank == 0 and not column.figures]

    def of_embedding(cell: Callable[[EmbeddingScore], str]) -> Callable[[_Score], str]:
        return _of_engines(lambda score: cell(score.embedding) if score.embedding is not None else "none")

    columns = (
        Column("cosine\nmean", of_embedding(lambda found: f"{found.cosine_mean:.6f}")),
        Column("cosine\n1st pct.", of_embedding(lambda found: f"{found.cosine_p1:.6f}")),
        Column("cosine\nworst", of_embedding(lambda found: f"{found.cosine_lowest:.6f}")),
        *(
            Column(f"kept@{k}\n%", of_embedding(partial(_kept, place=place)))
            for place, k in enumerate(_kept_at(comparison))
        ),
    )
    console.print(make_table([*names, *columns], comparison.engines, console))
    console.print()


def _kept(found: EmbeddingScore, *, place: int) -> str:
    return percent(found.kept[place].recall)


def _kept_at(comparison: Comparison) -> tuple[int, ...]:
    """Return how many neighbours were asked for."""
    found = [score.embedding for score in comparison.engines if score.embedding is not None]
    return tuple(kept.k for kept in found[0].kept) if found else ()


def _render_details(comparison: Comparison, console: Console, left: list[Column[_Score]]) -> None:
    """Print the columns that did not fit, the counts, and every sentence."""
    scores: tuple[_Score, ...] = (comparison.original, *comparison.engines)
    if left:
        names = [column for column in _columns(comparison) if column.rank == 0 and not column.figures]
        console.print(make_table([*names[:2], *left], scores, console))
        console.print()
    console.print(_counts(comparison))
    console.print()
    for sentence in explain(comparison):
        if not sentence.startswith("FAILED"):
            print_paragraph(sentence, console, bullet=True)


def _data_line(comparison: Comparison) -> str:
    data = comparison.data
    names = ", ".join(comparison.bundles)
    line = (
        f"{comparison.model} ({names}) against the PyTorch original: {data.images:,} images of {data.source},"
        f" {data.images_per_s:,.0f} images/s with decoding and all engines"
    )
    return f"{line}{_left_out(data)}.{_voters(comparison)}"


def _voters(comparison: Comparison) -> str:
    """Return a sentence on how classes are found without a classifier."""
    vote = comparison.neighbour_vote
    if vote is None:
        return ""
    among = "all other images" if vote.gallery is None else f"the {vote.gallery_images:,} images of {vote.gallery}"
    return (
        f" The network has no classifier: classes are those that the {vote.neighbours} nearest of {among} vote for, "
        f"weighted by exp(cosine / {vote.temperature:g})."
    )


def _left_out(data: DataReport) -> str:
    # The JSON has all of them.
    if not data.unreadable:
        return ""
    return f"; {len(data.unreadable):,} unreadable and skipped: {first_few(data.unreadable)}"


def _columns(comparison: Comparison) -> tuple[Column[_Score], ...]:
    """Return the columns of the scores, from left to right."""
    names = _bundle_names(comparison)
    start = shared_start([*names.values()])
    kind = "" if comparison.neighbour_vote is None else "k-NN\n"
    return (
        Column("engine", lambda score: Text(score.engine), figures=False),
        *(
            [Column(f"{start}…" if start else "bundle", _bundle_cell(names, start), figures=False)]
            if len(names) > 1
            else []
        ),
        Column("runs in", lambda score: Text(shorten_precision(score.precision)), figures=False),
        Column(f"{kind}top-1\n%", lambda score: percent(score.top1)),
        Column(f"{kind}top-{comparison.original.top5_k}\n%", lambda score: percent(score.top5), rank=3),
        Column("drop\npp", _of_engines(lambda score: percent(score.drop))),
        Column("95 % CI", _of_engines(_interval)),
        Column("McNemar\np", _of_engines(lambda score: p_value(score.mcnemar_p)), rank=2),
        Column("agree\n%", _of_engines(lambda score: percent(score.agreement)), rank=1),
        Column("SQNR\ndB", _sqnr),
        Column("images\n/s", lambda score: images_per_second(score.images_per_s)),
    )


def _bundle_names(comparison: Comparison) -> dict[str, str]:
    """Return what each bundle is called: its folder, or its path where two folders have one name."""
    paths = list(dict.fromkeys(score.bundle for score in comparison.engines if score.bundle))
    names = [PurePath(path).name for path in paths]
    return dict(zip(paths, names if len(set(names)) == len(names) else paths, strict=True))


def _bundle_cell(names: dict[str, str], start: str) -> Callable[[_Score], Text]:
    def cell(score: _Score) -> Text:
        if isinstance(score, OriginalScore):
            return Text("original")
        return Text(names.get(score.bundle, "")[len(start) :])

    return cell


def _of_engines(cell: Callable[[EngineScore], str]) -> Callable[[_Score], str]:
    """Return the cells of a difference from the original, which has none itself."""
    return lambda score: cell(score) if isinstance(score, EngineScore) else ""


def _interval(score: EngineScore) -> str:
    low, high = score.drop_ci95
    return f"{percent(low)} to {percent(high)}"


def _sqnr(score: _Score) -> Text:
    if score.non_finite_logits:
        return Text("FAIL", style="bold red")
    if isinstance(score, OriginalScore):
        return Text("")
    if score.sqnr_db is None:
        return Text("equal" if score.identical else "none")
    return Text(f"{score.sqnr_db:.1f}")


def _counts_line(comparison: Comparison) -> str:
    flops, card = comparison.flops, comparison.card
    line = (
        f"{flops.onnx_macs:,} MACs = {2 * flops.onnx_macs:,} FLOPs per image, {comparison.parameters.pytorch:,}"
        " parameters"
    )
    if card is not None:
        line += f"; the card has top-1 {percent(card.top1)} %"
    if flops.card is not None:
        line += f" and counts {flops.card:,} FLOPs in its own way"
    return f"{line}."


def _counts(comparison: Comparison) -> Table:
    """Return parameters, MACs and FLOPs side by side, with the card's figures where there is a card."""
    flops, card, parameters, original = comparison.flops, comparison.card, comparison.parameters, comparison.original
    onnx_parameters = "" if parameters.onnx is None else f"{parameters.onnx:,}"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for heading in ("PyTorch", "ONNX", "card"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("parameters", f"{parameters.pytorch:,}", onnx_parameters, "")
    table.add_row("MACs, convolutions and classifier", f"{flops.pytorch_macs:,}", f"{flops.onnx_macs:,}", "")
    table.add_row("FLOPs = 2 x MACs", f"{2 * flops.pytorch_macs:,}", f"{2 * flops.onnx_macs:,}", "")
    if flops.card is not None and flops.card_recomputed is not None:
        table.add_row("FLOPs by the card's rule", f"{flops.card_recomputed:,}", "", f"{flops.card:,}")
    if card is not None:
        measured = f"{percent(original.top1)} / {percent(original.top5)}"
        table.add_row("top-1 / top-5, %", measured, "", f"{percent(card.top1)} / {percent(card.top5)}")
    return table
