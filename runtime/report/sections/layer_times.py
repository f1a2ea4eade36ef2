"""Where the time goes: per layer, beside the least that the machine allows."""

from typing import Any

from runtime.bundle.results.bench_json import LayerTime, Limit
from runtime.report.document import Block, Column, Figure, Section, Table, Text, format_ms
from runtime.report.inputs import Inputs
from runtime.report.limits import named_limits, smallest_batches
from runtime.report.style import precision_colour, rows_axis, rows_height

# A bar per layer of a ResNet-101 fills three screens; the table has them all.
_BARS = 30
_BAR_WIDTH = 0.8


def layer_time_section(inputs: Inputs) -> Section:
    """Return the layers of every bundle and engine by time, at the smallest batch, as bars and as a table."""
    found, title = smallest_batches(named_limits(inputs)), "Time per layer"
    if not found:
        return Section(name="layer-time", title=title, missing=f"run-ssl bench {inputs.paths}")
    blocks: list[Block] = []
    for number, one in enumerate(found, 1):
        findings = one.limit.findings or (f"{100 * one.limit.share:.0f} % of the limit is reached",)
        blocks.append(Text(title=f"What limits it: {one.label}", paragraphs=findings, tone="list"))
        blocks.append(_bars(number, one.label, one.limit))
        blocks.append(_layer_table(one.label, one.limit))
    return Section(name="layer-time", title=title, blocks=tuple(blocks))


def _bars(number: int, label: str, limit: Limit) -> Figure:
    layers = sorted(limit.layers, key=lambda one: -one.ms)[:_BARS][::-1]
    traces: list[dict[str, Any]] = []
    for precision in dict.fromkeys(one.precision for one in layers):
        rows = [(row, one) for row, one in enumerate(layers) if one.precision == precision]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": precision,
                "y": [row for row, _ in rows],
                "x": [one.ms for _, one in rows],
                # Without a width a bar fills the gap to the next of its own trace.
                "width": _BAR_WIDTH,
                "marker": {"color": precision_colour(precision)},
                "text": [one.name for _, one in rows],
                "textposition": "none",
                "customdata": [[one.operator, one.macs / 1e6, one.moved_bytes / 1e6] for _, one in rows],
                "hovertemplate": "<b>%{text}</b><br>%{customdata[0]}<br>%{x:.4f} ms<br>%{customdata[1]:.2f} M MACs,"
                " %{customdata[2]:.3f} MB<extra></extra>",
            }
        )
    bounds = [(row, one.bound_ms) for row, one in enumerate(layers) if one.bound_ms is not None]
    if bounds:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "least possible",
                "y": [row for row, _ in bounds],
                "x": [bound for _, bound in bounds],
                "marker": {"symbol": "line-ns-open", "size": 12, "color": "var(--text)", "line": {"width": 2}},
                "hovertemplate": "least possible %{x:.4f} ms<extra></extra>",
            }
        )
    slowest = layers[-1] if layers else None
    return Figure(
        name=f"layer-bars-{number}",
        title=f"Slowest layers: {label}",
        summary=f"The slowest of {len(limit.layers)} layers is {slowest.name} with {format_ms(slowest.ms)}."
        if slowest
        else "No layers.",
        note="Tick: the least time that the attainable rates allow.",
        traces=tuple(traces),
        layout={
            "barmode": "overlay",
            "xaxis": {"title": {"text": "median, ms"}, "rangemode": "tozero"},
            "yaxis": rows_axis([one.name for one in layers]),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        },
        height=rows_height(len(layers)),
    )


def _layer_table(label: str, limit: Limit) -> Table:
    total = sum(one.ms for one in limit.layers)
    return Table(
        title=f"All layers: {label}",
        columns=(
            Column(name="layer"),
            Column(name="operator"),
            Column(name="precision"),
            Column(name="MACs", form="count"),
            Column(name="moved", form="bytes"),
            Column(name="time", form="ms"),
            Column(name="share", form="percent"),
            Column(name="least", form="ms"),
            Column(name="of the limit", form="percent"),
            Column(name="bound by"),
        ),
        rows=tuple(
            (
                one.name,
                one.operator,
                one.precision,
                one.macs,
                one.moved_bytes,
                one.ms,
                one.ms / total if total else None,
                one.bound_ms,
                one.bound_ms / one.ms if one.bound_ms is not None and one.ms > 0 else None,
                _bound_by(one, limit),
            )
            for one in limit.layers
        ),
    )


def _bound_by(layer: LayerTime, limit: Limit) -> str:
    if layer.bound_ms is None or limit.gmacs_per_s <= 0 or limit.gb_per_s <= 0:
        return ""
    compute, memory = layer.macs / limit.gmacs_per_s, layer.moved_bytes / limit.gb_per_s
    return "arithmetic" if compute >= memory else "memory"
