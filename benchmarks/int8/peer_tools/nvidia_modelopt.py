"""NVIDIA ModelOpt's ONNX PTQ. Recipes: max, entropy."""

import shutil

from modelopt.onnx.quantization import quantize as quantize_onnx

from benchmarks.int8.peer_task import Task
from benchmarks.int8.peer_tools.feeding import Floats


def quantize(task: Task, images: Floats) -> None:
    """Write Q/DQ where TensorRT wants them."""
    # It rewrites its input.
    copy = task.output.with_suffix(".copy.onnx")
    shutil.copyfile(task.model, copy)
    quantize_onnx(
        str(copy),
        quantize_mode="int8",
        calibration_data=images,
        calibration_method=task.recipe,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(task.output),
        log_level="WARNING",
    )
    copy.unlink()
