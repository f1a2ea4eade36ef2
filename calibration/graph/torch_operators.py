"""ONNX's operators in PyTorch: those that ResNets are exported to.

Each takes the node and what its inputs hold, None for an input that is left out, and returns its one output. Where
PyTorch has a function of the same meaning, that is called.

Source: the operators' specification, https://onnx.ai/onnx/operators/, opsets 13 to 22.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from torch import Tensor

    Inputs = Sequence[Tensor | None]

# Types that Cast goes to, by ONNX's number, and their names in PyTorch.
CASTS = {int(ir.DataType.FLOAT): "float32", int(ir.DataType.INT64): "int64"}


def _numbers(node: ir.Node, name: str, default: Sequence[int] = ()) -> list[int]:
    return [int(number) for number in node.attributes.get_ints(name, default)]


def _axes(node: ir.Node, inputs: "Inputs") -> list[int]:
    """Return the axes of a node, an attribute in older opsets and an input in newer ones."""
    if "axes" in node.attributes:
        return _numbers(node, "axes")
    axes = inputs[1] if len(inputs) > 1 else None
    return [] if axes is None else [int(axis) for axis in axes.tolist()]


def _padded(values: "Tensor", pads: Sequence[int], fill: float) -> "Tensor":
    """Return values padded in their last dimensions; ONNX gives all begins, then all ends."""
    from torch.nn import functional

    if not any(pads):
        return values
    half = len(pads) // 2
    # PyTorch wants begin and end of each dimension, the last one first.
    turned = [pads[at + side * half] for at in reversed(range(half)) for side in (0, 1)]
    return functional.pad(values, turned, value=fill)


def _conv(node: ir.Node, inputs: "Inputs") -> "Tensor":
    import torch

    values, weight, bias = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    assert values is not None
    assert weight is not None
    ones = [1] * (weight.ndim - 2)
    values = _padded(values, _numbers(node, "pads"), 0.0)
    strides, dilations = _numbers(node, "strides", ones), _numbers(node, "dilations", ones)
    convolution = torch.conv1d if weight.ndim == 3 else torch.conv2d
    return convolution(values, weight, bias, strides, 0, dilations, node.attributes.get_int("group", 1))


def _max_pool(node: ir.Node, inputs: "Inputs") -> "Tensor":
    from torch.nn import functional

    values, kernel = inputs[0], _numbers(node, "kernel_shape")
    assert values is not None
    values = _padded(values, _numbers(node, "pads"), float("-inf"))
    ceil = bool(node.attributes.get_int("ceil_mode", 0))
    return functional.max_pool2d(values, kernel, _numbers(node, "strides", [1, 1]), ceil_mode=ceil)


def _average_pool(node: ir.Node, inputs: "Inputs") -> "Tensor":
    """Average over what a window has of the image, and of the padding where it counts; beyond both nothing counts."""
    import torch
    from torch.nn import functional

    values, kernel = inputs[0], _numbers(node, "kernel_shape")
    assert values is not None
    pads, strides = _numbers(node, "pads"), _numbers(node, "strides", [1, 1])
    ceil = bool(node.attributes.get_int("ceil_mode", 0))
    counted = float(node.attributes.get_int("count_include_pad", 0))

    def sums(of: "Tensor", fill: float) -> "Tensor":
        return functional.avg_pool2d(_padded(of, pads, fill), kernel, strides, ceil_mode=ceil, divisor_override=1)

    return sums(values, 0.0) / sums(torch.ones_like(values[:1, :1]), counted)


def _reduce_mean(node: ir.Node, inputs: "Inputs") -> "Tensor":
    values = inputs[0]
    assert values is not None
    axes = _axes(node, inputs) or list(range(values.ndim))
    return values.mean(axes, keepdim=bool(node.attributes.get_int("keepdims", 1)))


def _reshape(node: ir.Node, inputs: "Inputs") -> "Tensor":
    values, shape = inputs[0], inputs[1]
    assert values is not None
    assert shape is not None
    sizes = [int(size) for size in shape.tolist()]
    if not node.attributes.get_int("allowzero", 0):
        sizes = [values.shape[at] if size == 0 else size for at, size in enumerate(sizes)]
    return values.reshape(sizes)


def _flatten(node: ir.Node, inputs: "Inputs") -> "Tensor":
    values = inputs[0]
    assert values is not None
    first = math.prod(values.shape[: node.attributes.get_int("axis", 1)])
    return values.reshape(first, values.numel() // first)


def _gemm(node: ir.Node, inputs: "Inputs") -> "Tensor":
    left, right, bias = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    assert left is not None
    assert right is not None
    left = left.T if node.attributes.get_int("transA", 0) else left
    right = right.T if node.attributes.get_int("transB", 0) else right
    product = node.attributes.get_float("alpha", 1.0) * (left @ right)
    return product if bias is None else product + node.attributes.get_float("beta", 1.0) * bias


def _pad(node: ir.Node, inputs: "Inputs") -> "Tensor":
    from torch.nn import functional

    values, pads, fill = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    assert values is not None
    assert pads is not None
    amounts = [int(amount) for amount in pads.tolist()]
    mode = node.attributes.get_string("mode", "constant")
    if mode == "constant":
        return _padded(values, amounts, 0.0 if fill is None else float(fill))
    # PyTorch reflects in the last two dimensions alone, and nothing reflects batch and channels.
    half = len(amounts) // 2
    turned = [amounts[at + side * half] for at in reversed(range(2, half)) for side in (0, 1)]
    return functional.pad(values, turned, mode={"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode])


def _cast(node: ir.Node, inputs: "Inputs") -> "Tensor":
    import torch

    values = inputs[0]
    assert values is not None
    return values.to(getattr(torch, CASTS[node.attributes.get_int("to", 1)]))


def _cast_like(_node: ir.Node, inputs: "Inputs") -> "Tensor":
    values, like = inputs
    assert values is not None
    assert like is not None
    return values.to(like.dtype)


def _shape(node: ir.Node, inputs: "Inputs") -> "Tensor":
    import torch

    values = inputs[0]
    assert values is not None
    sizes = list(values.shape)
    end = node.attributes.get_int("end", len(sizes))
    return torch.tensor(sizes[node.attributes.get_int("start", 0) : end])


def _expand(_node: ir.Node, inputs: "Inputs") -> "Tensor":
    values, shape = inputs
    assert values is not None
    assert shape is not None
    return values.expand(np.broadcast_shapes(tuple(values.shape), tuple(shape.tolist())))


def _concat(node: ir.Node, inputs: "Inputs") -> "Tensor":
    import torch

    return torch.cat([values for values in inputs if values is not None], node.attributes.get_int("axis", 0))


def _transpose(node: ir.Node, inputs: "Inputs") -> "Tensor":
    values = inputs[0]
    assert values is not None
    return values.permute(_numbers(node, "perm", list(reversed(range(values.ndim)))))


def _squeeze(node: ir.Node, inputs: "Inputs") -> "Tensor":
    values = inputs[0]
    assert values is not None
    axes = _axes(node, inputs)
    return values.squeeze(axes) if axes else values.squeeze()


def _unsqueeze(node: ir.Node, inputs: "Inputs") -> "Tensor":
    values = inputs[0]
    assert values is not None
    axes = _axes(node, inputs)
    for axis in sorted(axis % (values.ndim + len(axes)) for axis in axes):
        values = values.unsqueeze(axis)
    return values


def _instance_normalization(node: ir.Node, inputs: "Inputs") -> "Tensor":
    import torch

    values, scale, bias = inputs
    assert values is not None
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    return torch.instance_norm(values, scale, bias, None, None, True, 0.0, epsilon, False)


def _plain(function: "Callable[..., Tensor]") -> "Callable[[ir.Node, Inputs], Tensor]":
    """Return an operator without attributes that takes what it reads, in order."""
    return lambda _node, inputs: function(*inputs)


OPERATORS: "dict[str, Callable[[ir.Node, Inputs], Tensor]]" = {
    "Add": _plain(operator.add),
    "AveragePool": _average_pool,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _plain(operator.truediv),
    "Dropout": _plain(lambda values, *_: values),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda values: values.mean((2, 3), keepdim=True)),
    "Identity": _plain(lambda values: values),
    "InstanceNormalization": _instance_normalization,
    "MatMul": _plain(operator.matmul),
    "MaxPool": _max_pool,
    "Mul": _plain(operator.mul),
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Relu": _plain(lambda values: values.relu()),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _plain(lambda values: values.sigmoid()),
    "Squeeze": _squeeze,
    "Sub": _plain(operator.sub),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
