"""Read a checkpoint without trusting it, and load it into timm's network without guessing.

1. `checkpoint_files.py` reads safetensors and PyTorch's formats, told by what is in the file.
2. `checkpoint_search.py` finds the network by its structure, under whatever keys and prefixes.
3. `checkpoint_take.py` gives its tensors timm's names (`checkpoint_names.py`), its classifier too
   (`checkpoint_heads.py`).
4. `checkpoint_settings.py` refuses a network that is stated to have other strides or activations than timm's.

timm's and torchvision's legacy file names end in digits of their sha256, which are checked.
"""

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import CheckpointError
from runtime.original.checkpoint_advice import advise
from runtime.original.checkpoint_files import EXPECTED, read_content
from runtime.original.checkpoint_names import TRANSFORMERS
from runtime.original.checkpoint_search import Choice, containers_of
from runtime.original.checkpoint_settings import refuse_other_settings
from runtime.original.checkpoint_take import find_network
from runtime.original.network import fitting_architecture
from runtime.support.files import hash_file
from runtime.support.words import first_few, printable

if TYPE_CHECKING:
    import torch

# Source: torch.hub's rule for file names, at least the first eight digits of the file's sha256. Decimal digits alone
# are a date or a number of steps: only one hash in forty-three has none of `a` to `f` among its first eight.
_HASHED_NAME = re.compile(r"-(?=\d*[a-f])([0-9a-f]{8,64})\.pth$")
# Files older than PyTorch 0.4.1 lack BatchNorm's counter of batches, which inference does not use.
_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been read.

    Attributes:
        state: Tensors by timm's parameter names, `fc.*` for the classifier; none of those where there is none. They
            may be mapped from the file: read them before the file changes.
        file_sha256: sha256 of the file, 64 hexadecimal digits.
        name: File name, without folders.
        note: What was taken, renamed and left, in one line; empty for a plain state dict.
        between: Modules between the first normalisation and the stages; None where names do not tell.
    """

    state: "dict[str, torch.Tensor]"
    file_sha256: str
    name: str
    note: str = ""
    between: int | None = None


def read_checkpoint(path: Path, choice: Choice | None = None) -> Checkpoint:
    """Return the tensors of the network in a checkpoint file.

    Args:
        path: The file.
        choice: Which of its tensors are the network's; None to find them.

    Raises:
        CheckpointError: The file is missing, empty, damaged, of another kind, holds code, no ResNet or more
            than one, a ResNet with other strides or activations, or is not the one whose hash is in its name.
    """
    check_file(path)
    try:
        file_sha256 = hash_file(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    _check_name(path, file_sha256)
    content = read_content(path)
    found = find_network(content, str(path), choice)
    refuse_other_settings(
        path,
        containers_of(content),
        bottleneck="layer4.0.conv3.weight" in found.state,
        hugging=found.naming.title == TRANSFORMERS,
    )
    return Checkpoint(
        state=found.state, file_sha256=file_sha256, name=path.name, note=found.note, between=found.naming.between
    )


def hash_tensors(state: "Mapping[str, torch.Tensor]") -> str:
    """Return what identifies weights whatever file held them, 64 hexadecimal digits.

    It is the sha256 of, for each tensor in the order of the names' code points: the name (UTF-8), a
    zero byte, the dtype (`float32`), a zero byte, the shape in decimal with commas (`64,3,7,7`;
    nothing for a scalar), a zero byte, and the values in C order, little-endian.

    Args:
        state: Tensors by name, any dtype and shape.
    """
    import torch

    assert sys.byteorder == "little", "PyTorch's wheels are for little-endian CPUs"
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape = ",".join(str(length) for length in tensor.shape)
        digest.update(f"{name}\0{dtype}\0{shape}\0".encode())
        # A view of the tensor's own memory: hashlib reads it without a copy.
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def checkpoint_classes(state: "Mapping[str, torch.Tensor]", classifier: str = "fc") -> int:
    """Return the number of classes, the rows of the classifier's weight; 0 where there is no classifier.

    Args:
        state: Tensors by name.
        classifier: timm's name of the classifier, `fc` in the whole ResNet family.

    Raises:
        CheckpointError: The classifier has no weight, or it is not a matrix (classes, D).
    """
    if not any(name.startswith(f"{classifier}.") for name in state):
        return 0
    weight = state.get(f"{classifier}.weight")
    if weight is None or weight.ndim != 2:
        several = [f"{name} of shape {tuple(state[name].shape)}" for name in state if name.startswith(f"{classifier}.")]
        own = advise(several, "pass a ResNet's checkpoint with its own classifier")
        raise CheckpointError(
            f"the checkpoint's classifier has {first_few(several)}: expected {classifier}.weight (classes, features), "
            f"one linear layer; {own}, or leave the classifier out with --no-classifier"
        )
    return int(weight.shape[0])


def without_classifier(checkpoint: Checkpoint, classifier: str = "fc") -> Checkpoint:
    """Return a checkpoint without the tensors of its classifier, if it has one.

    Args:
        checkpoint: What was read.
        classifier: timm's name of the classifier.
    """
    kept = {name: tensor for name, tensor in checkpoint.state.items() if not name.startswith(f"{classifier}.")}
    return replace(checkpoint, state=kept)


def load_into(model: "torch.nn.Module", checkpoint: Checkpoint) -> None:
    """Copy a checkpoint into a network; every tensor must have its place, and every place its tensor.

    Values are converted to the network's float32. Only BatchNorm's counters may be missing.

    Args:
        model: `runtime.original.network.build_network`'s.
        checkpoint: What to load.

    Raises:
        CheckpointError: Names, shapes or kinds of numbers do not fit, or a value is not finite.
    """
    import torch

    places, state = model.state_dict(), checkpoint.state
    missing = [name for name in places if name not in state and not name.endswith(_COUNTER)]
    unexpected = [name for name in state if name not in places]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(places[name].shape)}"
        for name in places
        if name in state and state[name].shape != places[name].shape
    ]
    if missing or unexpected or shapes:
        raise CheckpointError(_misfit(model, checkpoint, missing=missing, unexpected=unexpected, shapes=shapes))
    for name, tensor in state.items():
        # An average of whole state dicts has counters that are no whole numbers.
        if not name.endswith(_COUNTER) and tensor.is_floating_point() != places[name].is_floating_point():
            raise CheckpointError(
                f"{checkpoint.name}: {name} is {tensor.dtype}, expected {places[name].dtype}; pass unquantised weights"
            )
    model.load_state_dict(state)
    # After the conversion, so that a float64 value beyond float32 is found too.
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{checkpoint.name}: {name} holds NaN or infinity, expected finite weights; "
                "pass a checkpoint from before the training diverged"
            )


def _misfit(
    model: "torch.nn.Module", checkpoint: Checkpoint, *, missing: list[str], unexpected: list[str], shapes: list[str]
) -> str:
    """Return the message for a checkpoint of another network."""
    architecture = getattr(model, "pretrained_cfg", {}).get("architecture", type(model).__name__)
    reasons = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
    found = "; ".join(f"{len(names)} {kind} ({first_few(names)})" for kind, names in reasons if names)
    fits = fitting_architecture({name: tuple(tensor.shape) for name, tensor in checkpoint.state.items()})
    if not missing and not unexpected and len(shapes) == 1 and shapes[0].startswith("conv1."):
        advice = "only its stem differs, which cannot be exported: train one with timm's stem, or one that --stem names"
    elif fits is None:
        advice = advise(unexpected, "pass the checkpoint's own architecture with --model")
    elif fits == architecture:
        advice = f"it is a {fits} with {checkpoint_classes(checkpoint.state)} classes: leave --num-classes out"
    else:
        advice = f"it fits {fits}: pass --model {fits}"
    return f"{checkpoint.name} is not a checkpoint of this {architecture}: of its tensors, {found}; {advice}"


def check_file(path: Path) -> None:
    """Refuse what is no file, or holds nothing.

    Raises:
        CheckpointError: The file is missing, empty, a directory, a pipe or a device, or its name is not UTF-8.
    """
    shown = printable(str(path))
    if shown != str(path):
        raise CheckpointError(
            f"{shown} has a name that is not UTF-8, by which no library of checkpoints opens a file: rename it"
        )
    if path.is_dir():
        advice = _folder_advice(path) if (path / "config.json").is_file() else ""
        raise CheckpointError(f"{path} is a directory: {EXPECTED}{advice}")
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is a pipe, a socket or a device: {EXPECTED}; write it into a plain file first")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: {EXPECTED}; check --weights")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty: {EXPECTED}; fetch it again")


def _folder_advice(path: Path) -> str:
    """Return what to pass for a folder with a config.json."""
    weights = path / "model.safetensors"
    file = f"; pass the file, as {weights}" if weights.is_file() else ""
    return f"{file}; timm's folders are read with --model local-dir:{path}"


def _check_name(path: Path, file_sha256: str) -> None:
    match = _HASHED_NAME.search(path.name)
    if match and not file_sha256.startswith(match[1]):
        raise CheckpointError(
            f"{path} has sha256 {file_sha256[:8]}…, but its name says {match[1]}: it is damaged or another file; "
            "fetch it again, or rename it if those digits are no hash"
        )
