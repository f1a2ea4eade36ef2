"""Replace a constant of a graph."""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir


def replace_constant(graph: ir.Graph, node: ir.Node, index: int, array: npt.NDArray[np.floating]) -> None:
    """Let a node use another float32 constant, under the old one's name if nothing else uses that.

    Args:
        graph: The node's graph.
        node: Whose input is replaced.
        index: Which input.
        array: The new values, any float type, rounded to float32 once.
    """
    old = node.inputs[index]
    assert old is not None
    assert old.name is not None
    shared = len(old.uses()) > 1
    name = f"{node.name}.{old.name}" if shared else old.name
    value = ir.Value(name=name, const_value=ir.tensor(array.astype(np.float32), name=name))
    value.shape, value.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.FLOAT)
    node.replace_input_with(index, value)
    if not shared and old.name in graph.initializers:
        del graph.initializers[old.name]
    graph.register_initializer(value)
