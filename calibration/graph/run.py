"""Run a graph in onnxruntime so that Q/DQ mean exactly what ONNX says."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx
from onnx import helper

from calibration.graph.without_weights import NO_WEIGHTS, Weights, stub_names
from runtime.engines import ort_session
from runtime.support.arrays import Feed, Floats
from runtime.support.memory import free_memory

if TYPE_CHECKING:
    import onnxruntime


def open_session(
    model: onnx.ModelProto, *, weights: Weights = NO_WEIGHTS, threads: int | None = None
) -> "onnxruntime.InferenceSession":
    """Return a CPU session on a graph.

    Q/DQ are not fused into integer kernels: the search judges the graph, not this machine. Idle threads sleep, since
    decoding runs in between.

    Args:
        model: The graph.
        weights: Large constants that stand outside the graph, by name; others than the graph's own are passed over.
        threads: Threads for one run; None leaves onnxruntime's choice.

    Raises:
        EngineError: onnxruntime is not installed, or cannot load the graph.
    """
    # Without the memory pattern: with the measuring nodes of calibration/activations/collect.py a run takes 1.2
    # times as long with it (docs/explanation/decisions.md).
    return ort_session.open_session(
        model.SerializeToString(),
        weights={name: weights[name] for name in stub_names(model)},
        fusion="float",
        threads=threads,
        spin=False,
        memory_pattern=False,
    )


def logits_name(model: onnx.ModelProto) -> str:
    """Return the output that is judged: `logits`, or the first one where none is named so, such as `embedding`."""
    names = [output.name for output in model.graph.output]
    return "logits" if "logits" in names else names[0]


def judged_outputs(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the outputs that a graph is judged by: `logits` and `embedding`, or the first one where it has neither."""
    names = [output.name for output in model.graph.output]
    return tuple(name for name in ("logits", "embedding") if name in names) or (names[0],)


def run_outputs(
    model: onnx.ModelProto,
    names: Sequence[str],
    batches: Sequence[Feed],
    *,
    weights: Weights = NO_WEIGHTS,
    threads: int | None = None,
) -> list[list[Floats]]:
    """Return some of a graph's outputs, (N, ...) float32 each, for every batch of its input."""
    session = open_session(model, weights=weights, threads=threads)
    source = session.get_inputs()[0].name
    found = [session.run(list(names), {source: batch}) for batch in batches]
    del session
    free_memory()
    return found


@contextmanager
def open_with_constants(
    model: onnx.ModelProto,
    names: Sequence[str],
    constants: Collection[str],
    *,
    weights: Weights = NO_WEIGHTS,
    threads: int | None = None,
) -> Iterator[Callable[[Mapping[str, Feed], Sequence[Feed]], list[list[Floats]]]]:
    """Open a graph and give a function that runs it with other values of some constants.

    The function takes the constants' values by name, of their own dtype and shape, and batches of the graph's input; it
    returns what `run_outputs` returns.

    Args:
        model: A graph; these constants become inputs of it, with their values as defaults.
        names: Outputs that are wanted.
        constants: Names of initializers.
        weights: Large constants that stand outside the graph, by name; others than the graph's own are passed over.
        threads: Threads of onnxruntime; None leaves its choice.
    """
    for tensor in model.graph.initializer:
        if tensor.name in constants:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    opened = [open_session(model, weights=weights, threads=threads)]
    source = opened[0].get_inputs()[0].name
    yield lambda values, batches: [opened[0].run(list(names), {source: batch, **values}) for batch in batches]
    opened.clear()
    free_memory()


def run_logits(model: onnx.ModelProto, batches: Sequence[Feed], *, threads: int | None = None) -> list[Floats]:
    """Return the output that is judged, one (N, classes) or (N, D) float32 per batch of a graph's input."""
    return [found for (found,) in run_outputs(model, [logits_name(model)], batches, threads=threads)]


def extract(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the part of a graph that `outputs` need, with those outputs alone.

    Args:
        model: A graph; not changed.
        outputs: Names of tensors.
    """
    needed, nodes = set(outputs), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    graph = onnx.GraphProto(name=model.graph.name)
    graph.input.extend(model.graph.input)
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=graph)
