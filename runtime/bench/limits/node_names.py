"""Which ONNX nodes an engine's layer is made of, from the engine's names and the bundle's layers.json."""

import re
from collections.abc import Iterable, Sequence

from runtime.bundle.layers import Layer
from runtime.plans.inspector import GENERATED

# What the engines append to a node's or a tensor's name: onnxruntime 1.32 for its layouts and copies, OpenVINO 2026
# for parts of a split node and for names that collide.
_SUFFIX = re.compile(r"(_nchwc|_token_\d+|/duplicated|/WithoutBiases|_original|_\d+)$")
_PRODUCTS = re.compile(r"Conv|Gemm|MatMul|FullyConnected|gemm|conv")

REFORMATS, QUANTISATIONS, OTHER = "reformats and casts", "quantise and dequantise", "pooling, additions and others"
_REFORMATTING = frozenset({"Reorder", "Transpose", "Cast", "Convert", "ReorderInput", "ReorderOutput", "Reformat"})
_QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear", "FakeQuantize"})


def sort_of(operator: str) -> str:
    """Return which sort of layer without products this is: `REFORMATS`, `QUANTISATIONS` or `OTHER`."""
    if operator in _REFORMATTING:
        return REFORMATS
    return QUANTISATIONS if operator in _QUANTISING else OTHER


def is_product(operator: str) -> bool:
    """Return whether an ONNX operator or an engine's layer type is a convolution or a matrix product."""
    return bool(_PRODUCTS.search(operator)) and not operator.startswith("Convert")


class NodeNames:
    """The bundle's nodes by their names and by those of their outputs; each product is given away once."""

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self._layers = layers
        self._places = {layer.output: place for place, layer in enumerate(layers)}
        self._places |= {layer.name: place for place, layer in enumerate(layers)}
        self._taken: set[int] = set()

    def find(self, names: Iterable[str], operator: str) -> tuple[Layer, ...]:
        """Return the nodes of one layer of the engine, in the bundle's order.

        A fused layer may be named for its last node only, as `act1_nchwc`. One that multiplies, but names nothing
        that does, is the nearest product before what it names: the exporter writes an activation after its product.

        Args:
            names: What the engine says that the layer was made of.
            operator: ONNX operator or the engine's layer type.
        """
        places = {place for name in names if (place := self._place(name)) is not None}
        products = {place for place in places if self._layers[place].macs}
        if is_product(operator) and places and not products:
            products = self._nearest(min(places))
        elif not is_product(operator) and operator not in GENERATED:
            places, products = places - products, set()
        self._taken |= products
        return tuple(self._layers[place] for place in sorted(places | products))

    def missing(self) -> Sequence[str]:
        """Return the products that no layer of the engine was made of."""
        return [layer.name for place, layer in enumerate(self._layers) if layer.macs and place not in self._taken]

    def _place(self, name: str) -> int | None:
        while name not in self._places:
            shorter = _SUFFIX.sub("", name)
            if shorter == name:
                return None
            name = shorter
        return self._places[name]

    def _nearest(self, place: int) -> set[int]:
        before = [one for one in range(place, -1, -1) if self._layers[one].macs and one not in self._taken]
        return set(before[:1])
