"""What onnxruntime's profile says of a session: each kernel that ran, and for how long."""

from pathlib import Path
from typing import Any

import numpy as np

from runtime.bench.limits.counted import Counted
from runtime.bench.limits.node_names import is_product
from runtime.engines.ort_session import Fusion, open_session, read_profile
from runtime.engines.precisions import ONNXRUNTIME, compute_type, tensor_type
from runtime.support.temporary import temporary_folder

_BYTES = {"double": 8, "int64": 8, "uint64": 8, "float": 4, "int32": 4, "uint32": 4, "float16": 2, "bfloat16": 2}
_KERNEL = "_kernel_time"
_WIDENED = "InsertedPrecisionFreeCast_"


def count_onnxruntime(
    model: bytes | Path, feed: Any, *, fusion: Fusion, threads: int | None, warm_up: int, runs: int
) -> tuple[Counted, ...]:
    """Return the kernels that ran on the CPU, in execution order.

    Args:
        model: Path or bytes of an ONNX model.
        feed: One array per input of the model, in its order.
        fusion: What onnxruntime may fuse.
        threads: Threads for one inference; None leaves onnxruntime's choice.
        warm_up: Inferences that do not count.
        runs: Inferences that do.

    Raises:
        EngineError: onnxruntime is not installed, cannot load the model, or cannot write its profile.
    """
    with temporary_folder() as folder:
        session = open_session(model, fusion=fusion, threads=threads, profile=folder / "profile")
        named = {spec.name: array for spec, array in zip(session.get_inputs(), feed, strict=True)}
        for _ in range(warm_up + runs):
            session.run(None, named)
        events = read_profile(Path(session.end_profiling()))
    kernels: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            # Nodes that onnxruntime adds, as ReorderOutput, may share a name, never an index.
            key = (event["args"].get("node_index", ""), event["name"])
            kernels.setdefault(key, []).append(event)
    return tuple(_counted(found, warm_up) for found in kernels.values())


def _counted(events: list[dict[str, Any]], warm_up: int) -> Counted:
    last = events[-1]
    arguments = last["args"]
    operator = arguments["op_name"]
    inputs = [_tensor(one) for one in arguments.get("input_type_shape", [])]
    outputs = [_tensor(one) for one in arguments.get("output_type_shape", [])]
    # Of a product the first input depends on the image, and a residual that is added to it, which has the output's
    # shape; the others are weights, scales and zero points, and some that were packed before are not listed.
    varying = [one for place, one in enumerate(inputs) if place == 0 or (outputs and one[1] == outputs[0][1])]
    read = varying if is_product(operator) else inputs
    name = last["name"].removesuffix(_KERNEL)
    # What ran in FP16 in the file and has no such kernel is named so; a Cast that was put in is named for its source.
    made_of = name if operator == "Cast" else name.removeprefix(_WIDENED)
    kind = inputs[0][0] if inputs else "unknown"
    return Counted(
        name=name,
        made_of=(made_of,),
        operator=operator,
        precision=(compute_type if is_product(operator) else tensor_type)(ONNXRUNTIME, kind),
        times_ms=tuple(event["dur"] / 1000 for event in events[warm_up:]),
        activation_bytes=sum(map(_size, read)) + sum(map(_size, outputs)),
        constant_bytes=0,
    )


def _tensor(entry: dict[str, list[int]]) -> tuple[str, tuple[int, ...]]:
    ((kind, shape),) = entry.items()
    return kind, tuple(shape)


def _size(tensor: tuple[str, tuple[int, ...]]) -> int:
    return int(np.prod(tensor[1], dtype=np.int64)) * _BYTES.get(tensor[0], 1)
