"""Why INT8 is not faster: the layers of two bundles of one network side by side, and what eats the gain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path

from runtime.bench.node_names import is_product
from runtime.bench.result import LayerTime
from runtime.errors import UsageError
from runtime.trt.explain import compare
from runtime.trt.explain_cli import read_account

CONVERSIONS, QUANTISATIONS, OTHER = "reformats and casts", "quantise and dequantise", "pooling, additions and others"
_WEIGHTS = "weights dequantised in every call"
_REFORMATTING = frozenset(
    {"Reorder", "Transpose", "Cast", "Convert", "ReorderInput", "ReorderOutput", "Reformat", "Shuffle"}
)
_QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear", "FakeQuantize", "Quantize", "Dequantize"})
_NAMED = 3
# Parts below this share of the slower one's time are not worth a sentence.
_WORTH_SAYING = 0.02


@dataclass(frozen=True)
class Row:
    """One part of two networks.

    Attributes:
        name: Node of a convolution or matrix product, or what sort of layers these are.
        first_ms: Time in the first, milliseconds; 0 where it has no such layer.
        second_ms: In the second.
        first_precision: What the first computes it in; "" for sorts of layers.
        second_precision: The second.
        first_layers: How many layers of the first's engine these are.
        second_layers: Of the second's.
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
        second: Of another bundle of the same network, at the same batch.
        names: What to call them.
        latencies_ms: Median latencies, to say what is outside of the layers.

    Raises:
        UsageError: The two have not one convolution in common, or the work in them differs.
    """
    if sum(layer.macs for layer in first) != sum(layer.macs for layer in second):
        raise UsageError(
            f"{names[0]} and {names[1]} do not do the same work: compare bundles of one network at one image size and"
            " batch"
        )
    rows = (*_product_rows(first, second), *_sort_rows(first, second))
    return rows, tuple(_findings(rows, (first, second), names, latencies_ms))


def compare_plans(first: Path, second: Path) -> tuple[str, ...]:
    """Return why the TensorRT plan of one bundle is faster than another's, in sentences.

    Raises:
        BundleError: One has no plan, or its files are damaged.
    """
    return compare(read_account(str(first)), read_account(str(second)))
