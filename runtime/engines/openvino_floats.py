"""INT8 graphs for CPUs whose INT8 kernels are another function: OpenVINO computes them in FP32, as ONNX defines them.

These are x86 CPUs whose INT8 kernels saturate, and ARM. On ARM OpenVINO (2026.4.1) computes the strided convolutions
alone in INT8. It turns the signed integers behind one into unsigned ones, with a zero point that it computes from the
bounds in FP32 and cuts off: with some scales (such as 0.044422828) 127.99999 becomes 127, and every value of the tensor
is one step too small. A ResNet-18 lost 5 dB by one such layer.

1. OpenVINO reads QuantizeLinear as FakeQuantize and a conversion to integers, and DequantizeLinear as a conversion
   back and a multiplication. Wherever it finds them around a convolution it uses integer kernels. No public option
   turns that off.
2. Every FakeQuantize is replaced by what it stands for: clamp(round(x / scale) + zero point, lowest, highest), ties
   to even.
3. The two conversions behind it are dropped: whole numbers from -128 to 255 are the same in FP32.

The network is the one that the bundle states, at the speed of FP32.

Source: ONNX QuantizeLinear, opset 19; OpenVINO FakeQuantize-1.
"""

from typing import Any

import numpy as np

from runtime.engines.openvino_graph import bounds_of, move_readers, readers_of
from runtime.errors import EngineError
from runtime.support.cpu import int8_sums_saturate, is_arm64


def int8_kernels_differ() -> bool:
    """Return whether OpenVINO's INT8 kernels on this CPU are another function than ONNX defines."""
    return int8_sums_saturate() or is_arm64()


def compute_in_floats(model: Any) -> Any:
    """Return an OpenVINO model whose activations are rounded in floats; it is changed in place.

    Args:
        model: An `openvino.Model` read from ONNX.

    Raises:
        EngineError: A FakeQuantize has bounds that are no constants, or are constants for each channel.
    """
    from openvino import opset13 as opset

    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        bounds = bounds_of(node)
        if bounds is None:
            raise EngineError(
                f"{node.get_friendly_name()} has no constant scale for a whole tensor, as every activation of this "
                "project's INT8 graphs has: export the bundle again, or use the engine onnxruntime"
            )
        low, high, lowest, highest = bounds
        value = node.input_value(0)
        scale = opset.constant(np.float32((high - low) / (highest - lowest)), dtype=value.get_element_type())
        rounded = opset.round(opset.divide(value, scale), "half_to_even")
        # The bounds are FP32: what they say of a whole number is off by some of the last bits.
        zero_point = round(lowest - low * (highest - lowest) / (high - low))
        if zero_point:
            rounded = opset.add(rounded, opset.constant(np.float32(zero_point), dtype=value.get_element_type()))
        whole = opset.clamp(rounded, lowest, highest)
        move_readers(readers_of(node.output(0)), whole.output(0))
        _drop_conversions(whole)
    model.validate_nodes_and_infer_types()
    return model


def _drop_conversions(whole: Any) -> None:
    """Let what reads the integers again as floats read the whole numbers instead; rule 3."""
    from openvino import opset13 as opset

    for to_integer in _conversions(whole):
        for to_float in _conversions(to_integer):
            kind = to_float.get_element_type()
            same = kind == whole.get_element_type()
            value = whole if same else opset.convert(whole, kind.get_type_name())
            move_readers(readers_of(to_float.output(0)), value.output(0))


def _conversions(node: Any) -> list[Any]:
    readers = (reader.get_node() for reader in readers_of(node.output(0)))
    return [reader for reader in readers if reader.get_type_name() == "Convert"]
