"""Describe an export: the manifest of the bundle, from the request and what was loaded."""

from pathlib import PurePath

from exporter.models import licence_of
from exporter.passes.opset import ir_version_of
from exporter.passes.tracing import INPUT_NAMES
from exporter.request import ExportRequest
from exporter.steps.subject import Subject
from exporter.writing.bundle_writer import tool_versions
from runtime.bundle.manifest import BATCH, Card, Manifest, Model, Precision, Preprocessing, TensorSpec, output_names
from runtime.original.flops import count_card_flops, count_parameters
from runtime.original.network import InputKind
from runtime.support.words import printable


def describe_manifest(request: ExportRequest, subject: Subject, *, precision: Precision, macs: int) -> Manifest:
    """Return the manifest of an export, without its steps and files.

    Args:
        request: What was asked for.
        subject: What was loaded.
        precision: The precision in the graph.
        macs: Multiply-accumulates of the graph, one image.
    """
    spec = subject.spec
    classes, embedding_dim = subject.golden.logits.shape[1], subject.golden.embedding.shape[1]
    batch = BATCH if request.batch is None else request.batch
    about = {"logits": (classes, "class scores before softmax"), "embedding": (embedding_dim, "pooled features")}
    return Manifest(
        model=Model(
            name=spec.name,
            architecture=spec.architecture,
            timm_tag=_weight_tag(request, subject),
            classes=classes,
            embedding_dim=embedding_dim,
            parameters=count_parameters(subject.network),
            macs=macs,
            flops=2 * macs,
            stem=subject.stem,
        ),
        weights=subject.weights,
        licence=licence_of(spec, subject.weights.source, stated=request.licence),
        card=_card(subject),
        preprocessing=subject.preprocessing,
        input=_input_spec(request.input_kind, subject.preprocessing, batch=batch),
        outputs=tuple(_output_spec(name, *about[name], batch=batch) for name in output_names(classes)),
        precision=precision,
        opset=request.opset,
        ir_version=ir_version_of(request.opset),
        golden=tuple(printable(PurePath(image.name).name) for image in subject.golden_images.dataset.images),
        steps=(),
        tools=tool_versions(),
        files=(),
    )


def _card(subject: Subject) -> Card | None:
    """Return the model card's figures with our recomputation, or None where there is no card."""
    spec = subject.spec
    if spec.card_flops is None:
        return None
    return Card(
        top1=spec.top1, top5=spec.top5, flops=spec.card_flops, flops_recomputed=count_card_flops(subject.network)
    )


def _weight_tag(request: ExportRequest, subject: Subject) -> str | None:
    """Return timm's name of these weights: a bare `resnet18` with a file of the user's has none."""
    spec = subject.spec
    named = spec.timm_tag is not None and request.model != spec.architecture
    return spec.timm_tag if named or subject.weights.source == "hub" else None


def _input_spec(kind: InputKind, preprocessing: Preprocessing, *, batch: int | str) -> TensorSpec:
    height, width, channels = preprocessing.pixels_shape
    if kind == "uint8":
        return TensorSpec(
            name=INPUT_NAMES[kind],
            dtype="uint8",
            shape=(batch, height, width, channels),
            layout="NHWC",
            meaning=f"{preprocessing.colour} pixels after the preprocessing contract; the graph normalises them",
        )
    return TensorSpec(
        name=INPUT_NAMES[kind],
        dtype="float32",
        shape=(batch, channels, height, width),
        layout="NCHW",
        meaning=f"{preprocessing.colour}, (pixel / 255 - mean) / std",
    )


def _output_spec(name: str, length: int, meaning: str, *, batch: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=(batch, length), layout="NC", meaning=meaning)
