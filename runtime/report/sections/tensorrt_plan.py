"""TensorRT plans: what was built, whether it keeps the bundle's promises, how fast it is, and its layers."""

from typing import Any

from runtime.bundle.layout import MODEL_FILE
from runtime.bundle.plan_json import Certificate, GoldenCheck, LayerVerdict, Sidecar, build_command
from runtime.bundle.results.bench_json import Measured
from runtime.engines.trt.capabilities import describe_capabilities
from runtime.engines.trt.library import LIBRARIES, TENSORRT
from runtime.plans.inspector import LayerInformation, Tensor, compute_type
from runtime.report.document import Block, Column, Figure, Section, Table, Text, format_bytes, format_ms
from runtime.report.inputs import BundleInputs, Inputs, Plan, bundle_name
from runtime.report.style import precision_colour, rows_axis, rows_height
from runtime.support.words import counted, verb_for

# A bar per layer of a ResNet-101 fills three screens; the table has them all.
_BARS = 30
_BAR_WIDTH = 0.8


def tensorrt_section(inputs: Inputs) -> Section:
    """Return every TensorRT plan with its certificate, how it was built, its latencies and its layers."""
    title = "TensorRT"
    plans = [(one, plan) for one in inputs.bundles for plan in one.plans]
    if not plans:
        return Section(name="tensorrt", title=title, missing=f"run-ssl build {inputs.bundles[0].bundle.path}")
    blocks: list[Block] = [_build_table(plans)]
    blocks += _latency_table(inputs)
    for number, (one, plan) in enumerate(plans, 1):
        blocks += _plan_blocks(number, one, plan)
    return Section(name="tensorrt", title=title, blocks=tuple(blocks))


def _build_table(plans: list[tuple[BundleInputs, Plan]]) -> Table:
    """Return how the plans were built and what they promise, each plan a column."""
    facts = [_build_facts(plan) for _, plan in plans]
    return Table(
        title="The plans",
        columns=(Column(name=""), *(Column(name=_plan_name(one, plan)) for one, plan in plans)),
        rows=tuple((name, *(fact[name] for fact in facts)) for name in facts[0]),
        sortable=False,
    )


def _plan_name(one: BundleInputs, plan: Plan) -> str:
    """Return a bundle's name, with the library's where it is not TensorRT: a bundle may have a plan of each."""
    return one.name if plan.library is TENSORRT else f"{one.name}, {plan.library.label}"


def _build_facts(plan: Plan) -> dict[str, str]:
    sidecar, library = plan.sidecar, plan.library
    options, certificate = sidecar.options, sidecar.certificate
    workspace = "all of the GPU's" if options.workspace_mib is None else f"{options.workspace_mib:,} MiB"
    # What a build without a GPU cannot know, or has no option for.
    here, has = library.builds_on_gpu, library.refused
    cache = f", timing cache {sidecar.timing_cache}" if here else ""
    return {
        "certificate": "passed" if certificate.passed else "failed",
        "layers that keep their precision": _kept(certificate),
        "multiply-accumulates in it": f"{100 * certificate.macs_share:.2f} %" if certificate.promised else "-",
        "golden images": _golden(sidecar.golden),
        "precision in the graph": sidecar.precision,
        "GPU": f"{sidecar.gpu}, compute capability {sidecar.compute_capability}"
        if here
        else describe_capabilities(options.compute_capabilities),
        "library": f"{library.label} {sidecar.tensorrt}",
        "CUDA, driver": f"{sidecar.cuda_runtime}, {sidecar.driver}" if here else "built without a GPU",
        "platform": sidecar.platform,
        "batch sizes (MIN:OPT:MAX)": str(options.profile),
        "optimisation level": "-" if "--optimization-level" in has else str(options.optimization_level),
        "workspace": workspace,
        "loads in later versions": "yes" if options.version_compatible else "no",
        "loads on other GPUs": _other_gpus(plan),
        "size of the plan": format_bytes(sidecar.plan_bytes),
        "GPU memory of one context": format_bytes(sidecar.device_memory_bytes),
        "took to build": f"{sidecar.build_seconds:,.0f} s{cache}",
        "built": f"{sidecar.built_at}, export-ssl {sidecar.tool}",
    }


def _golden(golden: GoldenCheck | None) -> str:
    if golden is None:
        return "not run: the build needs no GPU"
    near = f"embedding {_db(golden.embedding_db)}, required {golden.required_db:.1f} dB"
    if golden.same_top1 is None:
        return near
    return f"{golden.same_top1} of {golden.images} with PyTorch's top-1; logits {_db(golden.logits_db)}, {near}"


def _other_gpus(plan: Plan) -> str:
    if not plan.library.builds_on_gpu:
        return "all of those above"
    compatible = plan.sidecar.options.hardware_compatibility
    return "no" if compatible == "none" else compatible


def _kept(certificate: Certificate) -> str:
    if not certificate.promised:
        return "the graph promises FP32"
    return f"{certificate.kept} of {certificate.promised}, required {100 * certificate.required_share:.0f} %"


def _db(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f} dB"


def _latency_table(inputs: Inputs) -> list[Block]:
    """Return what the benchmark measured of TensorRT, or nothing where it was not measured."""
    measured = [
        one
        for bench in inputs.benches
        for one in bench.measured
        if one.kind == "bundle" and one.engine in LIBRARIES and inputs.reports_on(one.bundle)
    ]
    if not measured:
        engines = ",".join(dict.fromkeys(plan.library.engine for one in inputs.bundles for plan in one.plans))
        return [Text(paragraphs=(f"Not timed yet: `run-ssl bench {inputs.paths} --engines {engines}`.",))]
    return [
        Table(
            title="TensorRT in the benchmark",
            columns=(
                Column(name="bundle"),
                Column(name="engine"),
                Column(name="precision"),
                Column(name="batch", form="count"),
                Column(name="median", form="ms"),
                Column(name="95 % low", form="ms"),
                Column(name="95 % high", form="ms"),
                Column(name="p99", form="ms"),
                Column(name="images/s", form="rate"),
                Column(name="inside the timer"),
            ),
            rows=tuple(_latency_row(one) for one in measured),
        )
    ]


def _latency_row(one: Measured) -> tuple[str | int | float | None, ...]:
    latency = one.latency
    return (
        bundle_name(one.bundle),
        one.engine,
        one.precision,
        one.batch,
        latency.median_ms,
        latency.median_ci95.low,
        latency.median_ci95.high,
        latency.p99_ms,
        one.images_per_s,
        one.scope,
    )


def _plan_blocks(number: int, one: BundleInputs, plan: Plan) -> list[Block]:
    certificate, blocks, name = plan.sidecar.certificate, list[Block](), _plan_name(one, plan)
    graphs = [entry.sha256 for entry in one.bundle.manifest.files if entry.path == MODEL_FILE]
    if plan.sidecar.onnx_sha256 not in graphs:
        again = build_command(one.bundle.path, plan.library.engine)
        stale = f"{name}: the plan was built from another {MODEL_FILE}; `{again}` again."
        blocks.append(Text(paragraphs=(stale,), tone="warning"))
    blocks.append(Text(title=f"What became of the graph: {name}", paragraphs=_became(certificate), tone="list"))
    broken = [verdict for verdict in certificate.verdicts if verdict.reason]
    blocks += [_broken_table(name, broken)] if broken else []
    if plan.layers is None:
        return [*blocks, Text(paragraphs=("The list of layers is not beside the plan.",))]
    if certificate.layer_times_ms:
        blocks.append(_time_figure(number, name, plan.layers, plan.sidecar))
    return [*blocks, _layer_table(name, plan.layers, certificate.layer_times_ms)]


def _became(certificate: Certificate) -> tuple[str, ...]:
    """Return what the plan has beside the layers of the graph, in sentences."""
    if not certificate.formats_known:
        unknown = "The inspector names no datatypes of this plan: FP32 islands and INT8 layers with floats are unknown."
        return (_copies(certificate), unknown)
    return (
        _copies(certificate),
        _named("FP32 islands, which compute in FP32 though less is promised", certificate.fp32_islands),
        _named("INT8 convolutions that read or write floats", certificate.crossings),
    )


def _copies(certificate: Certificate) -> str:
    copies, alone = len(certificate.reformats), len(certificate.unfused_qdq)
    return (
        f"{counted(copies, 'layer')} {'copies' if copies == 1 else 'copy'} a tensor to another format,"
        f" {alone:,} only {verb_for(alone, 'quantise')} or {verb_for(alone, 'dequantise')}."
    )


def _named(what: str, names: tuple[str, ...]) -> str:
    return f"{what}: {', '.join(names) or 'none'}."


def _broken_table(name: str, broken: list[LayerVerdict]) -> Table:
    return Table(
        title=f"Layers that break their promise: {name}",
        columns=(
            Column(name="layer"),
            Column(name="promised"),
            Column(name="ran in"),
            Column(name="MACs", form="count"),
            Column(name="layer of the plan"),
            Column(name="why"),
        ),
        rows=tuple((one.name, one.promised, one.ran, one.macs, one.engine_layer, one.reason) for one in broken),
    )


def _time_figure(number: int, name: str, layers: LayerInformation, sidecar: Sidecar) -> Figure:
    """Return the slowest layers as bars in the colour of what they compute in."""
    times, batch = sidecar.certificate.layer_times_ms, sidecar.options.profile.opt
    timed = [(one.name, compute_type(one), times[one.name]) for one in layers.layers if one.name in times]
    shown = sorted(timed, key=lambda one: -one[2])[:_BARS][::-1]
    traces: list[dict[str, Any]] = []
    for precision in dict.fromkeys(precision for _, precision, _ in shown):
        rows = [(row, layer, ms) for row, (layer, kind, ms) in enumerate(shown) if kind == precision]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": precision,
                "y": [row for row, _, _ in rows],
                "x": [ms for _, _, ms in rows],
                "width": _BAR_WIDTH,
                "marker": {"color": precision_colour(precision)},
                "text": [layer for _, layer, _ in rows],
                "textposition": "none",
                "hovertemplate": "<b>%{text}</b><br>%{x:.4f} ms<extra></extra>",
            }
        )
    slowest = f"The slowest of {len(timed)} layers is {shown[-1][0]} with {format_ms(shown[-1][2])}." if shown else ""
    return Figure(
        name=f"plan-bars-{number}",
        title=f"Slowest layers of the plan: {name}",
        summary=slowest or "No layer was timed.",
        note="TensorRT's profiler times layer by layer, so that their sum is more than the latency of one call.",
        traces=tuple(traces),
        layout={
            "barmode": "overlay",
            "xaxis": {"title": {"text": f"median at batch {batch}, ms"}, "rangemode": "tozero"},
            "yaxis": rows_axis([layer for layer, _, _ in shown]),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        },
        height=rows_height(len(shown)),
    )


def _layer_table(name: str, layers: LayerInformation, times: dict[str, float]) -> Table:
    return Table(
        title=f"Layers of the plan: {name}",
        columns=(
            Column(name="layer"),
            Column(name="type"),
            Column(name="computes in"),
            Column(name="reads"),
            Column(name="writes"),
            Column(name="kernel"),
            Column(name="time", form="ms"),
        ),
        rows=tuple(
            (
                one.name,
                one.kind,
                compute_type(one),
                "; ".join(_tensor(tensor) for tensor in one.inputs),
                "; ".join(_tensor(tensor) for tensor in one.outputs),
                one.tactic,
                times.get(one.name),
            )
            for one in layers.layers
        ),
    )


def _tensor(tensor: Tensor) -> str:
    shape = "x".join("N" if size < 0 else str(size) for size in tensor.shape)
    return f"{tensor.datatype} {shape}" + (f", {tensor.layout}" if tensor.layout else "")
