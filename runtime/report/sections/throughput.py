"""Images per second over the batch, and the batch to choose for a latency budget."""

from typing import Any

from runtime.bundle.results.bench_json import BenchResult, Measured
from runtime.report.candidates import subject_label
from runtime.report.document import Block, Column, Figure, Section, Table, Text
from runtime.report.inputs import Inputs
from runtime.report.style import SeriesStyle, series_styles
from runtime.support.words import counted


def throughput_section(inputs: Inputs) -> Section:
    """Return images per second over the batch, and the batch to choose for a budget."""
    title, series = "Throughput over the batch", _by_series(inputs.benches)
    curves = {label: points for label, points in series.items() if len(points) > 1}
    if not curves:
        return Section(name="throughput", title=title, missing=f"run-ssl bench {inputs.paths} --batch 1,2,4,8,16,32")
    styles = series_styles(list(curves))
    traces = [_curve(label, points, styles[label]) for label, points in curves.items()]
    batches = sorted({one.batch for points in curves.values() for one in points})
    top = max((one for points in curves.values() for one in points), key=lambda one: one.images_per_s)
    figure = Figure(
        name="throughput-plot",
        title="Images per second",
        summary=f"{len(curves)} curves; the most is {top.images_per_s:,.0f} images/s,"
        f" {subject_label(top)} at batch {top.batch}.",
        traces=tuple(traces),
        layout={
            "xaxis": {
                "title": {"text": "images per call"},
                "type": "log",
                "tickvals": batches,
                "ticktext": [str(one) for one in batches],
            },
            "yaxis": {"title": {"text": "images/s"}, "rangemode": "tozero"},
            "legend": {"orientation": "h", "y": -0.25},
        },
    )
    choices = tuple(choice.text for bench in inputs.benches for choice in bench.choices)
    blocks: tuple[Block, ...] = (figure, _throughput_table(curves, batches))
    return Section(name="throughput", title=title, blocks=(Text(paragraphs=choices), *blocks) if choices else blocks)


def _by_series(benches: tuple[BenchResult, ...]) -> dict[str, list[Measured]]:
    found: dict[str, dict[int, Measured]] = {}
    for one in (one for bench in benches for one in bench.measured):
        threads = "" if one.threads is None else f", {counted(one.threads, 'thread')}"
        found.setdefault(subject_label(one) + threads, {})[one.batch] = one
    return {label: [points[batch] for batch in sorted(points)] for label, points in found.items()}


def _curve(label: str, points: list[Measured], style: SeriesStyle) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label,
        "x": [one.batch for one in points],
        "y": [one.images_per_s for one in points],
        "line": {"color": style.colour, "dash": style.dash, "width": 2},
        "marker": {"symbol": style.symbol, "size": 8},
        "text": [label] * len(points),
        "customdata": [one.latency.median_ms for one in points],
        "hovertemplate": "<b>%{text}</b><br>batch %{x}: %{y:,.0f} images/s<br>median call %{customdata:.3f} ms"
        "<extra></extra>",
    }


def _throughput_table(curves: dict[str, list[Measured]], batches: list[int]) -> Table:
    rows = []
    for label, points in curves.items():
        rates = {one.batch: one.images_per_s for one in points}
        rows.append((label, *(rates.get(batch) for batch in batches)))
    return Table(
        title="Images per second by batch",
        columns=(Column(name="subject"), *(Column(name=f"batch {batch}", form="rate") for batch in batches)),
        rows=tuple(rows),
    )
