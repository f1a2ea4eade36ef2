"""The names of all files that a bundle can hold, and what each holds: docs/reference/bundle.md is made of this file.

The manifest lists what an export writes. It does not list what is made later, because that belongs to a machine (the
plan) or to a measurement (the results). The schemas of the JSON files stand beside this module.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BundleError
from runtime.support.engine_names import PlanEngine
from runtime.support.syncing import sync_names

MANIFEST_FILE = "bundle.json"
"""The manifest: model, weights, licence, preprocessing, precision, steps of the export, tool versions, and the sha256
and size of every file that the export wrote."""
MODEL_FILE = "model.onnx"
"""The network. Input `pixels`, (batch, H, W, C) uint8, or with `--input float32` (batch, C, H, W) float32; outputs
`logits`, (batch, classes), and `embedding`, (batch, 512 or 2048), float32; a network without a classifier has the
embedding alone. Precision and normalisation are in the graph, licence and key facts in its metadata."""
LAYERS_FILE = "layers.json"
"""Each node of the graph: operator, shape, parameters, MACs, bytes, precision."""
LABELS_FILE = "labels.txt"
"""Class i on line i: a name, or WordNet id, tab, description. Absent without a classifier."""
GOLDEN_PIXELS = "golden/pixels.npy"
"""The golden images, preprocessed: (N, H, W, C) uint8."""
GOLDEN_LOGITS = "golden/logits.npy"
"""PyTorch's logits for them: (N, classes) float32. Absent without a classifier."""
GOLDEN_EMBEDDING = "golden/embedding.npy"
"""PyTorch's embeddings for them: (N, 512 or 2048) float32."""
LICENCE_FILE = "LICENSE-WEIGHTS.txt"
"""The licence of the weights."""
CALIBRATION_FILE = "calibration.json"
"""INT8 bundles: the scales, how they were found, and from what."""
SENSITIVITY_FILE = "sensitivity.json"
"""INT8 bundles made with `--sensitivity` or `--max-drop`: what single layers cost in accuracy."""
SENSITIVITY_PLOT = "sensitivity.svg"
"""The plot of it."""

PLAN_FILE = "model.plan"
"""TensorRT's plan, where one was built. It belongs to one machine, so the manifest does not list it."""
SIDECAR_FILE = "model.plan.json"
"""What the plan was built from and for, and the certificate of its precision."""
PLAN_LAYERS_FILE = "model.plan.layers.json"
"""What TensorRT's engine inspector said of the plan, in the form of `trtexec --exportLayerInfo`."""
REJECTED_FILE = "model.plan.rejected.json"
"""The same of a plan that did not keep the promised precision and was not kept."""


@dataclass(frozen=True)
class PlanFiles:
    """The names of a plan's files.

    Attributes:
        plan: The plan itself.
    """

    plan: str

    @property
    def sidecar(self) -> str:
        """What describes the plan."""
        return f"{self.plan}.json"

    @property
    def layers(self) -> str:
        """The plan's layers, in the engine inspector's form."""
        return f"{self.plan}.layers.json"

    @property
    def rejected(self) -> str:
        """The layers of a plan that broke its promise and was not kept."""
        return f"{self.plan}.rejected.json"

    def kernels(self, gpu: str) -> str:
        """The kernels that a library compiled of the plan on a GPU of this name, where it compiles at load."""
        return f"{self.plan}.{re.sub('[^a-z0-9]+', '-', gpu.lower()).strip('-')}.jit"


PLANS: dict[PlanEngine, PlanFiles] = {"tensorrt": PlanFiles(PLAN_FILE), "tensorrt-rtx": PlanFiles("model.rtx.plan")}

RESULTS_FOLDER = "results"
"""What was measured. The manifest does not list it."""
BENCH_FILE = "bench.json"
"""The last result of `run-ssl bench`."""
COMPARE_FILE = "compare.json"
"""The last result of `run-ssl compare --save`."""
CHANGED_FILE = "changed.json"
"""With it: images whose top-1 class an engine changed."""
NEIGHBOURS_FILE = "neighbours.json"
"""The last result of `run-ssl embed --check --save`: how many nearest neighbours an engine kept."""


def make_results_folder(bundle: Path) -> Path:
    """Return a bundle's `results` folder, made if there is none.

    Raises:
        BundleError: The folder cannot be created, or is a link that leads out of the bundle.
    """
    folder = bundle / RESULTS_FOLDER
    # A link of a stranger's bundle could have files written anywhere.
    if not folder.resolve().is_relative_to(bundle.resolve()):
        raise BundleError(f"{folder} leads out of the bundle: expected a plain folder; remove the link")
    try:
        folder.mkdir(exist_ok=True)
        sync_names(bundle)
    except OSError as error:
        raise BundleError(
            f"cannot write {folder}: {error.strerror}; copy the bundle to a place where you have write permission"
        ) from error
    return folder
