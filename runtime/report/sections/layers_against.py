"""The layers of two bundles side by side."""

from typing import Any

from runtime.bench.limits.side_by_side import Row, side_by_side
from runtime.errors import UsageError
from runtime.report.document import Column, Figure, Section, Table, Text
from runtime.report.inputs import Inputs, bundle_name
from runtime.report.limits import NamedLimit, named_limits
from runtime.report.style import rows_axis, rows_height

_BARS = 30


def against_section(inputs: Inputs) -> Section | None:
    """Return the layers of the first two bundles side by side and what makes the difference.

    None where they were not both measured layer by layer in one engine at one batch, or are not one network.
    """
    pair = _pair(inputs)
    if pair is None:
        return None
    first, second = pair
    latencies_ms = (first.measured.latency.median_ms, second.measured.latency.median_ms)
    try:
        rows, findings = side_by_side(first.limit.layers, second.limit.layers, ("A", "B"), latencies_ms=latencies_ms)
    except UsageError:
        # Two networks may stand on one page; their layers have nothing to do with one another.
        return None
    rows = tuple(sorted(rows, key=lambda row: -max(row.first_ms, row.second_ms)))
    text = Text(
        title=f"A: {first.label}. B: {second.label}",
        paragraphs=findings,
        tone="list",
    )
    return Section(name="layers-against", title="Layers, A against B", blocks=(text, _bars(rows), _table(rows)))


def _pair(inputs: Inputs) -> tuple[NamedLimit, NamedLimit] | None:
    """Return rooflines of the first two bundles in one engine at one batch, the smallest."""
    if len(inputs.bundles) < 2:
        return None
    limits = sorted(named_limits(inputs), key=lambda one: one.measured.batch)
    first, second = (
        [one for one in limits if bundle_name(one.measured.bundle) == bundle.name] for bundle in inputs.bundles[:2]
    )
    return next(((a, b) for a in first for b in second if _setting(a) == _setting(b)), None)


def _setting(one: NamedLimit) -> tuple[object, ...]:
    return (one.measured.engine, one.measured.batch, one.measured.threads)


def _bars(rows: tuple[Row, ...]) -> Figure:
    shown = rows[:_BARS][::-1]
    sides: tuple[tuple[str, list[float], str], ...] = (
        ("B", [row.second_ms for row in shown], "var(--c2)"),
        ("A", [row.first_ms for row in shown], "var(--c1)"),
    )
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": list(range(len(shown))),
            "x": times,
            "marker": {"color": colour},
            "text": [row.name for row in shown],
            "textposition": "none",
            "hovertemplate": f"<b>%{{text}}</b><br>{name}: %{{x:.4f}} ms<extra></extra>",
        }
        for name, times, colour in sides
    ]
    return Figure(
        name="against-bars",
        title="Slowest layers, A and B",
        summary=f"{len(rows)} parts of two bundles side by side.",
        note="Convolutions and classifiers by name; all else is added up by sort.",
        traces=tuple(traces),
        layout={
            "barmode": "group",
            "xaxis": {"title": {"text": "median, ms"}, "rangemode": "tozero"},
            "yaxis": rows_axis([row.name for row in shown]),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "traceorder": "reversed"},
        },
        height=rows_height(len(shown), per_row=28),
    )


def _table(rows: tuple[Row, ...]) -> Table:
    return Table(
        title="Layer times, A and B",
        columns=(
            Column(name="layer"),
            Column(name="A", form="ms"),
            Column(name="B", form="ms"),
            Column(name="B less A", form="ms"),
            Column(name="A / B", form="ratio"),
            Column(name="precision A"),
            Column(name="precision B"),
            Column(name="layers A", form="count"),
            Column(name="layers B", form="count"),
        ),
        rows=tuple(
            (
                row.name,
                row.first_ms,
                row.second_ms,
                row.second_ms - row.first_ms,
                row.first_ms / row.second_ms if row.first_ms > 0 and row.second_ms > 0 else None,
                row.first_precision,
                row.second_precision,
                row.first_layers,
                row.second_layers,
            )
            for row in rows
        ),
    )
