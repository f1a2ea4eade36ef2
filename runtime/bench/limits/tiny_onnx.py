"""The bytes of ONNX models of one or two nodes, for probing onnxruntime without the package onnx.

Source: onnx/onnx.proto3 (field numbers), Protocol Buffers' encoding (varints, length-delimited fields).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

# What onnxruntime >= 1.17 and onnx >= 1.15 read.
_IR_VERSION, _OPSET = 9, 17
_VARINT, _LENGTH_DELIMITED = 0, 2
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6}

Node = tuple[str, Sequence[str], str]


def tiny_model(
    nodes: Iterable[Node],
    *,
    inputs: dict[str, tuple[str, tuple[int, ...]]],
    outputs: dict[str, tuple[str, tuple[int, ...]]],
    constants: dict[str, npt.NDArray[np.generic]],
) -> bytes:
    """Return the bytes of an ONNX model.

    Args:
        nodes: (operator, inputs, output) in execution order; operators without attributes.
        inputs: Element type (`float32`, `uint8`, `int8`, `int32`) and shape by name.
        outputs: The same.
        constants: Initializers by name.
    """
    graph = b"".join(
        (
            *(_field(1, _node(*node)) for node in nodes),
            _field(2, b"probe"),
            *(_field(5, _tensor(name, array)) for name, array in constants.items()),
            *(_field(11, _value(name, *kind)) for name, kind in inputs.items()),
            *(_field(12, _value(name, *kind)) for name, kind in outputs.items()),
        )
    )
    return _number(1, _IR_VERSION) + _field(7, graph) + _field(8, _number(2, _OPSET))


def _node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    names = b"".join(_field(1, name.encode()) for name in inputs)
    return names + _field(2, output.encode()) + _field(3, output.encode()) + _field(4, operator.encode())


def _tensor(name: str, array: npt.NDArray[np.generic]) -> bytes:
    dimensions = b"".join(_number(1, size) for size in array.shape)
    little_endian = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return (
        dimensions
        + _number(2, _TYPES[array.dtype.name])
        + _field(8, name.encode())
        + _field(9, little_endian.tobytes())
    )


def _value(name: str, kind: str, shape: tuple[int, ...]) -> bytes:
    dimensions = b"".join(_field(1, _number(1, size)) for size in shape)
    tensor = _number(1, _TYPES[kind]) + _field(2, dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))
