"""Which tensors share channels, and so must share one factor per channel."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from calibration.graph.structure import LAYERS, channel_constant, constant, is_global_pool

# What keeps channels apart and commutes with a positive factor per channel.
_CHANNELWISE = frozenset({"Relu", "MaxPool", "AveragePool", "Identity", "Dropout", "LeakyRelu"})


@dataclass(frozen=True)
class ChannelGroup:
    """Tensors that must share one factor per channel.

    Attributes:
        tensors: Names of the tensors, in graph order.
        producers: Names of the nodes whose constants the factors divide: the convolutions, and the scales and biases of
            normalisations, that write the tensors.
        consumers: Names of the convolutions and classifiers that read them.
        channels: How many channels they have.
        scalable: Whether the factors can be taken up by producers and consumers alone.
    """

    tensors: tuple[str, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    channels: int
    scalable: bool


def channel_groups(model: ir.Model) -> tuple[ChannelGroup, ...]:
    """Return the groups of tensors that share channels, in graph order.

    Rules:

    1. The output of a convolution begins a group, and so does the product with a constant per channel, as a GroupNorm's
       scale is. ReLU, pooling and, behind a global pool, Flatten hand it on channel by channel, and so does the product
       with a gate, one number a channel, as squeeze-and-excitation has it; a residual Add joins its inputs' groups and
       its output's, and the Add of a constant per channel its input's and its output's.
    2. Its producers are the convolutions, products and Adds of constants that write its tensors, its consumers the
       Conv, Gemm and MatMul that read them.
    3. It is scalable if nothing else touches it: no other operator, no graph input or constant, and no graph
       output (so the last stage is not, where the pooled features are an output).
    """
    return tuple(_Groups(model).groups())


class _Groups:
    """Union-find over tensors."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._parents: dict[ir.Value, ir.Value] = {}
        for node in model.graph:
            if _hands_on_channels(node) and node.inputs[0] is not None:
                self._join(node.inputs[0], node.outputs[0])
            elif _adds_activations(node):
                for value in node.inputs:
                    assert value is not None
                    self._join(value, node.outputs[0])
            elif (gated := _gated(node)) is not None:
                self._join(gated, node.outputs[0])
            elif node.op_type == "Add" and (index := channel_constant(node)) is not None:
                value = node.inputs[1 - index]
                assert value is not None
                self._join(value, node.outputs[0])

    def groups(self) -> Iterator[ChannelGroup]:
        graph = self._model.graph
        members: dict[ir.Value, list[ir.Value]] = {}
        # Inputs and constants too: a group that one of them has come into cannot be scaled.
        made = (value for node in graph for value in node.outputs)
        for value in (*graph.inputs, *graph.initializers.values(), *made):
            members.setdefault(self._find(value), []).append(value)
        for tensors in members.values():
            made_by = [value.producer() for value in tensors]
            producers = [node for node in made_by if node is not None and _writes_channels(node)]
            if any(node.op_type != "Add" for node in producers):
                yield self._describe(tensors, producers)

    def _describe(self, tensors: list[ir.Value], producers: list[ir.Node]) -> ChannelGroup:
        uses = [(use.node, use.idx) for value in tensors for use in value.uses()]
        consumers = list(dict.fromkeys(node for node, index in uses if node.op_type in LAYERS and index == 0))
        # A product that reads the group too would be given divided values, and divide them once more.
        inside = {node for node in producers if node.op_type != "Mul" or not _reads_any(node, tensors)} | set(consumers)
        touching = {node for node, _ in uses} | {node for value in tensors if (node := value.producer())}
        strangers = [node for node in touching - inside if not _keeps_factors(node, tensors)]
        channels = _written(producers[0])
        whole = all(_written(node) == channels for node in producers) and all(
            _reads(node) == channels for node in consumers
        )
        return ChannelGroup(
            tensors=tuple(value.name or "" for value in tensors),
            producers=tuple(node.name or "" for node in producers),
            consumers=tuple(node.name or "" for node in consumers),
            channels=channels,
            scalable=whole
            and not strangers
            and not any(value.producer() is None or value.is_graph_output() for value in tensors),
        )

    def _find(self, value: ir.Value) -> ir.Value:
        while (parent := self._parents.get(value, value)) is not value:
            value = parent
        return value

    def _join(self, first: ir.Value, second: ir.Value) -> None:
        # The earlier tensor stays the root, so that groups come in graph order.
        older, newer = self._find(first), self._find(second)
        if older is not newer:
            self._parents[newer] = older


def _writes_channels(node: ir.Node) -> bool:
    return node.op_type == "Conv" or channel_constant(node) is not None


def _written(node: ir.Node) -> int:
    """Return how many channels a producer writes."""
    index = channel_constant(node)
    return len(constant(node, 1)) if index is None else constant(node, index).size


def _reads_any(node: ir.Node, tensors: Collection[ir.Value]) -> bool:
    return any(value in tensors for value in node.inputs)


def _keeps_factors(node: ir.Node, tensors: Collection[ir.Value]) -> bool:
    """Return whether a node that touches a group's tensors gives divided ones where it is given divided ones."""
    if _hands_on_channels(node) or _adds_activations(node):
        return True
    gated = _gated(node)
    # The gate itself is no part of the group: it is as it was, whatever its channels are divided by.
    return (
        gated is not None
        and gated in tensors
        and not any(value in tensors for value in node.inputs if value is not gated)
    )


def _gated(node: ir.Node) -> ir.Value | None:
    """Return what a Mul multiplies by one number for each image and channel, (N, C, 1, 1); None for other nodes."""
    if node.op_type != "Mul" or any(value is None or value.const_value is not None for value in node.inputs):
        return None
    gates = [value for value in node.inputs if value is not None and _is_gate(value)]
    others = [value for value in node.inputs if value not in gates]
    return others[0] if len(gates) == len(others) == 1 else None


def _is_gate(value: ir.Value) -> bool:
    shape = value.shape
    return shape is not None and len(shape) == 4 and list(shape[2:]) == [1, 1]


def _hands_on_channels(node: ir.Node) -> bool:
    if node.op_type in ("Flatten", "Reshape"):
        producer = node.inputs[0].producer() if node.inputs[0] is not None else None
        return producer is not None and is_global_pool(producer)
    return node.op_type in _CHANNELWISE or is_global_pool(node)


def _adds_activations(node: ir.Node) -> bool:
    return node.op_type == "Add" and all(value is not None and value.const_value is None for value in node.inputs)


def _reads(node: ir.Node) -> int:
    """Return how many input channels a layer's weight is for."""
    shape = constant(node, 1).shape
    if node.op_type == "Conv":
        return int(shape[1]) * node.attributes.get_int("group", 1)
    return int(shape[1] if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1 else shape[0])
