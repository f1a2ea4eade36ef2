"""Why a plan is fast or slow, and why another one is faster, in sentences."""

from runtime.plans.plan_account import (
    CONVOLUTION_GROUPS,
    OTHER,
    POOLS,
    QUANTISATIONS,
    REFORMATS,
    FloatPool,
    PlanAccount,
)
from runtime.support.words import counted, first_few, verb_for

# A fused layer's name joins those of all its nodes.
_NAME_LENGTH = 60
# Parts of a comparison below this share of the slower plan's time are not worth a sentence.
_WORTH_SAYING = 0.01
_PER_CHANNEL = " a scale for each channel of a weight is not fused (`--int8-target rtx` has one for all);"
_ALL_CONVOLUTIONS = "convolutions"


def findings(account: PlanAccount) -> tuple[str, ...]:
    """Return what costs the plan time, most costly first, and what to do about it; one sentence if nothing does."""
    found = [
        *_reformats(account),
        *_quantisations(account),
        *_crossings(account),
        *(_float_pool(pool, account) for pool in account.float_pools),
        *_islands(account),
        *_rescaling(account),
    ]
    if not found:
        return ("nothing stands between the layers: no reformat, no stand-alone Q or DQ, no layer left in FP32",)
    return tuple(sentence for _, sentence in sorted(found, key=lambda one: -one[0]))


def compare_accounts(first: PlanAccount, second: PlanAccount) -> tuple[str, ...]:
    """Return which plan is faster by what ratio, the parts that make the difference, largest first, and why.

    Without both times only the counts are compared.
    """
    if not first.total_ms or not second.total_ms:
        return (
            f"{_without_time(first, second)} without the times of both plans it is unknown which is faster: "
            "profile both",
            *_moved(first, second),
        )
    slow, fast = (first, second) if first.total_ms >= second.total_ms else (second, first)
    slow_ms, fast_ms = max(first.total_ms, second.total_ms), min(first.total_ms, second.total_ms)
    parts = sorted(_parts(slow, fast), key=lambda part: -abs(part[1]))
    return (
        f"{fast.label} is {slow_ms / fast_ms:.2f} times as fast as {slow.label} by layer times: {fast_ms:.2f} ms"
        f" against {slow_ms:.2f} ms",
        *(_part(name, gained, slow, fast) for name, gained in parts if abs(gained) >= _WORTH_SAYING * slow_ms),
        *_eaten(slow, fast),
        *_moved(first, second),
    )  # fmt: skip


def _reformats(account: PlanAccount) -> list[tuple[float, str]]:
    group = account.group(REFORMATS)
    if not group.count:
        return []
    sentence = (
        f"{counted(group.count, 'reformat layer')} {_takes(group.count, group.ms, account)} to copy tensors"
        f" to another layout or datatype ({join_names(account.reformats)})"
    )
    return [(group.ms or 0.0, sentence)]


def _quantisations(account: PlanAccount) -> list[tuple[float, str]]:
    group = account.group(QUANTISATIONS)
    if not group.count:
        return []
    inner = group.count - len(account.entry_qdq)
    start = (
        f"{counted(group.count, 'stand-alone quantise or dequantise layer')} {_takes(group.count, group.ms, account)}"
    )
    entry = "the one of the network's input is needed" if account.entry_qdq else ""
    if not inner:
        return [(group.ms or 0.0, f"{start}: {entry}")]
    cause = f"TensorRT found no convolution to fuse {'them' if inner > 1 else 'it'} into"
    kept = f"; {entry}, {counted(inner, 'other')} {verb_for(inner, 'are')} not: {cause}" if entry else f": {cause}"
    return [(group.ms or 0.0, f"{start}{kept}")]


def _crossings(account: PlanAccount) -> list[tuple[float, str]]:
    found: list[tuple[float, str]] = []
    # What the library itself takes on behind a convolution is no want of Q/DQ: a sentence of its own says it.
    rescaled = account.traffic.rescaled if account.traffic else frozenset()
    residual = tuple(name for name in account.residual_crossings if name not in rescaled)
    others = tuple(name for name in account.crossings if name not in {*residual, *rescaled})
    if residual:
        beside = account.beside_crossings_ms
        price = "" if not beside else f"; the reformats and quantise layers beside them take {beside:.2f} ms"
        found.append(
            (
                beside or 0.0,
                f"{counted(len(residual), 'INT8 convolution')} {verb_for(len(residual), 'read')} or"
                f" {verb_for(len(residual), 'write')} FP16 or FP32 around a residual Add without Q/DQ on an input and"
                f" on its sum{price}; put them there (`export-ssl --int8` does)",
            )
        )
    if others:
        found.append(
            (
                0.0,
                f"{counted(len(others), 'INT8 convolution')} {verb_for(len(others), 'read')} or"
                f" {verb_for(len(others), 'write')} FP16 or FP32 ({join_names(others)}): put Q/DQ on that side",
            )
        )
    return found


def _float_pool(pool: FloatPool, account: PlanAccount) -> tuple[float, str]:
    what = "the global average pool" if pool.whole_image else "the max pool"
    remedy = "quantise its input" if pool.whole_image else "quantise its input, then it fuses into the convolution"
    price = _takes(1, pool.ms, account) if pool.ms else "takes part"
    return pool.ms or 0.0, f"{what} reads {pool.reads.upper()} ({pool.name}) and {price}: {remedy}"


def _islands(account: PlanAccount) -> list[tuple[float, str]]:
    told = {pool.name for pool in account.float_pools}
    told |= {layer.name for layer in account.traffic.rescaling} if account.traffic else set()
    named = tuple(island for island in account.fp32_islands if island.rsplit(" (", 1)[0] not in told)
    if not named:
        return []
    return [
        (
            account.group(CONVOLUTION_GROUPS[2]).ms or 0.0,
            f"{counted(len(named), 'layer')} {verb_for(len(named), 'compute')} in FP32: {join_names(named)}",
        )
    ]


def _rescaling(account: PlanAccount) -> list[tuple[float, str]]:
    counts = account.traffic
    if counts is None or not counts.rescaling:
        return []
    number = len(counts.rescaling)
    moved = sum(layer.moved_bytes for layer in counts.rescaling)
    return [
        (
            0.0,
            f"{counted(number, 'kernel')} only {verb_for(number, 'rescale')} or {verb_for(number, 'round')} what INT8"
            " convolutions wrote as floats"
            f" ({join_names(tuple(layer.name for layer in counts.rescaling))}), and"
            f" {verb_for(number, 'move')} {_mb(moved)} of the {_mb(counts.moved_bytes)} that"
            f" {counted(len(counts.layers), 'kernel')} read and write for an image:"
            f"{_PER_CHANNEL if counts.wide else ''} compare with the FP16 plan",
        )
    ]


def _moved(first: PlanAccount, second: PlanAccount) -> list[str]:
    """Return the sentence on kernels and bytes for an image, and the warning where an INT8 plan moves more."""
    if first.traffic is None or second.traffic is None:
        return []
    kernels = " against ".join(
        f"{_mb(counts.moved_bytes)} in {counted(len(counts.layers), 'kernel')} of {label}"
        for label, counts in ((first.label, first.traffic), (second.label, second.traffic))
    )
    sentence = f"read and written for an image: {kernels} (counted, not measured)"
    for one, other in ((first, second), (second, first)):
        ours, theirs = one.traffic, other.traffic
        if ours and theirs and ours.int8 and not theirs.int8 and ours.moved_bytes > theirs.moved_bytes:
            ratio = ours.moved_bytes / theirs.moved_bytes
            return [
                f"{sentence}; {one.label} is INT8 and moves {ratio:.2f} times the bytes: measure it before you use it"
            ]
    return [sentence]


def _mb(number: float) -> str:
    return f"{number / 1e6:.1f} MB"


def _parts(slow: PlanAccount, fast: PlanAccount) -> list[tuple[str, float]]:
    """Return milliseconds gained by the faster plan per part; all convolutions are one part."""
    names = (_ALL_CONVOLUTIONS, REFORMATS, QUANTISATIONS, POOLS, OTHER)
    return [(name, _ms(slow, name) - _ms(fast, name)) for name in names]


def _part(name: str, gained: float, slow: PlanAccount, fast: PlanAccount) -> str:
    verb = "gains" if gained > 0 else "loses"
    return (
        f"{name}: {fast.label} {verb} {abs(gained):.2f} ms ({_ms(fast, name):.2f} against {_ms(slow, name):.2f}):"
        f" {_cause(name, slow, fast)}"
    )


def _cause(name: str, slow: PlanAccount, fast: PlanAccount) -> str:
    if name == _ALL_CONVOLUTIONS:
        return f"{_convolutions(fast)} against {_convolutions(slow)}"
    counts = f"{counted(fast.group(name).count, 'layer')} against {slow.group(name).count}"
    if name == POOLS and len(fast.fused_pools) > len(slow.fused_pools):
        return f"{counts}; the max pool runs inside a convolution ({join_names(fast.fused_pools)})"
    if name == QUANTISATIONS and len(slow.residual_crossings) > len(fast.residual_crossings):
        return f"{counts}; in {slow.label} residual Adds are in floats, so their sums are quantised again"
    return counts


def _convolutions(account: PlanAccount) -> str:
    filled = [group for group in account.groups if group.name in CONVOLUTION_GROUPS and group.count]
    parts = [f"{group.count} in {group.name.split()[0]}" for group in filled]
    text = " and ".join(parts) or "none"
    crossing = len(account.crossings)
    return f"{text}, {crossing} of them with floats on one side" if crossing else text


def _eaten(slow: PlanAccount, fast: PlanAccount) -> list[str]:
    """Return the sentence on a plan whose INT8 convolutions win less than the layers between them cost."""
    won = _ms(fast, _ALL_CONVOLUTIONS) - _ms(slow, _ALL_CONVOLUTIONS)
    lost = sum(_ms(slow, name) - _ms(fast, name) for name in (REFORMATS, QUANTISATIONS))
    if won <= 0 or lost <= 0 or not slow.group(CONVOLUTION_GROUPS[0]).count:
        return []
    return [
        f"so {slow.label}'s INT8 convolutions win {won:.2f} ms, and the reformat and quantise layers between them eat"
        f" {lost:.2f} ms"
    ]


def _ms(account: PlanAccount, name: str) -> float:
    names = CONVOLUTION_GROUPS if name == _ALL_CONVOLUTIONS else (name,)
    return sum(account.group(one).ms or 0.0 for one in names)


def _without_time(first: PlanAccount, second: PlanAccount) -> str:
    counts = (
        f"{one.label} has convolutions ({_convolutions(one)}), {one.group(REFORMATS).count} reformats and"
        f" {one.group(QUANTISATIONS).count} stand-alone quantise or dequantise layers"
        for one in (first, second)
    )
    return "; ".join(counts) + ";"


def _takes(count: int, ms: float | None, account: PlanAccount) -> str:
    if ms is None or not account.total_ms:
        return f"{verb_for(count, 'take')} time (not measured)"
    return f"{verb_for(count, 'take')} {ms:.2f} ms of {account.total_ms:.2f} ms ({ms / account.total_ms:.0%})"


def join_names(names: tuple[str, ...]) -> str:
    """Return the first names, each cut to what a line can hold, and how many more there are."""
    return first_few([name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 3]}..." for name in names])
