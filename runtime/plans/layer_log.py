"""The layers of a plan as its build logs them, in the engine inspector's JSON.

With detailed profiling verbosity a build logs one VERBOSE message that begins `Layers:`, on every machine; the
inspector needs the GPU that the plan is for. Then comes one line for each layer, and one for each input and output:

    Name: conv1_myl0_2, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [-1,4,64,64], Strides:
    [16384,1,256,4], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }], Constants: [
    { ... }], Outputs: [ { ... }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: conv1][ONNX Layer: act1]

    I/O Tensors:
     Name: pixels, IOMode: Input, DataType: UInt8, Dimensions: [-1,64,64,3], Location: Device, ...

Source: builds with TensorRT for RTX 1.7.
"""

import json
import re
from typing import Any

from runtime.errors import EngineError

_FIRST_LINE = "Layers:"
_IO_LINE = "I/O Tensors:"
_TENSOR_LISTS = ("Inputs", "Constants", "Outputs")
_LAYER = re.compile(
    r"Name: (?P<Name>.*?), LayerType: (?P<LayerType>\w+), "
    r"Inputs: \[(?P<Inputs>.*?)\], Constants: \[(?P<Constants>.*?)\], "
    r"Outputs: \[(?P<Outputs>.*?)\], TacticName: (?P<TacticName>.*?), StreamId: (?P<StreamId>\d+), "
    r"(?:EventId: (?P<EventId>\d+), )?Metadata: ?(?P<Metadata>.*)"
)
_TENSOR = re.compile(
    r" \{ Name: (?P<Name>.*?), Dimensions: (?P<Dimensions>\[[-\d,]*\]), Strides: (?P<Strides>\[[-\d,]*\]), "
    r"StrideOrder: (?P<StrideOrder>\[[-\d,]*\]), Datatype: (?P<Datatype>\w+), Format: (?P<Format>[^{}]*?) \},?"
)
_IO_TENSOR = re.compile(
    r" Name: (?P<Name>.*?), IOMode: (?P<IOMode>\w+), DataType: (?P<DataType>\w+), "
    r"Dimensions: (?P<Dimensions>\[[-\d,]*\])"
)
_MEMORY = re.compile(r"Total Activation Memory: (?P<bytes>\d+) bytes")
_NUMBERS = frozenset({"Dimensions", "Strides", "StrideOrder", "StreamId", "EventId"})


def is_layer_list(message: str) -> bool:
    """Return whether a message of a build's log tells the plan's layers."""
    return message.startswith(_FIRST_LINE)


def layer_information(messages: list[str]) -> str:
    """Return the layers of a plan as the engine inspector's JSON, one layer a line.

    Args:
        messages: The messages of its build's log for which `is_layer_list` holds.

    Raises:
        EngineError: There is no such message, or it has another form than the one that this version knows.
    """
    if not messages:
        raise EngineError(
            "the build logged no list of layers, so nothing says what precision the plan runs in: report it with the "
            "library's version"
        )
    layers: list[dict[str, Any]] = []
    tensors: list[dict[str, Any]] = []
    for message in messages:
        listed, _, io = message.partition(f"\n{_IO_LINE}\n")
        layers += [_layer(line) for line in listed.splitlines()[1:] if line]
        tensors += [_values(found) for found in map(_IO_TENSOR.match, io.splitlines()) if found]
    return (
        '{"Layers": [\n'
        + ",\n".join(json.dumps(layer) for layer in layers)
        + '\n],\n"I/O Tensors": [\n'
        + ",\n".join(json.dumps(tensor) for tensor in tensors)
        + "\n]}\n"
    )


def activation_bytes(message: str) -> int:
    """Return the memory that an inference takes, by the message that tells it; 0 for every other message."""
    found = _MEMORY.match(message)
    return int(found["bytes"]) if found else 0


def _layer(line: str) -> dict[str, Any]:
    found = _LAYER.fullmatch(line)
    if found is None:
        raise _unknown_form(line)
    layer = _values(found)
    for key in _TENSOR_LISTS:
        layer[key] = _tensors(layer[key])
    return layer


def _tensors(text: str) -> list[dict[str, Any]]:
    found = list(_TENSOR.finditer(text))
    if "".join(one[0] for one in found) != text:
        raise _unknown_form(text)
    return [_values(one) for one in found]


def _values(found: "re.Match[str]") -> dict[str, Any]:
    """Return the named groups that took part, lists and numbers as such."""
    return {
        name: json.loads(text) if name in _NUMBERS else text
        for name, text in found.groupdict().items()
        if text is not None
    }


def _unknown_form(line: str) -> EngineError:
    return EngineError(
        f"the build's log tells a layer in a form that this version does not know ({line.strip()[:120]}...): report it "
        "with the library's version"
    )
