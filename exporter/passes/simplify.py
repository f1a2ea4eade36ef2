"""Simplify a folded graph with onnxsim, then give it the one form that the later steps know.

Rules:

1. onnxsim folds what constants remain and removes what does nothing.
2. A constant that CastLike casts to a tensor's type becomes a constant of that type. onnxsim leaves these nodes, and
   PyTorch's exporter writes two for each GroupNorm.
3. ReduceMean over height and width becomes GlobalAveragePool and Flatten: the form that INT8 placement and
   every engine's fused pooling kernels look for. The one that gives an output of the graph is named
   `global_pool` and `embedding`; others, such as those of ECA's channel attention, keep their node's name.
4. Every node has a name, and constants that nothing uses are gone.
"""

from collections import Counter

import onnx_ir as ir
from onnx_ir.passes import common as common_passes

from calibration.graph.checks import name_nodes
from calibration.graph.edit import add_constant
from calibration.graph.structure import is_global_pool
from calibration.graph.without_weights import put_back, stubs_as_inputs, without_weights
from runtime.errors import GraphError


def simplify(model: ir.Model) -> ir.Model:
    """Return the simplified graph; `model` is not to be used afterwards.

    Raises:
        GraphError: onnxsim fails, or the result is not a valid ONNX graph.
    """
    import onnxsim

    skeleton = without_weights(model, keep=_foldable(model))
    stubs_as_inputs(skeleton.model)
    try:
        proto, checked = onnxsim.simplify(skeleton.model)
    except Exception as error:
        raise GraphError(f"onnxsim cannot simplify the graph: {str(error).strip().splitlines()[0]}") from error
    if not checked:
        raise GraphError("onnxsim says that its result differs from its input: export with another onnxsim version")
    simplified = put_back(proto, model)
    simplified.metadata_props.clear()
    name_nodes(simplified.graph)
    cast_constants(simplified.graph)
    pool_globally(simplified.graph)
    name_nodes(simplified.graph)
    common_passes.RemoveUnusedNodesPass()(simplified)
    return simplified


def _foldable(model: ir.Model) -> frozenset[str]:
    """Return the names of constants that a node reads beside constants alone: onnxsim computes what it makes of them.

    The weights of layers are read beside an activation, and onnxsim has no use for their values.
    """
    known = set(model.graph.initializers.values())
    names: set[str] = set()
    for node in model.graph:
        inputs = [value for value in node.inputs if value is not None]
        if known.issuperset(inputs):
            known.update(node.outputs)
            names.update(value.name for value in inputs if value.name)
    return frozenset(names)


def cast_constants(graph: ir.Graph) -> None:
    """Turn constants that CastLike casts into constants of that type."""
    for node in [node for node in graph if node.op_type == "CastLike"]:
        (constant, like), output = node.inputs, node.outputs[0]
        if constant is None or constant.const_value is None or like is None or like.dtype is None:
            continue
        if output.is_graph_output():
            continue
        if constant.dtype != like.dtype:
            cast = constant.const_value.numpy().astype(like.dtype.numpy())
            constant = add_constant(graph, f"{output.name}.{constant.name}", cast)
        ir.convenience.replace_all_uses_with(output, constant)
        graph.remove(node, safe=True)


def pool_globally(graph: ir.Graph) -> int:
    """Turn ReduceMean over axes 2 and 3 into GlobalAveragePool and Flatten; return how many."""
    changed = 0
    for node in [node for node in graph if node.op_type == "ReduceMean"]:
        if not is_global_pool(node) or node.attributes.get_int("keepdims", 1) != 0:
            continue
        output = node.outputs[0]
        # Two tensors of one name would be one tensor in the file.
        last = output.is_graph_output()
        names = ("global_pool", "embedding") if last else (f"{node.name}.pool", f"{node.name}.flatten")
        pool = ir.node("GlobalAveragePool", [node.inputs[0]], name=names[0])
        pool.outputs[0].name = names[0]
        flat = ir.node("Flatten", [pool.outputs[0]], attributes={"axis": 1}, name=names[1])
        _take_over(graph, output, flat.outputs[0])
        graph.insert_after(node, [pool, flat])
        graph.remove(node, safe=True)
        changed += 1
    return changed


def _take_over(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Let `new` stand where `old` stood, under its name."""
    new.shape, new.type, name = old.shape, old.type, old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    old.name, new.name = None, name
    assert old not in graph.outputs


def count_operators(model: ir.Model) -> dict[str, int]:
    """Return the number of nodes by operator, most frequent first."""
    counts = Counter(node.op_type for node in model.graph)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
