"""Score a quantised network on held-out images against the float network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino

from calibration.graph.run import run_logits
from runtime.support.paired_statistics import mcnemar_p, paired_drop_ci95, sqnr_db

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
BATCH = 16


@dataclass(frozen=True)
class Score:
    """A quantised network against the float one on the same images.

    Attributes:
        sqnr_db: SQNR of the logits, all images and classes, decibels.
        agreement: Share of images with the same top-1 class.
        top1: Share of images whose class is right.
        drop: The float network's top-1 less this one's, a fraction.
        drop_ci95: Tango's 95 % interval of the drop.
        mcnemar_p: Exact p-value for "both are right equally often".
    """

    sqnr_db: float
    agreement: float
    top1: float
    drop: float
    drop_ci95: tuple[float, float]
    mcnemar_p: float


def score(reference: Floats, found: Floats, labels: Ints) -> Score:
    """Return how far logits (N, classes) are from the float network's, for labels (N,)."""
    right, own = reference.argmax(1) == labels, found.argmax(1) == labels
    lost, gained = int((right & ~own).sum()), int((own & ~right).sum())
    images = len(labels)
    return Score(
        sqnr_db=sqnr_db(reference, found),
        agreement=float((reference.argmax(1) == found.argmax(1)).mean()),
        top1=float(own.mean()),
        drop=(lost - gained) / images,
        drop_ci95=paired_drop_ci95(lost, gained, images),
        mcnemar_p=mcnemar_p(lost, gained),
    )


def batches(images: Floats) -> list[Floats]:
    """Return images in the batches that every engine is given."""
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


def run_onnxruntime(model: Path, images: Floats) -> Floats:
    """Return logits, every Q and DQ executed as it is written: what the file says, whatever the CPU."""
    return np.concatenate(run_logits(onnx.load(model), batches(images)))


def run_openvino(model: Path, images: Floats) -> Floats:
    """Return logits as OpenVINO executes the file when it is deployed, what is not INT8 in float32."""
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(model), "CPU", config)
    named = [output for output in compiled.outputs if "logits" in output.get_names()]
    output = (named or list(compiled.outputs))[0]
    request = compiled.create_infer_request()
    return np.concatenate([request.infer([batch])[output].copy() for batch in batches(images)])


def run_engines(model: Path, images: Floats) -> dict[str, Floats]:
    """Return the logits of every engine that reads the file; OpenVINO's IR has one."""
    found = {"openvino": run_openvino(model, images)}
    if model.suffix == ".onnx":
        found["onnxruntime"] = run_onnxruntime(model, images)
    return found


def engine_versions() -> dict[str, str]:
    """Return the engines' versions."""
    return {"onnxruntime": onnxruntime.__version__, "openvino": openvino.__version__}
