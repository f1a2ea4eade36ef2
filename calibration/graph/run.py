"""Run a graph in onnxruntime so that Q/DQ mean exactly what ONNX says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx

from runtime.engines.ort_engine import import_onnxruntime
from runtime.support.arrays import Feed, Floats

if TYPE_CHECKING:
    import onnxruntime


def open_session(model: onnx.ModelProto, *, threads: int | None = None) -> "onnxruntime.InferenceSession":
    """Return a CPU session on a graph.

    Q/DQ are not fused into integer kernels: on CPUs without VNNI those saturate, and the search would
    then judge this machine, not the graph. Idle threads sleep, since decoding runs in between.

    Args:
        model: The graph.
        threads: Threads for one run; None leaves onnxruntime's choice.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The pattern is one block for all tensors of a run, which are then all apart in memory: with the measuring nodes
    # of calibration/activations/collect.py a ResNet-50 took 25.7 ms per image and 1.43 GB with it, 21.0 ms and 1.12 GB
    # without.
    options.enable_mem_pattern = False
    if threads is not None:
        options.intra_op_num_threads = threads
    session: onnxruntime.InferenceSession = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session


def logits_name(model: onnx.ModelProto) -> str:
    """Return the output that holds class scores: `logits`, or the first one where none is named so."""
    names = [output.name for output in model.graph.output]
    return "logits" if "logits" in names else names[0]


def run_logits(model: onnx.ModelProto, batches: Sequence[Feed], *, threads: int | None = None) -> list[Floats]:
    """Return a graph's logits, one (N, classes) float32 per batch of its input."""
    session = open_session(model, threads=threads)
    name, source = logits_name(model), session.get_inputs()[0].name
    return [session.run([name], {source: batch})[0] for batch in batches]


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
