"""onnxruntime's static quantisation. Recipes: MinMax, Entropy, Percentile."""

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.int8.peer_task import Task
from benchmarks.int8.peer_tools.feeding import Floats, feeds, input_name


class Reader(CalibrationDataReader):
    """The calibration images, once."""

    def __init__(self, name: str, images: Floats) -> None:
        self._feeds = iter(feeds(name, images))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch; None after the last."""
        return next(self._feeds, None)


def quantize(task: Task, images: Floats) -> None:
    """Write Q/DQ, weights INT8 per channel."""
    prepared = task.output.with_suffix(".prepared.onnx")
    # What its documentation asks for before quantize_static.
    quant_pre_process(str(task.model), str(prepared), skip_symbolic_shape=True)
    signed = task.kind == "signed"
    quantize_static(
        str(prepared),
        str(task.output),
        Reader(input_name(task.model), images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[task.recipe],
        # Signed is what TensorRT takes, and that has no zero points.
        extra_options={"ActivationSymmetric": signed, "WeightSymmetric": True},
    )
    prepared.unlink()
