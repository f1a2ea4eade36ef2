"""What a peer is asked to do: written by `int8/peers.py`, read in the peer's own process."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["signed", "unsigned"]
# `own`: the tool decides which tensors are quantised. `same`: exactly those that ours quantises. `lean`: those without
# the main side of the residual Adds, which ours quantises for CPUs because onnxruntime's kernels need it.
Placement = Literal["own", "same", "lean"]


@dataclass(frozen=True)
class Original:
    """The PyTorch network behind an ONNX file, for tools that take PyTorch.

    Attributes:
        architecture: timm's name.
        checkpoint: The weights' file.
    """

    architecture: str
    checkpoint: str


@dataclass(frozen=True)
class Task:
    """One network to quantise.

    Attributes:
        recipe: What to use, joined by `+`; the tool's file in `int8/peer_tools` lists what it takes.
        kind: Whether activations are signed with zero point 0, or unsigned with any.
        placement: The one who decides which tensors are quantised.
        model: The FP32 network, ONNX.
        calibration: File of the graph's own input, (N, 3, H, W) float32.
        output: File to write.
        tensors: Activations that ours quantises, in graph order; empty for `own`.
        layers: Names of the nodes whose weights ours quantises; empty for `own`.
        original: The network in PyTorch; None where there is none.
    """

    recipe: str
    kind: Kind
    placement: Placement
    model: Path
    calibration: Path
    output: Path
    tensors: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    original: Original | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the recipe's parts."""
        return tuple(self.recipe.split("+"))

    def save(self, path: Path) -> None:
        """Write the task as JSON."""
        path.write_text(json.dumps(asdict(self), default=str, indent=2) + "\n", encoding="utf-8")


def load_task(path: Path) -> Task:
    """Return the task that `Task.save` wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Task(
        recipe=found["recipe"],
        kind=found["kind"],
        placement=found["placement"],
        model=Path(found["model"]),
        calibration=Path(found["calibration"]),
        output=Path(found["output"]),
        tensors=tuple(found["tensors"]),
        layers=tuple(found["layers"]),
        original=Original(**found["original"]) if found["original"] else None,
    )
