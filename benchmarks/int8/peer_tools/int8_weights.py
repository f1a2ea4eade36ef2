"""Store weights that a tool has left as float numbers on an INT8 grid as INT8 with DequantizeLinear.

Some tools export activations as Q/DQ but weights as the float numbers that their integers stand for. OpenVINO would run
such convolutions in float32.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

# How far from an integer a weight may be, in steps: float32's own error at 127 is a thousandth of this.
_NEAR = 0.01


def store_int8(model: onnx.ModelProto, scales: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Replace initializers by INT8 ones with a DequantizeLinear of axis 0; the graph is changed.

    Args:
        model: The graph.
        scales: Initializer's name to one scale per output channel, (K,) float32, or for all, (1,).

    Raises:
        ValueError: An initializer is missing, or is not on its grid.
    """
    graph = model.graph
    found = {initializer.name: initializer for initializer in graph.initializer}
    made = []
    for name, given in scales.items():
        if name not in found:
            raise ValueError(f"the graph has no initializer {name}: expected one for every quantised weight")
        weight = numpy_helper.to_array(found[name])
        scale = np.broadcast_to(np.asarray(given, np.float32).reshape(-1), weight.shape[:1]).copy()
        steps = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
        values = np.rint(steps)
        off = float(np.abs(steps - values).max())
        if off > _NEAR or np.abs(values + 0.5).max() > 128:
            raise ValueError(f"weight {name} is {off:.3f} steps off its INT8 grid: expected whole steps")
        graph.initializer.remove(found[name])
        graph.initializer.extend(
            [
                numpy_helper.from_array(values.astype(np.int8), f"{name}.int8"),
                numpy_helper.from_array(scale, f"{name}.scale"),
                numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}.zero_point"),
            ]
        )
        inputs = [f"{name}.int8", f"{name}.scale", f"{name}.zero_point"]
        made.append(helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}.dequantize", axis=0))
    # Nothing that they read is computed: they may stand first.
    nodes = [*made, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
