"""NNCF on OpenVINO's IR. Recipes: fast, its default bias correction; full, the slower one; none, without."""

import nncf
import numpy as np
import openvino
from openvino.passes import ConstantFolding, Manager

from benchmarks.int8.peer_task import Task
from benchmarks.int8.peer_tools.feeding import Floats


def quantize(task: Task, images: Floats) -> None:
    """Write OpenVINO's IR."""
    network = openvino.Core().read_model(task.model)
    # OpenVINO 2026.4 reads biases from ONNX as computed from shapes, also where the batch is fixed. Unless they are
    # folded into constants, NNCF finds no biases and skips its bias correction without a word.
    network.reshape([1, *images.shape[1:]])
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(network)
    quantized = nncf.quantize(
        network,
        nncf.Dataset([image[np.newaxis] for image in images]),
        subset_size=len(images),
        fast_bias_correction=task.recipe != "full",
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=task.recipe == "none"),
    )
    quantized.reshape([-1, *images.shape[1:]])
    openvino.save_model(quantized, task.output, compress_to_fp16=False)
