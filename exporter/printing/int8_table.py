"""What `export-ssl --int8` says of a calibration: what was tried, what was kept, and what single layers cost."""

from rich.console import Console
from rich.table import Table

from exporter.steps.int8 import QuantizedGraph
from runtime.bundle.calibration_json import Calibration
from runtime.bundle.sensitivity_json import LayerSearch
from runtime.support.paired_statistics import mcnemar_p, paired_drop_ci95

_LAYERS_SHOWN = 10


def print_calibration(quantized: QuantizedGraph, console: Console) -> None:
    """Print what was tried, with the logits SQNR on the held-out images, and how far the scales are settled."""
    calibration = quantized.calibration
    table = Table(title=f"INT8, target {calibration.target}", title_justify="left")
    table.add_column("tried")
    table.add_column("held-out SQNR dB", justify="right")
    table.add_column("kept")
    for tried in calibration.candidates:
        table.add_row(f"activations: {tried.name}", f"{tried.sqnr_db:.2f}", "yes" if tried.kept else "")
    table.add_section()
    for tried in calibration.techniques:
        table.add_row(tried.name, f"{tried.sqnr_db:.2f}", "yes" if tried.kept else "")
    console.print(table)
    for sentence in _sentences(calibration):
        console.print(f"- {sentence}", markup=False)
    if quantized.layers is not None:
        _print_layers(quantized.layers, console)


def _sentences(calibration: Calibration) -> tuple[str, ...]:
    settled = calibration.convergence
    floats = ", ".join(calibration.float_layers) or "no layer"
    branch = ", the main branch of every residual Add" if calibration.target == "tensorrt" else ""
    return (
        f"{calibration.images} images, {calibration.held_out} held out: they judged, and nothing else saw them.",
        f"scales from two halves of the images differ by {100 * settled.median:.1f} % (median), "
        f"{100 * settled.worst:.1f} % at most ({settled.worst_tensor}): more images would move them by less.",
        f"float: {floats}{branch}, and biases.",
    )


def _print_layers(report: LayerSearch, console: Console) -> None:
    """Print the costliest layers, and what stays float."""
    found = report.sensitivity
    table = Table(title=f"what layers cost, {found.images} held-out images", title_justify="left")
    table.add_column("layer")
    table.add_column("alone, SQNR dB", justify="right")
    table.add_column("share of the noise", justify="right")
    for layer in found.layers[:_LAYERS_SHOWN]:
        alone = "no change" if layer.sqnr_only_db is None else f"{layer.sqnr_only_db:.1f}"
        table.add_row(layer.layer, alone, f"{100 * layer.noise_share:.1f} %")
    console.print(table)
    more = len(found.layers) - _LAYERS_SHOWN
    console.print(f"- {max(more, 0)} more in sensitivity.json, all of them in sensitivity.svg", markup=False)
    if report.reached is None or report.max_drop is None:
        return
    if report.notice:
        console.print(f"- {report.notice}", markup=False)
    if report.resumed:
        console.print(f"- {report.resumed} evaluations of an interrupted search were used", markup=False)
    reached = report.reached
    low, high = paired_drop_ci95(reached.lost, reached.gained, reached.images)
    console.print(
        f"- top-1 drop {100 * reached.drop:.2f} pp (95 %: {100 * low:.2f} to {100 * high:.2f}; McNemar p "
        f"{mcnemar_p(reached.lost, reached.gained):.3f}) on {reached.images} images, {100 * report.max_drop:g} "
        f"allowed, with {len(reached.kept_float)} of {len(found.layers)} layers float",
        markup=False,
    )
    for kept in report.float_layers:
        console.print(f"    {kept.layer} float: {kept.cost_ms:+.3f} ms in {report.engine}", markup=False)
    if report.int8_ms is not None:
        console.print(f"    all in INT8: {report.int8_ms:.3f} ms per image, batch 1", markup=False)
