"""Where the time of a plan goes, from its layers and their times, whoever built it: no bundle is needed.

Times per layer add up to more than the latency, since the profiler waits after each layer; shares and
differences of them are what counts.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.bundle.plan_json import Datatype
from runtime.errors import EngineError
from runtime.plans.crossings import before_first, convolutions, fp32_islands, int8_crossings, residual_crossings
from runtime.plans.inspector import (
    IDLE,
    POOLINGS,
    EngineLayer,
    LayerInformation,
    compute_type,
    is_convolution,
    is_quantisation,
    is_reformat,
)
from runtime.plans.traffic import Traffic, traffic

CONVOLUTION_GROUPS = ("INT8 convolutions", "FP16 convolutions", "FP32 convolutions")
REFORMATS, QUANTISATIONS, POOLS, OTHER = "reformats", "quantise/dequantise", "pooling", "other"
GROUPS = (*CONVOLUTION_GROUPS, REFORMATS, QUANTISATIONS, POOLS, OTHER)
_OF_TYPE: dict[Datatype, str] = dict(zip(("int8", "fp16", "fp32"), CONVOLUTION_GROUPS, strict=True))


@dataclass(frozen=True)
class Group:
    """Layers of one sort.

    Attributes:
        name: One of `GROUPS`.
        count: How many layers; those that do no work, as NoOp, are in no group.
        ms: Time of the layers together in milliseconds; None when not measured.
        moved_bytes: Bytes that they read and write for an image; None where they cannot be counted.
    """

    name: str
    count: int
    ms: float | None
    moved_bytes: float | None


@dataclass(frozen=True)
class FloatPool:
    """A pooling layer that reads floats in a plan with INT8 convolutions.

    Attributes:
        name: Name of the layer.
        reads: Element type of its input.
        whole_image: Whether it makes one value of each channel.
        ms: Time of the layer in milliseconds; None when not measured.
    """

    name: str
    reads: Datatype
    whole_image: bool
    ms: float | None


@dataclass(frozen=True)
class PlanAccount:
    """Where the time of a plan goes.

    Attributes:
        label: What to call the plan.
        groups: One per name in `GROUPS`, in that order.
        total_ms: Sum of all layers' times in milliseconds; None when not measured.
        reformats: Layers that copy a tensor to another layout or datatype.
        unfused_qdq: Layers that only quantise or dequantise.
        entry_qdq: Members of `unfused_qdq` before the first convolution: they quantise the network's input.
        crossings: INT8 convolutions that read or write floats.
        residual_crossings: Members of `crossings` around a residual Add.
        beside_crossings_ms: Time of the reformats and quantisations next to them; None when not measured.
        fp32_islands: Layers that compute in FP32 in a plan with INT8 or FP16, as `name (kind)`.
        float_pools: Poolings that read floats in a plan with INT8 convolutions.
        fused_pools: Convolutions that pool too.
        traffic: Kernels and the bytes that they move for an image; None where they cannot be counted.
    """

    label: str
    groups: tuple[Group, ...]
    total_ms: float | None
    reformats: tuple[str, ...]
    unfused_qdq: tuple[str, ...]
    entry_qdq: tuple[str, ...]
    crossings: tuple[str, ...]
    residual_crossings: tuple[str, ...]
    beside_crossings_ms: float | None
    fp32_islands: tuple[str, ...]
    float_pools: tuple[FloatPool, ...]
    fused_pools: tuple[str, ...]
    traffic: Traffic | None

    def group(self, name: str) -> Group:
        """Return the group of that name."""
        return self.groups[GROUPS.index(name)]


def account(label: str, information: LayerInformation, times: dict[str, float] | None) -> PlanAccount:
    """Return where the time of a plan goes, and what in it costs more than it must.

    Args:
        label: What to call the plan.
        information: Layers of the plan.
        times: Time per layer in milliseconds, or None; times of layers that the information does not list
            (Myelin's whole subgraphs) are counted as other.

    Raises:
        EngineError: Not one of the times is of a layer of this plan.
    """
    layers = information.layers
    if times and not {layer.name for layer in layers} & times.keys():
        raise EngineError(
            f"{label}: none of {len(times)} timed layers is among the plan's {len(layers)}: give the profile of the"
            " same plan"
        )
    convolving = convolutions(information)
    entry = before_first(information, convolving)
    crossings = int8_crossings(information, convolving)
    quantisations = [layer for layer in layers if is_quantisation(layer)]
    counts = traffic(information)
    reduced = any(layer.name in convolving and compute_type(layer) in ("int8", "fp16") for layer in layers)
    return PlanAccount(
        label=label,
        groups=_groups(information, times, counts),
        total_ms=math.fsum(times.values()) if times else None,
        reformats=tuple(layer.name for layer in layers if _group_name(layer) == REFORMATS),
        unfused_qdq=tuple(layer.name for layer in quantisations),
        entry_qdq=tuple(layer.name for layer in quantisations if layer.name in entry),
        crossings=tuple(layer.name for layer in crossings),
        residual_crossings=tuple(layer.name for layer in residual_crossings(crossings)),
        beside_crossings_ms=_sum_ms(_beside(crossings, layers), times),
        fp32_islands=tuple(f"{layer.name} ({layer.kind})" for layer in fp32_islands(information, convolving))
        if reduced
        else (),
        float_pools=_float_pools(information, times),
        fused_pools=tuple(layer.name for layer in layers if is_convolution(layer) and _pools(layer)),
        traffic=counts,
    )


def _groups(information: LayerInformation, times: dict[str, float] | None, counts: Traffic | None) -> tuple[Group, ...]:
    members: dict[str, list[EngineLayer]] = {name: [] for name in GROUPS}
    for layer in information.layers:
        # What has taken time is counted even where its type says that it does nothing.
        if layer.kind not in IDLE or (times or {}).get(layer.name):
            members[_group_name(layer)].append(layer)
    listed = {layer.name for layer in information.layers}
    unlisted = math.fsum(ms for name, ms in (times or {}).items() if name not in listed)
    moved = {layer.name: layer.moved_bytes for layer in counts.layers} if counts else {}
    return tuple(
        Group(
            name,
            len(found),
            ms=None if (ms := _sum_ms(found, times)) is None else ms + unlisted * (name == OTHER),
            moved_bytes=math.fsum(moved.get(layer.name, 0.0) for layer in found) if counts else None,
        )
        for name, found in members.items()
    )


def _group_name(layer: EngineLayer) -> str:
    if is_convolution(layer):
        return _OF_TYPE.get(compute_type(layer), OTHER)
    if is_quantisation(layer):
        return QUANTISATIONS
    if is_reformat(layer):
        return REFORMATS
    return POOLS if layer.kind in POOLINGS else OTHER


def _sum_ms(layers: Iterable[EngineLayer], times: dict[str, float] | None) -> float | None:
    return math.fsum(times.get(name, 0.0) for name in {layer.name for layer in layers}) if times else None


def _beside(crossings: Iterable[EngineLayer], layers: tuple[EngineLayer, ...]) -> list[EngineLayer]:
    """Return the reformats and quantisations that share a tensor with a crossing."""
    touched = {tensor.name for layer in crossings for tensor in (*layer.inputs, *layer.outputs)}
    return [
        layer
        for layer in layers
        if (is_reformat(layer) or is_quantisation(layer))
        and touched & {tensor.name for tensor in (*layer.inputs, *layer.outputs)}
    ]


def _float_pools(information: LayerInformation, times: dict[str, float] | None) -> tuple[FloatPool, ...]:
    if not any(is_convolution(layer) and compute_type(layer) == "int8" for layer in information.layers):
        return ()
    return tuple(
        FloatPool(layer.name, compute_type(layer), _whole_image(layer), _sum_ms([layer], times))
        for layer in information.layers
        if layer.kind in POOLINGS and compute_type(layer) in ("fp32", "fp16")
    )


def _whole_image(layer: EngineLayer) -> bool:
    return all(tensor.shape[2:] == (1, 1) for tensor in layer.outputs)


def _pools(layer: EngineLayer) -> bool:
    return "Pool" in layer.kind or any("pool" in node.lower() for node in layer.nodes)
