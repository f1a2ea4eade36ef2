"""Time graphs of one network against each other, on the engine at hand, at the batch of the feed.

1. Graphs are timed in turn, round by round: what else the machine does then hits all of them alike.
2. A graph is built, opened, warmed up, timed and closed before the next: memory is one network's, however
   many there are, and the luck of where a network lies in memory is drawn again in each round.
3. What is inside the timer is one inference, from the array given to the arrays returned.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import onnx

from runtime.engines.open_engine import installed_engines
from runtime.engines.openvino_package import import_openvino
from runtime.engines.ort_session import open_session
from runtime.errors import EngineError
from runtime.support.arrays import Feed

EngineName = Literal["openvino", "onnxruntime"]

# A median of 50 runs; more than a tenth of them after each opening, so that opening is not what takes the time.
_FEWEST_RUNS = 50
_FEWEST_RUNS_PER_ROUND = 10
_WARM_UP_RUNS = 5


def fastest_engine() -> EngineName:
    """Return OpenVINO if it is installed, else onnxruntime.

    Raises:
        EngineError: Neither is.
    """
    installed = installed_engines()
    for name in _OPENERS:
        if name in installed:
            return name
    raise EngineError("no engine is installed: pip install 'export-ssl[cpu]'")


def measure_latency(
    graphs: Sequence[Callable[[], onnx.ModelProto]],
    feed: Feed,
    *,
    engine: EngineName,
    rounds: int = 5,
    threads: int | None = None,
    on_graph: Callable[[int], None] | None = None,
) -> list[float]:
    """Return the median latency of each graph, milliseconds.

    Args:
        graphs: Make the graphs; each is called once per round. They share the input.
        feed: What the graphs take, with batch 1: (1, H, W, C) uint8 or (1, C, H, W) float32.
        engine: OpenVINO (INT8 where Q/DQ say so, FP32 elsewhere) or onnxruntime.
        rounds: How often all graphs take their turn; with few rounds each has more runs, at least 50 in all.
        threads: Threads for one inference; None leaves the engine's choice.
        on_graph: Called after each graph of each round, when one more step is done.

    Raises:
        EngineError: The engine is not installed, or cannot run a graph.
    """
    assert rounds >= 1, f"{rounds} rounds"
    if engine not in installed_engines():
        raise EngineError(f"{engine} is not installed: pip install 'export-ssl[cpu]'")
    runs = max(_FEWEST_RUNS_PER_ROUND, -(-_FEWEST_RUNS // rounds))
    latencies_ms: list[list[float]] = [[] for _ in graphs]
    for _ in range(rounds):
        for graph, found in zip(graphs, latencies_ms, strict=True):
            found.extend(_time(_OPENERS[engine](graph(), threads), feed, runs))
            if on_graph is not None:
                on_graph(1)
    return [statistics.median(found) for found in latencies_ms]


def _time(infer: Callable[[Feed], Any], feed: Feed, runs: int) -> list[float]:
    for _ in range(_WARM_UP_RUNS):
        infer(feed)
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        infer(feed)
        found.append(1000 * (time.perf_counter() - started))
    return found


def _open_openvino(model: onnx.ModelProto, threads: int | None) -> Callable[[Feed], Any]:
    openvino = import_openvino()
    # The same settings as `runtime.engines.openvino_engine`: FP32 stays FP32, and one request gets all cores.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", config)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise EngineError(f"OpenVINO {openvino.__version__} cannot compile the graph: {reason}") from error
    request = compiled.create_infer_request()
    return lambda feed: request.infer([feed], share_inputs=True)


def _open_onnxruntime(model: onnx.ModelProto, threads: int | None) -> Callable[[Feed], Any]:
    # Unlike calibration.graph.run, as it is deployed: Q/DQ fused into integer kernels.
    session = open_session(model.SerializeToString(), fusion="all", threads=threads)
    source = session.get_inputs()[0].name
    return lambda feed: session.run(None, {source: feed})


# In the order of preference.
_OPENERS: dict[EngineName, Callable[[onnx.ModelProto, int | None], Callable[[Feed], Any]]] = {
    "openvino": _open_openvino,
    "onnxruntime": _open_onnxruntime,
}
