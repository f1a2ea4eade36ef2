"""A report from bundles and what was measured of them."""

from runtime.report.candidates import find_candidates
from runtime.report.decision import describe_decision
from runtime.report.document import Report, Section
from runtime.report.inputs import Inputs, ReportRequest, read_inputs
from runtime.report.sections.facts import (
    bundles_section,
    flops_section,
    gallery_section,
    licence_sentences,
    provenance_section,
)
from runtime.report.sections.int8 import convergence_section, ranges_section, sensitivity_section
from runtime.report.sections.latency import latency_section
from runtime.report.sections.layer_times import layer_time_section
from runtime.report.sections.layers_against import against_section
from runtime.report.sections.neighbours import neighbours_section
from runtime.report.sections.pareto import pareto_section
from runtime.report.sections.roofline import roofline_section
from runtime.report.sections.tensorrt_plan import tensorrt_section
from runtime.report.sections.throughput import throughput_section


def build_report(request: ReportRequest) -> Report:
    """Return the report of one bundle or of several side by side.

    A part whose input is missing stays, empty, with the command that makes it.

    Raises:
        UsageError: There is no bundle, or results do not belong together.
        BundleError: A bundle or a result is damaged.
        EngineError: A plan's layers are not what the inspector writes.
    """
    inputs = read_inputs(request)
    models = dict.fromkeys(one.bundle.manifest.model.name for one in inputs.bundles)
    candidates = find_candidates(inputs)
    sections: tuple[Section | None, ...] = (
        pareto_section(inputs, candidates),
        bundles_section(inputs, candidates),
        latency_section(inputs),
        throughput_section(inputs),
        against_section(inputs),
        layer_time_section(inputs),
        roofline_section(inputs),
        sensitivity_section(inputs),
        ranges_section(inputs),
        convergence_section(inputs),
        flops_section(inputs),
        gallery_section(inputs),
        neighbours_section(inputs),
        tensorrt_section(inputs),
        provenance_section(inputs),
    )
    return Report(
        title=f"{' and '.join(models)}: {' against '.join(one.name for one in inputs.bundles)}",
        decision=describe_decision(inputs, candidates),
        warnings=_warnings(inputs),
        sections=tuple(section for section in sections if section is not None),
        licence=licence_sentences(inputs),
    )


def _warnings(inputs: Inputs) -> tuple[str, ...]:
    noise = [warning for bench in inputs.benches for warning in bench.noise.warnings]
    random = [
        f"{one.name} has random, untrained weights: its accuracy means nothing."
        for one in inputs.bundles
        if one.bundle.manifest.weights.source == "random"
    ]
    apart = ["The bundles were benchmarked one after the other: ratios between them hold the machine's drift."]
    return (*dict.fromkeys(noise), *random, *(apart if len(inputs.benches) > 1 else []))
