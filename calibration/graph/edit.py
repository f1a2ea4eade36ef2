"""Add, replace and drop constants of a graph."""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir


def add_constant(graph: ir.Graph, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
    """Return a new constant of a graph.

    Args:
        graph: Gets the constant.
        name: A name that no other constant of the graph has.
        array: Values of the constant; their type is kept.
    """
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.from_numpy(array.dtype))
    graph.register_initializer(value)
    return value


def replace_constant(graph: ir.Graph, node: ir.Node, index: int, array: npt.NDArray[np.floating]) -> None:
    """Let a node use another float32 constant, under the old one's name if nothing else uses that.

    Args:
        graph: The node's graph.
        node: The node whose input is replaced.
        index: Number of the input.
        array: The new values, any float type, rounded to float32 once.
    """
    old = node.inputs[index]
    assert old is not None
    assert old.name is not None
    shared = len(old.uses()) > 1 or old.is_graph_output()
    name = f"{node.name}.{old.name}" if shared else old.name
    # Its name must be free before it is given to the new constant.
    node.replace_input_with(index, None)
    drop_if_unused(graph, old)
    node.replace_input_with(index, add_constant(graph, name, array.astype(np.float32)))


def drop_if_unused(graph: ir.Graph, value: ir.Value) -> None:
    """Take a constant out of a graph if no node reads it and it is no output; what is no constant stays."""
    if value.is_initializer() and not value.uses() and not value.is_graph_output():
        assert value.name is not None
        del graph.initializers[value.name]
        # Nodes that are gone may still refer to it, in cycles that only the garbage collector ends.
        value.const_value = None


def drop_unused_constants(graph: ir.Graph) -> None:
    """Take out of a graph every constant that no node reads and that is no output."""
    for value in list(graph.initializers.values()):
        drop_if_unused(graph, value)
