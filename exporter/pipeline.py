"""The export, from a model's name to a bundle: one straight list of steps.

    resolve -> weights -> original's outputs -> trace -> fold-batchnorm -> simplify -> [int8] -> [fp16] -> bundle

After every step the graph is run and compared with PyTorch. The comparison runs in a second thread
while the next step is under way; all of them are waited for before anything is written.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from exporter.checks.golden import run_original
from exporter.checks.step_check import Check, as_json_db, check_step
from exporter.checks.tolerance import (
    INT8_FLOOR_DB,
    emulate_fp16,
    emulated_required_db,
    fp16_required_db,
    fp32_required_db,
    has_grouped_convolutions,
    int8_required_db,
)
from exporter.models import ModelSpec, default_labels, licence_of, resolve_model
from exporter.passes.count_layers import count_layers
from exporter.passes.fold_batchnorm import fold_batchnorm
from exporter.passes.fp16 import FP16_LIMIT, Fp16Report, convert_to_fp16
from exporter.passes.ranges import measure_ranges
from exporter.passes.simplify import count_operators, infer_shapes, simplify
from exporter.passes.tracing import IR_VERSION, OPSET, trace_network
from exporter.passes.written_roundings import write_roundings
from exporter.request import ExportRequest
from exporter.steps.int8 import QuantizedGraph, quantize_graph
from exporter.steps.subject import Subject, load_subject, read_class_names
from exporter.writing.bundle_writer import add_metadata, write_bundle
from exporter.writing.describe_manifest import describe_manifest
from runtime.bundle.directory import check_target
from runtime.bundle.layers import total_macs
from runtime.bundle.manifest import Manifest, Precision, Step, output_names
from runtime.engines.ort_session import import_onnxruntime
from runtime.errors import UsageError
from runtime.original.network import wrap_fp16
from runtime.support.arrays import Floats
from runtime.support.progress import Listener
from runtime.support.words import first_few


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Attributes:
        path: Where the bundle is.
        manifest: Manifest of the bundle.
        quantized: What is known of the INT8 step; None where there was none.
        note: What was taken from the checkpoint and what was left, in one line; empty for all of it.
    """

    path: Path
    manifest: Manifest
    quantized: QuantizedGraph | None = None
    note: str = ""


@dataclass
class _Checks:
    """The graphs made so far, and their comparisons with PyTorch, some still running."""

    subject: Subject
    pool: ThreadPoolExecutor
    done: list[tuple[str, dict[str, int], str, Future[Check]]] = field(default_factory=list)

    def add(
        self, step: str, graph: bytes, *, model: ir.Model, required_db: float, summary: str, as_written: bool = True
    ) -> "Future[Check]":
        """Start the comparison of a step's graph, `model` serialised."""
        subject = self.subject
        check = self.pool.submit(
            check_step,
            graph,
            step=step,
            feed=subject.feed,
            golden=subject.golden,
            required_db=required_db,
            as_written=as_written,
        )
        self.done.append((step, count_operators(model), summary, check))
        return check

    def steps(self) -> tuple[Step, ...]:
        """Wait for all comparisons and return the steps; the first failure is raised."""
        return tuple(
            Step(
                name=name,
                nodes=nodes,
                sqnr_db=as_json_db(check.result().judged_db),
                required_db=round(check.result().required_db, 2),
                summary=summary,
            )
            for name, nodes, summary, check in self.done
        )


def export_bundle(request: ExportRequest, listener: Listener | None = None) -> ExportResult:
    """Export a model to a verified bundle.

    Args:
        request: What to export and how.
        listener: Receiver of each step's name as it begins, and of the progress inside the long ones.

    Raises:
        ExportSslError: Anything that stops it; no bundle is left, and an existing one is untouched.
    """
    import_onnxruntime()
    listener = listener or Listener()
    spec = resolve_model(request.model)
    target = request.output or Path(f"{spec.name}-{request.precision}")
    check_target(target, overwrite=request.overwrite)
    # Refused here, before the work, if it is to be refused; `describe_manifest` states it.
    licence_of(spec, request.weights.source, stated=request.licence)
    with _one_worker() as pool:
        listener.on_stage("load", None)
        subject = load_subject(request, spec)
        classes = subject.golden.logits.shape[1]
        labels = _labels(request, spec, classes)
        checks = _Checks(subject=subject, pool=pool)
        original_fp16 = _start_fp16(subject, pool) if request.precision == "fp16" else None
        quantized = None
        model, required_db = _trace_and_simplify(request, checks, listener)
        macs = total_macs(count_layers(model))
        precision = Precision(name="fp32", min_sqnr_db=round(required_db, 2))
        if request.int8 is not None:
            listener.on_stage("int8", None)
            quantized = quantize_graph(
                model,
                request.int8,
                subject=subject,
                labels=labels,
                state=target.with_name(f"{target.name}.max-drop.json"),
                fp16=request.fp16,
                listener=listener,
            )
            model = infer_shapes(quantized.model)
            precision = _int8_precision(quantized, model, checks)
        if request.fp16:
            listener.on_stage("fp16", None)
            report = convert_to_fp16(model, measure_ranges(ir.to_proto(model), subject.feed))
            model = infer_shapes(model)
            precision = _fp16_precision(precision, report)
            precision = _with_tolerance(precision, model, checks, original_fp16)
        listener.on_stage("verify", None)
        graph, manifest = _finish(describe_manifest(request, subject, precision=precision, macs=macs), model, checks)
        listener.on_stage("write", None)
        manifest = write_bundle(
            target,
            graph=graph,
            manifest=manifest,
            layers=count_layers(model),
            labels=labels,
            golden=subject.golden,
            extras=quantized.files if quantized is not None else {},
            overwrite=request.overwrite,
        )
    return ExportResult(path=target, manifest=manifest, quantized=quantized, note=subject.note)


def _labels(request: ExportRequest, spec: ModelSpec, classes: int) -> tuple[str, ...]:
    """Return a label for each class; none without a classifier."""
    if request.labels is None:
        return default_labels(classes, spec) if classes else ()
    if not classes:
        raise UsageError(f"--labels {request.labels}, but the network has no classifier: leave the option out")
    return read_class_names(request.labels, classes)


def _finish(manifest: Manifest, model: ir.Model, checks: _Checks) -> tuple[bytes, Manifest]:
    """Return the final graph with its metadata, and the manifest with every step, all of them verified."""
    proto: onnx.ModelProto = ir.to_proto(model)
    add_metadata(proto, manifest)
    graph = proto.SerializeToString(deterministic=True)
    how = "run as a user runs it, fused"
    if manifest.precision.int8 is not None:
        how = "run fused, with Q/DQ computed as written, not by integer kernels"
    summary = f"metadata and licence written; {how}"
    required_db = manifest.precision.min_sqnr_db
    checks.add("final", graph, model=model, required_db=required_db, summary=summary, as_written=False)
    return graph, manifest.model_copy(update={"steps": checks.steps()})


@contextmanager
def _one_worker() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of one thread; on an error what has not begun is not begun."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="check")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _trace_and_simplify(request: ExportRequest, checks: _Checks, listener: Listener) -> tuple[ir.Model, float]:
    """Return the simplified FP32 graph with inferred shapes, and its tolerance in decibels."""
    listener.on_stage("trace", None)
    subject = checks.subject
    model = trace_network(
        subject.module,
        image_size=subject.preprocessing.image_size,
        input_kind=request.input_kind,
        outputs=output_names(subject.golden.logits.shape[1]),
    )
    required_db = fp32_required_db(model)
    checks.add(
        "trace",
        _serialise(model),
        model=model,
        required_db=required_db,
        summary=f"opset {OPSET}, IR version {IR_VERSION}",
    )
    listener.on_stage("simplify", None)
    report = fold_batchnorm(model)
    summary = f"{report.folded} BatchNorms folded into convolutions in float64"
    if report.left:
        summary += f", {len(report.left)} left: {first_few(report.left)}"
    checks.add("fold-batchnorm", _serialise(model), model=model, required_db=required_db, summary=summary)
    before = sum(count_operators(model).values())
    model = infer_shapes(simplify(model))
    after = sum(count_operators(model).values())
    checks.add(
        "simplify",
        _serialise(model),
        model=model,
        required_db=required_db,
        summary=f"onnxsim: {before} nodes to {after}",
    )
    return model, required_db


def _int8_precision(quantized: QuantizedGraph, model: ir.Model, checks: _Checks) -> Precision:
    """Return the precision of an INT8 graph, whose tolerance is the noise of the graph run as written."""
    check = checks.add(
        "int8",
        _serialise(model),
        model=model,
        required_db=INT8_FLOOR_DB,
        summary=quantized.summary,
    )
    return Precision(name="int8", min_sqnr_db=int8_required_db(check.result()), int8=quantized.int8)


def _fp16_precision(precision: Precision, report: Fp16Report) -> Precision:
    """Return the precision with what the FP16 pass did; the tolerance is still the one before."""
    return precision.model_copy(
        update={
            "name": "fp16" if precision.int8 is None else "int8-fp16",
            "fp32_layers": report.fp32_layers,
            "overflowing": _rounded(report),
            "weights_flushed": report.weights_flushed,
        }
    )


def _with_tolerance(
    precision: Precision, model: ir.Model, checks: _Checks, original_fp16: "Future[Floats] | None"
) -> Precision:
    """Start the check of an FP16 graph, and return the precision with the tolerance that applies to it."""
    graph, summary = write_roundings(ir.to_proto(model)), _summarise(precision)
    if precision.int8 is not None:
        check = checks.add("fp16", graph, model=model, required_db=INT8_FLOOR_DB, summary=summary)
        required_db = int8_required_db(check.result())
    else:
        required_db = round(_fp16_tolerance(checks.subject, original_fp16), 2)
        checks.add("fp16", graph, model=model, required_db=required_db, summary=summary)
    return precision.model_copy(update={"min_sqnr_db": required_db})


def _rounded(report: Fp16Report) -> dict[str, float]:
    return {name: float(f"{amax:.4g}") for name, amax in report.overflowing.items()}


def _start_fp16(subject: Subject, pool: ThreadPoolExecutor) -> "Future[Floats] | None":
    """Start PyTorch's run in FP16, which shares no lock with the tracer and costs no time beside it.

    None where it would be too slow. The FP16 copy is made here, in the tracer's own thread:
    while it traces, the network holds the tracer's stand-ins for its parameters.
    """
    if has_grouped_convolutions(subject.network):
        return None
    module, pixels = wrap_fp16(subject.network, subject.preprocessing), subject.golden.pixels
    return pool.submit(lambda: run_original(module, pixels).judged)


def _fp16_tolerance(subject: Subject, original_fp16: "Future[Floats] | None") -> float:
    """Return the SQNR that an FP16 graph must reach."""
    reference = subject.golden.judged
    if original_fp16 is not None and np.isfinite(original_fp16.result()).all():
        return fp16_required_db(reference, original_fp16.result())
    emulated = emulate_fp16(subject.network, subject.preprocessing, subject.golden.pixels)
    return emulated_required_db(reference, emulated)


def _serialise(model: ir.Model) -> bytes:
    serialised: bytes = ir.to_proto(model).SerializeToString()
    return serialised


def _summarise(precision: Precision) -> str:
    """Return what the FP16 pass did, in one line."""
    if not precision.fp32_layers:
        return "all layers in FP16; checked with every rounding written out"
    names = first_few(precision.fp32_layers)
    return f"{len(precision.fp32_layers)} nodes stay FP32, activations above {FP16_LIMIT:.0f}: {names}"
