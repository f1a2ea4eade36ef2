"""What `export-ssl --int8` says of a calibration: what was tried, what was kept, and what single layers cost."""

from rich import box
from rich.console import Console
from rich.table import Table

from exporter.steps.int8 import QuantizedGraph
from runtime.bundle.calibration_json import Calibration
from runtime.bundle.sensitivity_json import LayerSearch
from runtime.support.paired_statistics import mcnemar_p, paired_drop_ci95
from runtime.support.paragraphs import print_paragraph

_LAYERS_SHOWN, _LAYERS_IN_DETAIL = 5, 10


def print_calibration(quantized: QuantizedGraph, console: Console, *, details: bool) -> None:
    """Print what was kept, how far the scales are settled, and what single layers cost where that was measured.

    Args:
        quantized: What is known of the INT8 step.
        console: Where to print.
        details: Whether to print all that was tried, with the SQNR of the outputs on the held-out images.
    """
    if details:
        _print_tried(quantized.calibration, console)
    for sentence in _sentences(quantized.calibration):
        print_paragraph(sentence, console, bullet=True)
    if quantized.layers is not None:
        _print_layers(quantized.layers, console, shown=_LAYERS_IN_DETAIL if details else _LAYERS_SHOWN)


def _print_tried(calibration: Calibration, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("tried")
    table.add_column("held-out SQNR dB", justify="right")
    table.add_column("kept")
    for tried in calibration.candidates:
        table.add_row(f"activations: {tried.label}", f"{tried.sqnr_db:.2f}", "yes" if tried.kept else "")
    table.add_section()
    for tried in calibration.techniques:
        table.add_row(tried.label, f"{tried.sqnr_db:.2f}", "yes" if tried.kept else "")
    console.print(table)
    console.print()


def _sentences(calibration: Calibration) -> tuple[str, ...]:
    settled = calibration.convergence
    floats = ", ".join(calibration.float_layers) or "no layer"
    branch = ", one side of every residual Add" if calibration.target != "cpu" else ""
    return (
        f"target {calibration.target}; kept of {len(calibration.candidates)} ways to clip activations: "
        f"{', '.join(tried.name for tried in calibration.candidates if tried.kept)}; then: "
        f"{', '.join(tried.name for tried in calibration.techniques if tried.kept) or 'nothing'}.",
        f"{calibration.images} images, {calibration.held_out} held out: they judged, and nothing else saw them.",
        f"scales from two halves of the images differ by {100 * settled.median:.1f} % (median), "
        f"{100 * settled.worst:.1f} % at most ({settled.worst_tensor}): more images would move them by less.",
        f"float: {floats}{branch}, and biases.",
    )


def _print_layers(report: LayerSearch, console: Console, *, shown: int) -> None:
    """Print the costliest layers, and what stays float."""
    found = report.sensitivity
    table = Table(title=f"what layers cost, {found.images} held-out images", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("layer")
    table.add_column("alone, SQNR dB", justify="right")
    table.add_column("share of the noise", justify="right")
    for layer in found.layers[:shown]:
        alone = "no change" if layer.sqnr_only_db is None else f"{layer.sqnr_only_db:.1f}"
        table.add_row(layer.layer, alone, f"{100 * layer.noise_share:.1f} %")
    console.print(table)
    more = max(len(found.layers) - shown, 0)
    print_paragraph(f"{more} more in sensitivity.json, all of them in sensitivity.svg", console, bullet=True)
    if report.reached is None or report.max_drop is None:
        return
    for kept in report.float_layers:
        print_paragraph(f"{kept.layer} float: {kept.cost_ms:+.3f} ms in {report.engine}", console, bullet=True)
    if report.int8_ms is not None:
        print_paragraph(f"all in INT8: {report.int8_ms:.3f} ms per image, batch 1", console, bullet=True)


def print_drop(report: LayerSearch, console: Console) -> None:
    """Print the drop that `--max-drop` reached, and what a reader must know of the search; nothing without it."""
    if report.reached is None or report.max_drop is None:
        return
    reached, layers = report.reached, len(report.sensitivity.layers)
    low, high = paired_drop_ci95(reached.lost, reached.gained, reached.images)
    print_paragraph(
        f"{report.figure} drop {100 * reached.drop:.2f} pp (95 %: {100 * low:.2f} to {100 * high:.2f}; McNemar p "
        f"{mcnemar_p(reached.lost, reached.gained):.3f}) on {reached.images} images, {100 * report.max_drop:g} "
        f"allowed, with {len(reached.kept_float)} of {layers} layers float",
        console,
    )
    if report.notice:
        print_paragraph(report.notice, console)
    if report.resumed:
        print_paragraph(f"{report.resumed} evaluations of an interrupted search were used", console)
