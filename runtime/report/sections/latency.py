"""How long calls take and how that spreads."""

from typing import Any

import numpy as np

from runtime.bundle.results.bench_json import BenchResult, Measured
from runtime.report.candidates import fastest_by_subject, smallest_batch, subject_label
from runtime.report.document import Block, Column, Figure, Section, Table, Text, format_ms
from runtime.report.inputs import Inputs
from runtime.report.style import rows_axis, rows_height, series_styles, span_axis

_SCOPES = {
    "model": "the engine's call alone, its input in place",
    "copies": "the engine's call with the copies between host and device",
    "end-to-end": "everything from an image file's bytes to outputs, decoding and preprocessing included",
}


def latency_section(inputs: Inputs) -> Section:
    """Return how long calls took and how that spread, and all figures as a table."""
    batch = smallest_batch(inputs.benches)
    if batch is None:
        return Section(name="latency", title="Latency", missing=f"run-ssl bench {inputs.paths}")
    subjects = fastest_by_subject(inputs.benches, batch)
    scopes = ", ".join(sorted({_SCOPES[one.scope] for one in subjects}))
    blocks: list[Block] = [
        Text(paragraphs=(f"Inside the timer is {scopes}.",)),
        _boxes(subjects, batch),
    ]
    drift = _drift(subjects)
    blocks += [drift, _drift_table(subjects)] if drift else []
    blocks.append(_latency_table(inputs.benches))
    blocks += _notes(inputs.benches)
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
    ends = [end for row in quantiles for end in row]
    axis = span_axis(f"one call of batch {batch}, ms", min(ends), max(ends))
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


def _drift_table(subjects: list[Measured]) -> Table:
    """Return the lowest and the highest median of a round of every subject."""
    rows = []
    for one in subjects:
        medians = [float(np.median(calls)) for calls in one.rounds_ms if calls]
        if len(medians) > 1:
            low, high = min(medians), max(medians)
            rows.append((subject_label(one), len(medians), low, high, high / low if low > 0 else None))
    return Table(
        title="Medians by round",
        columns=(
            Column(name="subject"),
            Column(name="rounds", form="count"),
            Column(name="lowest", form="ms"),
            Column(name="highest", form="ms"),
            Column(name="highest / lowest", form="ratio"),
        ),
        rows=tuple(rows),
    )


def _latency_table(benches: tuple[BenchResult, ...]) -> Table:
    measured = sorted((one for bench in benches for one in bench.measured), key=lambda one: one.latency.median_ms)
    return Table(
        title="Everything that was timed",
        columns=(
            Column(name="subject"),
            Column(name="batch", form="count"),
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
            Column(name="threads", form="count"),
            Column(name="calls", form="count"),
        ),
        rows=tuple(_latency_row(one) for one in measured),
        note="One call of the whole batch. A percentile that so few calls cannot tell is left out.",
    )


def _notes(benches: tuple[BenchResult, ...]) -> list[Block]:
    """Return what must be known of single subjects, each note once; nothing where there is none."""
    subjects: dict[str, dict[str, None]] = {}
    for one in (one for bench in benches for one in bench.measured):
        for note in one.notes:
            subjects.setdefault(note, {})[subject_label(one)] = None
    notes = tuple(f"{' and '.join(labels)}: {note}" for note, labels in subjects.items())
    return [Text(title="Notes", paragraphs=notes, tone="list")] if notes else []


def _latency_row(one: Measured) -> tuple[str | int | float | None, ...]:
    latency = one.latency
    return (
        subject_label(one),
        one.batch,
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
        one.threads,
        latency.runs,
    )


def _calls(one: Measured) -> list[float]:
    calls = [call for calls in one.rounds_ms for call in calls]
    return calls or [one.latency.median_ms]
