"""A comparison as a table for the terminal; the only place where accuracies become percentages."""

import textwrap
from collections.abc import Callable
from pathlib import PurePath
from typing import NamedTuple, TypeAlias

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.bundle.results.compare_json import Comparison, DataReport, EngineScore, OriginalScore
from runtime.compare.explain import explain
from runtime.support.words import first_few, p_value, percent

# Narrower, and the words of `precision` break inside a word ("execution" is the longest).
_WORD_WIDTH = 9
# From here on there is room for a second space between the columns.
_ROOMY_COLUMNS = 100
# A terminal may claim to be 1 column wide; a paragraph needs room for a word.
_MIN_COLUMNS = 20


_Score: TypeAlias = OriginalScore | EngineScore


def render(comparison: Comparison, console: Console) -> None:
    """Print the scores, the counts, what they mean, and the licence.

    Args:
        comparison: What was measured and what is known about the model.
        console: Where to print; 80 columns are enough.
    """
    console.print(Text(f"{comparison.model}: {', '.join(comparison.bundles)} against the PyTorch original"))
    console.print(Text(_data_line(comparison.data)))
    for note in comparison.data.notes:
        console.print(Text(f"note: {note}"))
    console.print()
    console.print(_scores(comparison, roomy=console.width >= _ROOMY_COLUMNS))
    console.print()
    console.print(_counts(comparison))
    console.print()
    for sentence in explain(comparison):
        paragraph = textwrap.fill(
            f"- {sentence}", max(console.width, _MIN_COLUMNS), subsequent_indent="  ", break_on_hyphens=False
        )
        console.print(Text(paragraph, style="bold red" if sentence.startswith("FAILED") else ""))
    licence = comparison.licence
    console.print()
    console.print(Text(" ".join(f"Licence of the weights: {licence.spdx}. {licence.notice} {licence.url}".split())))


def _data_line(data: DataReport) -> str:
    line = f"{data.images:,} images of {data.source}, {data.images_per_s:,.0f} images/s with decoding and all engines"
    if not data.unreadable:
        return line
    # The JSON has all of them.
    return f"{line}; {len(data.unreadable):,} unreadable and skipped: {first_few(data.unreadable)}"


def _table(*, roomy: bool) -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1 if roomy else 0, 0, 0))


class _Column(NamedTuple):
    """A column of the scores.

    Attributes:
        heading: What stands over it.
        cell: What an engine's row has in it; the original's row may have nothing.
        figures: Whether it holds figures, on the right, and not words.
    """

    heading: str
    cell: Callable[[_Score], Text | str]
    figures: bool = True


def _columns(comparison: Comparison) -> tuple[_Column, ...]:
    """Return the columns of the scores, from left to right."""
    several = len(comparison.bundles) > 1
    return (
        _Column("engine", lambda score: _name(score, with_bundle=several), figures=False),
        _Column("precision", lambda score: Text(score.precision), figures=False),
        _Column("top-1\n%", lambda score: percent(score.top1)),
        _Column(f"top-{comparison.original.top5_k}\n%", lambda score: percent(score.top5)),
        _Column("drop, pp\n95 % CI", _of_engines(_drop)),
        _Column("McNemar\np", _of_engines(lambda score: p_value(score.mcnemar_p))),
        _Column("agree\n%", _of_engines(lambda score: percent(score.agreement))),
        _Column("SQNR\ndB", _sqnr),
        _Column("images\n/s", lambda score: _speed(score.images_per_s)),
    )


def _of_engines(cell: Callable[[EngineScore], str]) -> Callable[[_Score], str]:
    """Return the cells of a difference from the original, which has none itself."""
    return lambda score: cell(score) if isinstance(score, EngineScore) else ""


def _scores(comparison: Comparison, *, roomy: bool) -> Table:
    columns = _columns(comparison)
    table = _table(roomy=roomy)
    for column in columns:
        if column.figures:
            table.add_column(column.heading, justify="right", no_wrap=True)
        else:
            table.add_column(column.heading, overflow="fold", min_width=_WORD_WIDTH)
    scores: tuple[_Score, ...] = (comparison.original, *comparison.engines)
    for score in scores:
        table.add_row(*(column.cell(score) for column in columns))
    return table


def _name(score: _Score, *, with_bundle: bool) -> Text:
    """Return an engine's name; with several bundles it stands over the bundle's."""
    if isinstance(score, OriginalScore):
        return Text(f"{score.engine}\n(original)")
    bundle = PurePath(score.bundle).name if with_bundle else ""
    return Text(f"{score.engine}\n{bundle}" if bundle else score.engine)


def _drop(score: EngineScore) -> str:
    low, high = score.drop_ci95
    return f"{percent(score.drop)}\n{percent(low)} to {percent(high)}"


def _sqnr(score: _Score) -> Text:
    if score.non_finite_logits:
        return Text("FAIL", style="bold red")
    if isinstance(score, OriginalScore):
        return Text("")
    if score.sqnr_db is None:
        return Text("equal" if score.identical else "none")
    return Text(f"{score.sqnr_db:.1f}")


def _speed(images_per_s: float) -> str:
    # Below 10 images/s a whole number says too little.
    return f"{images_per_s:,.0f}" if images_per_s >= 10 else f"{images_per_s:.1f}"


def _counts(comparison: Comparison) -> Table:
    """Return parameters, MACs and FLOPs side by side, with the card's figures where there is a card."""
    flops, card, parameters, original = comparison.flops, comparison.card, comparison.parameters, comparison.original
    onnx_parameters = "" if parameters.onnx is None else f"{parameters.onnx:,}"
    table = _table(roomy=True)
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
