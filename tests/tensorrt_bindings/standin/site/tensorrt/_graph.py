"""An ONNX graph with what the stand-in asks of it: producers, consumers, types, shapes and constants."""

from dataclasses import dataclass, field
from functools import cached_property

import onnx
from onnx import TensorProto

# ONNX element types to TensorRT's DataType names.
DATATYPES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT8: "INT8",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
}
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


@dataclass
class Graph:
    """A model whose types and shapes were inferred.

    Attributes:
        model: The model.
        types: ONNX element type by tensor name.
        shapes: Shape by tensor name, -1 for a dynamic dimension.
    """

    model: onnx.ModelProto
    types: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.model.graph
        for info in (*graph.input, *graph.output, *graph.value_info):
            tensor = info.type.tensor_type
            self.types[info.name] = tensor.elem_type
            dimensions = tensor.shape.dim
            self.shapes[info.name] = [d.dim_value if d.HasField("dim_value") else -1 for d in dimensions]
        for initializer in graph.initializer:
            self.types[initializer.name] = initializer.data_type
            self.shapes[initializer.name] = list(initializer.dims)

    @cached_property
    def initializers(self) -> dict[str, onnx.TensorProto]:
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def producers(self) -> dict[str, onnx.NodeProto]:
        return {output: node for node in self.model.graph.node for output in node.output}

    @cached_property
    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.model.graph.node:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def inputs(self) -> list[str]:
        return [info.name for info in self.model.graph.input if info.name not in self.initializers]

    @cached_property
    def outputs(self) -> list[str]:
        return [info.name for info in self.model.graph.output]

    def is_constant(self, name: str) -> bool:
        """Say whether a tensor is known when the engine is built: initializers and what follows from them alone."""
        if name in self.initializers or name == "":
            return True
        node = self.producers.get(name)
        return node is not None and all(self.is_constant(used) for used in node.input)

    def is_activation_node(self, node: onnx.NodeProto) -> bool:
        """Say whether a node computes something at run time."""
        return not all(self.is_constant(name) for name in node.output)

    def datatype(self, name: str) -> str:
        """Return TensorRT's name of a tensor's type; "UNKNOWN" where there is none."""
        return DATATYPES.get(self.types.get(name, 0), "UNKNOWN")


def read_graph(data: bytes, path: str | None) -> Graph:
    """Return the graph of an ONNX file.

    Raises:
        ValueError: Not an ONNX file, or weights in other files that `path` does not lead to.
    """
    from pathlib import Path

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:
        raise ValueError("Failed to parse the ONNX model: not a protobuf") from error
    if not model.graph.node:
        raise ValueError("Failed to parse the ONNX model: no nodes")
    external = [
        tensor.name for tensor in model.graph.initializer if onnx.external_data_helper.uses_external_data(tensor)
    ]
    if external:
        try:
            onnx.load_external_data_for_model(model, str(Path(path).parent) if path else ".")
        except Exception as error:
            raise ValueError(f"Failed to open the external weights of {external[0]}") from error
    # Not strict: unknown operators and wrong types are told node by node, with everything else that is wrong.
    return Graph(onnx.shape_inference.infer_shapes(model, data_prop=True))
