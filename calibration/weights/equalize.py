"""Give all channels of a tensor the same range, so that each uses all levels of the tensor's one scale.

Rules:

1. A group is a set of tensors that must share one factor per channel: a convolution's output with what
   follows it channel by channel (ReLU, pooling, a residual Add, which ties a whole stage together).
   Its tensors are divided by the factors, by dividing the rows of the convolutions that write them, or the scales and
   biases of a GroupNorm that does; the layers that read them have their input channels multiplied. The function stays
   the same.
2. A channel's factor is its range over the group's largest: the value that `SHARE` of its magnitudes stay
   below, the largest of the group's tensors. A channel below `FLOOR` of the largest keeps that factor,
   so that a dead or nearly dead channel does not blow up its weights.
3. Groups that reach the graph's input or an output keep their values: other programs read those.

Why fully, and not by the square root that is usual: the step of a channel with factor f is f times the
tensor's, so the noise of all channels is least when each has the step of its own range. What it costs
is that the weights of a layer differ more between input channels, which matters when each is rounded
on its own; layer-wise rounding (`calibration/weights/rounding.py`) makes up for it.

Source: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction (arXiv
1906.04721), section 4.1, where ReLU's scaling rule comes from; Xiao et al. 2022, SmoothQuant (arXiv
2211.10438), for factors taken from activations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from calibration.activations.activation_statistics import TENSOR_BINS, TensorStatistics
from calibration.activations.histogram import Histograms
from calibration.graph.channel_groups import ChannelGroup
from calibration.graph.edit import replace_constant
from calibration.graph.structure import channel_constant, constant
from runtime.support.arrays import Doubles

# Of a channel's magnitudes; what is above is left to be clipped, if the tensor's method clips it.
SHARE = 0.9999
FLOOR = 1e-3


def channel_factors(ranges: Sequence[Doubles]) -> Doubles:
    """Return one factor per channel, (C,) float64 in FLOOR .. 1; rule 2.

    Args:
        ranges: Per tensor of a group its channels' ranges, each (C,), >= 0.
    """
    widest = np.max(ranges, axis=0)
    largest = float(widest.max())
    if largest == 0:
        return np.ones(len(widest))
    factors: Doubles = np.maximum(widest / largest, FLOOR)
    return factors


def equalize_statistics(statistics: TensorStatistics, factors: Doubles) -> TensorStatistics:
    """Return what the statistics of a tensor are once its channels are divided by factors.

    Extremes are exact. The tensor's histogram is put together from the channels', values lying evenly
    inside a bin; it stands in the first half, since channels are not kept apart by half. What a channel's
    first bin has more than its second are ReLU's zeros: spread over that bin, which is up to 64 of the
    tensor's wide, they would be taken for what most of the tensor is made of.

    Args:
        statistics: Statistics of the tensor as it was.
        factors: (C,) float64.
    """
    low, high = (np.asarray(ends / factors, np.float32) for ends in (statistics.low, statistics.high))
    halves = Histograms.empty(2, TENSOR_BINS)
    halves.make_room(np.full(2, max(np.abs(low).max(), np.abs(high).max()), np.float32))
    edges = np.arange(1, TENSOR_BINS + 1) * halves.widths[0]
    below = np.zeros(TENSOR_BINS)
    channels = statistics.channels
    amax = statistics.channel_amax.astype(np.float64)
    for counts, width, largest, factor in zip(channels.counts, channels.widths, amax, factors, strict=True):
        zeros = max(int(counts[0] - counts[1]), 0)
        # Before the first bin there is nothing but them.
        cumulative = np.concatenate([[zeros], counts.cumsum()])
        # The last bin ends at the largest magnitude, not at its own edge.
        borders = np.minimum(np.arange(len(cumulative)) * width, largest) / factor
        below += np.interp(edges, borders, cumulative)
    # Rounded before the difference: a tail of less than half a value per bin would round to nothing.
    halves.counts[0] = np.diff(np.rint(below), prepend=0)
    return replace(statistics, low=low, high=high, halves=halves)


def equalize(
    model: ir.Model, groups: Sequence[ChannelGroup], ranges: Mapping[str, Doubles]
) -> tuple[ir.Model, dict[str, Doubles]]:
    """Return an equalised copy of the graph, and the factors of each tensor that changed, (C,) float64.

    Args:
        model: A float32 graph; not changed.
        groups: Result of `calibration.graph.channel_groups.channel_groups`.
        ranges: Tensor name to its channels' ranges, (C,).
    """
    found: dict[str, Doubles] = {}
    for group in groups:
        measured = [ranges[tensor] for tensor in group.tensors if tensor in ranges]
        if group.scalable and measured:
            found.update(dict.fromkeys(group.tensors, channel_factors(measured)))
    return apply_factors(model, groups, found), found


def apply_factors(model: ir.Model, groups: Sequence[ChannelGroup], factors: Mapping[str, Doubles]) -> ir.Model:
    """Return a copy of the graph whose tensors are divided by factors.

    Args:
        model: A float32 graph; not changed.
        groups: Result of `calibration.graph.channel_groups.channel_groups`.
        factors: Tensor name to (C,) float64; groups none of whose tensors is named stay as they are.
    """
    scaled = model.clone()
    nodes = {node.name: node for node in scaled.graph}
    for group in groups:
        if group.tensors[0] in factors:
            for name in group.producers:
                _divide_outputs(scaled.graph, nodes[name], factors[group.tensors[0]])
            for name in group.consumers:
                _multiply_inputs(scaled.graph, nodes[name], factors[group.tensors[0]])
    return scaled


def _divide_outputs(graph: ir.Graph, node: ir.Node, factors: Doubles) -> None:
    if (index := channel_constant(node)) is not None:
        replace_constant(graph, node, index, constant(node, index).astype(np.float64) / factors.reshape(-1, 1, 1))
        return
    weight = constant(node, 1).astype(np.float64)
    replace_constant(graph, node, 1, weight / factors.reshape(-1, *[1] * (weight.ndim - 1)))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        replace_constant(graph, node, 2, constant(node, 2).astype(np.float64) / factors)


def _multiply_inputs(graph: ir.Graph, node: ir.Node, factors: Doubles) -> None:
    weight = constant(node, 1).astype(np.float64)
    if node.op_type != "Conv":
        along_rows = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
        replace_constant(graph, node, 1, weight * (factors if along_rows else factors[:, None]))
        return
    groups = node.attributes.get_int("group", 1)
    # Output channel k of group g reads input channels g * C / groups and on.
    by_group = factors.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    scaled = weight.reshape(groups, -1, *weight.shape[1:]) * by_group
    replace_constant(graph, node, 1, scaled.reshape(weight.shape))
