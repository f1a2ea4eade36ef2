"""Run the images through the float network once, and keep only what calibration needs of each tensor.

Rules:

1. Reductions and samples are nodes of an extended copy of the graph: the activations themselves never leave
   onnxruntime, and memory does not grow with the number of images.
2. The largest value of every channel is exact, over all positions; so is the smallest, of tensors that may be
   negative. ReduceMax and ReduceMin pass NaN over, so the mean of every channel is taken as well, which
   does not.
3. The sample is every `stride`-th position of the flattened height and width, the same for every channel,
   at most about `SAMPLED_PER_IMAGE` values of an image's tensor. The stride has no factor in common with the
   width, so it walks through all columns; neighbouring pixels are nearly equal, so leaving them out costs a
   histogram little. A ResNet-50 has 9 million activations per image; counting all takes longer than it does.
4. Of a tensor whose Add a ReLU follows, what the ReLU makes zero anyway counts as no further below zero than it has to
   be for that: max(a, min(-b, 0)), b the Add's other side (`calibration/graph/structure.py`, `relu_partners`).
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.activations.activation_statistics import Accumulator, TensorStatistics
from calibration.graph.run import extract, logits_name, open_session
from calibration.graph.without_weights import NO_WEIGHTS, Weights
from runtime.errors import CalibrationError
from runtime.support.memory import free_memory

SAMPLED_PER_IMAGE = 1 << 13
_HIGH, _LOW, _MEAN, _LOWEST, _SAMPLE = "::high", "::low", "::mean", "::lowest", "::sample"
# Rule 4 is for the first two.
_REDUCTIONS = {_HIGH: "ReduceMax", _LOW: "ReduceMin", _MEAN: "ReduceMean", _LOWEST: "ReduceMin"}


class _Tensor(NamedTuple):
    name: str
    channels: int
    height: int
    width: int
    nonnegative: bool
    partner: str | None

    @property
    def stride(self) -> int:
        """Distance of sampled positions in the flattened height and width; rule 3."""
        wanted = max(1, math.ceil(self.channels * self.height * self.width / SAMPLED_PER_IMAGE))
        return next(step for step in range(wanted, wanted + self.width + 1) if math.gcd(step, self.width) == 1)


def collect_statistics(
    model: onnx.ModelProto,
    tensors: Mapping[str, bool],
    batches: Iterable[npt.NDArray[np.generic]],
    *,
    partners: Mapping[str, str] | None = None,
    weights: Weights = NO_WEIGHTS,
    threads: int | None = None,
) -> dict[str, TensorStatistics]:
    """Return the statistics of tensors over images.

    Args:
        model: A float32 graph with inferred shapes; not changed.
        tensors: Name of a tensor, (N, C, H, W) or (N, C), to whether it cannot be negative.
        batches: The graph's input, batch by batch.
        partners: Result of `relu_partners`; rule 4.
        weights: Large constants that stand outside the graph, by name.
        threads: Threads of onnxruntime; None leaves its choice.

    Raises:
        CalibrationError: A tensor holds NaN or infinity; the message names the layer.
    """
    described = _describe(model, tensors, partners or {})
    session = open_session(_extend(model, described), weights=weights, threads=threads)
    source, logits = session.get_inputs()[0].name, logits_name(model)
    names = [logits, *(name for tensor in described for name in _outputs(tensor))]
    kept = {tensor.name: Accumulator(tensor.name, tensor.channels) for tensor in described}
    for batch in batches:
        found = dict(zip(names, session.run(names, {source: batch}), strict=True))
        for place, tensor in enumerate(described):
            high, sample = found[tensor.name + _HIGH], found[tensor.name + _SAMPLE]
            low = np.zeros_like(high) if tensor.nonnegative else found[tensor.name + _LOW]
            extremes = (high, low, found.get(tensor.name + _LOWEST, low))
            # A mean may also be infinite because the sum of large values is: that is no fault.
            if np.isnan(found[tensor.name + _MEAN]).any() or not all(np.isfinite(ends).all() for ends in extremes):
                finite = {earlier.name for earlier in described[:place]}
                raise CalibrationError(
                    _not_finite(model, tensor.name, finite=finite, feed={source: batch}, weights=weights)
                )
            kept[tensor.name].add(low, high, sample)
        if not np.isfinite(found[logits]).all():
            raise CalibrationError(_not_finite(model, logits, finite=set(kept), feed={source: batch}, weights=weights))
    del session
    free_memory()
    return {name: accumulator.finish() for name, accumulator in kept.items()}


def _describe(model: onnx.ModelProto, tensors: Mapping[str, bool], partners: Mapping[str, str]) -> list[_Tensor]:
    infos = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    shapes = {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in infos}
    described = []
    for name, nonnegative in tensors.items():
        shape = shapes.get(name, [])
        if len(shape) not in (2, 4) or not all(shape[1:]):
            raise CalibrationError(
                f"tensor {name} has shape {shape}, expected (N, C, H, W) or (N, C) with only N unknown: "
                "give the graph's input a fixed height and width"
            )
        height, width = shape[2:] or (1, 1)
        other = partners.get(name)
        # One number for all positions of a channel is no side of a residual Add.
        partner = other if other is not None and not nonnegative and shapes.get(other, [])[1:] == shape[1:] else None
        described.append(_Tensor(name, shape[1], height, width, nonnegative, partner))
    return described


def _outputs(tensor: _Tensor) -> list[str]:
    low = () if tensor.nonnegative else (_LOW,)
    lowest = () if tensor.partner is None else (_LOWEST,)
    return [tensor.name + end for end in (_HIGH, *low, _MEAN, *lowest, _SAMPLE)]


def _extend(model: onnx.ModelProto, tensors: list[_Tensor]) -> onnx.ModelProto:
    """Return a copy of the graph that also gives the extremes and samples.

    What measures a tensor stands right behind what makes it, or its partner if that comes later, while it is in the
    cache and before it can be overwritten: at the end of the graph the pass takes 1.1 times as long
    (docs/explanation/decisions.md).
    """
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    graph = extended.graph
    axes_are_inputs = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")) >= 18
    measuring = {tensor: _measure(tensor, axes_are_inputs=axes_are_inputs) for tensor in tensors}
    to_come = {name for node in model.graph.node for name in node.output}
    nodes = list[onnx.NodeProto]()

    def measure_what_is_made() -> None:
        for tensor in [one for one in measuring if to_come.isdisjoint((one.name, one.partner))]:
            nodes.extend(measuring.pop(tensor))

    measure_what_is_made()
    for node in model.graph.node:
        nodes.append(node)
        to_come.difference_update(node.output)
        measure_what_is_made()
    del graph.node[:]
    graph.node.extend(nodes)
    constants = {"::axis": [2], "::start": [0], "::end": [np.iinfo(np.int64).max]}
    for tensor in tensors:
        constants[f"{tensor.name}::shape"] = [-1, tensor.channels, tensor.height * tensor.width]
        constants[f"{tensor.name}::stride"] = [tensor.stride]
        graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in _outputs(tensor))
    graph.initializer.extend(
        numpy_helper.from_array(np.array(values, np.int64), name) for name, values in constants.items()
    )
    return extended


def _measure(tensor: _Tensor, *, axes_are_inputs: bool) -> list[onnx.NodeProto]:
    """Return the nodes that reduce and sample a tensor; from opset 18 on a reduction's axes are an input."""
    flat = f"{tensor.name}::flat"
    nodes = [helper.make_node("Reshape", [tensor.name, f"{tensor.name}::shape"], [flat])]
    matters = flat
    if tensor.partner is not None:
        matters, lifted, floor = (f"{tensor.name}::{what}" for what in ("matters", "lifted", "floor"))
        nodes += [
            helper.make_node("Reshape", [tensor.partner, f"{tensor.name}::shape"], [f"{lifted}::flat"]),
            helper.make_node("Relu", [f"{lifted}::flat"], [lifted]),
            helper.make_node("Neg", [lifted], [floor]),
            helper.make_node("Max", [flat, floor], [matters]),
        ]
    cut = [matters, "::start", "::end", "::axis", f"{tensor.name}::stride"]
    nodes.append(helper.make_node("Slice", cut, [tensor.name + _SAMPLE]))
    for end, operator in _REDUCTIONS.items():
        if tensor.name + end in _outputs(tensor):
            source = matters if end in (_HIGH, _LOW) else flat
            reduce = helper.make_node(operator, [source], [tensor.name + end], keepdims=0)
            if axes_are_inputs:
                reduce.input.append("::axis")
            else:
                reduce.attribute.append(helper.make_attribute("axes", [2]))
            nodes.append(reduce)
    return nodes


def _not_finite(
    model: onnx.ModelProto,
    tensor: str,
    *,
    finite: set[str],
    feed: Mapping[str, npt.NDArray[np.generic]],
    weights: Weights,
) -> str:
    """Return what to say of a tensor found not to be finite, after those in `finite` were found to be."""
    culprit = _first_not_finite(model, tensor, finite=finite, feed=feed, weights=weights)
    node = next((node for node in model.graph.node if culprit in node.output), None)
    layer = f"{node.op_type} {node.name} (tensor {culprit})" if node is not None else f"the input {culprit}"
    return f"{layer} gives NaN or infinity on the calibration images: check the weights, and the preprocessing"


def _first_not_finite(
    model: onnx.ModelProto,
    tensor: str,
    *,
    finite: set[str],
    feed: Mapping[str, npt.NDArray[np.generic]],
    weights: Weights,
) -> str:
    """Return the first tensor in graph order, of those between `finite` and `tensor`, that is not finite.

    Not every tensor is measured: of a stem's Conv, Relu, MaxPool only the last is, and the fault is the first's.
    The few in between are taken out whole from one more run of the batch.
    """
    for source, batch in feed.items():
        if not np.isfinite(batch).all():
            return source
    needed, between = {tensor}, list[str]()
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(name for name in node.input if name not in finite)
            between.extend(name for name in node.output if name)
    between.reverse()
    if not between:
        return tensor
    values = open_session(extract(model, between), weights=weights).run(between, feed)
    for name, value in zip(between, values, strict=True):
        if not np.isfinite(value).all():
            return name
    # Rounded in another order, a sum that overflowed may stay just inside.
    return tensor
