"""What the engine inspector says of a plan: layers with their tensors, datatypes and ONNX nodes, whatever the version.

Up to TensorRT 10 a tensor has one text, `Format/Datatype`: `Thirty-two wide channel vectorized row major
Int8 format`, or from Myelin only `Half`. TensorRT 11 has `Format` and `Datatype`, and lists the network's
inputs and outputs under `I/O Tensors` instead of `Bindings`.
"""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.bundle.plan_json import Datatype
from runtime.errors import EngineError
from runtime.support.json_file import first_problem, parse_json

# Every spelling, lower case, that stands in the inspector's texts or is a `DataType` member's name.
# Source: NVIDIA/TensorRT v10.16, tools/experimental/trt-engine-explorer (files of versions 8 to 10).
_DATATYPES: dict[str, Datatype] = {
    "fp32": "fp32", "float": "fp32", "float32": "fp32", "tf32": "fp32",
    "fp16": "fp16", "half": "fp16", "float16": "fp16",
    "bf16": "bf16", "bfloat16": "bf16",
    "fp8": "fp8", "float8": "fp8",
    "fp4": "fp4", "float4": "fp4",
    "int8": "int8",
    "int4": "int4",
    "uint8": "uint8",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}  # fmt: skip

# Layer types that hold a convolution or a matrix product, and nothing else does except Myelin's `kgen`.
CONVOLUTIONS = frozenset(
    {
        "CaskConvolution", "CaskConvActPool", "ConvActPool", "CaskGemmConvolution", "CaskGemmMatrixMultiply",
        "CudaDepthwiseConvolution", "FusedConvActConvolution", "Convolution", "MatrixMultiply", "gemm", "conv",
        "correlation",
    }
)  # fmt: skip
# Myelin's kernels for any run of nodes, so perhaps for a convolution's too.
GENERATED = frozenset({"kgen", "fusion", "Myelin", "runtime_fusion"})
POOLINGS = frozenset({"CaskPooling", "TiledPooling", "CudaPooling", "CudnnPooling", "Pooling", "maxpool"})
# They are in the list, but start no kernel or compute nothing from the image; those in lower case are Myelin's.
IDLE = frozenset({"NoOp", "Constant", "Signal", "Wait", "signal", "wait", "shape_call"})
_OTHERS = frozenset(
    {"Reformat", "Shuffle", "PointWise", "PointWiseV2", "ElementWise", "Reduce", "Scale", "SoftMax", "Cast", "Slice",
     "Concatenation"}
)  # fmt: skip
_KNOWN = CONVOLUTIONS | GENERATED | POOLINGS | IDLE | _OTHERS

# The exporter's names, and those of torch's and TensorRT's exporters (`QuantizeLinear_7`, `/q/QuantizeLinear`).
_QDQ_NODE = re.compile(r"(.*[./])?(De)?quantize(Linear)?(_\d+)*(_output)?", re.IGNORECASE)
# Myelin adds how it rewrote a node: `[ONNX Layer: conv3]__gemm_from_conv1x1`.
_ONNX_LAYER = re.compile(r"\[ONNX Layer: (.*?)\](?=\[|[\x1c-\x1f\s,;]|$|__gemm_from_conv1x1)")
# `a + b` is a chain, `a || b` two branches in one kernel, `PWN(a, b)` pointwise nodes.
_BETWEEN_NODES = re.compile(r" \+ | \|\| |, ")
# Kernels name their operands: `..._gemm_interleaved_i8f16_i8i32_f32_...` reads i8 and writes f16; `h16816cudnn`
# multiplies halves, `scudnn` singles; `..._icudnn_int8x4_...` reads packs of four.
_TACTIC_INPUT = re.compile(
    r"_(?:(?P<int8>int8x\d+)|(?P<fp16>h\d{3,5}cudnn)|(?P<fp32>scudnn)|(?P<operand>i8|bf16|f16|tf32|f32)(?:i8|bf16|f16|f32)+)_"
)
_OPERANDS: dict[str, Datatype] = {"i8": "int8", "bf16": "bf16", "f16": "fp16", "tf32": "fp32", "f32": "fp32"}
# Bits of the types that a layer computes in; Bool and the wider integers are masks, shapes and indices.
_BITS: dict[Datatype, int] = {"fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "fp4": 4, "int8": 8, "int4": 4}
_REFORMATTING = "Reformatting CopyNode for "
# Myelin names a kernel by the operations in it: `__myl_CorrAddRelu_myl0_5` has a convolution, `__myl_FcAdd_myl0_29` a
# matrix product, with what is around it. Such a kernel is compiled where the plan is loaded: a `runtime_fusion`.
_MYELIN_PRODUCT = re.compile(r"__myl_(?:[A-Z][a-z]*)*?(?:Corr|Fc)(?![a-z])")


@dataclass(frozen=True)
class Tensor:
    """One tensor between layers.

    Attributes:
        name: Name that the inspector gives it; the network's inputs and outputs have their ONNX names.
        shape: Dimensions with the batch; -1 is dynamic.
        datatype: Element type; `unknown` where the inspector does not say.
        layout: The format's words without the datatype, empty for Myelin's tensors.
    """

    name: str
    shape: tuple[int, ...]
    datatype: Datatype
    layout: str


@dataclass(frozen=True)
class EngineLayer:
    """One layer of a plan.

    Attributes:
        name: The layer's name, which the profiler uses too.
        kind: The inspector's `LayerType`.
        inputs: What it reads, the data before a fused residual.
        outputs: What it writes.
        weights: Element type of its weights, of Myelin's convolutions the largest of their constants; None where the
            inspector lists none.
        tactic: Name of the kernel, or empty.
        origin: `QDQ` or `REFORMAT` of a Reformat, else empty.
        nodes: Names of the ONNX nodes that were fused into it.
    """

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: Datatype | None
    tactic: str
    origin: str
    nodes: frozenset[str]


@dataclass(frozen=True)
class LayerInformation:
    """All layers of a plan in execution order.

    Attributes:
        layers: The layers.
        io: Names of the network's inputs and outputs.
    """

    layers: tuple[EngineLayer, ...]
    io: frozenset[str]


# TensorRT's most dimensions, `nvinfer1::Dims::MAX_DIMS`, and its largest: -1 is dynamic.
_Dimensions = Annotated[tuple[Annotated[int, Field(ge=-1, le=2**31 - 1)], ...], Field(max_length=8)]


class _Tensor(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field("", alias="Name")
    dimensions: _Dimensions = Field((), alias="Dimensions")
    # 10 and before have one text for both; one build of 11 spells "DataType".
    both: object = Field(None, alias="Format/Datatype")
    format: object = Field(None, alias="Format")
    datatype: object = Field(None, alias="Datatype")
    datatype_of_11: object = Field(None, alias="DataType")


class _Layer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(alias="Name")
    kind: str = Field(alias="LayerType")
    inputs: tuple[_Tensor, ...] = Field((), alias="Inputs")
    outputs: tuple[_Tensor, ...] = Field((), alias="Outputs")
    constants: tuple[_Tensor, ...] = Field((), alias="Constants")
    weights: object = Field(None, alias="Weights")
    tactic: object = Field("", alias="TacticName")
    origin: object = Field("", alias="Origin")
    metadata: object = Field("", alias="Metadata")


class _Plan(BaseModel):
    model_config = ConfigDict(extra="ignore")

    bindings: tuple[object, ...] = Field((), alias="Bindings")
    io_tensors: tuple[object, ...] = Field((), alias="I/O Tensors")


def read_layer_information(text: str) -> LayerInformation:
    """Return the layers that the engine inspector or trtexec's `--exportLayerInfo` wrote.

    Args:
        text: JSON of the whole engine, from TensorRT 8.4 to 11.

    Raises:
        EngineError: The text is no JSON, lists no layers, or has only their names.
    """
    data = _json(text, "layer information")
    if not isinstance(data, dict) or not isinstance(data.get("Layers"), list):
        raise EngineError(
            'layer information has no list "Layers": expected what the engine inspector or'
            " `trtexec --exportLayerInfo` writes; build the plan again"
        )
    layers: list[Any] = data["Layers"]
    if any(isinstance(layer, str) for layer in layers):
        raise EngineError(
            f"layer information has only the names of {len(layers)} layers, expected their formats: build the plan"
            " again with detailed profiling verbosity"
        )
    if not all(_is_layer(layer) for layer in layers):
        raise EngineError('a layer has no "Name" or no "LayerType": expected the inspector\'s JSON; build again')
    try:
        return LayerInformation(
            layers=tuple(_layer(_Layer.model_validate(layer)) for layer in layers), io=_io(_Plan.model_validate(data))
        )
    except ValidationError as error:
        raise EngineError(
            f"layer information has {first_problem(error)}: expected the inspector's JSON; build again"
        ) from error


def read_layer_times(text: str) -> dict[str, float]:
    """Return the median time of every layer in milliseconds, from trtexec's `--exportProfile`.

    The average stands in where there is no median. Layers of the same name are added up.

    Raises:
        EngineError: The text is no JSON, or not that file.
    """
    data = _json(text, "profile")
    rows = [row for row in data if isinstance(row, dict) and "name" in row] if isinstance(data, list) else []
    if not rows:
        raise EngineError("profile has no layers: expected what `trtexec --exportProfile` writes; profile again")
    times: dict[str, float] = {}
    for row in rows:
        milliseconds = row.get("medianMs", row.get("averageMs"))
        if not isinstance(milliseconds, int | float):
            raise EngineError(f'profile of layer {row["name"]} has neither "medianMs" nor "averageMs": profile again')
        name = str(row["name"])
        times[name] = times.get(name, 0.0) + milliseconds
    return times


def is_convolution(layer: EngineLayer) -> bool:
    """Return whether the layer is a convolution or a matrix product, whatever is fused with it."""
    return _multiplies(layer.kind, layer.name)


def is_reformat(layer: EngineLayer) -> bool:
    """Return whether the layer copies a tensor to another layout or datatype; a NoOp copies nothing."""
    return layer.kind == "Reformat"


def is_quantisation(layer: EngineLayer) -> bool:
    """Return whether the layer only quantises or dequantises, alone because nothing took it in."""
    only = bool(layer.nodes) and all(_QDQ_NODE.fullmatch(node) for node in layer.nodes)
    return layer.origin == "QDQ" or (only and layer.kind not in IDLE)


def is_known(kind: str) -> bool:
    """Return whether this version knows what a layer of this `LayerType` does."""
    return kind in _KNOWN


def compute_type(layer: EngineLayer) -> Datatype:
    """Return the element type that a layer computes in: that of the first float or INT8 tensor it reads.

    A fused residual is a later input. Weights that are wider than the input leave it `unknown`. Plans with
    a dynamic batch may name no datatype of any tensor; there the weights and the kernel's name tell, if
    they agree: a convolution has both operands in one type.
    """
    read = [tensor.datatype for tensor in layer.inputs if tensor.datatype == "unknown" or tensor.datatype in _BITS]
    if not read:
        return "unknown"
    if read[0] == "unknown":
        told = {layer.weights, _tactic_type(layer.tactic)} - {None}
        return told.pop() or "unknown" if len(told) == 1 else "unknown"
    if layer.weights is not None and _BITS.get(layer.weights, 0) > _BITS[read[0]]:
        return "unknown"
    return read[0]


def _tactic_type(tactic: str) -> Datatype | None:
    """Return the type of a convolution kernel's input by its name; None where the name does not tell."""
    found = _TACTIC_INPUT.search(tactic)
    if found is None:
        return None
    if found["operand"]:
        return _OPERANDS[found["operand"]]
    return "int8" if found["int8"] else "fp16" if found["fp16"] else "fp32"


def _json(text: str, what: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise EngineError(f"{what} is not JSON ({error}): expected the engine inspector's; build again") from error


def _is_layer(layer: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(layer, dict) and {"Name", "LayerType"} <= layer.keys()


def _layer(data: _Layer) -> EngineLayer:
    return EngineLayer(
        name=data.name,
        kind=data.kind,
        inputs=tuple(_tensor(one) for one in data.inputs),
        outputs=tuple(_tensor(one) for one in data.outputs),
        weights=_weights(data),
        tactic=str(data.tactic),
        origin=str(data.origin),
        nodes=_nodes(data.name, str(data.metadata)),
    )


def _multiplies(kind: str, name: str) -> bool:
    return kind in CONVOLUTIONS or (kind == "runtime_fusion" and _MYELIN_PRODUCT.match(name) is not None)


def _weights(data: _Layer) -> Datatype | None:
    if isinstance(data.weights, dict):
        return _datatype(str(data.weights.get("Type", "")))[0]
    if not _multiplies(data.kind, data.name):
        return None
    constants = [_tensor(one) for one in data.constants]
    # Beside the weights stand biases and scales, one value a channel at most.
    return max(constants, key=lambda one: math.prod(one.shape)).datatype if constants else None


def _tensor(data: _Tensor) -> Tensor:
    texts = (data.both, data.format, data.datatype, data.datatype_of_11)
    datatype, layout = _datatype(" ".join(str(one) for one in texts if one is not None))
    return Tensor(data.name, data.dimensions, datatype, layout)


def _datatype(text: str) -> tuple[Datatype, str]:
    """Return the one datatype that a text names, and its other words; a format may name it too."""
    words = text.split()
    found = {_DATATYPES[word.lower()] for word in words if word.lower() in _DATATYPES}
    layout = " ".join(word for word in words if word.lower() not in _DATATYPES)
    return (found.pop() if len(found) == 1 else "unknown"), layout


def _nodes(name: str, metadata: str) -> frozenset[str]:
    nodes = set(_ONNX_LAYER.findall(metadata))
    if not name.startswith(_REFORMATTING):
        tokens = _BETWEEN_NODES.split(name.replace("PWN(", "").replace(")", "") if "PWN(" in name else name)
        # Myelin's own names, `__myl_ConvAddRelu_myl0_3`, are no nodes; its `fc_myl0_3` is node fc.
        nodes |= {re.sub(r"_myl\d+_\d+$", "", token) for token in tokens if not token.startswith("__my")}
    return frozenset(nodes)


def _io(data: _Plan) -> frozenset[str]:
    listed = [*data.bindings, *data.io_tensors]
    return frozenset(str(one.get("Name", "")) if isinstance(one, dict) else str(one) for one in listed)
