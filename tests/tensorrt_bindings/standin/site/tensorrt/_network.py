"""INetworkDefinition and OnnxParser over a parsed ONNX graph."""

import os
from pathlib import Path
from typing import Any

import onnx

from tensorrt import _logging
from tensorrt._graph import Graph, read_graph
from tensorrt._interface import API, MAJOR, State, enum
from tensorrt._logging import log
from tensorrt._parser import OPERATORS, Fault, find_faults
from tensorrt._values import DimsState, HostMemory

# ONNX operators to LayerType's names; what is not here is played as ELEMENTWISE.
_LAYER_TYPES = {
    "Conv": "CONVOLUTION",
    "Gemm": "MATRIX_MULTIPLY",
    "MatMul": "MATRIX_MULTIPLY",
    "Relu": "ACTIVATION",
    "Cast": "CAST",
    "MaxPool": "POOLING",
    "AveragePool": "POOLING",
    "GlobalAveragePool": "REDUCE",
    "ReduceMean": "REDUCE",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Transpose": "SHUFFLE",
    "Reshape": "SHUFFLE",
    "Flatten": "SHUFFLE",
}


class TensorState(State):
    """ITensor; only what a reader asks."""

    interface = "ITensor"

    def __init__(self, graph: Graph, name: str):
        self.name = name
        self.dtype = enum(f"DataType.{graph.datatype(name)}") if graph.datatype(name) != "UNKNOWN" else None
        self.shape = DimsState(graph.shapes.get(name, []))
        self.is_network_input = name in graph.inputs
        self.is_network_output = name in graph.outputs


class LayerState(State):
    """ILayer; only what a reader asks."""

    interface = "ILayer"

    def __init__(self, graph: Graph, node: onnx.NodeProto):
        self.name = node.name
        self.metadata = f"[ONNX Layer: {node.name}]"
        self.type = enum(f"LayerType.{_LAYER_TYPES.get(node.op_type, 'ELEMENTWISE')}")
        self._inputs = [TensorState(graph, name) for name in node.input if name and not graph.is_constant(name)]
        self._outputs = [TensorState(graph, name) for name in node.output if name]
        self.num_inputs, self.num_outputs = len(self._inputs), len(self._outputs)

    def get_input(self, index: int) -> TensorState | None:
        return self._inputs[index] if index < self.num_inputs else None

    def get_output(self, index: int) -> TensorState | None:
        return self._outputs[index] if index < self.num_outputs else None


class NetworkState(State):
    """INetworkDefinition."""

    interface = "INetworkDefinition"

    def __init__(self, flags: int):
        self.flags = flags
        self.name = "Unnamed Network 0"
        self.error_recorder = None
        self.has_implicit_batch_dimension = False
        self.graph: Graph | None = None
        # From 11 on every network is strongly typed, and the flag means nothing.
        bit = 1 << int(enum("NetworkDefinitionCreationFlag.STRONGLY_TYPED"))
        self.strongly_typed = MAJOR >= 11 or bool(flags & bit)

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags >> int(flag) & 1)

    @property
    def _layers(self) -> list[onnx.NodeProto]:
        return (
            [] if self.graph is None else [n for n in self.graph.model.graph.node if self.graph.is_activation_node(n)]
        )

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    @property
    def num_inputs(self) -> int:
        return len(self.graph.inputs) if self.graph else 0

    @property
    def num_outputs(self) -> int:
        return len(self.graph.outputs) if self.graph else 0

    def __len__(self) -> int:
        return self.num_layers

    def __getitem__(self, index: int) -> LayerState:
        return self.get_layer(index)

    def get_layer(self, index: int) -> LayerState:
        assert self.graph is not None
        return LayerState(self.graph, self._layers[index])

    def get_input(self, index: int) -> TensorState | None:
        return TensorState(self.graph, self.graph.inputs[index]) if self.graph and index < self.num_inputs else None

    def get_output(self, index: int) -> TensorState | None:
        return TensorState(self.graph, self.graph.outputs[index]) if self.graph and index < self.num_outputs else None


class ParserErrorState(State):
    """ParserError."""

    interface = "ParserError"

    def __init__(self, fault: Fault):
        self._fault = fault

    def code(self) -> Any:
        return enum(f"ErrorCode.{self._fault.code}")

    def desc(self) -> str:
        return self._fault.text

    def file(self) -> str:
        return "onnxOpImporters.cpp"

    def func(self) -> str:
        return f"import{self._fault.operator}"

    def line(self) -> int:
        return 1234

    def node(self) -> int:
        return self._fault.node

    def node_name(self) -> str:
        return self._fault.name

    def node_operator(self) -> str:
        return self._fault.operator

    def local_function_stack(self) -> list[str]:
        return []

    def local_function_stack_size(self) -> int:
        return 0


class ParserState(State):
    """OnnxParser."""

    interface = "OnnxParser"

    def __init__(self, network: NetworkState, logger: Any):
        self._network, self._logger = network, logger
        self._faults: list[Fault] = []
        # NATIVE_INSTANCENORM is on from the start (NvOnnxParser.h).
        self.flags = 1 << int(enum("OnnxParserFlag.NATIVE_INSTANCENORM"))

    @property
    def num_errors(self) -> int:
        return len(self._faults)

    def get_error(self, index: int) -> ParserErrorState:
        return ParserErrorState(self._faults[index])

    def clear_errors(self) -> None:
        self._faults = []

    def set_flag(self, flag: Any) -> None:
        self.flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags >> int(flag) & 1)

    def supports_operator(self, op_name: str) -> bool:
        return op_name in OPERATORS

    def parse_from_file(self, model: str) -> bool:
        if not os.path.isfile(model):  # noqa: PTH113
            return self._fail([Fault("MODEL_DESERIALIZE_FAILED", f"Could not open file {model}")])
        return self.parse(Path(model).read_bytes(), model)

    def parse(self, model: Any, path: str | None) -> bool:
        log(self._logger, "INFO", "----------------------------------------------------------------")
        try:
            graph = read_graph(bytes(model), path)
        except ValueError as error:
            return self._fail([Fault("MODEL_DESERIALIZE_FAILED", str(error))])
        opset = max((entry.version for entry in graph.model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
        log(self._logger, "INFO", f"Opset version:    {opset}; ONNX IR version:  {graph.model.ir_version}")
        if faults := find_faults(graph):
            return self._fail(faults)
        self._network.graph = graph
        self._network.name = graph.model.graph.name
        return True

    def _fail(self, faults: list[Fault]) -> bool:
        self._faults += faults
        for fault in faults:
            where = f"While parsing node number {fault.node} [{fault.operator} -> {fault.name!r}]: "
            log(self._logger, "ERROR", f"{where if fault.node >= 0 else ''}ERROR: {fault.text}")
        return False


STATES: dict[str, Any] = {
    **_logging.STATES,
    "Dims": DimsState,
    "IHostMemory": HostMemory,
    **{state.interface: state for state in (TensorState, LayerState, NetworkState, ParserErrorState, ParserState)},
}
assert set(STATES) <= set(API["classes"])
