"""Load the PyTorch original that a manifest names, and refuse any other."""

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.bundle.manifest import Manifest
from runtime.errors import CheckpointError
from runtime.original.checkpoint import hash_tensors, load_into, read_checkpoint
from runtime.original.hub import fetch_hub_weights
from runtime.original.network import build_network
from runtime.original.random_weights import randomise

if TYPE_CHECKING:
    import torch


def load_original(manifest: Manifest, *, weights: Path | None, near: Path) -> "torch.nn.Module":
    """Return timm's network with the weights that the bundle was exported from, in eval mode.

    Args:
        manifest: The bundle's.
        weights: The checkpoint; None looks for what the manifest names: timm's hub (or its cache),
            the file of that name in `near` or the working directory, or the seed of random weights.
        near: A folder to look in, the bundle's parent.

    Raises:
        CheckpointError: The checkpoint is not found, or its tensors are not those of the bundle.
        HubError: The hub is not reachable.
    """
    model = build_network(manifest.model.architecture, manifest.model.classes)
    path = find_checkpoint(manifest, weights=weights, near=near)
    if path is None:
        assert manifest.weights.seed is not None
        randomise(model, manifest.weights.seed)
        where = f"random weights with seed {manifest.weights.seed}"
        advice = "another PyTorch version draws other numbers; export again on this machine"
    else:
        load_into(model, read_checkpoint(path))
        where = str(path)
        advice = "pass the checkpoint that was exported with --weights FILE"
    found, expected = hash_tensors(model.state_dict()), manifest.weights.tensors_sha256
    if found != expected:
        raise CheckpointError(
            f"{where}: its tensors have sha256 {found[:12]}…, the bundle was made from {expected[:12]}… "
            f"({manifest.weights.name}): {advice}"
        )
    return model


def find_checkpoint(manifest: Manifest, *, weights: Path | None, near: Path) -> Path | None:
    """Return where the original's checkpoint is, or None where its weights are drawn from a seed.

    The arguments and errors are those of `load_original`.
    """
    if weights is not None:
        return weights
    if manifest.weights.source == "random":
        return None
    if manifest.weights.source == "hub":
        return fetch_hub_weights(manifest.weights.name)
    candidates = [folder / manifest.weights.name for folder in (near, Path.cwd())]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        f"the bundle was exported from {manifest.weights.name}, which is neither beside it nor in the working "
        "directory: pass it with --weights FILE"
    )
