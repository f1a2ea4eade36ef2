"""The layers of TensorRT plans, with the formats that the engine inspector names."""

from runtime.plans.inspector import Tensor, compute_type
from runtime.report.document import Block, Column, Section, Table, Text
from runtime.report.inputs import Inputs, Plan


def tensorrt_section(inputs: Inputs) -> Section:
    """Return the layers of TensorRT plans with their formats."""
    title = "TensorRT layers"
    plans = [(one, one.plan) for one in inputs.bundles if one.plan is not None]
    if not plans:
        return Section(name="tensorrt", title=title, missing=f"run-ssl build {inputs.bundles[0].bundle.path}")
    blocks: list[Block] = []
    for one, plan in plans:
        blocks += _plan_blocks(one.name, plan)
    return Section(name="tensorrt", title=title, blocks=tuple(blocks))


def _plan_blocks(name: str, plan: Plan) -> list[Block]:
    sidecar = plan.sidecar
    certificate, times = sidecar.certificate, sidecar.certificate.layer_times_ms
    kept = (
        f"{certificate.kept} of {certificate.promised} layers run in the precision that the graph promises"
        if certificate.promised
        else "the graph promises FP32"
    )
    text = Text(
        paragraphs=(
            f"{name}: TensorRT {sidecar.tensorrt} on {sidecar.gpu}; {kept}; {len(certificate.reformats)} reformats,"
            f" {len(certificate.unfused_qdq)} Q/DQ alone, {len(certificate.fp32_islands)} FP32 islands.",
        )
    )
    table = Table(
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
            for one in plan.layers.layers
        ),
    )
    return [text, table]


def _tensor(tensor: Tensor) -> str:
    shape = "x".join("N" if size < 0 else str(size) for size in tensor.shape)
    return f"{tensor.datatype} {shape}" + (f", {tensor.layout}" if tensor.layout else "")
