"""The INT8 step of an export: calibrate on images, and what the bundle keeps of it."""

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from calibration.images.lint import Finding
from calibration.layers.search_layers import LayerQuestion, search_layers, sensitivity_files
from calibration.quantize import QuantizedModel, quantize_model
from exporter.request import Int8Request
from exporter.steps.subject import Subject
from runtime.bundle.calibration_json import Calibration
from runtime.bundle.layout import CALIBRATION_FILE
from runtime.bundle.manifest import Int8
from runtime.bundle.sensitivity_json import LayerSearch
from runtime.support.progress import Listener
from runtime.support.words import first_few


@dataclass(frozen=True)
class QuantizedGraph:
    """An INT8 graph and what is known of it.

    Attributes:
        model: float32 with Q/DQ.
        int8: What the manifest says of it.
        summary: What was done, in one line.
        files: Name to content of the bundle's files on it.
        findings: What is wrong with the calibration images, but not so wrong as to refuse them.
        calibration: What was measured and decided.
        layers: What single layers cost, and which were taken back to float; None unless asked for.
    """

    model: ir.Model
    int8: Int8
    summary: str
    files: dict[str, bytes]
    findings: tuple[Finding, ...]
    calibration: Calibration
    layers: LayerSearch | None


def quantize_graph(
    model: ir.Model,
    request: Int8Request,
    *,
    subject: Subject,
    labels: tuple[str, ...],
    state: Path,
    fp16: bool,
    listener: Listener,
) -> QuantizedGraph:
    """Return the graph in INT8.

    Args:
        model: The simplified float32 graph; not changed.
        request: How.
        subject: What is exported.
        labels: Class names, for the images of `eval_data`.
        state: File that keeps the progress of `max_drop`, so that an interrupted run can be resumed.
        fp16: Whether the rest will be FP16.
        listener: Receiver of the progress.

    Raises:
        ExportSslError: The images, the graph, the cache or the budget cannot be used; the message says which.
    """
    quantized = quantize_model(
        model,
        request.images,
        subject.preprocessing,
        count=request.count,
        seed=request.seed,
        leave_out=subject.golden_images.held_out,
        options=request.options,
        fp16=fp16,
        eval_data=request.eval_data,
        cache=request.cache,
        listener=listener,
    )
    files, layers = {}, None
    if request.sensitivity or request.max_drop is not None:
        quantized, layers = search_layers(
            quantized,
            LayerQuestion(
                max_drop=request.max_drop,
                eval_data=request.eval_data,
                labels=labels,
                state=state,
            ),
            listener,
        )
        files = sensitivity_files(layers, f"What each INT8 layer of {subject.spec.name} costs")
    calibration = quantized.calibration
    files[CALIBRATION_FILE] = calibration.to_bytes()
    kept = tuple(technique.name for technique in calibration.techniques if technique.kept)
    int8 = Int8(
        target=calibration.target,
        method=calibration.method,
        techniques=kept,
        images=calibration.images,
        held_out=calibration.held_out,
        held_out_sqnr_db=calibration.held_out_sqnr_db,
        float_layers=calibration.float_layers,
    )
    return QuantizedGraph(
        model=ir.from_proto(quantized.model),
        int8=int8,
        summary=_summarise(quantized, int8),
        files=files,
        findings=quantized.findings,
        calibration=calibration,
        layers=layers,
    )


def _summarise(quantized: QuantizedModel, int8: Int8) -> str:
    placement = quantized.placement
    line = (
        f"{len(placement.weights)} layers, {len(placement.activations)} activations; {int8.method}; "
        f"{int8.held_out_sqnr_db:.1f} dB on {int8.held_out} held-out images"
    )
    if int8.float_layers:
        line += f"; float: {first_few(int8.float_layers)}"
    return line
