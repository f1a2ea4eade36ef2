"""The names of all files that a bundle's directory can hold.

    bundle.json     the manifest (`runtime/bundle/manifest.py`), which lists what an export writes
    model.onnx      the network; precision and normalisation are in the graph
    layers.json     per node: operator, shapes, MACs, bytes, precision (`runtime/bundle/layers.py`)
    labels.txt      one class per line: `name`, or `wnid<TAB>description`
    golden/         pixels.npy (N, H, W, 3) uint8, logits.npy (N, classes) float32 and
                    embedding.npy (N, embedding_dim) float32, the PyTorch original's
    LICENSE-WEIGHTS.txt
    calibration.json    of INT8 bundles: scales, how they were found, and from what
    sensitivity.json    of INT8 bundles, where it was asked for: what single layers cost; .svg is its plot

What is made later, and no manifest lists, because it belongs to a machine or to a measurement:

    model.plan      TensorRT's, with model.plan.json (`runtime/bundle/plan_json.py`) and what the engine inspector
                    said of it; a plan that broke its promise leaves only the latter, as model.plan.rejected.json
    model.rtx.plan  TensorRT for RTX's, with files named in the same way beside it, and the kernels that were compiled
                    of it on a GPU, as model.rtx.plan.GPU.jit
    results/        bench.json, compare.json and changed.json (`runtime/bundle/results/`)
"""

import re
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BundleError
from runtime.support.engine_names import PlanEngine

MANIFEST_FILE = "bundle.json"
MODEL_FILE = "model.onnx"
LAYERS_FILE = "layers.json"
LABELS_FILE = "labels.txt"
GOLDEN_PIXELS = "golden/pixels.npy"
GOLDEN_LOGITS = "golden/logits.npy"
GOLDEN_EMBEDDING = "golden/embedding.npy"
LICENCE_FILE = "LICENSE-WEIGHTS.txt"
CALIBRATION_FILE = "calibration.json"
SENSITIVITY_FILE = "sensitivity.json"
SENSITIVITY_PLOT = "sensitivity.svg"

PLAN_FILE = "model.plan"
SIDECAR_FILE = "model.plan.json"
# What the engine inspector said of the plan, as trtexec's --exportLayerInfo writes it.
PLAN_LAYERS_FILE = "model.plan.layers.json"
# The same of a plan that broke its promise and was not kept.
REJECTED_FILE = "model.plan.rejected.json"


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
BENCH_FILE = "bench.json"
COMPARE_FILE = "compare.json"
CHANGED_FILE = "changed.json"


def make_results_folder(bundle: Path) -> Path:
    """Return a bundle's `results` folder, made if there is none.

    Raises:
        BundleError: It cannot be made.
    """
    folder = bundle / RESULTS_FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise BundleError(f"cannot write {folder}: {error.strerror}; copy the bundle to where you may write") from error
    return folder
