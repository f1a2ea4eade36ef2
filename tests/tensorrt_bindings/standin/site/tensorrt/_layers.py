"""The inspector's layers: which ONNX nodes an engine would fuse, and in which type each layer runs.

The rules are those that show in real inspector files of ResNets: Conv takes its Add, Relu and (in INT8) MaxPool, Q/DQ
pairs fold into what reads and writes them, what is before the first convolution is one generated kernel.
"""

from collections.abc import Iterable
from typing import Any

import onnx
from cuda.bindings._machine import faults

from tensorrt._fusion import Layer, fuse
from tensorrt._graph import Graph
from tensorrt._interface import API, RTX

_HAS_METADATA = RTX or tuple(int(part) for part in API["version"].split(".")[:2]) >= (10, 10)
# Type to the words of a layout and of the type, as 10.x joins them with a blank and 11 keeps them apart.
_FORMATS = {
    "INT8": ("Thirty-two wide channel vectorized row major", "Int8 format"),
    "HALF": ("Channel major FP16 format where channel % 8 == 0", ""),
    "FLOAT": ("Row major linear", "FP32"),
    "UINT8": ("Row major linear", "UInt8"),
    "INT32": ("Row major linear", "Int32"),
    "INT64": ("Row major linear", "Int64"),
    "BOOL": ("Row major linear", "Bool"),
}
_ALONE = {"INT8": "Int8", "HALF": "FP16", "FLOAT": "FP32", "UINT8": "UInt8", "INT32": "Int32", "INT64": "Int64"}
# Myelin's layers name only the type.
_MYELIN = {"INT8": "Int8", "HALF": "Half", "FLOAT": "Float", "UINT8": "UInt8", "INT32": "Int32", "INT64": "Int64"}
_WEIGHTS = {"INT8": "Int8", "HALF": "Half", "FLOAT": "Float"}
# Multiplications per millisecond by type, the ratios of an A100's tensor cores at a fraction of their peak.
_MACS_PER_MS = {"INT8": 6.0e10, "HALF": 3.0e10, "FLOAT": 1.0e10}
# No kernel is shorter than its launch.
_LAUNCH_MS = 0.004


def make_layers(graph: Graph) -> list[dict[str, Any]]:
    """Return the detailed layers in a form of our own: names, types, shapes, fused nodes, multiplications."""
    layers = fuse(graph)
    convolutions = [layer for layer in layers if layer.node is not None and layer.node.op_type == "Conv"]
    reduced = [layer for layer in convolutions if layer.precision in ("INT8", "HALF")]
    if len(reduced) > 1 and "fp32-island" in faults():
        reduced[1].run_in_float()
    if len(convolutions) > 1 and "unknown-layer" in faults():
        convolutions[1].kind = "Zebra"
    return [_record(graph, layer) for layer in layers]


def _record(graph: Graph, layer: Layer) -> dict[str, Any]:
    record: dict[str, Any] = {
        "Name": layer.name,
        "LayerType": layer.kind,
        "Inputs": [_tensor(graph, name, kind) for name, kind in layer.inputs],
        "Outputs": [_tensor(graph, name, kind) for name, kind in layer.outputs],
    }
    if layer.kind == "Reformat":
        record |= {"ParameterType": "Reformat", "Origin": "QDQ"}
    if layer.node is not None and layer.node.op_type == "Conv":
        record |= _convolution_parameters(graph, layer)
    record["TacticValue"] = "0x0000000000000000"
    record["Metadata"] = "\x1e".join(f"[ONNX Layer: {name}]" for name in layer.nodes)
    record["Macs"] = _macs(graph, layer.node)
    record["Precision"] = layer.precision
    return record


def _tensor(graph: Graph, name: str, kind: str) -> dict[str, Any]:
    return {"Name": name, "Location": "Device", "Dimensions": graph.shapes.get(name, []), "Type": kind}


def _convolution_parameters(graph: Graph, layer: Layer) -> dict[str, Any]:
    assert layer.node is not None
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in layer.node.attribute}
    weight = graph.shapes[layer.node.input[1]]
    count = 1
    for size in weight:
        count *= size
    return {
        "ParameterType": "Convolution",
        "Kernel": weight[2:],
        "Stride": list(attributes.get("strides", [1, 1])),
        "OutMaps": weight[0],
        "Groups": attributes.get("group", 1),
        "Weights": {"Type": _WEIGHTS[layer.precision], "Count": count},
        "Bias": {"Type": "Float" if layer.precision == "INT8" else _WEIGHTS[layer.precision], "Count": weight[0]},
        "TacticName": f"sm80_xmma_fprop_implicit_gemm_{layer.tactic}_standin",
    }


def _macs(graph: Graph, node: onnx.NodeProto | None) -> int:
    """Return the multiplications of one image."""
    if node is None or node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    count = 1
    for size in (*graph.shapes.get(node.input[1], ()), *graph.shapes.get(node.output[0], ())[2:]):
        count *= max(size, 1)
    return count


def layer_list(layers: Iterable[dict[str, Any]]) -> str:
    """Return the message in which a build of TensorRT for RTX tells the layers, as version 1.7 writes it."""
    lines = ["Layers:"]
    for layer in layers:
        inputs, outputs = (",".join(map(_listed, layer[side])) for side in ("Inputs", "Outputs"))
        metadata = layer["Metadata"].replace("\x1e", "")
        lines.append(
            f"Name: {layer['Name']}, LayerType: {layer['LayerType']}, Inputs: [{inputs}], Constants: [], "
            f"Outputs: [{outputs}], TacticName: standin, StreamId: 0, Metadata: {metadata}"
        )
    return "\n".join(lines)


def _listed(tensor: dict[str, Any]) -> str:
    sizes = tensor["Dimensions"]
    words = {
        "Name": tensor["Name"],
        "Dimensions": _numbers(sizes),
        "Strides": _numbers(sizes),
        "StrideOrder": _numbers(range(len(sizes))),
        "Datatype": _MYELIN.get(tensor["Type"], tensor["Type"]),
        "Format": "Row major linear",
    }
    return " { " + ", ".join(f"{name}: {value}" for name, value in words.items()) + " }"


def _numbers(values: Iterable[int]) -> str:
    return "[" + ",".join(map(str, values)) + "]"


def layer_times(layers: Iterable[dict[str, Any]], batch: int) -> list[tuple[str, float]]:
    """Return (name, milliseconds) per layer: made up, the same every time, in a plausible order of size."""
    return [
        (layer["Name"], _LAUNCH_MS + batch * layer["Macs"] / _MACS_PER_MS.get(layer["Precision"], 1.0e10))
        for layer in layers
    ]


def describe_engine(
    layers: list[dict[str, Any]], io: list[str], verbosity: str, *, major: int, batch: int
) -> dict[str, Any]:
    """Return what the inspector says, with the keys of TensorRT `major`, and `batch` in place of dynamic sizes."""
    if verbosity == "DETAILED":
        shown: list[Any] = [_spell(layer, major, batch) for layer in layers]
    else:
        shown = [layer["Name"] for layer in layers] if verbosity == "LAYER_NAMES_ONLY" else []
    if major >= 11:
        return {"Layers": shown, "I/O Tensors": [{"Name": name} for name in io]}
    return {"Layers": shown, "Bindings": io}


def _spell(layer: dict[str, Any], major: int, batch: int) -> dict[str, Any]:
    spelled = {key: value for key, value in layer.items() if key not in ("Macs", "Precision", "Metadata")}
    myelin = layer["LayerType"] in ("kgen", "gemm", "conv")
    for side in ("Inputs", "Outputs"):
        spelled[side] = [_spell_tensor(tensor, myelin, major) for tensor in layer[side]]
        for tensor in spelled[side]:
            tensor["Dimensions"] = [batch if size == -1 else size for size in tensor["Dimensions"]]
    if _HAS_METADATA:
        spelled |= {"StreamId": 0, "Metadata": layer["Metadata"]}
    return spelled


def _spell_tensor(tensor: dict[str, Any], myelin: bool, major: int) -> dict[str, Any]:
    spelled = {key: value for key, value in tensor.items() if key != "Type"}
    kind = tensor["Type"]
    layout, words = _FORMATS.get(kind, ("Row major linear", kind))
    if major >= 11:
        return {**spelled, "Format": "" if myelin else layout, "Datatype": _ALONE.get(kind, kind)}
    text = _MYELIN.get(kind, kind) if myelin else f"{layout} {words}".rstrip()
    return {**spelled, "Format/Datatype": text}
