"""What a ResNet's graph is made of: layers, residual Adds, non-negative tensors, channel groups.

Everything here only looks; nothing is changed but by `prepare`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from runtime.errors import GraphError

# QuantizeLinear has an axis from opset 13 on.
OLDEST_OPSET = 13
LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_QUANTIZED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "DynamicQuantizeLinear",
)
# What keeps channels apart and commutes with a positive factor per channel.
_CHANNELWISE = frozenset({"Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity", "Dropout", "LeakyRelu"})
_KEEPS_SIGN = frozenset(
    {
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "Reshape",
        "Flatten",
        "Transpose",
        "Identity",
        "Dropout",
        "ReduceMean",
    }
)


@dataclass(frozen=True)
class ResidualAdd:
    """An Add of two activations.

    Attributes:
        node: Its name.
        skip: Index of the input that is the skip side.
    """

    node: str
    skip: int


@dataclass(frozen=True)
class ChannelGroup:
    """Tensors that must share one factor per channel.

    Attributes:
        tensors: Their names, in graph order.
        producers: Names of the convolutions that write them.
        consumers: Names of the convolutions and classifiers that read them.
        channels: How many channels they have.
        scalable: Whether the factors can be taken up by producers and consumers alone.
    """

    tensors: tuple[str, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    channels: int
    scalable: bool


def prepare(model: onnx.ModelProto) -> ir.Model:
    """Return a checked copy of a graph, constants as initializers, nodes named, shapes inferred.

    Raises:
        GraphError: It cannot be quantised; the message says what to do.
    """
    inferred = check_graph(model)
    graph_model: ir.Model = ir.from_proto(inferred)
    _lift_constants(graph_model.graph)
    _name_nodes(graph_model.graph)
    check_quantizable(graph_model)
    return graph_model


def check_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with the type and shape of every tensor, after ONNX's full check.

    Raises:
        GraphError: The graph is not valid ONNX.
    """
    try:
        proto = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        # Without `full_check`, which would only infer the shapes again.
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GraphError(f"the graph is not valid ONNX: {str(error).strip().splitlines()[0]}") from error
    return proto


def check_quantizable(model: ir.Model) -> None:
    """Refuse a graph that the placement was not made for.

    Raises:
        GraphError: BatchNorm is not folded, it is quantised already, a weight is no constant, it is not
            float32, its opset is older than 13, or it has no convolution.
    """
    opset = model.graph.opset_imports.get("", 0)
    if opset < OLDEST_OPSET:
        raise GraphError(
            f"the graph has opset {opset}, expected {OLDEST_OPSET} or newer: export it again with opset 20"
        )
    for node in model.graph:
        if node.op_type in _QUANTIZED:
            raise GraphError(
                f"the graph is quantised already ({node.op_type} {node.name}): quantise the float32 graph "
                "that it was made from"
            )
        if node.op_type == "BatchNormalization":
            raise GraphError(
                f"BatchNormalization {node.name} is not folded into its convolution: fold it first, "
                "with export-ssl or with `onnxsim model.onnx folded.onnx`"
            )
    found = layers(model)
    if not any(node.op_type == "Conv" for node in found):
        raise GraphError("the graph has no convolution: expected a ResNet")
    for node in found:
        weight = node.inputs[1]
        if weight is None or weight.const_value is None:
            raise GraphError(
                f"{node.op_type} {node.name}: its weight is not a constant of the graph: expected trained weights; "
                "simplify the graph with onnxsim, or export it from a network in eval mode"
            )
        if weight.dtype != ir.DataType.FLOAT:
            raise GraphError(
                f"{node.op_type} {node.name} has a {weight.dtype} weight, expected float32: quantise the FP32 graph; "
                "FP16 comes after INT8"
            )


def constant(node: ir.Node, index: int) -> npt.NDArray[np.float32]:
    """Return a constant input of a node.

    Raises:
        GraphError: It is not a constant.
    """
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or value.const_value is None:
        raise GraphError(f"{node.op_type} {node.name}: input {index} is not a constant: expected trained parameters")
    array: npt.NDArray[np.float32] = value.const_value.numpy()
    return array


def layers(model: ir.Model) -> tuple[ir.Node, ...]:
    """Return convolutions and classifiers in graph order: Conv, Gemm, and MatMul with a constant."""
    return tuple(
        node
        for node in model.graph
        if node.op_type in ("Conv", "Gemm")
        or (node.op_type == "MatMul" and node.inputs[1] is not None and node.inputs[1].const_value is not None)
    )


def nonnegative_tensors(model: ir.Model) -> frozenset[str]:
    """Return the tensors that cannot be negative, whatever the image: the graph alone says so."""
    found: set[str] = set()
    for node in model.graph:
        variables = [value.name for value in node.inputs if value is not None and value.const_value is None]
        inherits = node.op_type in _KEEPS_SIGN or node.op_type in ("Add", "Concat")
        from_pixels = node.op_type in ("Cast", "Transpose") and any(
            value is not None and value.dtype == ir.DataType.UINT8 for value in node.inputs
        )
        if (
            node.op_type in ("Relu", "Sigmoid")
            or from_pixels
            or _clips_at_zero(node)
            or (inherits and len(variables) == len(node.inputs) and found.issuperset(variables))
            or (inherits and node.op_type not in ("Add", "Concat") and variables and variables[0] in found)
        ):
            found.update(value.name for value in node.outputs if value.name)
    return frozenset(found)


def _clips_at_zero(node: ir.Node) -> bool:
    if node.op_type != "Clip" or len(node.inputs) < 2 or node.inputs[1] is None:
        return False
    lowest = node.inputs[1].const_value
    return lowest is not None and float(lowest.numpy()) >= 0


def residual_adds(model: ir.Model) -> tuple[ResidualAdd, ...]:
    """Return every Add of two activations, with its skip side.

    Rules:

    1. An input that no convolution of its own leads to (an identity: other nodes read it too, or it comes
       from anything but a Conv) is the skip side.
    2. Where both are outputs of convolutions that only the Add reads, as in a downsample block, the main
       branch is the one with more convolutions since the two parted; the other is the skip side.
    3. In a tie, or where both are identities, it is the second input.
    """
    adds = []
    for node in model.graph:
        first, second = (node.inputs[0], node.inputs[1]) if node.op_type == "Add" else (None, None)
        if first is None or second is None or first.const_value is not None or second.const_value is not None:
            continue
        own = [_is_own_convolution(value) for value in (first, second)]
        if own[0] != own[1]:
            skip = own.index(False)
        else:
            lengths = _branch_lengths(first, second)
            skip = 0 if lengths[0] < lengths[1] else 1
        adds.append(ResidualAdd(node.name or "", skip))
    return tuple(adds)


def _is_own_convolution(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "Conv" and len(value.uses()) == 1


def _branch_lengths(first: ir.Value, second: ir.Value) -> tuple[int, int]:
    """Return how many convolutions each branch has since the two parted."""
    ours, theirs = _ancestors(first), _ancestors(second)
    shared = ours & theirs

    def length(nodes: set[ir.Node]) -> int:
        return sum(node.op_type == "Conv" for node in nodes - shared)

    return length(ours), length(theirs)


def _ancestors(value: ir.Value) -> set[ir.Node]:
    found: set[ir.Node] = set()
    waiting = [value]
    while waiting:
        producer = waiting.pop().producer()
        if producer is not None and producer not in found:
            found.add(producer)
            waiting.extend(source for source in producer.inputs if source is not None)
    return found


def channel_groups(model: ir.Model) -> tuple[ChannelGroup, ...]:
    """Return the groups of tensors that share channels, in graph order.

    Rules:

    1. The output of a convolution begins a group. ReLU, pooling and, behind a global pool, Flatten hand it on
       channel by channel; a residual Add joins its inputs' groups and its output's.
    2. Its producers are the convolutions that write its tensors, its consumers the Conv, Gemm and MatMul that
       read them.
    3. It is scalable if nothing else touches it: no other operator, no graph input, and no graph output (so
       the last stage is not, where the pooled features are an output).
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

    def groups(self) -> Iterator[ChannelGroup]:
        members: dict[ir.Value, list[ir.Value]] = {}
        for node in self._model.graph:
            for value in node.outputs:
                members.setdefault(self._find(value), []).append(value)
        for tensors in members.values():
            made_by = [value.producer() for value in tensors]
            producers = [node for node in made_by if node is not None and node.op_type == "Conv"]
            if producers:
                yield self._describe(tensors, producers)

    def _describe(self, tensors: list[ir.Value], producers: list[ir.Node]) -> ChannelGroup:
        uses = [(use.node, use.idx) for value in tensors for use in value.uses()]
        consumers = list(dict.fromkeys(node for node, index in uses if node.op_type in LAYERS and index == 0))
        inside = set(producers) | set(consumers)
        touching = {node for node, _ in uses} | {node for value in tensors if (node := value.producer())}
        strangers = [node for node in touching - inside if not (_hands_on_channels(node) or _adds_activations(node))]
        channels = len(constant(producers[0], 1))
        whole = all(node.op_type != "Conv" or len(constant(node, 1)) == channels for node in producers) and all(
            _reads(node) == channels for node in consumers
        )
        return ChannelGroup(
            tensors=tuple(value.name or "" for value in tensors),
            producers=tuple(node.name or "" for node in producers),
            consumers=tuple(node.name or "" for node in consumers),
            channels=channels,
            scalable=whole and not strangers and not any(value.is_graph_output() for value in tensors),
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


def _hands_on_channels(node: ir.Node) -> bool:
    if node.op_type in ("Flatten", "Reshape", "ReduceMean"):
        source = node.inputs[0]
        producer = source.producer() if source is not None else None
        pooled = producer is not None and producer.op_type == "GlobalAveragePool"
        return node.op_type == "ReduceMean" or pooled
    return node.op_type in _CHANNELWISE


def _adds_activations(node: ir.Node) -> bool:
    return node.op_type == "Add" and all(value is not None and value.const_value is None for value in node.inputs)


def _reads(node: ir.Node) -> int:
    """Return how many input channels a layer's weight is for."""
    shape = constant(node, 1).shape
    if node.op_type == "Conv":
        return int(shape[1]) * node.attributes.get_int("group", 1)
    return int(shape[1] if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1 else shape[0])


def _lift_constants(graph: ir.Graph) -> None:
    """Turn Constant nodes into initializers."""
    for node in [node for node in graph if node.op_type == "Constant" and "value" in node.attributes]:
        output = node.outputs[0]
        tensor = node.attributes["value"].as_tensor()
        value = ir.Value(name=f"{output.name}.constant", const_value=tensor)
        value.shape, value.type = ir.Shape(tensor.numpy().shape), ir.TensorType(tensor.dtype)
        graph.register_initializer(value)
        ir.convenience.replace_all_uses_with(output, value)
        graph.remove(node, safe=True)


def _name_nodes(graph: ir.Graph) -> None:
    """Give every node a name of its own: graphs from elsewhere may have none."""
    taken: set[str] = set()
    for node in graph:
        name = node.name or f"{node.op_type.lower()}"
        base, number = name, 1
        while name in taken:
            name, number = f"{base}.{number}", number + 1
        node.name = name
        taken.add(name)
