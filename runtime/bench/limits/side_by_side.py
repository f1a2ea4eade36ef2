"""The layers of two bundles of one network side by side, and what eats the gain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum

from runtime.bench.limits.node_names import OTHER, QUANTISATIONS, REFORMATS, sort_of
from runtime.bundle.results.bench_json import LayerTime
from runtime.errors import UsageError
from runtime.support.words import counted, first_few, verb_for

# Parts below this share of the slower one's time are not worth a sentence.
_WORTH_SAYING = 0.02


@dataclass(frozen=True)
class Row:
    """One part of two networks.

    Attributes:
        name: Node of a convolution or matrix product, or what sort of layers these are.
        first_ms: Time in the first network, milliseconds; 0 where it has no such layer.
        second_ms: Time in the second network, milliseconds.
        first_precision: Precision in the first network; "" for sorts of layers.
        second_precision: Precision in the second network.
        first_layers: Number of layers that these are in the first network's engine.
        second_layers: Number of layers that these are in the second network's engine.
    """

    name: str
    first_ms: float
    second_ms: float
    first_precision: str
    second_precision: str
    first_layers: int
    second_layers: int


def side_by_side(
    first: Sequence[LayerTime],
    second: Sequence[LayerTime],
    names: tuple[str, str],
    *,
    latencies_ms: tuple[float, float] | None = None,
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Return the parts of two networks side by side, and in sentences what makes the difference.

    Products are matched by the ONNX nodes in their names; where one engine has two of them in one layer, they are one
    row. All else is added up by sort.

    Args:
        first: Layers of one bundle in one engine.
        second: Layers of another bundle of the same network, at the same batch.
        names: What to call them.
        latencies_ms: Median latencies, to say what is outside of the layers.

    Raises:
        UsageError: The two have not one convolution in common, or the work in them differs.
    """
    if sum(layer.macs for layer in first) != sum(layer.macs for layer in second):
        raise UsageError(
            f"{names[0]} and {names[1]} do not do the same work: compare bundles of the same network with the same "
            "image size and batch"
        )
    rows = (*_product_rows(first, second), *_sort_rows(first, second))
    return rows, tuple(_findings(rows, (first, second), names, latencies_ms))


def _product_rows(first: Sequence[LayerTime], second: Sequence[LayerTime]) -> list[Row]:
    """Return one row per product, in the first's order; layers that share a node are one row."""
    products = [layer for layer in first if layer.macs]
    others = [layer for layer in second if layer.macs]
    rows, done = [], set[int]()
    for start in products:
        if id(start) in done:
            continue
        of_first, of_second, nodes = [start], list[LayerTime](), _nodes(start)
        while True:
            more = [layer for layer in others if nodes & _nodes(layer) and layer not in of_second]
            of_second += more
            nodes = nodes.union(*map(_nodes, of_second))
            again = [layer for layer in products if nodes & _nodes(layer) and layer not in of_first]
            of_first += again
            nodes = nodes.union(*map(_nodes, of_first))
            if not more and not again:
                break
        done |= {id(layer) for layer in of_first}
        rows.append(_row(start.name.split(" + ")[0], of_first, of_second))
    if not any(row.second_layers for row in rows):
        raise UsageError("the two have no convolution with the same name: compare bundles of the same network")
    return rows


def _sort_rows(first: Sequence[LayerTime], second: Sequence[LayerTime]) -> list[Row]:
    rows = []
    for sort in (REFORMATS, QUANTISATIONS, OTHER):
        sides = [
            [layer for layer in side if not layer.macs and sort_of(layer.operator) == sort] for side in (first, second)
        ]
        if any(sides):
            rows.append(_row(sort, *sides))
    return rows


def _row(name: str, first: Sequence[LayerTime], second: Sequence[LayerTime]) -> Row:
    return Row(
        name=name,
        first_ms=fsum(layer.ms for layer in first),
        second_ms=fsum(layer.ms for layer in second),
        first_precision=_precisions(first),
        second_precision=_precisions(second),
        first_layers=len(first),
        second_layers=len(second),
    )


def _precisions(layers: Sequence[LayerTime]) -> str:
    return " and ".join(sorted({layer.precision for layer in layers if layer.macs}))


def _nodes(layer: LayerTime) -> frozenset[str]:
    return frozenset(layer.name.split(" + "))


def _findings(
    rows: Sequence[Row],
    sides: tuple[Sequence[LayerTime], Sequence[LayerTime]],
    names: tuple[str, str],
    latencies_ms: tuple[float, float] | None,
) -> list[str]:
    totals = [fsum(layer.ms for layer in side) for side in sides]
    worth = _WORTH_SAYING * max(totals)
    found = [_faster(totals, names)]
    for name, chosen in (
        ("convolutions", [row for row in rows if row.first_precision]),
        *((row.name, [row]) for row in rows if not row.first_precision),
    ):
        gained = fsum(row.first_ms - row.second_ms for row in chosen)
        if abs(gained) >= worth:
            found.append(_part(name, chosen, gained, names))
    for side, name in zip(sides, names, strict=True):
        found += _left_float(side, name)
        found += _weights_dequantised(side, name, worth)
    if latencies_ms is not None:
        found.append(_overhead(totals, names, latencies_ms))
    return found


def _faster(totals: Sequence[float], names: tuple[str, str]) -> str:
    fast = 0 if totals[0] <= totals[1] else 1
    ratio = totals[1 - fast] / totals[fast] if totals[fast] else 1.0
    return (
        f"{names[fast]} is {ratio:.2f} times as fast as {names[1 - fast]} by layer times: {totals[fast]:.3g} ms against"
        f" {totals[1 - fast]:.3g} ms"
    )


def _part(name: str, rows: Sequence[Row], gained: float, names: tuple[str, str]) -> str:
    def side(ms: Callable[[Row], float], count: Callable[[Row], int]) -> str:
        layers = sum(map(count, rows))
        return f"{fsum(map(ms, rows)):.3g} ms in {counted(layers, 'layer')}"

    return (
        f"{name}: {names[1]} {'gains' if gained > 0 else 'loses'} {abs(gained):.3g} ms,"
        f" {side(lambda row: row.second_ms, lambda row: row.second_layers)} against"
        f" {side(lambda row: row.first_ms, lambda row: row.first_layers)}"
    )


def _left_float(side: Sequence[LayerTime], name: str) -> list[str]:
    """Return the sentence on products that run in floats in a network that has INT8 ones or quantises."""
    products = [layer for layer in side if layer.macs]
    floats = [layer for layer in products if layer.precision != "int8"]
    quantised = len(floats) < len(products) or any(sort_of(layer.operator) == QUANTISATIONS for layer in side)
    if not floats or not quantised:
        return []
    total = fsum(layer.ms for layer in side)
    share = fsum(layer.ms for layer in floats) / total if total else 0.0
    if len(floats) == len(products):
        return [f"{name}: not one product runs in INT8 although the network is quantised; the floats are {share:.0%}"]
    shown = first_few([layer.name.split(" + ")[0] for layer in floats])
    run = verb_for(len(floats), "run")
    return [f"{name}: {len(floats)} of {len(products)} products {run} in floats, {share:.0%} of its time: {shown}"]


def _weights_dequantised(side: Sequence[LayerTime], name: str, worth: float) -> list[str]:
    found = [layer for layer in side if layer.operator == "DequantizeLinear" and ".weight." in layer.name]
    spent = fsum(layer.ms for layer in found)
    if spent < worth or not found:
        return []
    count = f"{counted(len(found), 'weight')} {verb_for(len(found), 'are')}"
    return [
        f"{name}: {count} dequantised in every call, {spent:.3g} ms: the engine has no INT8 kernel for these Q/DQ; for"
        " onnxruntime export with `--int8-target cpu`"
    ]


def _overhead(totals: Sequence[float], names: tuple[str, str], latencies_ms: tuple[float, float]) -> str:
    parts = [
        f"{max(latency - total, 0.0):.3g} ms of {latency:.3g} ms in {name}"
        for total, name, latency in zip(totals, names, latencies_ms, strict=True)
    ]
    return f"outside of the layers (calls, launches, copies): {' and '.join(parts)}; no precision makes that faster"
