"""Where zero stands among the 256 levels of an activation, for an engine that takes any zero point.

`cpu` stores every activation as UINT8. One that cannot be negative has zero at level 0 and uses all levels. One that
can has zero in the middle, at 128, with as many levels below it as above, or nearer to the lower end:

1. That is so for a tensor that residual Adds alone read, where the lowest value that matters is nearer to zero than the
   highest one. What a ReLU behind the Add makes zero anyway does not matter (`calibration/graph/structure.py`,
   `relu_partners`): in a downsample block the skip side reaches as far below zero as above, and the main branch lifts
   it by a little only.
2. A tensor reaches as far to either side as its lowest and its highest value, and no further than the magnitude at
   which it is clipped. The zero point shares the levels out so: 255 * below / (below + above), rounded up, so that the
   lower part is not cut short.
3. It is an even number: with an odd one OpenVINO rounds halves to the other side
   (`findings/openvino-odd-zero-point-turns-ties.sh`).
4. What a convolution reads keeps 128: nothing behind it hides a part, and equalised channels reach as far below zero
   as above.

Nothing is added at run time: the kernels of both engines take any zero point.
"""

import numpy as np
import onnx_ir as ir

from calibration.activations.activation_statistics import TensorStatistics
from calibration.graph.structure import residual_adds
from calibration.qdq.placement import Placement

# The zero point with as many levels below zero as above: INT8's integers are 128 less.
MIDDLE = 128
_LAST_LEVEL = 255


def levels_above(zero_point: int) -> int:
    """Return how many levels stand for numbers above zero: 127 for `MIDDLE`, 255 for 0."""
    return _LAST_LEVEL - zero_point


def free_tensors(model: ir.Model, placement: Placement) -> frozenset[str]:
    """Return the tensors whose zero point need not be 0 or `MIDDLE`; rules 1 and 4.

    Args:
        model: The graph that was placed.
        placement: Where Q/DQ go in it; for targets other than `cpu` there are none.
    """
    if placement.target != "cpu":
        return frozenset()
    adds = {add.node for add in residual_adds(model)}
    return frozenset(
        tensor.name
        for tensor in placement.activations
        if not tensor.unsigned and all(node in adds for node, _ in tensor.uses)
    )


def share_levels(statistics: TensorStatistics, clip: float) -> tuple[float, int]:
    """Return the value that a tensor's highest level stands for, and its zero point, even and 0 to `MIDDLE`.

    Args:
        statistics: Statistics of the tensor.
        clip: Magnitude above which its values are clipped, > 0.
    """
    below = min(max(-float(statistics.low.min()), 0.0), clip)
    above = min(float(statistics.high.max()), clip)
    if below >= above:
        return clip, MIDDLE
    return above, 2 * int(np.ceil(_LAST_LEVEL * below / (below + above) / 2))
