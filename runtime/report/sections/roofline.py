"""What every layer attains of the machine's rates."""

from typing import Any

from runtime.report.document import Column, Figure, Section, Table
from runtime.report.inputs import Inputs
from runtime.report.limits import NamedLimit, named_limits, smallest_batches
from runtime.report.style import SeriesStyle, series_styles


def roofline_section(inputs: Inputs) -> Section:
    """Return the roofline plot at the smallest batch, and the limits at every batch as a table."""
    title = "Roofline"
    limits = [one for one in named_limits(inputs) if one.limit.gmacs_per_s > 0 and one.limit.gb_per_s > 0]
    if not limits:
        return Section(name="roofline", title=title, missing=f"run-ssl bench {inputs.paths}")
    return Section(name="roofline", title=title, blocks=(_roofline(smallest_batches(limits)), _limit_table(limits)))


def _roofline(limits: list[NamedLimit]) -> Figure:
    styles = series_styles([one.label for one in limits])
    return Figure(
        name="roofline-plot",
        title="What each layer attains",
        summary="; ".join(f"{one.label} reaches {100 * one.limit.share:.0f} % of its limit" for one in limits) + ".",
        note="Each mark is a layer with multiply-accumulates. On the line: as fast as the probed rates allow. Under the"
        " slope memory limits, under the flat part arithmetic.",
        traces=tuple(trace for one in limits for trace in _traces(one, styles[one.label])),
        layout={
            "xaxis": {"title": {"text": "MACs per byte moved"}, "type": "log", "dtick": 1},
            "yaxis": {"title": {"text": "10⁹ MACs/s"}, "type": "log", "dtick": 1},
            "legend": {"orientation": "h", "y": -0.25},
        },
        height=480,
    )


def _traces(one: NamedLimit, style: SeriesStyle) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the line of what is attainable, and a mark per layer."""
    limit = one.limit
    layers = [layer for layer in limit.layers if layer.macs and layer.moved_bytes and layer.ms > 0]
    densities = [layer.macs / layer.moved_bytes for layer in layers]
    ridge = limit.gmacs_per_s / limit.gb_per_s
    ends = (min([*densities, ridge]) / 2, ridge, max([*densities, ridge]) * 2)
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": f"{one.label}: limit",
        "legendgroup": one.label,
        "showlegend": False,
        "x": list(ends),
        "y": [min(limit.gmacs_per_s, end * limit.gb_per_s) for end in ends],
        "line": {"color": style.colour, "dash": style.dash, "width": 2},
        "hovertemplate": "attainable: %{y:.1f} GMAC/s<extra></extra>",
    }
    marks = {
        "type": "scatter",
        "mode": "markers",
        "name": one.label,
        "legendgroup": one.label,
        "x": densities,
        "y": [layer.macs / layer.ms / 1e6 for layer in layers],
        "marker": {"symbol": style.symbol, "color": style.colour, "size": 9, "opacity": 0.8},
        "text": [layer.name for layer in layers],
        "customdata": [layer.ms for layer in layers],
        "hovertemplate": "<b>%{text}</b><br>%{y:.1f} GMAC/s at %{x:.1f} MACs/byte<br>%{customdata:.4f} ms"
        "<extra></extra>",
    }
    return line, marks


def _limit_table(limits: list[NamedLimit]) -> Table:
    return Table(
        title="Probed rates and what is reached",
        columns=(
            Column(name="subject"),
            Column(name="10⁹ MACs/s attainable", form="rate"),
            Column(name="GB/s attainable", form="rate"),
            Column(name="least time", form="ms"),
            Column(name="of the limit", form="percent"),
        ),
        rows=tuple(
            (one.label, one.limit.gmacs_per_s, one.limit.gb_per_s, one.limit.bound_ms, one.limit.share)
            for one in limits
        ),
    )
