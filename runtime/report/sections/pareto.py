"""Accuracy against latency: the plot, its Pareto front, and the same as a table."""

from typing import Any

from runtime.report.candidates import Candidate, pareto_front, subject_label, timed_alone
from runtime.report.decision import compare_command
from runtime.report.document import Column, Figure, Section, Table, Text, format_ms
from runtime.report.inputs import Inputs
from runtime.report.style import SeriesStyle, series_styles, span_axis

# Where the numbers stand, in turns: neighbours would hide one another.
_PLACES = ("top right", "bottom right", "top left", "bottom left")


def pareto_section(inputs: Inputs, candidates: list[Candidate]) -> Section:
    """Return accuracy against latency with the front, and the same as a table."""
    title = "Accuracy against latency"
    if not candidates:
        missing = f"run-ssl compare {inputs.paths} --data FOLDER --save, and run-ssl bench {inputs.paths}"
        return Section(name="pareto", title=title, missing=missing)
    figure, table = _pareto_figure(candidates), _pareto_table(candidates)
    blocks = (*_without_classifier(inputs), figure, table, *_timed_alone(inputs, candidates))
    return Section(name="pareto", title=title, blocks=blocks)


def _without_classifier(inputs: Inputs) -> tuple[Text, ...]:
    """Return in a sentence whose top-1 it is where the network has no classifier."""
    votes = [one.neighbour_vote for one in inputs.comparisons if one.neighbour_vote is not None]
    if not votes:
        return ()
    vote = votes[0]
    among = "all other images" if vote.gallery is None else f"the {vote.gallery_images:,} images of {vote.gallery}"
    sentence = (
        f"The network has no classifier: top-1 is the class that the {vote.neighbours} nearest of {among} vote for,"
        f" weighted by exp(cosine / {vote.temperature:g})."
    )
    return (Text(paragraphs=(sentence,)),)


def _timed_alone(inputs: Inputs, candidates: list[Candidate]) -> tuple[Text, ...]:
    """Return in a sentence what has a latency and no accuracy, if anything has."""
    timed = timed_alone(inputs, candidates)
    if not timed:
        return ()
    words = ", ".join(f"{subject_label(one)}, {format_ms(one.latency.median_ms)}" for one in timed)
    return (
        Text(
            paragraphs=(
                f"Timed, but not compared with the original and so not above: {words}."
                f" {compare_command(inputs, timed)} gives the accuracy.",
            )
        ),
    )


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
    traces += [_point(number, one, styles[one.label]) for number, one in enumerate(candidates, 1)]
    latencies = [one.latency_ms for one in candidates]
    title = f"median latency, batch {candidates[0].measured.batch}, ms"
    best = front[-1]
    return Figure(
        name="pareto-plot",
        title="Top-1 against median latency",
        summary=f"{len(candidates)} engines; fastest {front[0].label} at {format_ms(front[0].latency_ms)}, most"
        f" accurate {best.label} at {100 * best.top1:.2f} %.",
        note="Up and to the left is better. Vertical bars: 95 % interval of the drop against the PyTorch original on"
        " the same images. Horizontal bars: 95 % interval of the median. Dotted: the front.",
        traces=tuple(traces),
        layout={
            "xaxis": span_axis(title, min(latencies), max(latencies)),
            "yaxis": {"title": {"text": "top-1, %"}},
            "legend": {"orientation": "h", "y": -0.25},
        },
        height=460,
    )


def _point(number: int, one: Candidate, style: SeriesStyle) -> dict[str, Any]:
    latency = one.measured.latency
    low, high = one.score.drop_ci95 if one.score else (0.0, 0.0)
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": f"{number}: {one.label}",
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
        # Engines of one network lie close: a number fits beside each, the legend names it.
        "text": [str(number)],
        "textposition": _PLACES[number % len(_PLACES)],
        "customdata": [one.label],
        "hovertemplate": "<b>%{customdata}</b><br>%{x:.3f} ms<br>top-1 %{y:.2f} %<extra></extra>",
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
