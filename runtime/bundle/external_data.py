"""Whether an ONNX file has weights in other files, found without onnx and without reading the weights.

ONNX lets a tensor name a file that holds its values. A manifest does not list such a file, so no hash would be checked
for it, and the engines would read it all the same. export-ssl writes every weight into `model.onnx`.

1. The messages that lead to tensors are walked (`_WITHIN`): those of graphs, of nodes' attributes, of graphs within
   nodes, of functions and of training. Everything else is skipped by its length.
2. Nodes are many and small. One is walked only if the word `location` is in it, which is the key under which a tensor
   names its file: without it no engine finds one.
3. What is no protobuf is none for the engines either, and is left to them.

Source: onnx.proto of ONNX 1.19, for numbers of fields; protobuf.dev/programming-guides/encoding, for how they are
written.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from runtime.support.files import open_plain

_VARINT, _EIGHT_BYTES, _LENGTH, _GROUP, _END_GROUP, _FOUR_BYTES = 0, 1, 2, 3, 4, 5
_FIXED_BYTES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
# Of 7 bits each, for 64 bits.
_VARINT_BYTES = 10
# Source: protobuf's limit in C++ and Python, `kDefaultRecursionLimit`; what is deeper, the engines refuse.
_DEEPEST = 100

# Message to its fields that lead to tensors, and the messages that these are.
_WITHIN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
# TensorProto.external_data, and data_location, whose only value but 0 is EXTERNAL.
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_LOCATION_KEY = b"location"


class _NoProtobufError(Exception):
    """The bytes are no protobuf."""


def has_external_data(model: Path) -> bool:
    """Return whether a tensor of an ONNX file has its values, or says that it has them, in another file.

    Raises:
        OSError: The file cannot be read.
    """
    size = model.stat().st_size
    with open_plain(model) as file:
        try:
            return _is_external(file, 0, size, "Model", 0)
        except _NoProtobufError:
            return False


def _is_external(file: BinaryIO, start: int, end: int, message: str, depth: int) -> bool:
    """Return whether a message that lies in `file` from `start` to `end` holds such a tensor."""
    if depth > _DEEPEST:
        raise _NoProtobufError
    within = _WITHIN[message]
    for number, value, length in _fields(file, start, end):
        if message == "Tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and length < 0 and value)):
            return True
        kind = within.get(number)
        if kind is None or length < 0:
            continue
        if kind == "Node":
            file.seek(value)
            node = file.read(length)
            found = _LOCATION_KEY in node and _is_external(BytesIO(node), 0, length, kind, depth + 1)
        else:
            found = _is_external(file, value, value + length, kind, depth + 1)
        if found:
            return True
    return False


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the fields of a message: number, and where its content starts and its length; or a number's value, and -1.

    Raises:
        _NoProtobufError: The bytes are no fields, or go beyond the message.
    """
    position, groups = start, 0
    while position < end:
        file.seek(position)
        tag, position = _varint(file, position)
        # Of a tag, protobuf reads 32 bits.
        number, kind = (tag & 0xFFFFFFFF) >> 3, tag & 7
        if kind == _VARINT:
            value, position = _varint(file, position)
            if not groups:
                yield number, value, -1
        elif kind == _LENGTH:
            length, position = _varint(file, position)
            if position + length > end:
                raise _NoProtobufError
            if not groups:
                yield number, position, length
            position += length
        elif kind in _FIXED_BYTES:
            position += _FIXED_BYTES[kind]
        elif kind in (_GROUP, _END_GROUP):
            # Of old versions of protobuf: an unknown one is skipped with what is in it.
            groups += 1 if kind == _GROUP else -1
        else:
            raise _NoProtobufError
        if position > end or groups < 0 or not number:
            raise _NoProtobufError


def _varint(file: BinaryIO, position: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, the lowest first, and where it ends."""
    value = 0
    for place in range(_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            raise _NoProtobufError
        value |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            return value, position + place + 1
    raise _NoProtobufError
