"""What OpenVINO's performance counters say of a compiled model: each layer that ran, and for how long."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from runtime.bench.limits.counted import Counted
from runtime.bench.limits.node_names import is_product
from runtime.engines.contract import ExecutionPrecision
from runtime.engines.precisions import OPENVINO, OPENVINO_HINTS, compute_type, tensor_type

_BYTES = {"f64": 8, "i64": 8, "f32": 4, "i32": 4, "f16": 2, "bf16": 2, "i8": 1, "u8": 1, "boolean": 1}


def openvino_config(threads: int | None, precision: ExecutionPrecision) -> dict[str, Any]:
    """Return how a model is compiled: as in `runtime/engines/openvino_engine.py`, and with performance counters."""
    config: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": OPENVINO_HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "PERF_COUNT": True,
    }
    return config if threads is None else {**config, "INFERENCE_NUM_THREADS": threads}


def count_openvino(compiled: Any, feed: list[Any], *, batch: int, warm_up: int, runs: int) -> tuple[Counted, ...]:
    """Return the layers that ran, in execution order.

    Args:
        compiled: A model that was compiled with PERF_COUNT.
        feed: Inputs of the network.
        batch: What a dynamic dimension is.
        warm_up: Inferences that do not count.
        runs: Inferences that do.
    """
    request = compiled.create_infer_request()
    times: dict[str, list[float]] = {}
    for run in range(warm_up + runs):
        request.infer(feed, share_inputs=True)
        if run < warm_up:
            continue
        for entry in request.profiling_info:
            if entry.status == entry.Status.EXECUTED:
                times.setdefault(entry.node_name, []).append(entry.real_time.total_seconds() * 1000)
    nodes = compiled.get_runtime_model().get_ordered_ops()
    constants = _constants(nodes)
    return tuple(
        _counted(node, times[node.get_friendly_name()], constants, batch)
        for node in nodes
        if node.get_friendly_name() in times
    )


def _constants(nodes: Iterable[Any]) -> frozenset[str]:
    """Return the names of nodes, given in execution order, that depend on no input: weights, and those reshaped."""
    found: set[str] = set()
    for node in nodes:
        sources = {value.get_source_output().get_node().get_friendly_name() for value in node.inputs()}
        if _info(node, "layerType") == "Const" or (sources and sources <= found):
            found.add(node.get_friendly_name())
    return frozenset(found)


def _counted(node: Any, times_ms: list[float], constants: frozenset[str], batch: int) -> Counted:
    read = [value.get_source_output() for value in node.inputs()]
    fixed = [source for source in read if source.get_node().get_friendly_name() in constants]
    moved = sum(_bytes(source, batch) for source in read if source not in fixed)
    # Several consumers read one output: it is written once.
    moved += sum(_bytes(output, batch) for output in node.outputs())
    operator, precision = _info(node, "layerType"), _info(node, "runtimePrecision")
    return Counted(
        name=node.get_friendly_name(),
        made_of=tuple(name for name in _info(node, "originalLayersNames").split(",") if name),
        operator=operator,
        precision=(compute_type if is_product(operator) else tensor_type)(OPENVINO, precision),
        times_ms=tuple(times_ms),
        activation_bytes=moved,
        constant_bytes=sum(_bytes(source, batch) for source in fixed),
    )


def _bytes(output: Any, batch: int) -> int:
    precisions = _info(output.get_node(), "outputPrecisions").split(",")
    precision = precisions[min(output.get_index(), len(precisions) - 1)]
    shape = [batch if dimension.is_dynamic else dimension.get_length() for dimension in output.get_partial_shape()]
    return int(np.prod(shape, dtype=np.int64)) * _BYTES.get(precision, 4)


def _info(node: Any, key: str) -> str:
    info = node.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""
