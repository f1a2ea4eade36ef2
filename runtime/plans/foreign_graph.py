"""An ONNX graph from elsewhere: what NVIDIA's parser takes in another sense than ONNX, and what its layers promise.

The parser of TensorRT and of TensorRT for RTX builds most of these graphs without an error, and the plan then computes
something else. What it does of each was seen with TensorRT for RTX 1.7.1.116; the tests run it again. Semantics of
QuantizeLinear and DequantizeLinear: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime.bundle.node_costs import computes_in_int8, count_macs
from runtime.errors import GraphError, UsageError
from runtime.support.words import counted, first_few

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
# Protobuf cannot hold more, and the parser reads from memory.
_MOST_BYTES = 2**31 - 1


@dataclass(frozen=True)
class Promised:
    """A layer of products and the precision that the graph gives it.

    Attributes:
        name: Node name.
        operator: ONNX operator.
        macs: Multiply-accumulates for one image; 0 where the graph does not say the shapes.
        precision: `int8`, `fp16` or `fp32`.
    """

    name: str
    operator: str
    macs: int
    precision: str


@dataclass(frozen=True)
class ForeignGraph:
    """A graph from elsewhere that was read and checked.

    Attributes:
        model: The serialised graph, with its weights inside and every node named.
        layers: The layers of products.
        costly: What the plan computes as ONNX says, but slower than the graph promises, a sentence a node.
    """

    model: bytes
    layers: tuple[Promised, ...]
    costly: tuple[str, ...]


def read_foreign_graph(file: Path) -> ForeignGraph:
    """Return a graph that the parser takes as ONNX means it.

    Args:
        file: The ONNX file. Weights that it keeps in other files are read from its folder.

    Raises:
        UsageError: The file is absent, onnx is not installed, or an input has an unknown size beside the batch.
        GraphError: The file is not valid ONNX, or the parser would take nodes in another sense; each is named.
    """
    model = _load(file)
    _name_nodes(model)
    graph = _inferred(model, file)
    _check_inputs(graph, file)
    misread: dict[str, list[str]] = {}
    for node in graph:
        for reason in _misread(node):
            misread.setdefault(reason, []).append(f"{node.name} ({node.op_type})")
    if misread:
        number = len({name for names in misread.values() for name in names})
        told = "; ".join(f"{reason}: {first_few(names, shown=_TOLD)}" for reason, names in misread.items())
        raise GraphError(
            f"{file} has {counted(number, 'node')} that NVIDIA's parser refuses or takes in another sense than ONNX: "
            f"{told}"
        )
    return ForeignGraph(
        model=model.SerializeToString(),
        layers=tuple(_promise(node, file) for node in graph if node.op_type in _PRODUCTS),
        costly=tuple(sentence for node in graph for sentence in _costly(node)),
    )


_TOLD = 10


def _load(file: Path) -> "onnx.ModelProto":
    try:
        import onnx
    except ImportError as error:
        raise UsageError("--onnx needs onnx and onnx-ir, which are not installed: pip install onnx onnx-ir") from error

    try:
        size = file.stat().st_size
    except OSError as error:
        raise UsageError(f"--onnx {file} cannot be read ({error.strerror}): expected an ONNX file") from error
    if size > _MOST_BYTES:
        raise UsageError(f"--onnx {file} has {size / 1e9:.1f} GB: expected at most 2 GB, which the parser can read")
    try:
        # onnx itself refuses weights in files outside the folder.
        model = onnx.load(str(file))
        onnx.checker.check_model(model)
    except Exception as error:
        # Protobuf's DecodeError, onnx's ValidationError, errors of the file system.
        raise GraphError(f"{file} is not a valid ONNX graph: {' '.join(str(error).split())[:200]}") from error
    return model


def _name_nodes(model: "onnx.ModelProto") -> None:
    """Give a name to each node without one of its own: the layers of a plan are matched by name."""
    seen: Counter[str] = Counter(node.name for node in model.graph.node)
    for index, node in enumerate(model.graph.node):
        if not node.name or seen[node.name] > 1:
            node.name = f"{node.name or node.op_type}_{index}"


def _inferred(model: "onnx.ModelProto", file: Path) -> "ir.Graph":
    import onnx
    import onnx_ir as ir

    try:
        return ir.from_proto(onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)).graph
    except onnx.shape_inference.InferenceError as error:
        raise GraphError(f"{file}: its shapes contradict each other: {' '.join(str(error).split())[:200]}") from error


def _check_inputs(graph: "ir.Graph", file: Path) -> None:
    """Refuse inputs with an unknown size beside the batch: a profile has none for it."""
    for value in graph.inputs:
        if value.name in graph.initializers:
            continue
        shape = list(value.shape) if value.shape is not None else None
        if shape is None or not shape or any(not isinstance(size, int) for size in shape[1:]):
            raise UsageError(
                f"input {value.name} of {file} has shape {'unknown' if shape is None else shape}: expected sizes for "
                "all dimensions but the batch; write them with `python -m onnxruntime.tools.make_dynamic_shape_fixed`"
            )


def _misread(node: "ir.Node") -> list[str]:
    """Return what is taken in another sense at one node, or not taken at all, each with what to do."""
    import onnx_ir as ir

    if node.op_type == "Transpose" and _dtype(node, 0) == ir.DataType.UINT8:
        return ["a Transpose cannot read UINT8, put it behind the Cast"]
    if node.op_type not in _QDQ:
        return []
    found: list[str] = []
    zero_point = node.inputs[2] if len(node.inputs) > 2 else None
    if node.op_type == "DequantizeLinear" and _dtype(node, 0) == ir.DataType.INT32:
        # As onnxruntime's quantiser writes biases; its option for floats is QuantizeBias.
        return ["INT32 is not taken, leave biases in floats (onnxruntime: extra_options={'QuantizeBias': False})"]
    if zero_point is None:
        stated = node.attributes.get_int("output_dtype", 0)
        if node.op_type == "QuantizeLinear" and stated in (0, int(ir.DataType.UINT8)):
            found.append("without a zero point it is UINT8 and is taken as INT8, give it an INT8 zero point")
    elif _any(zero_point):
        found.append("a zero point other than 0 is not taken, quantise symmetrically")
    elif zero_point.dtype == ir.DataType.UINT8:
        found.append("a UINT8 zero point of 0 is taken as INT8, which clips at 127, quantise to INT8")
    scale = _constant(node.inputs[1])
    if scale is not None:
        found += _scale_faults(scale)
    return found


def _scale_faults(scale: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> list[str]:
    values = np.asarray(scale, np.float64).ravel()
    smallest = float(np.finfo(np.float16 if scale.dtype == np.float16 else np.float32).tiny)
    kinds = {
        "infinite": np.isinf(values),
        "NaN": np.isnan(values),
        "0 or negative": values <= 0,
        "subnormal": (values > 0) & (values < smallest),
    }
    return [f"a scale is {kind}, calibrate again" for kind, where in kinds.items() if where.any()]


def _costly(node: "ir.Node") -> list[str]:
    """Return what is computed as ONNX says, but in floats."""
    if node.op_type != "QuantizeLinear" or _constant(node.inputs[0]) is not None:
        return []
    scale = _constant(node.inputs[1])
    if scale is None or scale.size == 1:
        return []
    return [
        f"{node.name} ({node.op_type}) has {scale.size} scales for an activation: what reads it is computed in floats; "
        "give it one"
    ]


def _promise(node: "ir.Node", file: Path) -> Promised:
    import onnx_ir as ir

    if computes_in_int8(node):
        source = node.inputs[0].producer() if node.inputs[0] is not None else None
        assert source is not None
        kind = _dtype(source, 0)
    else:
        kind = _dtype(node, 1)
    names = {ir.DataType.INT8: "int8", ir.DataType.FLOAT16: "fp16", ir.DataType.FLOAT: "fp32"}
    if kind not in names:
        raise UsageError(
            f"{node.name} ({node.op_type}) of {file} computes in {kind.name if kind else 'an unknown type'}, which the "
            "certificate cannot judge: expected FP32, FP16 or INT8"
        )
    try:
        macs = count_macs(node)
    except GraphError:
        macs = 0
    return Promised(name=str(node.name), operator=node.op_type, macs=macs, precision=names[kind])


def _dtype(node: "ir.Node", index: int) -> "ir.DataType | None":
    value = node.inputs[index]
    return None if value is None else value.dtype


def _constant(value: "ir.Value | None") -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None":
    """Return a constant's values, from an initialiser or a Constant node; None for what is computed."""
    import onnx_ir as ir

    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _any(value: "ir.Value") -> bool:
    """Return whether a constant has a value other than 0; of what is computed it is not known."""
    values = _constant(value)
    return values is not None and bool(np.any(values))
