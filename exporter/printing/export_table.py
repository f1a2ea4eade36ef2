"""What `export-ssl` says: notices to stderr, the result to stdout."""

import shlex
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.pipeline import ExportResult
from exporter.printing.int8_table import print_calibration, print_drop
from runtime.bundle.bundle import Bundle
from runtime.bundle.manifest import Fp16Sums, Step
from runtime.original.load_original import find_file
from runtime.support.paragraphs import print_paragraph

_OPERATORS_SHOWN = 7


def print_notices(result: ExportResult, console: Console) -> None:
    """Print the licence, and what a user must not overlook."""
    manifest = result.manifest
    console.print(f"licence of the weights: {manifest.licence.spdx}. {manifest.licence.notice}", markup=False)
    for notice in result.notices:
        console.print(notice, style="yellow" if notice.startswith("warning") else None, markup=False, soft_wrap=True)
    if manifest.weights.source == "random":
        console.print(
            f"UNTRAINED: the weights are random (seed {manifest.weights.seed}); "
            "the bundle is good for tests of speed and tooling, its predictions mean nothing",
            style="bold red",
            markup=False,
        )
    if not manifest.model.classes:
        console.print("no classifier: the bundle's only output is the embedding", markup=False)
    for name, amax in manifest.precision.overflowing.items():
        console.print(f"overflow: {name} reaches {amax:g}, too large for FP16; its layer stays FP32", markup=False)
    if manifest.precision.weights_flushed:
        share = 100 * manifest.precision.weights_flushed
        console.print(f"{share:.4f} % of the non-zero weights round to zero in FP16", markup=False)
    if manifest.precision.fp16_sums is not None:
        console.print(_describe_fp16_sums(manifest.precision.fp16_sums), markup=False, soft_wrap=True)
    for finding in result.quantized.findings if result.quantized is not None else ():
        console.print(f"{finding.severity}: {finding.text}", style="yellow", markup=False)


def _describe_fp16_sums(sums: Fp16Sums) -> str:
    """Return what engines that add up in FP16 will reach, in one line."""
    layers = ", ".join(sums.losing_most)
    where = "onnxruntime on an ARM CPU with FP16 arithmetic"
    if sums.min_sqnr_db is None:
        return f"FP16 sums overflow ({layers}): on {where} use onnxruntime:fp32, or OpenVINO"
    return (
        f"FP16 sums ({where}) are expected to reach {sums.expected_db:.1f} dB, and most is lost in {layers}; "
        "onnxruntime:fp32 and OpenVINO add up in FP32 there"
    )


def print_result(result: ExportResult, console: Console, *, details: bool = False) -> None:
    """Print that the bundle passed, the command that comes next, the steps, and what the calibration kept.

    Args:
        result: A finished export.
        console: Where to print; 80 columns are enough.
        details: Whether to print all that the calibration tried, and the operators of the first and the last graph.
    """
    manifest = result.manifest
    print_paragraph(_verdict(result), console, style="bold")
    if result.quantized is not None and result.quantized.layers is not None:
        print_drop(result.quantized.layers, console)
    console.print(f"next: {_next_command(result)}", markup=False, soft_wrap=True)
    console.print()
    console.print(_steps(manifest.steps))
    console.print()
    if result.quantized is not None:
        print_calibration(result.quantized, console, details=details)
    for step in (manifest.steps[0], manifest.steps[-1]) if details else ():
        print_paragraph(f"nodes after {step.name}: {_operators(step)}", console, bullet=True)
    model = manifest.model
    size = sum(entry.size_bytes for entry in manifest.files)
    print_paragraph(
        f"{model.parameters:,} parameters, {model.macs:,} MACs = {model.flops:,} FLOPs per image, "
        f"{size / 1e6:.1f} MB in {len(manifest.files) + 1} files",
        console,
        bullet=True,
    )
    if not details:
        tried = "all that was tried, and the nodes" if result.quantized is not None else "the nodes"
        print_paragraph(f"`--details` prints {tried} before and after.", console, bullet=True)


def _next_command(result: ExportResult) -> str:
    """Return the comparison to run next, with the checkpoint where it would not be found by itself."""
    command = f"run-ssl compare {shlex.quote(str(result.path))} --data FOLDER"
    bundle = Bundle(path=result.path, manifest=result.manifest)
    if result.checkpoint is None or find_file(bundle) is not None:
        return command
    return f"{command} --weights {shlex.quote(str(result.checkpoint))}"


def _verdict(result: ExportResult) -> str:
    """Return that every step passed, and how near the finished graph is; one that had not would have left no bundle."""
    manifest, last = result.manifest, result.manifest.steps[-1]
    outputs = " and ".join(f"its {output} {_near(found.sqnr_db)}" for output, found in last.outputs.items())
    required = " and ".join(_required(last))
    return (
        f"Passed: {result.path} holds {manifest.model.name} in {manifest.precision.name}; {outputs}; required are "
        f"{required} dB."
    )


def _near(decibels: float | None) -> str:
    return "equal to PyTorch's" if decibels is None else f"at {decibels:.1f} dB SQNR against PyTorch's"


def _required(step: Step) -> list[str]:
    """Return what the outputs had to reach: one number where they share it, as they nearly always do."""
    return list(dict.fromkeys(f"{found.required_db:.1f}" for found in step.outputs.values()))


def _steps(steps: Sequence[Step]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("step", no_wrap=True)
    outputs = tuple(steps[0].outputs)
    for heading in ("nodes", *(f"{output}\ndB" for output in outputs), "required\ndB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what it did")
    for step in steps:
        reached = [_decibels(step.outputs[output].sqnr_db) for output in outputs]
        nodes = str(sum(step.nodes.values()))
        table.add_row(step.name, nodes, *reached, "\n".join(_required(step)), Text(step.summary))
    return table


def _decibels(found: float | None) -> str:
    return "equal" if found is None else f"{found:.1f}"


def _operators(step: Step) -> str:
    shown = [f"{count} {operator}" for operator, count in list(step.nodes.items())[:_OPERATORS_SHOWN]]
    return ", ".join(shown) + (
        f", {len(step.nodes) - _OPERATORS_SHOWN} more kinds" if len(step.nodes) > _OPERATORS_SHOWN else ""
    )
