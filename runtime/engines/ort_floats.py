"""FP16 graphs for processors on which onnxruntime adds up in FP16: computed in FP32, with the weights that they have.

On ARM with FP16 arithmetic onnxruntime has FP16 kernels, whose sums are FP16 too, and no option turns them off. So the
graph is rewritten as it is opened:

1. FP16 constants become FP32 ones with the same values.
2. Every FP16 tensor becomes an FP32 one; a Cast to FP16 becomes one to FP32.

This is what onnxruntime does by itself on processors without such kernels. The bundle's file is left as it is.

onnx is not needed: the few fields that change are described here, and protobuf, which onnxruntime depends on, keeps all
others as they are.

Source: onnx.proto of ONNX 1.16, for names and numbers of fields.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import EngineError

_FLOAT, _FLOAT16 = 1, 10

# Message to its fields: number, name, whether repeated, and the message that it is; '' for integers, 'bytes' for bytes.
_FIELDS: dict[str, tuple[tuple[int, str, bool, str], ...]] = {
    "Model": ((7, "graph", False, "Graph"),),
    "Graph": (
        (1, "node", True, "Node"),
        (5, "initializer", True, "Tensor"),
        (11, "input", True, "Value"),
        (12, "output", True, "Value"),
        (13, "value_info", True, "Value"),
    ),
    "Node": ((4, "op_type", False, "bytes"), (5, "attribute", True, "Attribute")),
    "Attribute": ((1, "name", False, "bytes"), (3, "i", False, ""), (5, "t", False, "Tensor")),
    "Tensor": ((2, "data_type", False, ""), (5, "int32_data", True, ""), (9, "raw_data", False, "bytes")),
    "Value": ((2, "type", False, "Type"),),
    "Type": ((1, "tensor_type", False, "TensorType"),),
    "TensorType": ((1, "elem_type", False, ""),),
}


def compute_in_floats(path: Path) -> bytes:
    """Return the serialised graph of a file with FP32 in the place of FP16.

    Args:
        path: `model.onnx` of a bundle.

    Raises:
        EngineError: An FP16 constant has no values of its own.
    """
    model = _messages()["Model"]()
    model.ParseFromString(path.read_bytes())
    graph = model.graph
    for tensor in graph.initializer:
        _widen(tensor, path)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t, path)
            if (node.op_type, attribute.name, attribute.i) == (b"Cast", b"to", _FLOAT16):
                attribute.i = _FLOAT
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == _FLOAT16:
            value.type.tensor_type.elem_type = _FLOAT
    serialised: bytes = model.SerializeToString()
    return serialised


def _widen(tensor: Any, path: Path) -> None:
    """Make a constant FP32, if it is FP16."""
    if tensor.data_type != _FLOAT16:
        return
    if tensor.HasField("raw_data"):
        values = np.frombuffer(tensor.raw_data, "<f2")
    elif tensor.int32_data:
        values = np.array(tensor.int32_data, "<u2").view("<f2")
    else:
        raise EngineError(f"{path}: an FP16 constant has its values in no field that is known: export the bundle again")
    tensor.data_type = _FLOAT
    tensor.raw_data = values.astype("<f4").tobytes()
    del tensor.int32_data[:]


@cache
def _messages() -> dict[str, Any]:
    """Return protobuf's classes of the messages in `_FIELDS`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    # proto2, as ONNX: a field that was not there is not written.
    file = descriptor_pb2.FileDescriptorProto(name="export_ssl_onnx.proto", package="export_ssl", syntax="proto2")
    field_type = descriptor_pb2.FieldDescriptorProto
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for number, name, repeated, kind in fields:
            label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=label)
            field.type = {"": field_type.TYPE_INT64, "bytes": field_type.TYPE_BYTES}.get(kind, field_type.TYPE_MESSAGE)
            if field.type == field_type.TYPE_MESSAGE:
                field.type_name = f".export_ssl.{kind}"
            if repeated and not kind:
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"export_ssl.{name}")) for name in _FIELDS}
