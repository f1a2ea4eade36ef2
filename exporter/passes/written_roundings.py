"""An FP16 graph with its roundings written out, for a check that no engine may optimise away.

onnxruntime's CPU provider has FP16 kernels on few processors. Elsewhere it computes in FP32 between casts
of its own, and drops most of those, even with all optimisation off: activations are then neither rounded
to FP16 nor do they overflow, and the check would see the weights' rounding alone. (onnxruntime 1.32, x86:
a ResNet-18 with an activation above 65504 gives finite logits.) Casts that stand in the graph are kept.

Rules:

1. FP16 constants become FP32 ones with the same, rounded, values.
2. Every FP16 tensor becomes an FP32 one that passes through a Cast to FP16 and back, so it is rounded,
   and overflows to infinity, where strongly typed hardware would store it.
3. A Cast to FP16 becomes one to FP32: rule 2 rounds its output.

Sums inside a kernel are FP32 here, as in tensor cores with FP32 accumulation.
"""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.graph.without_weights import Skeleton


def write_roundings(skeleton: Skeleton) -> Skeleton:
    """Return the FP32 graph that rounds wherever a graph has an FP16 tensor.

    Args:
        skeleton: A graph with the type of every tensor; not changed.
    """
    model, graph = skeleton.model, skeleton.model.graph
    fp16 = {info.name for info in graph.value_info if info.type.tensor_type.elem_type == TensorProto.FLOAT16}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        wide = onnx.NodeProto()
        wide.CopyFrom(node)
        if node.op_type == "Cast" and node.output[0] in fp16:
            wide.attribute[0].i = TensorProto.FLOAT
        nodes.append(wide)
        for index, name in enumerate(node.output):
            if name in fp16:
                wide.output[index] = f"{name}.wide"
                nodes.append(helper.make_node("Cast", [f"{name}.wide"], [f"{name}.narrow"], to=TensorProto.FLOAT16))
                nodes.append(helper.make_node("Cast", [f"{name}.narrow"], [name], to=TensorProto.FLOAT))
    constants = [_widened(tensor) for tensor in graph.initializer]
    written = helper.make_graph(nodes, graph.name, graph.input, graph.output, constants)
    wide_model = helper.make_model(written, opset_imports=model.opset_import, ir_version=model.ir_version)
    return Skeleton(wide_model, {name: _wide(array) for name, array in skeleton.weights.items()})


def _widened(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if tensor.data_type != TensorProto.FLOAT16:
        return tensor
    if tensor.data_location == TensorProto.EXTERNAL:
        wide = TensorProto()
        wide.CopyFrom(tensor)
        wide.data_type = TensorProto.FLOAT
        return wide
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def _wide(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return array.astype(np.float32) if array.dtype == np.float16 else array
