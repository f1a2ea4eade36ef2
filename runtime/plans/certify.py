"""The precision certificate: whether every layer runs in the precision that the bundle promises, and what slows a plan.

A strongly typed network forbids TensorRT to widen a layer, but says nothing of Q/DQ that fuse into nothing:
the convolution then runs in floats between a quantisation and a dequantisation. The certificate is read off
the finished plan.
"""

from collections.abc import Iterable
from typing import Protocol

from runtime.bundle.plan_json import Certificate, Datatype, LayerVerdict, Promise
from runtime.errors import BundleError, UsageError
from runtime.plans.crossings import convolutions, fp32_islands, int8_crossings
from runtime.plans.inspector import (
    GENERATED,
    IDLE,
    EngineLayer,
    LayerInformation,
    compute_type,
    is_convolution,
    is_known,
    is_quantisation,
    is_reformat,
)
from runtime.support.words import first_few

_PROMISES: dict[str, Promise] = {"int8": "int8", "fp16": "fp16", "fp32": "fp32"}
_PROMISING = frozenset({"Conv", "Gemm", "MatMul"})
_SHOWN_IN_ERROR = 3


class PromisedLayer(Protocol):
    """A node of the graph and the precision that it promises, as `layers.json` has it."""

    @property
    def name(self) -> str:
        """Name of the node."""

    @property
    def operator(self) -> str:
        """ONNX operator."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""

    @property
    def precision(self) -> str:
        """Element type that the node computes in."""


def certify(
    information: LayerInformation,
    layers: Iterable[PromisedLayer],
    *,
    required_share: float = 1.0,
    times: dict[str, float] | None = None,
) -> Certificate:
    """Return what the plan made of the bundle's promises.

    Args:
        information: The plan's layers.
        layers: The bundle's layers.json, or what another graph promises.
        required_share: Share of the layers promised INT8 or FP16 that must run in it, 0 to 1.
        times: Median time per layer of the plan, milliseconds, where measured.

    Raises:
        UsageError: `required_share` is no share.
        BundleError: A convolution or matrix product is promised an element type that it cannot compute in.
    """
    if not 0 <= required_share <= 1:
        raise UsageError(f"share {required_share} of layers required, expected 0 to 1: 1 requires all of them")
    verdicts = tuple(_judge(layer, information) for layer in layers if layer.operator in _PROMISING)
    promised = [verdict for verdict in verdicts if verdict.promised != "fp32"]
    kept = [verdict for verdict in promised if not verdict.reason]
    macs = sum(verdict.macs for verdict in promised)
    convolving = convolutions(information) | {verdict.engine_layer for verdict in verdicts if verdict.engine_layer}
    kept_layers = {verdict.engine_layer for verdict in verdicts if not verdict.reason}
    islands = [layer for layer in fp32_islands(information, convolving) if layer.name not in kept_layers]
    return Certificate(
        required_share=required_share,
        kept=len(kept),
        promised=len(promised),
        macs_share=sum(verdict.macs for verdict in kept) / macs if macs else 1.0,
        verdicts=verdicts,
        formats_known=_formats_known(information),
        reformats=tuple(one.name for one in information.layers if is_reformat(one) and not is_quantisation(one)),
        unfused_qdq=tuple(one.name for one in information.layers if is_quantisation(one)),
        fp32_islands=tuple(f"{layer.name} ({layer.kind})" for layer in islands) if promised else (),
        crossings=tuple(layer.name for layer in int8_crossings(information, convolving)),
        layer_times_ms=times or {},
    )


def explain_failure(certificate: Certificate) -> str:
    """Return one line for the error of a build whose certificate did not pass."""
    broken = [verdict for verdict in certificate.verdicts if verdict.reason and verdict.promised != "fp32"]
    shown = [
        f"{verdict.name} was promised {verdict.promised} and ran in {verdict.ran} ({verdict.reason})"
        if verdict.ran != "unknown"
        else f"{verdict.name} was promised {verdict.promised} ({verdict.reason})"
        for verdict in broken
    ]
    told = first_few(shown, shown=_SHOWN_IN_ERROR, separator="; ")
    return (
        f"{certificate.kept} of {certificate.promised} layers ({certificate.share:.1%}) run in the precision that the"
        f" bundle promises, expected {certificate.required_share:.1%}: {told}; `--min-share` lowers"
        " what is asked"
    )


def _judge(layer: PromisedLayer, information: LayerInformation) -> LayerVerdict:
    promise = _PROMISES.get(layer.precision)
    if promise is None:
        raise BundleError(
            f"layers.json gives {layer.operator} {layer.name} precision {layer.precision}, expected one of"
            f" {sorted(_PROMISES)}: export the bundle again"
        )
    found = [_outcome(promise, one) for one in _candidates(layer.name, information.layers)]
    # Where several layers share the node, one that breaks the promise breaks it.
    reason, ran, holder = next((one for one in found if one[0]), found[0]) if found else (_UNNAMED, "unknown", None)
    return LayerVerdict(
        name=layer.name,
        operator=layer.operator,
        macs=layer.macs,
        promised=promise,
        ran=ran,
        engine_layer=holder.name if holder else "",
        kind=holder.kind if holder else "",
        reason=reason,
    )


_UNNAMED = "no layer of the engine names it"


def _candidates(node: str, layers: Iterable[EngineLayer]) -> list[EngineLayer]:
    """Return the layers that may hold a node's product: convolutions that name it, or else what else names it."""
    naming = [layer for layer in layers if node in layer.nodes and layer.kind not in IDLE and not is_reformat(layer)]
    for holds in (is_convolution, _is_generated, _is_unknown):
        if chosen := [layer for layer in naming if holds(layer)]:
            return chosen
    return naming


def _is_generated(layer: EngineLayer) -> bool:
    return layer.kind in GENERATED


def _is_unknown(layer: EngineLayer) -> bool:
    return not is_known(layer.kind)


def _outcome(promise: Promise, holder: EngineLayer) -> tuple[str, Datatype, EngineLayer]:
    """Return why a promise is not kept (empty: it is), what ran instead, and the layer."""
    if _is_unknown(holder):
        return (
            f"layer type {holder.kind} is not known to this version: look at the layer in `run-ssl explain`, and"
            " report it",
            "unknown",
            holder,
        )
    if not is_convolution(holder) and not _is_generated(holder):
        return f"only a {holder.kind} layer names it, which computes no products", "unknown", holder
    ran = compute_type(holder)
    if ran == promise:
        return "", ran, holder
    if ran == "unknown":
        return f"the inspector does not say what its {holder.kind} layer computes in", ran, holder
    cause = "its Q/DQ did not fuse into it: " if promise == "int8" else ""
    return f"{cause}its {holder.kind} layer reads {ran}", ran, holder


def _formats_known(information: LayerInformation) -> bool:
    """Return whether the inspector gives the datatype of anything that a convolution reads."""
    read = [tensor for layer in information.layers if is_convolution(layer) for tensor in layer.inputs]
    return not read or any(tensor.datatype != "unknown" for tensor in read)
