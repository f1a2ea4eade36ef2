"""Write the finished graph in another opset, for runtimes that know no newer one."""

import onnx

from exporter.passes.tracing import IR_VERSION, OPSET
from runtime.errors import GraphError, UsageError

# FP16 tensors may be quantised from this opset on. Source: onnx, changelog of QuantizeLinear, version 19.
_FP16_QDQ_OPSET = 19


def check_opset(opset: int, *, fp16_qdq: bool) -> None:
    """Refuse an opset that cannot hold the graph, before the work.

    Args:
        opset: The opset asked for.
        fp16_qdq: Whether FP16 tensors will be quantised.

    Raises:
        UsageError: The opset cannot hold the graph.
    """
    if fp16_qdq and opset < _FP16_QDQ_OPSET:
        raise UsageError(
            f"--opset {opset} with --int8 --fp16: Q/DQ of FP16 tensors needs opset {_FP16_QDQ_OPSET}; pass that or "
            "more, or leave --fp16 out"
        )


def ir_version_of(opset: int) -> int:
    """Return the IR version of the file: the oldest that the opset may stand in, so that old runtimes read it."""
    if opset == OPSET:
        return IR_VERSION
    oldest: int = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])
    return oldest


def convert_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return a graph in another opset; node names and constants stay.

    Args:
        model: The graph in opset `OPSET`.
        opset: The opset wanted.

    Raises:
        GraphError: A node has no form in that opset.
    """
    if opset == OPSET:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, opset)
        converted.ir_version = ir_version_of(opset)
        onnx.checker.check_model(converted, full_check=True)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise GraphError(
            f"the graph cannot be written in opset {opset} ({reason}): pass another --opset, or none for {OPSET}"
        ) from error
    return converted
