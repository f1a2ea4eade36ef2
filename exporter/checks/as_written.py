"""Open a graph to be run node by node as it is written, with its weights held once.

onnxruntime 1.32 copies every constant into memory of its own when a session is opened, also those that it is given as
arrays. What is an input of the graph it takes where it is. Nothing is fused or folded here, so weights need not be
constants.
"""

from collections.abc import Callable, Sequence

import onnx

from calibration.graph.without_weights import NO_WEIGHTS, Weights, stub_names, stubs_as_inputs
from runtime.engines.ort_session import open_session
from runtime.support.arrays import Feed, Floats


def open_as_written(
    model: onnx.ModelProto, *, weights: Weights = NO_WEIGHTS, threads: int | None = None
) -> tuple[Callable[[Sequence[str], Feed], list[Floats]], int | None]:
    """Return a function that gives named outputs for the graph's input, and how many images it takes.

    Args:
        model: A graph with one input; its large constants that stand outside it become inputs, in place.
        weights: These constants, by name.
        threads: Threads of onnxruntime; None leaves its choice.

    Returns:
        The function, and the number of images where it is fixed, else None.
    """
    beside = {name: weights[name] for name in stub_names(model)}
    stubs_as_inputs(model)
    session = open_session(model.SerializeToString(), fusion="none", threads=threads)
    source = next(value for value in session.get_inputs() if value.name not in beside)
    images = source.shape[0] if source.shape else None

    def run(names: Sequence[str], feed: Feed) -> list[Floats]:
        found: list[Floats] = session.run(list(names), {source.name: feed, **beside})
        return found

    # A number where the batch is fixed, else the dimension's name.
    return run, images if isinstance(images, int) else None
