"""Which nodes of an ONNX graph become one layer of the engine, and the types that the layer reads and writes."""

from dataclasses import dataclass, field

import onnx

from tensorrt._graph import DEQUANTIZE, QUANTIZE, Graph

Tensor = tuple[str, str]

_KINDS = {
    "MaxPool": "CaskPooling",
    "AveragePool": "CaskPooling",
    "GlobalAveragePool": "CaskPooling",
    "ReduceMean": "Reduce",
    "Softmax": "SoftMax",
    "Cast": "Cast",
    "Identity": "NoOp",
    "Flatten": "NoOp",
    "Reshape": "NoOp",
    "Squeeze": "NoOp",
    "Unsqueeze": "NoOp",
    "Transpose": "Shuffle",
    "Concat": "Concatenation",
    "Slice": "Slice",
}
_LAYER_OPERATORS = ("Conv", "Gemm", "MatMul")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean")
_TACTICS = {"INT8": "i8i8_i8i32_f32", "HALF": "f16f16_f16f16_f16", "FLOAT": "f32f32_tf32f32_f32"}


@dataclass
class Layer:
    """One engine layer.

    Attributes:
        kind: The inspector's LayerType.
        nodes: Every ONNX node in it.
        inputs: (tensor name, type), the data input first.
        outputs: The same.
        precision: Type in which it computes.
        named: The nodes that give the layer its name.
        node: Conv, Gemm or MatMul of the layer.
    """

    kind: str
    nodes: list[str]
    inputs: list[Tensor]
    outputs: list[Tensor]
    precision: str
    named: list[str] = field(default_factory=list)
    node: onnx.NodeProto | None = None

    @property
    def name(self) -> str:
        return " + ".join(self.named or self.nodes)

    @property
    def tactic(self) -> str:
        return _TACTICS[self.precision]

    def run_in_float(self) -> None:
        """Make this layer one that fell back to FP32."""
        self.precision = "FLOAT"
        self.inputs = [(name, "FLOAT") for name, _ in self.inputs]
        self.outputs = [(name, "FLOAT") for name, _ in self.outputs]


class Fusion:
    """One pass over the graph; `taken` holds the ids of nodes that are in a layer already."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.nodes = [node for node in graph.model.graph.node if graph.is_activation_node(node)]
        self.order = {id(node): index for index, node in enumerate(self.nodes)}
        self.taken: set[int] = set()
        self.layers: list[Layer] = []

    def run(self) -> list[Layer]:
        """Return the layers in the order in which they run."""
        self._fuse_preprocessing()
        for node in self.nodes:
            if id(node) not in self.taken and node.op_type in _LAYER_OPERATORS:
                self._fuse_convolution(node)
        for node in self.nodes:
            if id(node) not in self.taken and node.op_type in _POOLS:
                self._fuse_pool(node)
        for node in self.nodes:
            if id(node) not in self.taken:
                self._add_single(node)
        return sorted(self.layers, key=self._position)

    def _position(self, layer: Layer) -> int:
        names = set(layer.nodes)
        return max((index for index, node in enumerate(self.nodes) if node.name in names), default=0)

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        return self.graph.consumers.get(tensor, [])

    def _fuse_preprocessing(self) -> None:
        """Take everything upstream of the first convolution as one generated kernel."""
        first = next((node for node in self.nodes if node.op_type in _LAYER_OPERATORS), None)
        if first is None:
            return
        upstream: list[onnx.NodeProto] = []
        pending = [first.input[0]]
        while pending:
            node = self.graph.producers.get(pending.pop())
            if node is not None and self.graph.is_activation_node(node) and node not in upstream:
                upstream.append(node)
                pending += node.input
        # A DequantizeLinear in front of the convolution belongs to the convolution.
        nodes = [n for n in self.nodes if n in upstream and n.op_type != DEQUANTIZE]
        if nodes:
            last = nodes[-1].output[0]
            kind = "INT8" if nodes[-1].op_type == QUANTIZE else self.graph.datatype(last)
            inputs = [(n, self.graph.datatype(n)) for node in nodes for n in node.input if n in self.graph.inputs]
            label = "".join(dict.fromkeys(node.op_type[:4] for node in nodes))
            named = [f"__myl_{label}_myl0_0"]
            self._add(nodes, Layer("kgen", [n.name for n in nodes], inputs, [(last, kind)], "FLOAT", named))

    def _fuse_convolution(self, node: onnx.NodeProto) -> None:
        weight = self.graph.producers.get(node.input[1])
        quantized = weight is not None and weight.op_type == DEQUANTIZE and self._reads_int8(node.input[0])
        precision = "INT8" if quantized else self.graph.datatype(node.input[0])
        fused, inputs, out = [node], [self._input(node.input[0], quantized)], node.output[0]
        while (follower := self._follower(node, fused, out, quantized)) is not None:
            if follower.op_type == "Add":
                other = next(name for name in follower.input if name != out)
                inputs.append(self._input(other, quantized))
            fused.append(follower)
            out = follower.output[0]
        outputs, folded = self._output(out, quantized)
        kind = self._kind(node, fused, precision)
        weights = [weight.name] if weight is not None else []
        nodes = [*self._dequantizers(inputs), *weights, *(n.name for n in (*fused, *folded))]
        self._add((*fused, *folded), Layer(kind, nodes, inputs, outputs, precision, [n.name for n in fused], node))

    def _follower(
        self, node: onnx.NodeProto, fused: list[onnx.NodeProto], out: str, quantized: bool
    ) -> onnx.NodeProto | None:
        """Return the next node that this layer takes; None where it ends."""
        consumers = self.consumers(out)
        if len(consumers) != 1 or out in self.graph.outputs or id(consumers[0]) in self.taken:
            return None
        follower, operators = consumers[0], [n.op_type for n in fused]
        if follower.op_type == "Relu" and "Relu" not in operators:
            return follower
        if follower.op_type == "Add" and node.op_type == "Conv" and operators == ["Conv"]:
            # Of two branches the one without Q/DQ in front of the Add takes it; of two alike, the one computed last.
            other = next((name for name in follower.input if name != out), out)
            takes = other != out and ((quantized and self._reads_int8(other)) or self._is_before(other, node))
            return follower if takes else None
        pools = follower.op_type == "MaxPool" and quantized and operators[-1] == "Relu" and "Add" not in operators
        return follower if pools and self._only_quantized(follower.output[0]) else None

    def _is_before(self, tensor: str, node: onnx.NodeProto) -> bool:
        """Say whether `tensor` is ready when `node` runs: no convolution after `node` leads to it."""
        producer = self.graph.producers.get(tensor)
        if producer is None or id(producer) not in self.order:
            return True
        if producer.op_type in _LAYER_OPERATORS:
            return self.order[id(producer)] < self.order[id(node)]
        return all(self._is_before(name, node) for name in producer.input if name)

    def _reads_int8(self, tensor: str) -> bool:
        producer = self.graph.producers.get(tensor)
        return producer is not None and producer.op_type == DEQUANTIZE

    def _input(self, tensor: str, quantized: bool) -> Tensor:
        if quantized and self._reads_int8(tensor):
            return self.graph.producers[tensor].input[0], "INT8"
        return tensor, self.graph.datatype(tensor)

    def _only_quantized(self, tensor: str) -> bool:
        consumers = self.consumers(tensor)
        return tensor not in self.graph.outputs and bool(consumers) and all(n.op_type == QUANTIZE for n in consumers)

    def _output(self, tensor: str, quantized: bool) -> tuple[list[Tensor], list[onnx.NodeProto]]:
        """Return what a layer writes, and the QuantizeLinear nodes that it takes."""
        if quantized and self._only_quantized(tensor):
            folded = self.consumers(tensor)
            return [(node.output[0], "INT8") for node in folded], folded
        return [(tensor, self.graph.datatype(tensor))], []

    def _dequantizers(self, inputs: list[Tensor]) -> list[str]:
        """Return the names of the DequantizeLinear nodes behind quantised inputs."""
        quantized = [name for name, kind in inputs if kind == "INT8"]
        return [n.name for name in quantized for n in self.consumers(name) if n.op_type == DEQUANTIZE]

    def _kind(self, node: onnx.NodeProto, fused: list[onnx.NodeProto], precision: str) -> str:
        if node.op_type != "Conv":
            return "CaskGemmMatrixMultiply" if precision != "FLOAT" else "gemm"
        if any(n.op_type == "MaxPool" for n in fused):
            return "CaskConvActPool"
        return "CaskConvolution"

    def _fuse_pool(self, node: onnx.NodeProto) -> None:
        quantized = self._reads_int8(node.input[0])
        source = self._input(node.input[0], quantized)
        outputs, folded = self._output(node.output[0], quantized)
        nodes = [*self._dequantizers([source]), node.name, *(n.name for n in folded)]
        self._add((node, *folded), Layer(_KINDS[node.op_type], nodes, [source], outputs, source[1], [node.name]))

    def _add_single(self, node: onnx.NodeProto) -> None:
        """Add a node that nothing took: leftover Q/DQ is a Reformat, everything else a layer of its own."""
        if node.op_type == DEQUANTIZE and self._is_folded(node):
            self.taken.add(id(node))
            return
        names = [name for name in node.input if name and not self.graph.is_constant(name)]
        inputs = [(name, self.graph.datatype(name)) for name in names]
        outputs = [(name, self.graph.datatype(name)) for name in node.output]
        kind = "Reformat" if node.op_type in (QUANTIZE, DEQUANTIZE) else _KINDS.get(node.op_type, "PointWiseV2")
        self._add((node,), Layer(kind, [node.name], inputs, outputs, outputs[0][1]))

    def _is_folded(self, node: onnx.NodeProto) -> bool:
        """Say whether every reader of a dequantised tensor reads the INT8 tensor itself."""
        readers = self.consumers(node.output[0])
        quantized = {name for layer in self.layers for name, kind in layer.inputs if kind == "INT8"}
        taken = all(id(reader) in self.taken for reader in readers)
        as_float = {name for layer in self.layers for name, _ in layer.inputs}
        return taken and node.input[0] in quantized and node.output[0] not in as_float

    def _add(self, nodes: "list[onnx.NodeProto] | tuple[onnx.NodeProto, ...]", layer: Layer) -> None:
        self.taken.update(id(node) for node in nodes)
        self.layers.append(layer)


def fuse(graph: Graph) -> list[Layer]:
    """Return the layers that an engine of this graph would have."""
    return Fusion(graph).run()
