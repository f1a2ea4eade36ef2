"""What `export-ssl` says: notices to stderr, the result to stdout."""

from rich.console import Console
from rich.table import Table

from exporter.pipeline import ExportResult
from exporter.printing.int8_table import print_calibration
from runtime.bundle.manifest import Step

_OPERATORS_SHOWN = 7


def print_notices(result: ExportResult, console: Console) -> None:
    """Print the licence, and what a user must not overlook."""
    manifest = result.manifest
    console.print(f"licence of the weights: {manifest.licence.spdx}. {manifest.licence.notice}", markup=False)
    if manifest.weights.source == "random":
        console.print(
            f"UNTRAINED: the weights are random (seed {manifest.weights.seed}); "
            "the bundle is good for tests of speed and tooling, its predictions mean nothing",
            style="bold red",
            markup=False,
        )
    for name, amax in manifest.precision.overflowing.items():
        console.print(f"overflow: {name} reaches {amax:g}, too large for FP16; its layer stays FP32", markup=False)
    if manifest.precision.weights_flushed:
        share = 100 * manifest.precision.weights_flushed
        console.print(f"{share:.4f} % of the non-zero weights round to zero in FP16", markup=False)
    for finding in result.quantized.findings if result.quantized is not None else ():
        console.print(f"{finding.severity}: {finding.text}", style="yellow", markup=False)


def print_result(result: ExportResult, console: Console) -> None:
    """Print one table of the steps, what the calibration tried, the network's size, and the bundle's path."""
    manifest = result.manifest
    table = Table(title=f"{manifest.model.name}, {manifest.precision.name}", title_justify="left")
    table.add_column("step", no_wrap=True)
    table.add_column("nodes", justify="right")
    table.add_column("SQNR dB", justify="right")
    table.add_column("required", justify="right")
    table.add_column("what it did")
    for step in manifest.steps:
        decibels = "equal" if step.sqnr_db is None else f"{step.sqnr_db:.1f}"
        nodes = str(sum(step.nodes.values()))
        table.add_row(step.name, nodes, decibels, f"{step.required_db:.1f}", step.summary)
    console.print(table)
    if result.quantized is not None:
        print_calibration(result.quantized, console)
    for step in (manifest.steps[0], manifest.steps[-1]):
        console.print(f"nodes after {step.name}: {_operators(step)}", markup=False)
    model = manifest.model
    size = sum(entry.size_bytes for entry in manifest.files)
    console.print(
        f"{model.parameters:,} parameters, {model.macs:,} MACs = {model.flops:,} FLOPs per image, "
        f"{size / 1e6:.1f} MB in {len(manifest.files) + 1} files",
        markup=False,
    )
    console.print(f"bundle: {result.path}", markup=False)
    console.print(f"next:   run-ssl compare {result.path} --data FOLDER", markup=False)


def _operators(step: Step) -> str:
    shown = [f"{count} {operator}" for operator, count in list(step.nodes.items())[:_OPERATORS_SHOWN]]
    return ", ".join(shown) + (
        f", {len(step.nodes) - _OPERATORS_SHOWN} more kinds" if len(step.nodes) > _OPERATORS_SHOWN else ""
    )
