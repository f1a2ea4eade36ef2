"""The other quantisers and their recipes, each run in a process of its own, in its tool's environment."""

from dataclasses import dataclass
from pathlib import Path

import onnx

from benchmarks.int8.peer_environments import tool_named, tool_python
from benchmarks.int8.peer_task import Kind, Original, Placement, Task
from benchmarks.shared.run_measured import Usage, read_usage, run_measured
from calibration.graph.checks import prepare
from calibration.qdq.placement import place
from runtime.support.engine_names import Int8Target

# The folder that `-m benchmarks.int8.peer_job` is found from.
_ROOT = Path(__file__).parents[2]
MOST, FEWEST = 512, 128
TARGETS: dict[Kind, Int8Target] = {"signed": "tensorrt", "unsigned": "cpu"}
KINDS: tuple[Kind, ...] = ("signed", "unsigned")
_PLACED = {"own": ", own placement", "same": "", "lean": ", main side float"}


@dataclass(frozen=True)
class Peer:
    """A quantiser with one of its recipes.

    Attributes:
        name: What the table calls it; unique within its kind.
        tool: Name of its environment and of its file in `int8/peer_tools`.
        recipe: What that file is asked for.
        kind: Whether its activations are signed with no zero point, as TensorRT demands, or not.
        placement: The one who decides which tensors are quantised.
        suffix: Suffix of the file that it writes.
        counts: How many calibration images it is given, one run each.
        slow: Whether it trains roundings, which takes from minutes to an hour.
    """

    name: str
    tool: str
    recipe: str
    kind: Kind
    placement: Placement = "own"
    suffix: str = ".onnx"
    counts: tuple[int, ...] = (MOST, FEWEST)
    slow: bool = False

    @property
    def file_name(self) -> str:
        """Return a name for its files, without the suffix."""
        return f"{self.tool}-{self.recipe}-{self.kind}-{self.placement}"


def _onnxruntime(kind: Kind) -> tuple[Peer, ...]:
    types = "S8S8" if kind == "signed" else "U8S8"
    # onnxruntime keeps every activation of every image for these: 512 images need more than 4.7 GB.
    counts = {"MinMax": (MOST, FEWEST), "Entropy": (FEWEST,), "Percentile": (FEWEST,)}
    return tuple(
        Peer(f"onnxruntime {types} {method}", "ort_static", method, kind, counts=images)
        for method, images in counts.items()
    )


def _recipes(
    brand: str, tool: str, placement: Placement, recipes: str, *, slow: bool = False, kinds: tuple[Kind, ...] = KINDS
) -> tuple[Peer, ...]:
    """Return one peer for each recipe, separated by blanks, and kind; all get 512 images."""
    return tuple(
        Peer(
            f"{brand} {recipe.replace('+', ', ')}{_PLACED[placement]}",
            *(tool, recipe, kind, placement),
            counts=(MOST,),
            slow=slow,
        )
        for recipe in recipes.split()
        for kind in kinds
    )


_CPU: tuple[Kind, ...] = ("unsigned",)
PEERS = (
    *_onnxruntime("signed"),
    Peer("ModelOpt max", "nvidia_modelopt", "max", "signed"),
    Peer("ModelOpt entropy", "nvidia_modelopt", "entropy", "signed"),
    *_onnxruntime("unsigned"),
    Peer("NNCF", "intel_nncf", "fast", "unsigned", suffix=".xml"),
    Peer("NNCF, full bias correction", "intel_nncf", "full", "unsigned", suffix=".xml"),
    Peer("NNCF, no bias correction", "intel_nncf", "none", "unsigned", suffix=".xml"),
    *_recipes("AIMET", "aimet", "same", "min_max tf_enhanced percentile cle+tf_enhanced seq_mse+tf_enhanced"),
    *_recipes("AIMET", "aimet", "lean", "tf_enhanced", kinds=_CPU),
    *_recipes("AIMET", "aimet", "own", "tf_enhanced"),
    *_recipes("AIMET", "aimet", "same", "adaround+tf_enhanced", slow=True),
    *_recipes("AIMET", "aimet", "lean", "adaround+tf_enhanced", slow=True, kinds=_CPU),
    *_recipes("Quark", "amd_quark", "same", "percentile min_mse cle+percentile"),
    *_recipes("Quark", "amd_quark", "lean", "percentile", kinds=_CPU),
    *_recipes("Quark", "amd_quark", "own", "percentile bias_correction+percentile"),
    # Their own targets leave no choice of the kind: XINT8 is signed, IMX500's are unsigned after a ReLU.
    *_recipes("Quark", "amd_quark", "own", "power_of_two", kinds=("signed",)),
    *_recipes("Quark", "amd_quark", "same", "adaround+percentile adaquant+percentile", slow=True),
    *_recipes("MCT", "sony_mct", "same", "mse"),
    *_recipes("MCT", "sony_mct", "lean", "mse", kinds=_CPU),
    *_recipes("MCT", "sony_mct", "own", "mse", kinds=_CPU),
    *_recipes("MCT", "sony_mct", "same", "gptq+mse", slow=True),
    *_recipes("MCT", "sony_mct", "lean", "gptq+mse", slow=True, kinds=_CPU),
    *_recipes("brevitas", "xilinx_brevitas", "same", "percentile gptq+bias_correction+percentile"),
    *_recipes("brevitas", "xilinx_brevitas", "own", "gptq+bias_correction+percentile"),
)


def run_peer(
    peer: Peer, model: Path, *, environments: Path, calibration: Path, output: Path, original: Original | None = None
) -> Usage:
    """Let a peer quantise `model` into `output`, calibrated on the images of a .npy file.

    Args:
        peer: The tool with its recipe.
        model: The FP32 network, ONNX.
        environments: Folder of the tools' environments; what is missing is installed.
        calibration: File of the graph's own input, (N, 3, H, W) float32.
        output: File to write.
        original: The network in PyTorch, for tools that take that.

    Raises:
        RuntimeError: The tool could not be installed, or the process failed; the message ends with what it said.
    """
    python = tool_python(tool_named(peer.tool), environments)
    tensors, layers = placed(model, peer.kind, peer.placement)
    files = (model.resolve(), calibration.resolve(), output.resolve())
    task = Task(peer.recipe, peer.kind, peer.placement, *files, tensors, layers, original)
    file = output.with_suffix(".task.json")
    task.save(file)
    command = [str(python), "-m", "benchmarks.int8.peer_job", peer.tool, str(file.resolve())]
    return run_measured(command, log=output.with_suffix(".log").resolve(), folder=_ROOT)


def placed(model: Path, kind: Kind, placement: Placement) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tensors and the layers that are to be quantised; empty where the tool decides itself."""
    if placement == "own":
        return (), ()
    target = "tensorrt" if placement == "lean" else TARGETS[kind]
    found = place(prepare(onnx.load(model)), target=target)
    return tuple(tensor.name for tensor in found.activations), found.weights


def measured_before(output: Path) -> Usage | None:
    """Return what a run that was interrupted later has taken for a file; None where there is none."""
    result = output.with_suffix(".usage.json")
    if not (output.exists() and result.exists()):
        return None
    return read_usage(result)
