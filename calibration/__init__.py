"""INT8 calibration: an ONNX ResNet and a folder of images in, explicit Q/DQ out."""

from typing import TYPE_CHECKING

from runtime.support.public_names import public_names

if TYPE_CHECKING:
    from calibration.options import QuantizeOptions
    from calibration.quantize import QuantizedModel, quantize_model

__all__ = ["QuantizeOptions", "QuantizedModel", "quantize_model"]

# As in runtime/__init__.py.
if not TYPE_CHECKING:
    __getattr__ = public_names(
        __name__,
        {
            "QuantizeOptions": "calibration.options",
            "QuantizedModel": "calibration.quantize",
            "quantize_model": "calibration.quantize",
        },
    )
