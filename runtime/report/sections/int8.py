"""What INT8 costs and how it was calibrated: sensitivity, activation ranges, convergence."""

from typing import Any

from runtime.bundle.calibration_json import Activation, CalibrationFacts, Tried
from runtime.bundle.sensitivity_json import LayerSearch
from runtime.report.document import Block, Column, Figure, Section, Table, Text, format_ms
from runtime.report.inputs import BundleInputs, Inputs
from runtime.report.style import rows_axis, rows_height

_EXPORT_INT8 = "export-ssl --model NAME --int8 --calib FOLDER"


def sensitivity_section(inputs: Inputs) -> Section:
    """Return what every layer's quantisation costs."""
    title = "Sensitivity per layer"
    found = [(one, one.sensitivity) for one in inputs.bundles if one.sensitivity is not None]
    if not found:
        return Section(name="sensitivity", title=title, missing=f"{_EXPORT_INT8} --sensitivity")
    blocks: list[Block] = []
    for number, (bundle, facts) in enumerate(found, 1):
        blocks += _sensitivity(number, bundle.name, facts)
    return Section(name="sensitivity", title=title, blocks=tuple(blocks))


def ranges_section(inputs: Inputs) -> Section:
    """Return the ranges of activations and where they are clipped."""
    title, found = "Activation ranges", _calibrated(inputs)
    if not found:
        return Section(name="ranges", title=title, missing=_EXPORT_INT8)
    blocks: list[Block] = []
    for number, (bundle, facts) in enumerate(found, 1):
        blocks.append(_range_figure(number, bundle.name, facts.activations))
        blocks.append(_range_table(bundle.name, facts))
    return Section(name="ranges", title=title, blocks=tuple(blocks))


def convergence_section(inputs: Inputs) -> Section:
    """Return whether the calibration saw enough images, and what was tried."""
    title, found = "Calibration", _calibrated(inputs)
    if not found:
        return Section(name="calibration", title=title, missing=_EXPORT_INT8)
    blocks: list[Block] = []
    for number, (bundle, facts) in enumerate(found, 1):
        blocks.append(_convergence_text(bundle.name, facts))
        if facts.warnings:
            blocks.append(Text(paragraphs=facts.warnings, tone="warning"))
        blocks.append(_tried_figure(number, bundle.name, facts))
        blocks.append(_tried_table(bundle.name, facts))
    return Section(name="calibration", title=title, blocks=tuple(blocks))


def _calibrated(inputs: Inputs) -> list[tuple[BundleInputs, CalibrationFacts]]:
    return [(one, one.calibration) for one in inputs.bundles if one.calibration is not None]


def _sensitivity(number: int, name: str, facts: LayerSearch) -> list[Block]:
    layers = facts.sensitivity.layers
    shown = layers[::-1]
    all_db = facts.sensitivity.sqnr_all_db
    together = "no output changes" if all_db is None else f"the outputs' SQNR is {all_db:.1f} dB"
    figure = Figure(
        name=f"sensitivity-{number}",
        title=f"Share of the quantisation noise: {name}",
        summary=f"{layers[0].layer} causes the most, {100 * layers[0].noise_share:.1f} %." if layers else "No layers.",
        note=f"With every layer in INT8 {together}, on {facts.sensitivity.images:,} images.",
        traces=(
            {
                "type": "bar",
                "orientation": "h",
                "y": list(range(len(shown))),
                "x": [100 * one.noise_share for one in shown],
                "marker": {"color": "var(--c1)"},
                "text": [one.layer for one in shown],
                "textposition": "none",
                "customdata": [
                    "no change" if one.sqnr_only_db is None else f"{one.sqnr_only_db:.1f} dB" for one in shown
                ],
                "hovertemplate": "<b>%{text}</b><br>%{x:.1f} % of the noise<br>alone in INT8: %{customdata}"
                "<extra></extra>",
            },
        ),
        layout={
            "xaxis": {"title": {"text": "share of all layers' noise, %"}, "rangemode": "tozero"},
            "yaxis": rows_axis([one.layer for one in shown]),
        },
        height=rows_height(len(shown), per_row=20),
    )
    kept = {one.layer: one.cost_ms for one in facts.float_layers}
    table = Table(
        title=f"Layers by noise: {name}",
        columns=(
            Column(name="layer"),
            Column(name="share of noise", form="percent"),
            Column(name="SQNR, alone in INT8", form="db"),
            Column(name="kept float"),
            Column(name="latency of keeping it", form="ms"),
        ),
        rows=tuple(
            (one.layer, one.noise_share, one.sqnr_only_db, "yes" if one.layer in kept else "no", kept.get(one.layer))
            for one in layers
        ),
    )
    return [figure, table, *_float_text(facts)]


def _float_text(facts: LayerSearch) -> list[Block]:
    if not facts.float_layers or facts.int8_ms is None:
        return []
    cost = sum(one.cost_ms for one in facts.float_layers)
    budget = "" if facts.max_drop is None else f" for a drop in {facts.figure} of at most {100 * facts.max_drop:.2f} pp"
    return [
        Text(
            paragraphs=(
                f"{len(facts.float_layers)} layers stay float{budget}: {format_ms(cost)} on top of"
                f" {format_ms(facts.int8_ms)} for one image ({facts.engine}).",
            )
        )
    ]


def _range_figure(number: int, name: str, activations: tuple[Activation, ...]) -> Figure:
    shown = activations[::-1]
    rows = list(range(len(shown)))
    clipped = [one for one in activations if one.clip < max(one.high, -one.low)]
    bar: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "name": "range on the images",
        "y": rows,
        "base": [one.low for one in shown],
        "x": [one.high - one.low for one in shown],
        "marker": {"color": "var(--c5)"},
        "text": [one.name for one in shown],
        "textposition": "none",
        "customdata": [[one.low, one.high, one.scale] for one in shown],
        "hovertemplate": "<b>%{text}</b><br>%{customdata[0]:.3f} to %{customdata[1]:.3f}<br>scale"
        " %{customdata[2]:.5f}<extra></extra>",
    }
    marks: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": "clipped beyond",
        "y": rows + [row for row, one in enumerate(shown) if one.low < 0],
        "x": [one.clip for one in shown] + [-one.clip for one in shown if one.low < 0],
        "marker": {"symbol": "line-ns-open", "size": 12, "color": "var(--c2)", "line": {"width": 2.5}},
        "hovertemplate": "clipped at %{x:.3f}<extra></extra>",
    }
    return Figure(
        name=f"ranges-{number}",
        title=f"Ranges and clipping: {name}",
        summary=f"{len(clipped)} of {len(activations)} activations are clipped inside the range seen on the images.",
        note="After equalisation, on the calibration images. A tick inside its bar means that extremes are given up for"
        " finer steps.",
        traces=(bar, marks),
        layout={
            "xaxis": {"title": {"text": "activation"}},
            "yaxis": rows_axis([one.name for one in shown]),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        },
        height=rows_height(len(shown), per_row=20),
    )


def _range_table(name: str, facts: CalibrationFacts) -> Table:
    return Table(
        title=f"Scales: {name}",
        columns=(
            Column(name="tensor"),
            Column(name="stored as"),
            Column(name="scale", form="number"),
            Column(name="clipped at", form="number"),
            Column(name="lowest", form="number"),
            Column(name="highest", form="number"),
            Column(name="largest before equalisation", form="number"),
        ),
        rows=tuple(
            (one.name, _stored_as(facts, one), one.scale, one.clip, one.low, one.high, one.amax_before)
            for one in facts.activations
        ),
    )


def _stored_as(facts: CalibrationFacts, activation: Activation) -> str:
    """Return the type of an activation's integers, and the level of zero where it is not the lowest one."""
    if facts.target != "cpu":
        return "int8, zero at -128" if activation.unsigned else "int8"
    if activation.unsigned:
        return "uint8"
    return f"uint8, zero at {128 if activation.zero_point is None else activation.zero_point}"


def _convergence_text(name: str, facts: CalibrationFacts) -> Text:
    seen = facts.convergence
    floats = f" Float stays: {', '.join(facts.float_layers)}." if facts.float_layers else ""
    return Text(
        paragraphs=(
            f"{name}: {facts.method} on {facts.images - facts.held_out:,} images for {facts.target}, judged on"
            f" {facts.held_out:,} others, where the outputs' SQNR is {facts.held_out_sqnr_db:.1f} dB.{floats}",
            f"Scales from one half of the images and from the other differ by {100 * seen.median:.1f} % in the median"
            f" and {100 * seen.worst:.1f} % at worst ({seen.worst_tensor}): the smaller, the less would more images"
            " change.",
        )
    )


def _tried_figure(number: int, name: str, facts: CalibrationFacts) -> Figure:
    tried = [*facts.candidates, *facts.techniques][::-1]
    best = max(tried, key=lambda one: one.sqnr_db, default=None)
    return Figure(
        name=f"tried-{number}",
        title=f"What was tried: {name}",
        summary=f"{best.name} gave the most, {best.sqnr_db:.1f} dB." if best else "Nothing was tried.",
        note="SQNR of the outputs on the held-out images, more is better. The first group has float weights, what comes"
        " after is on the whole INT8 graph.",
        traces=tuple(_tried_trace(tried, kept=kept) for kept in (True, False)),
        layout={
            "barmode": "overlay",
            "xaxis": {"title": {"text": "SQNR, dB"}, "rangemode": "tozero"},
            "yaxis": rows_axis([one.name for one in tried]),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        },
        height=rows_height(len(tried), per_row=24),
    )


def _tried_trace(tried: list[Tried], *, kept: bool) -> dict[str, Any]:
    rows = [(row, one) for row, one in enumerate(tried) if one.kept == kept]
    return {
        "type": "bar",
        "orientation": "h",
        "name": "kept" if kept else "not kept",
        "y": [row for row, _ in rows],
        "x": [one.sqnr_db for _, one in rows],
        "marker": {"color": "var(--c3)" if kept else "var(--faint)"},
        "text": [one.label for _, one in rows],
        "textposition": "none",
        "hovertemplate": "<b>%{text}</b><br>%{x:.1f} dB<extra></extra>",
    }


def _tried_table(name: str, facts: CalibrationFacts) -> Table:
    stages = (("clipping, float weights", facts.candidates), ("on the INT8 graph", facts.techniques))
    return Table(
        title=f"Tried and kept: {name}",
        columns=(
            Column(name="what"),
            Column(name="stage"),
            Column(name="SQNR", form="db"),
            Column(name="gain (95 %)"),
            Column(name="kept"),
        ),
        rows=tuple(
            (one.label, stage, one.sqnr_db, _gain(one), "yes" if one.kept else "no")
            for stage, tried in stages
            for one in tried
        ),
        note="The gain is over the graph before, or for a way to clip over the one that was kept. Its interval is drawn"
        " from the held-out images. Where zero lies inside, the two are a tie, and the simpler one is kept. What was"
        " surely worse on the first images was not judged on the others, nor were weights rounded to nearest where"
        " layer-wise rounding is better there.",
    )


def _gain(tried: Tried) -> str | None:
    """Return the interval of what something adds, in words."""
    if tried.gain_ci95_db is None:
        return None
    low, high = tried.gain_ci95_db
    return f"{low:+.2f} to {high:+.2f} dB"
