"""AMD Quark for ONNX. A recipe ends with how ranges are found: percentile, min_mse or power_of_two.

`percentile` is its default for activations, with the largest magnitude for weights; `min_mse` takes the least squared
error for weights, since for activations Quark offers that with scales that are powers of two alone: `power_of_two`, its
XINT8. Before it, each optional: `cle`, cross-layer equalisation; `bias_correction`, which fails where a layer or a bias
stays float; `adaround` and `adaquant`, trained layer by layer.
"""

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader
from quark.onnx import (
    AdaQuantConfig,
    AdaRoundConfig,
    BiasCorrectionConfig,
    CalibMethod,
    CLEConfig,
    Int8Spec,
    ModelQuantizer,
    QConfig,
    QLayerConfig,
    QuantGranularity,
    UInt8Spec,
    XInt8Spec,
)

from benchmarks.int8.peer_task import Task
from benchmarks.int8.peer_tools.feeding import Floats, feeds, input_name

ALGORITHMS = {
    "cle": CLEConfig,
    "bias_correction": BiasCorrectionConfig,
    # The iterations are their defaults, written out; a step sees 16 images instead of 1.
    "adaround": lambda: AdaRoundConfig(batch_size=16, num_iterations=1000),
    "adaquant": lambda: AdaQuantConfig(batch_size=16, num_iterations=3000),
}


class Reader(CalibrationDataReader):
    """The calibration images, again from the start whenever Quark asks."""

    def __init__(self, name: str, images: Floats) -> None:
        self._all = feeds(name, images, size=1)
        self.reset_iter()

    def reset_iter(self) -> None:
        """Begin anew."""
        self._feeds = iter(self._all)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next image; None after the last."""
        return next(self._feeds, None)


def quantize(task: Task, images: Floats) -> None:
    """Write Q/DQ."""
    *steps, ranges = task.steps
    config = QConfig(
        global_config=_layer_config(ranges, signed=task.kind == "signed"),
        algo_config=[ALGORITHMS[step]() for step in steps],
        extra_options=_options(task),
    )
    reader = Reader(input_name(task.model), images)
    ModelQuantizer(config).quantize_model(str(task.model), str(task.output), reader)


def _layer_config(ranges: str, *, signed: bool) -> QLayerConfig:
    if ranges == "power_of_two":
        return QLayerConfig(input_tensors=XInt8Spec(), weight=XInt8Spec())
    method = {"percentile": CalibMethod.MinMax, "min_mse": CalibMethod.MinMSE}[ranges]
    return QLayerConfig(
        input_tensors=Int8Spec(symmetric=True) if signed else UInt8Spec(symmetric=False),
        weight=Int8Spec(symmetric=True, calibration_method=method, quant_granularity=QuantGranularity.Channel),
    )


def _options(task: Task) -> dict[str, object]:
    """Return what puts Q/DQ where the task wants it: after every node whose output is among its tensors."""
    if task.placement == "own":
        return {"PrintSummary": False}
    graph = onnx.load(task.model).graph
    quantized = [node for node in graph.node if node.name in task.layers or node.op_type == "GlobalAveragePool"]
    return {
        "PrintSummary": False,
        # As everywhere here.
        "QuantizeBias": False,
        "NodesToQuantize": [node.name for node in quantized],
        "OpTypesToQuantize": sorted({node.op_type for node in quantized}),
        "NodesToExcludeOutputQuantization": [node.name for node in quantized if node.output[0] not in task.tensors],
    }
