"""What `export-ssl` says: notices to stderr, the result to stdout."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.pipeline import ExportResult
from exporter.printing.int8_table import print_calibration, print_drop
from runtime.bundle.manifest import Step
from runtime.support.paragraphs import print_paragraph

_OPERATORS_SHOWN = 7


def print_notices(result: ExportResult, console: Console) -> None:
    """Print the licence, and what a user must not overlook."""
    manifest = result.manifest
    console.print(f"licence of the weights: {manifest.licence.spdx}. {manifest.licence.notice}", markup=False)
    if result.note:
        console.print(f"{manifest.weights.name}: {result.note}", markup=False)
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
    for finding in result.quantized.findings if result.quantized is not None else ():
        console.print(f"{finding.severity}: {finding.text}", style="yellow", markup=False)


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
    console.print(f"next: run-ssl compare {result.path} --data FOLDER", markup=False, soft_wrap=True)
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


def _verdict(result: ExportResult) -> str:
    """Return that every step passed, and how near the finished graph is; one that had not would have left no bundle."""
    manifest, last = result.manifest, result.manifest.steps[-1]
    output = "logits" if manifest.model.classes else "embeddings"
    near = "equal to PyTorch's" if last.sqnr_db is None else f"{last.sqnr_db:.1f} dB SQNR against PyTorch's"
    return (
        f"Passed: {result.path} holds {manifest.model.name} in {manifest.precision.name}; its {output} are {near}, "
        f"required are {last.required_db:.1f} dB."
    )


def _steps(steps: Sequence[Step]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("step", no_wrap=True)
    for heading in ("nodes", "SQNR\ndB", "required\ndB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what it did")
    for step in steps:
        decibels = "equal" if step.sqnr_db is None else f"{step.sqnr_db:.1f}"
        nodes = str(sum(step.nodes.values()))
        table.add_row(step.name, nodes, decibels, f"{step.required_db:.1f}", Text(step.summary))
    return table


def _operators(step: Step) -> str:
    shown = [f"{count} {operator}" for operator, count in list(step.nodes.items())[:_OPERATORS_SHOWN]]
    return ", ".join(shown) + (
        f", {len(step.nodes) - _OPERATORS_SHOWN} more kinds" if len(step.nodes) > _OPERATORS_SHOWN else ""
    )
