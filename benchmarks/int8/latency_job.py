"""Time one network in one engine, alone in its process: run by `int8/latency.py`.

    python -m benchmarks.int8.latency_job ENGINE MODEL --batch N --runs N --size PX

ENGINE is onnxruntime, or openvino:HINT with f32 or bf16; an ONNX file is rewritten for OpenVINO as the runtime does it.
Prints the seconds of every run, and the precision that most convolutions execute in, as JSON. The graph takes float32,
(N, 3, H, W).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

WARM_UP = 20


def open_openvino(model: Path, hint: str, images: np.ndarray) -> tuple[Callable[[], object], str]:
    """Return one inference as a call, and the precision."""
    import openvino

    from runtime.engines.openvino_engine import executed_precision
    from runtime.engines.openvino_unsigned import make_unsigned

    core = openvino.Core()
    # As `runtime.engines.openvino_engine` does it.
    config = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    graph = core.read_model(model)
    compiled = core.compile_model(make_unsigned(graph) if model.suffix == ".onnx" else graph, "CPU", config)
    request = compiled.create_infer_request()
    return lambda: request.infer([images], share_inputs=True), executed_precision(compiled)


def open_onnxruntime(model: Path, images: np.ndarray) -> tuple[Callable[[], object], str]:
    """Return one inference as a call; what it executes is in the file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, feed), "as in the file"


def main() -> None:
    """Warm up, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("engine")
    parser.add_argument("model", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    engine, _, hint = arguments.engine.partition(":")
    if engine == "openvino":
        run, precision = open_openvino(arguments.model, hint, images)
    else:
        run, precision = open_onnxruntime(arguments.model, images)
    for _ in range(WARM_UP):
        run()
    seconds = []
    for _ in range(arguments.runs):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds, "precision": precision}))


if __name__ == "__main__":
    main()
