"""Quantise one ONNX network with one peer: run by `int8/peers.py`, in the peers' environment.

    python -m benchmarks.int8.peer_job PEER MODEL.onnx CALIBRATION.npy OUTPUT

CALIBRATION.npy holds the graph's own input, (N, 3, H, W) float32. OUTPUT is an ONNX file, or OpenVINO's IR (.xml)
for NNCF. Every peer runs with its defaults but for what the kind demands: symmetric signed INT8 where TensorRT
demands it, and float32 for what is not INT8, as ours is.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

BATCH = 8


def run_onnxruntime(method: str, kind: str, model: Path, images: np.ndarray, output: Path) -> None:
    """Write onnxruntime's static quantisation: Q/DQ, weights INT8 per channel."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self._batches = iter([{name: images[start : start + BATCH]} for start in range(0, len(images), BATCH)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    prepared = output.with_name("prepared.onnx")
    # What its documentation asks for before quantize_static.
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    signed = kind == "signed"
    quantize(
        str(prepared),
        str(output),
        Reader(input_name(model)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
        # Signed is what TensorRT takes, and that has no zero points.
        extra_options={"ActivationSymmetric": signed, "WeightSymmetric": True},
    )


def run_modelopt(method: str, model: Path, images: np.ndarray, output: Path) -> None:
    """Write NVIDIA ModelOpt's ONNX PTQ."""
    from modelopt.onnx.quantization import quantize

    # It rewrites its input.
    copy = output.with_name("copy.onnx")
    shutil.copyfile(model, copy)
    quantize(
        str(copy),
        quantize_mode="int8",
        calibration_data=images,
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(output),
        log_level="WARNING",
    )


def run_nncf(method: str, model: Path, images: np.ndarray, output: Path) -> None:
    """Write NNCF's IR; `fast` is its default bias correction, `full` the slower one, `none` is without."""
    import nncf
    import openvino
    from openvino.passes import ConstantFolding, Manager

    network = openvino.Core().read_model(model)
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
        fast_bias_correction=method != "full",
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=method == "none"),
    )
    quantized.reshape([-1, *images.shape[1:]])
    openvino.save_model(quantized, output, compress_to_fp16=False)


def input_name(model: Path) -> str:
    """Return the name of a graph's one input."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    return str(graph.input[0].name)


def main() -> None:
    """Run one peer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("peer", help="onnxruntime/METHOD/KIND, modelopt/METHOD or nncf/METHOD")
    parser.add_argument("model", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    tool, method, *kind = arguments.peer.split("/")
    images = np.load(arguments.calibration)
    if tool == "onnxruntime":
        run_onnxruntime(method, kind[0], arguments.model, images, arguments.output)
    elif tool == "modelopt":
        run_modelopt(method, arguments.model, images, arguments.output)
    elif tool == "nncf":
        run_nncf(method, arguments.model, images, arguments.output)
    else:
        parser.error(f"peer {arguments.peer}: expected onnxruntime, modelopt or nncf")


if __name__ == "__main__":
    main()
