"""The export, from a model's name to a bundle: one straight list of steps.

    resolve -> weights -> original's outputs -> trace -> fold-batchnorm -> simplify -> [int8] -> [fp16] -> bundle

After every step the graph is run and compared with PyTorch (`exporter/steps/checking.py`).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
import onnx_ir as ir

from calibration.graph.checks import infer_shapes
from calibration.graph.without_weights import drop_large_constants, without_weights
from exporter.models import ModelSpec, default_labels, describe_labels, licence_of, resolve_model
from exporter.passes.count_layers import count_layers
from exporter.passes.fix_batch import fix_batch
from exporter.passes.fold_batchnorm import fold_batchnorm
from exporter.passes.fp16 import FP16_LIMIT, Fp16Report, convert_to_fp16
from exporter.passes.opset import check_opset, convert_opset
from exporter.passes.ranges import measure_ranges
from exporter.passes.simplify import count_operators, simplify
from exporter.passes.tracing import IR_VERSION, OPSET, trace_network
from exporter.passes.written_roundings import write_roundings
from exporter.request import ExportRequest
from exporter.steps.checking import Checks, one_worker
from exporter.steps.int8 import QuantizedGraph, quantize_graph
from exporter.steps.recipe_check import compare_recipes
from exporter.steps.subject import Subject, load_subject
from exporter.writing.bundle_writer import add_metadata, write_bundle
from exporter.writing.describe_manifest import describe_manifest
from runtime.bundle.directory import check_target
from runtime.bundle.layers import total_macs
from runtime.bundle.manifest import Manifest, Precision, output_names
from runtime.data.class_names import describe_shared_names, read_class_names
from runtime.engines.ort_session import import_onnxruntime
from runtime.errors import UsageError
from runtime.support.progress import Listener
from runtime.support.words import first_few


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Attributes:
        path: Where the bundle is.
        manifest: Manifest of the bundle.
        quantized: What is known of the INT8 step; None where there was none.
        notices: What a user should know of the checkpoint, the preprocessing, the images and the class names, a line
            each.
        checkpoint: The file of the weights, where they are a file.
    """

    path: Path
    manifest: Manifest
    quantized: QuantizedGraph | None = None
    notices: tuple[str, ...] = ()
    checkpoint: Path | None = None


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
    check_opset(request.opset, fp16_qdq=request.precision == "int8-fp16")
    # Refused here, before the work, if it is to be refused; `describe_manifest` states it.
    licence_of(spec, request.weights.source, stated=request.licence)
    with one_worker() as pool:
        listener.on_stage("load", None)
        subject = load_subject(request, spec)
        classes = subject.golden.logits.shape[1]
        labels = _labels(request, spec, classes)
        if not classes and request.int8 is not None and request.int8.options.classifier:
            raise UsageError("--int8-classifier, but the network has no classifier: leave the option out")
        notices = (*subject.notices, *_doubts_about_recipe(request, subject, labels))
        checks = Checks(subject=subject, pool=pool, fp16=request.precision == "fp16")
        quantized = None
        model = _trace_and_simplify(request, checks, listener)
        macs = total_macs(count_layers(model))
        precision = Precision(name="fp32", min_sqnr_db=checks.required_db)
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
            report, model = _convert_to_fp16(model, subject)
            precision = _fp16_precision(precision, report, model, checks, macs)
        listener.on_stage("verify", None)
        layers = count_layers(model)
        graph, manifest = _finish(describe_manifest(request, subject, precision=precision, macs=macs), model, checks)
        listener.on_stage("write", None)
        manifest = write_bundle(
            target,
            graph=graph,
            manifest=manifest,
            layers=layers,
            labels=labels,
            golden=subject.golden,
            extras=quantized.files if quantized is not None else {},
            overwrite=request.overwrite,
        )
    of_labels = describe_labels(labels, spec) if request.labels is None else describe_shared_names(labels)
    return ExportResult(
        path=target,
        manifest=manifest,
        quantized=quantized,
        notices=(*notices, *([f"warning: {of_labels}"] if of_labels else [])),
        checkpoint=request.weights.path or (spec.own.weights if spec.own is not None else None),
    )


def _labels(request: ExportRequest, spec: ModelSpec, classes: int) -> tuple[str, ...]:
    """Return a label for each class; none without a classifier."""
    if request.labels is None:
        return default_labels(classes, spec) if classes else ()
    if not classes:
        raise UsageError(f"--labels {request.labels}, but the network has no classifier: leave the option out")
    return read_class_names(request.labels, classes)


def _doubts_about_recipe(request: ExportRequest, subject: Subject, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return what labelled images say against the preprocessing of the user's own weights; nothing without labels."""
    folder = request.int8.eval_data if request.int8 is not None and request.int8.eval_data else request.golden
    if request.weights.source != "file" or folder is None or not labels:
        return ()
    return compare_recipes(subject, folder, labels)


def _finish(manifest: Manifest, model: ir.Model, checks: Checks) -> tuple[bytes, Manifest]:
    """Return the final graph with its metadata, and the manifest with every step, all of them verified.

    The model's large constants are given up: they are in the graph then.
    """
    proto: onnx.ModelProto = convert_opset(ir.to_proto(model), manifest.opset)
    drop_large_constants(model)
    if manifest.fixed_batch is not None:
        # Calibration and the checks before took as many images as there were; the finished graph takes so many.
        fix_batch(proto, manifest.fixed_batch)
    add_metadata(proto, manifest)
    graph = proto.SerializeToString(deterministic=True)
    how = "run as a user runs it, fused"
    if manifest.precision.int8 is not None:
        how = "run fused, with Q/DQ computed as written, not by integer kernels"
    written = "" if manifest.opset == OPSET else f"opset {manifest.opset}; "
    if manifest.fixed_batch is not None:
        written += f"batch fixed at {manifest.fixed_batch}; "
    summary = f"{written}metadata and licence written; {how}"
    # While the comparison runs, the graph is there once.
    del proto
    checks.add_final(graph, model=model, summary=summary)
    return graph, manifest.model_copy(update={"steps": checks.steps()})


def _trace_and_simplify(request: ExportRequest, checks: Checks, listener: Listener) -> ir.Model:
    """Return the simplified FP32 graph with inferred shapes."""
    listener.on_stage("trace", None)
    preprocessing, classes = checks.subject.preprocessing, checks.subject.golden.logits.shape[1]
    model = trace_network(
        checks.subject.module,
        image_size=preprocessing.image_size,
        input_kind=request.input_kind,
        channels=len(preprocessing.colour),
        outputs=output_names(classes),
    )
    checks.allow_rounding(model)
    checks.add("trace", model, summary=f"opset {OPSET}, IR version {IR_VERSION}")
    listener.on_stage("simplify", None)
    report = fold_batchnorm(model)
    summary = f"{report.folded} BatchNorms folded into convolutions in float64"
    if report.left:
        summary += f", {len(report.left)} left: {first_few(report.left)}"
    checks.add("fold-batchnorm", model, summary=summary)
    before = sum(count_operators(model).values())
    model = infer_shapes(simplify(model))
    after = sum(count_operators(model).values())
    checks.add("simplify", model, summary=f"onnxsim: {before} nodes to {after}")
    checks.forget_original()
    return model


def _int8_precision(quantized: QuantizedGraph, model: ir.Model, checks: Checks) -> Precision:
    """Return the precision of an INT8 graph, whose tolerance is the noise of the graph run as written."""
    checks.add_int8("int8", without_weights(model), model=model, summary=quantized.summary)
    return Precision(name="int8", min_sqnr_db=checks.required_db, int8=quantized.int8)


def _fp16_precision(precision: Precision, report: Fp16Report, model: ir.Model, checks: Checks, macs: int) -> Precision:
    """Start the check of an FP16 graph, and return what the pass did, with the tolerance that applies to it."""
    found = precision.model_copy(
        update={
            "name": "fp16" if precision.int8 is None else "int8-fp16",
            "fp32_layers": report.fp32_layers,
            "overflowing": _rounded(report),
            "weights_flushed": report.weights_flushed,
        }
    )
    check = checks.add_fp16 if precision.int8 is None else checks.add_int8
    check("fp16", partial(write_roundings, without_weights(model)), model=model, summary=_summarise(found))
    started = checks.start_fp16_sums(model, macs) if precision.int8 is None else None
    sums = None if started is None else checks.describe_fp16_sums(started.result())
    return found.model_copy(update={"min_sqnr_db": checks.required_db, "fp16_sums": sums})


def _rounded(report: Fp16Report) -> dict[str, float]:
    return {name: float(f"{amax:.4g}") for name, amax in report.overflowing.items()}


def _convert_to_fp16(model: ir.Model, subject: Subject) -> tuple[Fp16Report, ir.Model]:
    """Return what the pass did, and the FP16 graph with inferred shapes; the given one is of no use afterwards."""
    skeleton = without_weights(model)
    report = convert_to_fp16(model, measure_ranges(skeleton.model, subject.feed, weights=skeleton.weights))
    converted = infer_shapes(model)
    # A graph refers to itself: what goes out of use here would stay until garbage is collected.
    drop_large_constants(model)
    return report, converted


def _summarise(precision: Precision) -> str:
    """Return what the FP16 pass did, in one line."""
    if not precision.fp32_layers:
        return "all layers in FP16; checked with every rounding written out"
    names = first_few(precision.fp32_layers)
    return f"{len(precision.fp32_layers)} nodes stay FP32, activations above {FP16_LIMIT:.0f}: {names}"
