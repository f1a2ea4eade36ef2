"""Signed activations that are never negative, as unsigned integers: the same values, in faster kernels of OpenVINO.

A bundle for TensorRT has signed activations alone. OpenVINO's convolutions on x86 (2026.4.1) read unsigned ones, so it
gives a signed one a zero point of 128. A padded convolution then corrects the sums at the border for it, on every call,
from all of its weights. Behind a ReLU no value is negative, and the zero point is not needed:

1. QuantizeLinear with a scale s and no zero point clips at 127 s above, and the ReLU at 0 below. So the ReLU becomes a
   clamp to 0 ... 127 s, and the integers 0 ... 127 are written as UINT8. A convolution computes such a clamp as it
   computes a ReLU, before it writes its result.
2. The largest of some values rounds to the largest of the rounded values. So a MaxPool between the ReLU and the
   QuantizeLinear moves behind the DequantizeLinear: the convolution before it then writes integers, and the MaxPool
   reads integers. That is done where the integers are unsigned in the bundle, too.

Every value stays the same, except where a quotient lies so near the middle between two integers that the last bit of
FP32 decides.

Source: ONNX QuantizeLinear, opset 19; OpenVINO FakeQuantize-1.
"""

from typing import Any

from runtime.engines.openvino_graph import bounds_of, move_readers, readers_of

_SIGNED, _UNSIGNED = (-128.0, 127.0), (0.0, 255.0)


def make_unsigned(model: Any) -> Any:
    """Return an OpenVINO model whose activations behind a ReLU are UINT8; it is changed in place.

    Args:
        model: An `openvino.Model` read from ONNX.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        symmetric = _symmetric_bounds(node)
        if symmetric is None:
            continue
        high, lowest = symmetric
        path = _path_to(node)
        relu, ends = path[0].input_value(0), _dequantised(node)
        if relu.get_node().get_type_name() != "Relu" or not ends:
            continue
        pools = [one for one in path if one.get_type_name() == "MaxPool"]
        # With more ends than one, each would need a MaxPool of its own.
        if pools and len(ends) == 1:
            path = [one for one in path if one.get_type_name() != "MaxPool"]
            readers = readers_of(ends[0])
            _link(relu, path)
            move_readers(readers, _link(ends[0], pools))
        if lowest:
            _clamp(path, high)
            _write_unsigned(node, high)
    model.validate_nodes_and_infer_types()
    return model


def _symmetric_bounds(node: Any) -> tuple[float, float] | None:
    """Return the value that a FakeQuantize's highest integer stands for, and its lowest integer.

    Returns:
        The two numbers; None with a zero point, with other integers than INT8's or UINT8's, or with bounds by channel.
    """
    bounds = bounds_of(node)
    if bounds is None:
        return None
    low, high, lowest, highest = bounds
    # The bounds are FP32: what they say of a whole number is off by some of the last bits.
    known = (lowest, highest) in (_SIGNED, _UNSIGNED) and high > 0 and round(low * highest / high) == lowest
    return (high, lowest) if known else None


def _path_to(node: Any) -> list[Any]:
    """Return what a node reads its value through, and itself last: MaxPools and conversions that nothing else reads."""
    found = [node]
    while True:
        source = found[0].input_value(0)
        if source.get_node().get_type_name() not in ("MaxPool", "Convert") or len(readers_of(source)) > 1:
            return found
        found.insert(0, source.get_node())


def _clamp(path: list[Any], high: float) -> None:
    """Let the first of `path` read the ReLU's input clamped to 0 ... `high`; the ReLU stays where others read it."""
    from openvino import opset13 as opset

    relu = path[0].input_value(0)
    alone = len(readers_of(relu)) == 1
    clamped = opset.clamp(relu.get_node().input_value(0) if alone else relu, 0.0, high)
    if alone:
        clamped.set_friendly_name(relu.get_node().get_friendly_name())
    path[0].input(0).replace_source_output(clamped.output(0))


def _write_unsigned(node: Any, high: float) -> None:
    """Let the readers of a signed FakeQuantize read one that writes 0 ... 127; rule 1.

    Args:
        node: The FakeQuantize, whose integers are -128 ... 127, and whose value is 0 to `high`.
        high: The value that stands at 127.
    """
    from openvino import opset13 as opset

    value = node.input_value(0)
    kind = value.get_element_type()
    lowest, highest = _UNSIGNED
    zero, top = opset.constant(lowest, dtype=kind), opset.constant(highest, dtype=kind)
    span = opset.constant(high / _SIGNED[1] * highest, dtype=kind)
    unsigned = opset.fake_quantize(value, zero, span, zero, top, levels=256)
    for reader in readers_of(node.output(0)):
        to_integer = reader.get_node()
        converted = opset.convert(unsigned, "u8")
        converted.set_friendly_name(to_integer.get_friendly_name())
        move_readers(readers_of(to_integer.output(0)), converted.output(0))


def _dequantised(node: Any) -> list[Any]:
    """Return where the integers of a FakeQuantize are values again: the multiplications by the scale behind it.

    Returns:
        The outputs of these multiplications; an empty list where anything else reads the integers.
    """
    found = []
    for reader in readers_of(node.output(0)):
        to_integer = reader.get_node()
        if to_integer.get_type_name() != "Convert" or not readers_of(to_integer.output(0)):
            return []
        for again in readers_of(to_integer.output(0)):
            end = again.get_node()
            while end.get_type_name() in ("Convert", "Subtract") and len(readers_of(end.output(0))) == 1:
                end = readers_of(end.output(0))[0].get_node()
            if end.get_type_name() != "Multiply":
                return []
            found.append(end.output(0))
    return found


def _link(output: Any, nodes: list[Any]) -> Any:
    """Let the first node read an output, each other one the node before it, and return the last one's output."""
    for node in nodes:
        node.input(0).replace_source_output(output)
        output = node.output(0)
    return output
