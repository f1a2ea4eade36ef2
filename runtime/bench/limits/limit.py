"""How far an engine is from what the machine can do: the roofline of each layer, and what keeps it from it.

A layer that does m multiply-accumulates and moves b bytes takes at least max(m / R, b / B): R the attainable rate of
a large matrix product in the same engine and precision, B that of moving as many bytes.

Source: S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4), 2009.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import fsum

from runtime.bench.limits.layer_times import RawLayer, layer_times
from runtime.bench.limits.node_names import QUANTISATIONS, REFORMATS, sort_of
from runtime.bench.limits.probe import Rates, probe_rates
from runtime.bench.subjects import Subject
from runtime.bundle.bundle import open_bundle
from runtime.bundle.results.bench_json import LayerTime, Limit, Measured
from runtime.engines.open_engine import parse_engine
from runtime.engines.openvino_engine import NAME as OPENVINO
from runtime.engines.ort_engine import NAME as ONNXRUNTIME
from runtime.errors import BundleError, EngineError, UsageError
from runtime.support.progress import Listener
from runtime.support.words import counted, verb_for

_LOG = logging.getLogger(__name__)
# Layers named as the worst, and the least share of the time that is worth a sentence.
_WORST, _WORTH_SAYING = 3, 0.02
# The counters have whole microseconds: below this a layer's own time is mostly starting its threads.
_SHORT_MS = 0.02


def find_limits(subjects: Mapping[str, Subject], measured: Sequence[Measured], listener: Listener) -> tuple[Limit, ...]:
    """Return how far every bundle that was measured is from its limit, where that can be probed.

    Args:
        subjects: What was measured, by name.
        measured: Latencies of the subjects; others are left out.
        listener: Receiver of the progress.

    The log says why one has no limit: its latency stands without.
    """
    probed = [one for one in measured if one.name in subjects and not why_no_limit(subjects[one.name])]
    if probed:
        listener.on_stage("limit", len(probed))
    rates: dict[tuple[str, str, int | None], Rates] = {}
    found = []
    for one in probed:
        subject = subjects[one.name]
        try:
            layers = layer_times(
                open_bundle(subject.bundle), subject.engine, batch=subject.batch, threads=subject.threads
            )
            key = (parse_engine(subject.engine).name, main_precision(layers), subject.threads)
            if key not in rates:
                rates[key] = probe_rates(key[0], key[1], threads=key[2])
            found.append(find_limit(one, layers, rates[key]))
        except (EngineError, BundleError, UsageError) as error:
            _LOG.warning("%s has no limit: %s", one.name, error)
        listener.on_steps(1)
    return tuple(found)


def why_no_limit(subject: Subject) -> str:
    """Return why the limit of a subject cannot be found, or "" where it can be tried."""
    choice = parse_engine(subject.engine)
    if choice.name not in (OPENVINO, ONNXRUNTIME):
        return f"the attainable rates of {choice.name} are not measured"
    if choice.runs_on_gpu(subject.device):
        return f"{subject.engine} on a GPU has no layer times here"
    return ""


def main_precision(layers: Sequence[RawLayer]) -> str:
    """Return what most multiply-accumulates are computed in."""
    macs: Counter[str] = Counter()
    for layer in layers:
        macs[layer.precision] += layer.macs
    return macs.most_common(1)[0][0]


def find_limit(measured: Measured, layers: Sequence[RawLayer], rates: Rates) -> Limit:
    """Return how far a network is from the machine's limit.

    Args:
        measured: Latency of the network.
        layers: Layers in the same engine, batch and threads, at least one.
        rates: What the engine attains in the precision of most of its work. Layers in another one are held to the
            same rate: that of an FP32 layer in an INT8 network is what it would attain if it were INT8. A rate that
            one of the layers attains is attainable too, on a machine that others disturbed during the probe.
    """
    probed, rates = rates, _attained(layers, rates)
    bounds = [bound_ms(layer, rates) for layer in layers]
    total, latency = fsum(bounds), measured.latency.median_ms
    timed = [_layer_time(layer, bound) for layer, bound in zip(layers, bounds, strict=True)]
    return Limit(
        name=measured.name,
        gmacs_per_s=rates.gmacs_per_s,
        gb_per_s=rates.gb_per_s,
        bound_ms=total,
        share=total / latency,
        layers=tuple(sorted(timed, key=lambda layer: -layer.ms)),
        findings=(
            _summary(layers, probed, rates, total, latency),
            *_worst(layers, bounds, rates, latency),
            *_between(layers, latency),
            _remainder(layers, latency),
        ),
    )


def bound_ms(layer: RawLayer, rates: Rates) -> float:
    """Return the least time that the machine's attainable rates allow a layer, milliseconds."""
    return max(_arithmetic_ms(layer, rates), _movement_ms(layer, rates))


def _arithmetic_ms(layer: RawLayer, rates: Rates) -> float:
    return layer.macs / rates.gmacs_per_s / 1e6


def _movement_ms(layer: RawLayer, rates: Rates) -> float:
    return layer.moved_bytes / rates.move_rate(layer.moved_bytes) / 1e6


def _layer_time(layer: RawLayer, bound: float) -> LayerTime:
    return LayerTime(
        name=layer.name,
        operator=layer.operator,
        macs=layer.macs,
        moved_bytes=layer.moved_bytes,
        precision=layer.precision,
        ms=layer.ms,
        bound_ms=bound,
    )


def _attained(layers: Sequence[RawLayer], rates: Rates) -> Rates:
    best = max((layer.macs / layer.ms / 1e6 for layer in layers if layer.ms >= _SHORT_MS), default=0.0)
    return replace(rates, gmacs_per_s=max(rates.gmacs_per_s, best))


def _summary(layers: Sequence[RawLayer], probed: Rates, rates: Rates, total: float, latency: float) -> str:
    moving = fsum(
        movement
        for layer in layers
        if (movement := _movement_ms(layer, rates)) > _arithmetic_ms(layer, rates)
    )  # fmt: skip
    source = "" if rates == probed else f", which a layer attains (the probe: {probed.gmacs_per_s:.0f})"
    return (
        f"the limit is {total:.3g} ms of {latency:.3g} ms ({total / latency:.0%}) at"
        f" {rates.gmacs_per_s:.0f} GMAC/s{source}: {_share(moving, total):.0%} of it moves bytes, the rest is"
        " arithmetic"
    )


def _worst(layers: Sequence[RawLayer], bounds: Sequence[float], rates: Rates, latency: float) -> list[str]:
    """Return a sentence on each of the layers that lose most against their bounds, if it is worth one."""
    lost = sorted(zip(layers, bounds, strict=True), key=lambda pair: pair[1] - pair[0].ms)
    main = main_precision(layers)
    found = []
    for layer, bound in lost[:_WORST]:
        if layer.ms - bound >= _WORTH_SAYING * latency:
            # A fused layer is known by its first node, the product.
            name, share = layer.name.split(" + ")[0], _share(bound, layer.ms)
            found.append(
                f"{name} takes {layer.ms / latency:.0%} of the time, its bound is {share:.0%} of that:"
                f" {_reason(layer, rates, main)}"
            )
    return found


def _between(layers: Sequence[RawLayer], latency: float) -> list[str]:
    """Return a sentence on the layers that only convert, and one on those that only quantise, if they are worth it."""
    found = []
    for sort in (REFORMATS, QUANTISATIONS):
        chosen = [layer for layer in layers if not layer.macs and sort_of(layer.operator) == sort]
        spent = fsum(layer.ms for layer in chosen)
        if spent >= _WORTH_SAYING * latency:
            count = f"{counted(len(chosen), 'layer')} only {verb_for(len(chosen), 'convert')}"
            found.append(f"{count} ({sort}), {spent / latency:.0%} of the time")
    return found


def _reason(layer: RawLayer, rates: Rates, main: str) -> str:
    if not layer.macs:
        return f"{layer.operator} computes no products, it only moves {_megabytes(layer.moved_bytes)}"
    if layer.precision != main:
        return f"it runs in {layer.precision} in a network of {main}"
    if layer.reads_image:
        return "the few channels of an image feed few products at a time"
    if _movement_ms(layer, rates) > _arithmetic_ms(layer, rates):
        return _memory_reason(layer, rates)
    if layer.ms < _SHORT_MS:
        return f"it is over in {layer.ms * 1e3:.0f} microseconds, of which starting the threads is a part"
    return f"its kernel attains {layer.macs / layer.ms / 1e6:.0f} of {rates.gmacs_per_s:.0f} GMAC/s"


def _memory_reason(layer: RawLayer, rates: Rates) -> str:
    attained, attainable = layer.moved_bytes / layer.ms / 1e6, rates.move_rate(layer.moved_bytes)
    # Only near its roof is a layer bound by it.
    start = "memory-bound" if attained >= attainable / 2 else "bytes are most of its bound, not of its time"
    if layer.weight_bytes > layer.activation_bytes:
        what = f"{_megabytes(layer.weight_bytes)} of weights for {layer.macs / 1e6:.3g} million products"
        end = "; a larger batch does more with each reading"
    else:
        what, end = f"{_megabytes(layer.activation_bytes)} of activations", ""
    return f"{start}, {what} at {attained:.3g} of {attainable:.3g} GB/s{end}"


def _remainder(layers: Sequence[RawLayer], latency: float) -> str:
    timed = fsum(layer.ms for layer in layers)
    if timed > latency:
        return f"the layers take {timed / latency:.0%} of the latency by the profiler's clock, which costs time itself"
    return (
        f"the layers take {timed / latency:.0%} of the latency; the rest is between them: calls, launches, copies, and"
        " waiting where the machine is busy"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB" if size >= 1e5 else f"{size / 1e3:.3g} kB"


def _share(part: float, whole: float) -> float:
    # A layer may take less than the counters' microsecond.
    return part / whole if whole else 1.0
