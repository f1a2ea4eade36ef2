"""A comparison as a table for the terminal; the only place where accuracies become percentages."""

import textwrap
from pathlib import PurePath

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.bundle.results.compare_json import Comparison, DataReport, EngineScore, OriginalScore
from runtime.compare.explain import explain
from runtime.support.words import p_value, percent

# Names of skipped images that are printed; the JSON has all of them.
_UNREADABLE_SHOWN = 3
# Narrower, and the words of `precision` break inside a word ("execution" is the longest).
_PRECISION_WIDTH = 9
# From here on there is room for a second space between the columns.
_ROOMY_COLUMNS = 100
# A terminal may claim to be 1 column wide; a paragraph needs room for a word.
_MIN_COLUMNS = 20


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
    shown = ", ".join(data.unreadable[:_UNREADABLE_SHOWN])
    hidden = len(data.unreadable) - _UNREADABLE_SHOWN
    more = f" and {hidden:,} more" if hidden > 0 else ""
    return f"{line}; {len(data.unreadable):,} unreadable and skipped: {shown}{more}"


def _table(*, roomy: bool) -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1 if roomy else 0, 0, 0))


def _scores(comparison: Comparison, *, roomy: bool) -> Table:
    original = comparison.original
    table = _table(roomy=roomy)
    table.add_column("engine", overflow="fold")
    table.add_column("precision", min_width=_PRECISION_WIDTH)
    headings = (
        "top-1\n%",
        f"top-{original.top5_k}\n%",
        "drop, pp\n95 % CI",
        "McNemar\np",
        "agree\n%",
        "SQNR\ndB",
        "images\n/s",
    )
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(*_common(original), "", "", "", _sqnr(original), _speed(original.images_per_s))
    for score in comparison.engines:
        low, high = score.drop_ci95
        table.add_row(
            *_common(score, bundle=score.bundle if len(comparison.bundles) > 1 else ""),
            f"{percent(score.drop)}\n{percent(low)} to {percent(high)}",
            p_value(score.mcnemar_p),
            percent(score.agreement),
            _sqnr(score),
            _speed(score.images_per_s),
        )
    return table


def _common(score: OriginalScore | EngineScore, *, bundle: str = "") -> tuple[Text, Text, str, str]:
    """Return the first four cells; with several bundles the engine's name stands over the bundle's."""
    second = "(original)" if isinstance(score, OriginalScore) else PurePath(bundle).name
    name = f"{score.engine}\n{second}" if second else score.engine
    return Text(name), Text(score.precision), percent(score.top1), percent(score.top5)


def _sqnr(score: OriginalScore | EngineScore) -> Text:
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
