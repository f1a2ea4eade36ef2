"""Accuracy against latency, latency distributions, and throughput over the batch."""

from typing import Any

import numpy as np

from runtime.bench.result import BenchResult, Measured
from runtime.report.decision import Candidate, fastest_by_subject, pareto_front, smallest_batch, subject_label
from runtime.report.document import Block, Column, Figure, Section, Table, Text, format_ms
from runtime.report.inputs import Inputs
from runtime.report.style import SeriesStyle, rows_axis, rows_height, series_styles

_SCOPES = {
    "model": "the engine's call alone, its input in place",
    "copies": "the engine's call with the copies between host and device",
    "end-to-end": "everything from an image file's bytes to logits, decoding and preprocessing included",
}
# From this ratio of slowest to fastest a linear axis squeezes the fast ones into a corner.
_LOG_FROM = 12.0


def pareto_section(inputs: Inputs, candidates: list[Candidate]) -> Section:
    """Return accuracy against latency with the front, and the same as a table."""
    title = "Accuracy against latency"
    if not candidates:
        names = " ".join(str(one.bundle.path) for one in inputs.bundles)
        missing = f"run-ssl compare {names} --data FOLDER, and run-ssl bench {names}"
        return Section(name="pareto", title=title, missing=missing)
    return Section(name="pareto", title=title, blocks=(_pareto_figure(candidates), _pareto_table(candidates)))


def _pareto_figure(candidates: list[Candidate]) -> Figure:
    front = pareto_front(candidates)
    styles = series_styles([one.label for one in candidates])
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Pareto front",
            "x": [one.latency_ms for one in front],
            "y": [100 * one.top1 for one in front],
            "line": {"color": "var(--muted)", "dash": "dot", "width": 1.5, "shape": "hv"},
            "hoverinfo": "skip",
        }
    ]
    traces += [_point(one, styles[one.label]) for one in candidates]
    slowest, fastest = max(one.latency_ms for one in candidates), min(one.latency_ms for one in candidates)
    axis: dict[str, Any] = {"title": {"text": f"median latency, batch {candidates[0].measured.batch}, ms"}}
    axis |= {"type": "log"} if slowest / fastest > _LOG_FROM else {"rangemode": "tozero"}
    best = front[-1]
    return Figure(
        name="pareto-plot",
        title="Top-1 against median latency",
        summary=f"{len(candidates)} engines; fastest {front[0].label} at {format_ms(front[0].latency_ms)}, most"
        f" accurate {best.label} at {100 * best.top1:.2f} %.",
        note="Up and to the left is better. Vertical bars: 95 % interval of the drop against the PyTorch original on"
        " the same images. Horizontal bars: 95 % interval of the median. Dotted: the front.",
        traces=tuple(traces),
        layout={"xaxis": axis, "yaxis": {"title": {"text": "top-1, %"}}, "legend": {"orientation": "h", "y": -0.25}},
        height=460,
    )


def _point(one: Candidate, style: SeriesStyle) -> dict[str, Any]:
    latency = one.measured.latency
    low, high = one.score.drop_ci95 if one.score else (0.0, 0.0)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": one.label,
        "x": [one.latency_ms],
        "y": [100 * one.top1],
        "marker": {"size": 12, "color": style.colour, "symbol": style.symbol},
        # A drop's upper end is the top-1's lower one.
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [100 * (one.drop - low) if one.score else 0.0],
            "arrayminus": [100 * (high - one.drop) if one.score else 0.0],
            "thickness": 1,
            "color": style.colour,
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [max(latency.median_ci95.high - one.latency_ms, 0.0)],
            "arrayminus": [max(one.latency_ms - latency.median_ci95.low, 0.0)],
            "thickness": 1,
            "color": style.colour,
        },
        "text": [one.label],
        "hovertemplate": "<b>%{text}</b><br>%{x:.3f} ms<br>top-1 %{y:.2f} %<extra></extra>",
    }


def _pareto_table(candidates: list[Candidate]) -> Table:
    front = {one.label for one in pareto_front(candidates)}
    return Table(
        title="Engines with both",
        columns=(
            Column(name="bundle, engine (precision)"),
            Column(name="latency, median", form="ms"),
            Column(name="top-1", form="percent"),
            Column(name="drop", form="points"),
            Column(name="drop, 95 % low", form="points"),
            Column(name="drop, 95 % high", form="points"),
            Column(name="same top-1", form="percent"),
            Column(name="on the front"),
        ),
        rows=tuple(
            (
                one.label,
                one.latency_ms,
                one.top1,
                one.score.drop if one.score else None,
                one.score.drop_ci95[0] if one.score else None,
                one.score.drop_ci95[1] if one.score else None,
                one.score.agreement if one.score else None,
                "yes" if one.label in front else "no",
            )
            for one in candidates
        ),
    )


def latency_section(inputs: Inputs) -> Section:
    """Return how long calls took and how that spread, and all figures as a table."""
    batch = smallest_batch(inputs.benches)
    if batch is None:
        return Section(name="latency", title="Latency", missing=f"run-ssl bench {_paths(inputs)}")
    subjects = fastest_by_subject(inputs.benches, batch)
    scopes = ", ".join(sorted({_SCOPES[one.scope] for one in subjects}))
    blocks: list[Block] = [
        Text(paragraphs=(f"Inside the timer is {scopes}.",)),
        _boxes(subjects, batch),
    ]
    drift = _drift(subjects)
    blocks += [drift] if drift else []
    blocks.append(_latency_table(inputs.benches))
    absent = {name: reason for bench in inputs.benches for name, reason in bench.absent.items()}
    if absent:
        words = "; ".join(f"{name} ({reason})" for name, reason in absent.items())
        blocks.append(Text(paragraphs=(f"Asked for and not measured: {words}.",)))
    return Section(name="latency", title="Latency", blocks=tuple(blocks))


def _boxes(subjects: list[Measured], batch: int) -> Figure:
    """Return a box per subject: quartiles, whiskers at 5 and 95 %, p99 as a tick, the mean as a diamond."""
    shown = subjects[::-1]
    quantiles = [np.percentile(_calls(one), [5, 25, 50, 75, 95]).tolist() for one in shown]
    styles = series_styles([subject_label(one) for one in subjects])
    traces: list[dict[str, Any]] = [
        {
            "type": "box",
            "orientation": "h",
            "y": [index],
            "lowerfence": [low],
            "q1": [q1],
            "median": [median],
            "q3": [q3],
            "upperfence": [high],
            "name": subject_label(one),
            "showlegend": False,
            "width": 0.55,
            "line": {"color": styles[subject_label(one)].colour, "width": 1.5},
        }
        for index, (one, (low, q1, median, q3, high)) in enumerate(zip(shown, quantiles, strict=True))
    ]
    tails = [(index, one) for index, one in enumerate(shown) if one.latency.p99_ms is not None]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "p99",
            "x": [one.latency.p99_ms for _, one in tails],
            "y": [index for index, _ in tails],
            "marker": {"symbol": "line-ns-open", "size": 14, "color": "var(--text)", "line": {"width": 2}},
            "text": [subject_label(one) for _, one in tails],
            "hovertemplate": "%{text}<br>p99 %{x:.3f} ms<extra></extra>",
        }
    )
    largest = max(max(row) for row in quantiles)
    smallest = min(min(row) for row in quantiles)
    axis: dict[str, Any] = {"title": {"text": f"one call of batch {batch}, ms"}}
    axis |= {"type": "log"} if largest / max(smallest, 1e-9) > _LOG_FROM else {"rangemode": "tozero"}
    return Figure(
        name="latency-boxes",
        title="How single calls spread",
        summary=f"{len(subjects)} subjects at batch {batch}; the fastest is {subject_label(subjects[0])} with"
        f" a median of {format_ms(subjects[0].latency.median_ms)}.",
        note="Box: the middle half of the calls with the median. Whiskers: 5 to 95 %. Tick: p99.",
        traces=tuple(traces),
        layout={
            "xaxis": axis,
            "yaxis": rows_axis([subject_label(one) for one in shown]),
            "showlegend": False,
        },
        height=rows_height(len(shown), per_row=44),
    )


def _drift(subjects: list[Measured]) -> Figure | None:
    """Return every subject's median by round, relative to its own median; None with one round alone."""
    many = [one for one in subjects if len(one.rounds_ms) > 1]
    if not many:
        return None
    styles = series_styles([subject_label(one) for one in subjects])
    traces = []
    for one in many:
        style = styles[subject_label(one)]
        medians = [float(np.median(calls)) for calls in one.rounds_ms if calls]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": subject_label(one),
                "x": list(range(1, len(medians) + 1)),
                "y": [value / one.latency.median_ms for value in medians],
                "line": {"color": style.colour, "dash": style.dash, "width": 1.5},
                "marker": {"symbol": style.symbol, "size": 6},
                "text": [subject_label(one)] * len(medians),
                "hovertemplate": "%{text}<br>round %{x}: %{y:.3f} of its median<extra></extra>",
            }
        )
    return Figure(
        name="latency-drift",
        title="How steady the machine was",
        summary=f"Medians of {len(many)} subjects by round, relative to each one's own median.",
        note="All subjects take turns within a round. Lines that move together are the machine; one that moves alone is"
        " the engine.",
        traces=tuple(traces),
        layout={
            "xaxis": {"title": {"text": "round"}, "dtick": max(1, len(many[0].rounds_ms) // 10)},
            "yaxis": {"title": {"text": "median of the round / median"}},
            "legend": {"orientation": "h", "y": -0.25},
        },
    )


def _latency_table(benches: tuple[BenchResult, ...]) -> Table:
    measured = sorted((one for bench in benches for one in bench.measured), key=lambda one: one.latency.median_ms)
    return Table(
        title="Everything that was timed",
        columns=(
            Column(name="subject"),
            Column(name="batch", form="count"),
            Column(name="threads", form="count"),
            Column(name="median", form="ms"),
            Column(name="95 % low", form="ms"),
            Column(name="95 % high", form="ms"),
            Column(name="mean", form="ms"),
            Column(name="p90", form="ms"),
            Column(name="p99", form="ms"),
            Column(name="max", form="ms"),
            Column(name="images/s", form="rate"),
            Column(name="load", form="ms"),
            Column(name="first call", form="ms"),
            Column(name="memory", form="bytes"),
            Column(name="calls", form="count"),
            Column(name="notes"),
        ),
        rows=tuple(_latency_row(one) for one in measured),
        note="One call of the whole batch. A percentile that so few calls cannot tell is left out.",
    )


def _latency_row(one: Measured) -> tuple[str | int | float | None, ...]:
    latency = one.latency
    return (
        subject_label(one),
        one.batch,
        one.threads,
        latency.median_ms,
        latency.median_ci95.low,
        latency.median_ci95.high,
        latency.mean_ms,
        latency.p90_ms,
        latency.p99_ms,
        latency.max_ms,
        one.images_per_s,
        one.load_ms,
        one.first_ms,
        # MiB in the operating systems' accounts.
        one.peak_memory_mb * 2**20 if one.peak_memory_mb is not None else None,
        latency.runs,
        "; ".join(one.notes),
    )


def throughput_section(inputs: Inputs) -> Section:
    """Return images per second over the batch, and the batch to choose for a budget."""
    title, series = "Throughput over the batch", _by_series(inputs.benches)
    curves = {label: points for label, points in series.items() if len(points) > 1}
    if not curves:
        return Section(name="throughput", title=title, missing=f"run-ssl bench {_paths(inputs)} --batch 1,2,4,8,16,32")
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
        threads = "" if one.threads is None else f", {one.threads} threads" if one.threads > 1 else ", 1 thread"
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


def _calls(one: Measured) -> list[float]:
    calls = [call for calls in one.rounds_ms for call in calls]
    return calls or [one.latency.median_ms]


def _paths(inputs: Inputs) -> str:
    return " ".join(str(one.bundle.path) for one in inputs.bundles)
