"""Where the time goes: per layer, beside the least that the machine allows, and two bundles side by side."""

from typing import Any

from runtime.bench.result import LayerTime, Limit, Measured
from runtime.report.decision import subject_label
from runtime.report.document import Block, Column, Figure, Section, Table, Text, format_ms
from runtime.report.inputs import Inputs
from runtime.report.style import precision_colour, rows_axis, rows_height, series_styles

# A bar per layer of a ResNet-101 fills three screens; the table has them all.
_BARS = 30
_PROBED_FROM = 1e-9


def named_limits(inputs: Inputs) -> list[tuple[str, Limit]]:
    """Return the rooflines with the words for what was timed."""
    found = []
    for bench in inputs.benches:
        measured: dict[str, Measured] = {one.name: one for one in bench.measured}
        for limit in bench.limits:
            one = measured.get(limit.name)
            found.append((f"{subject_label(one)}, batch {one.batch}" if one else limit.name, limit))
    return found


def layer_time_section(inputs: Inputs) -> Section:
    """Return every limit's layers by time, as bars and as a table."""
    limits, title = named_limits(inputs), "Time per layer"
    if not limits:
        paths = " ".join(str(one.bundle.path) for one in inputs.bundles)
        return Section(name="layer-time", title=title, missing=f"run-ssl bench {paths} --limit")
    blocks: list[Block] = []
    for number, (label, limit) in enumerate(limits, 1):
        blocks.append(_finding_text(label, limit))
        blocks.append(_bars(number, label, limit))
        blocks.append(_layer_table(label, limit))
    return Section(name="layer-time", title=title, blocks=tuple(blocks))


def roofline_section(inputs: Inputs) -> Section:
    """Return what every layer attains of the machine's rates."""
    limits = [(label, limit) for label, limit in named_limits(inputs) if limit.gmacs_per_s > _PROBED_FROM]
    title = "Roofline"
    if not limits:
        paths = " ".join(str(one.bundle.path) for one in inputs.bundles)
        return Section(name="roofline", title=title, missing=f"run-ssl bench {paths} --limit")
    return Section(name="roofline", title=title, blocks=(_roofline(limits), _limit_table(limits)))


def against_section(inputs: Inputs) -> Section | None:
    """Return the layers of the first two limits of different bundles side by side; None where there are no two."""
    pair = _pair(inputs)
    if pair is None:
        return None
    (name_a, first), (name_b, second) = pair
    rows = _paired_rows(first, second)
    total_a, total_b = sum(one.ms for one in first.layers), sum(one.ms for one in second.layers)
    text = Text(
        paragraphs=(
            f"A is {name_a}, B is {name_b}. The layers take {format_ms(total_a)} in A and {format_ms(total_b)} in B. A"
            " layer stands beside the one that holds the same convolution or classifier; what has no partner, such as a"
            " reformat, stands alone.",
        )
    )
    columns = (
        Column(name="layer"),
        Column(name="A", form="ms"),
        Column(name="B", form="ms"),
        Column(name="B less A", form="ms"),
        Column(name="A / B", form="ratio"),
        Column(name="precision A"),
        Column(name="precision B"),
    )
    table = Table(title="Layer times, A and B", columns=columns, rows=tuple(rows))
    return Section(name="layers-against", title="Layers, A against B", blocks=(text, _against_bars(rows), table))


def _finding_text(label: str, limit: Limit) -> Text:
    head = (
        f"{label}: the least time that the attainable rates allow is {format_ms(limit.bound_ms)}, and"
        f" {100 * limit.share:.0f} % of that limit is reached."
    )
    return Text(paragraphs=(head, *limit.findings))


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


def _roofline(limits: list[tuple[str, Limit]]) -> Figure:
    styles = series_styles([label for label, _ in limits])
    traces: list[dict[str, Any]] = []
    for label, limit in limits:
        style = styles[label]
        layers = [one for one in limit.layers if one.macs and one.moved_bytes and one.ms > 0]
        densities = [one.macs / one.moved_bytes for one in layers]
        ridge = limit.gmacs_per_s / limit.gb_per_s
        ends = sorted({min([*densities, ridge]) / 2, ridge, max([*densities, ridge]) * 2})
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{label}: limit",
                "legendgroup": label,
                "showlegend": False,
                "x": ends,
                "y": [min(limit.gmacs_per_s, end * limit.gb_per_s) for end in ends],
                "line": {"color": style.colour, "dash": style.dash, "width": 2},
                "hovertemplate": "attainable: %{y:.1f} GMAC/s<extra></extra>",
            }
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "legendgroup": label,
                "x": densities,
                "y": [one.macs / one.ms / 1e6 for one in layers],
                "marker": {"symbol": style.symbol, "color": style.colour, "size": 9, "opacity": 0.8},
                "text": [one.name for one in layers],
                "customdata": [one.ms for one in layers],
                "hovertemplate": "<b>%{text}</b><br>%{y:.1f} GMAC/s at %{x:.1f} MACs/byte<br>%{customdata:.4f} ms"
                "<extra></extra>",
            }
        )
    return Figure(
        name="roofline-plot",
        title="What each layer attains",
        summary="; ".join(f"{label} reaches {100 * limit.share:.0f} % of its limit" for label, limit in limits) + ".",
        note="Each mark is a layer with multiply-accumulates. On the line: as fast as the probed rates allow. Under the"
        " slope memory limits, under the flat part arithmetic.",
        traces=tuple(traces),
        layout={
            "xaxis": {"title": {"text": "MACs per byte moved"}, "type": "log"},
            "yaxis": {"title": {"text": "10⁹ MACs/s"}, "type": "log"},
            "legend": {"orientation": "h", "y": -0.25},
        },
        height=480,
    )


def _limit_table(limits: list[tuple[str, Limit]]) -> Table:
    return Table(
        title="Probed rates and what is reached",
        columns=(
            Column(name="subject"),
            Column(name="10⁹ MACs/s attainable", form="rate"),
            Column(name="GB/s attainable", form="rate"),
            Column(name="least time", form="ms"),
            Column(name="of the limit", form="percent"),
        ),
        rows=tuple((label, one.gmacs_per_s, one.gb_per_s, one.bound_ms, one.share) for label, one in limits),
    )


def _pair(inputs: Inputs) -> tuple[tuple[str, Limit], tuple[str, Limit]] | None:
    """Return two limits of the first two bundles, on one engine and batch where there are such."""
    if len(inputs.bundles) < 2:
        return None
    measured = {one.name: one for bench in inputs.benches for one in bench.measured}
    names = [one.name for one in inputs.bundles[:2]]
    sides: list[list[tuple[str, Limit]]] = [[], []]
    for label, limit in named_limits(inputs):
        one = measured.get(limit.name)
        for side, name in zip(sides, names, strict=True):
            if one is not None and label.startswith(f"{name}, "):
                side.append((label, limit))
    for a in sides[0]:
        for b in sides[1]:
            of_a, of_b = measured[a[1].name], measured[b[1].name]
            if (of_a.engine, of_a.batch) == (of_b.engine, of_b.batch):
                return a, b
    return None


def _paired_rows(first: Limit, second: Limit) -> list[tuple[str | int | float | None, ...]]:
    partners = {_key(one): one for one in second.layers}
    rows: list[tuple[str | int | float | None, ...]] = []
    for one in first.layers:
        other = partners.pop(_key(one), None)
        if other is None:
            rows.append((one.name, one.ms, None, None, None, one.precision, ""))
        else:
            ratio = one.ms / other.ms if other.ms > 0 else None
            rows.append((one.name, one.ms, other.ms, other.ms - one.ms, ratio, one.precision, other.precision))
    left = [one for one in second.layers if partners.get(_key(one)) is one]
    rows += [(one.name, None, one.ms, None, None, "", one.precision) for one in left]
    return sorted(rows, key=lambda row: -max(_number(row[1]), _number(row[2])))


def _key(layer: LayerTime) -> str:
    """Return by what a layer is found in another bundle: its first node, whatever is fused behind it."""
    return layer.name.replace(",", " ").replace("+", " ").split()[0].removeprefix("/") if layer.name.strip() else ""


def _number(value: str | int | float | None) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _against_bars(rows: list[tuple[str | int | float | None, ...]]) -> Figure:
    shown = rows[:_BARS][::-1]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": list(range(len(shown))),
            "x": [row[column] for row in shown],
            "marker": {"color": colour},
            "text": [row[0] for row in shown],
            "textposition": "none",
            "hovertemplate": f"<b>%{{text}}</b><br>{name}: %{{x:.4f}} ms<extra></extra>",
        }
        for name, column, colour in (("B", 2, "var(--c2)"), ("A", 1, "var(--c1)"))
    ]
    return Figure(
        name="against-bars",
        title="Slowest layers, A and B",
        summary=f"{len(rows)} layers of two bundles side by side.",
        traces=tuple(traces),
        layout={
            "barmode": "group",
            "xaxis": {"title": {"text": "median, ms"}, "rangemode": "tozero"},
            "yaxis": rows_axis([str(row[0]) for row in shown]),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "traceorder": "reversed"},
        },
        height=rows_height(len(shown), per_row=28),
    )
