"""Fix the batch of the finished graph, for runtimes and compilers that take no dynamic dimension."""

import onnx

from runtime.errors import GraphError


def fix_batch(model: onnx.ModelProto, batch: int) -> None:
    """Make the first dimension of the input, the outputs and every tensor between them a number, in place.

    Args:
        model: The graph, whose input has the batch as its one dimension without a number.
        batch: How many images a run takes.

    Raises:
        GraphError: An input or output has another dimension without a number.
    """
    from onnxruntime.tools.onnx_model_utils import is_fixed_size_tensor, make_dim_param_fixed

    graph = model.graph
    make_dim_param_fixed(graph, graph.input[0].type.tensor_type.shape.dim[0].dim_param, batch)
    for value in (*graph.input, *graph.output):
        if not is_fixed_size_tensor(value):
            shape = [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
            raise GraphError(
                f"the batch cannot be fixed at {batch}, {value.name} still has the shape {shape}: leave --batch out"
            )
