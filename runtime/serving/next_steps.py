"""What `run-ssl repo` prints: what was written, what it needs, and the commands that serve it."""

import json
import shlex
from dataclasses import dataclass

from runtime.serving.backends import BACKENDS
from runtime.serving.repository import Written
from runtime.support.words import counted

# Without it OpenVINO computes in bf16 on a CPU that has instructions for it: 38 dB instead of 118 on a ResNet-18.
_FP32_HINT = '{"INFERENCE_PRECISION_HINT": "f32"}'
_ALL_VERSIONS = '{"all": {}}'


@dataclass(frozen=True)
class NextSteps:
    """What a user does next.

    Attributes:
        triton: Command that serves the repository with Triton.
        model_server: Command that serves the model with OpenVINO Model Server; None where it cannot.
        notes: What has to be known, one sentence each.
    """

    triton: str
    model_server: str | None
    notes: tuple[str, ...]


def next_steps(written: Written) -> NextSteps:
    """Return the commands and what has to be known of a written version."""
    contract, place = written.record.contract, written.place
    triton = f"tritonserver --model-repository={shlex.quote(str(place.repository))}"
    server = None
    if BACKENDS[contract.backend].model_server:
        path = shlex.quote(str(place.model))
        policy = f" --model_version_policy '{_ALL_VERSIONS}'" if contract.settings.keep == "all" else ""
        server = (
            f"ovms --model_name {place.name} --model_path {path} --port 9000 --plugin_config '{_FP32_HINT}'{policy}"
        )
    return NextSteps(triton, server, _notes(written))


def _notes(written: Written) -> tuple[str, ...]:
    plan, contract = written.record.plan, written.record.contract
    fixed = contract.input.fixed_batch
    batch = () if fixed is None else (f"a request holds {counted(fixed, 'image')}: the batch of the graph is fixed",)
    if plan is not None:
        return (
            *batch,
            f"the plan is for this machine's GPU, {plan.gpu} (compute capability {plan.compute_capability}), and for "
            f"TensorRT {plan.tensorrt}: use a Triton image with that version",
            "OpenVINO Model Server cannot serve plans",
        )
    return (*batch, *BACKENDS[contract.backend].notes(contract.settings.kind, written.record.int8_target))


def as_lines(written: Written) -> list[str]:
    """Return the lines for a person."""
    record, steps = written.record, next_steps(written)
    settings = record.contract.settings
    batch = f"batches to {settings.max_batch_size}" if settings.max_batch_size else "no batching"
    if record.contract.input.fixed_batch is not None:
        batch = f"batches of {record.contract.input.fixed_batch}"
    lines = [
        f"model:    {written.place.model}, version {written.version}",
        f"served:   {record.precision} by {record.contract.backend}, {settings.kind} x {settings.instances}, {batch}",
        f"licence:  {record.licence.spdx}; {record.licence.notice}",
        *(f"note:     {note}" for note in steps.notes),
        f"Triton:   {steps.triton}",
    ]
    return lines if steps.model_server is None else [*lines, f"OVMS:     {steps.model_server}"]


def as_json(written: Written) -> str:
    """Return the same for a machine."""
    steps = next_steps(written)
    return json.dumps(
        {
            "model": str(written.place.model),
            "name": written.place.name,
            "version": written.version,
            "record": written.record.model_dump(mode="json"),
            "triton": steps.triton,
            "ovms": steps.model_server,
            "notes": steps.notes,
        },
        indent=2,
        ensure_ascii=False,
    )
