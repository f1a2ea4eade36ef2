"""Load the PyTorch original that a bundle was exported from, and refuse any other."""

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.bundle.bundle import Bundle
from runtime.errors import CheckpointError
from runtime.original.checkpoint import hash_tensors, load_into, read_checkpoint, without_classifier
from runtime.original.checkpoint_search import Choice
from runtime.original.hub import fetch_hub_weights
from runtime.original.network import build_network
from runtime.original.random_weights import randomise

if TYPE_CHECKING:
    import torch


def load_original(bundle: Bundle, *, weights: Path | None) -> "torch.nn.Module":
    """Return timm's network with the weights that the bundle was exported from, in eval mode.

    Args:
        bundle: An opened bundle.
        weights: The checkpoint; None looks for what the manifest names: timm's hub (or its cache),
            the file of `find_file`, or the seed of random weights.

    Raises:
        CheckpointError: The checkpoint is not found, or its tensors are not those of the bundle.
        HubError: The hub is not reachable.
    """
    manifest = bundle.manifest
    model = build_network(
        manifest.model.architecture,
        manifest.model.classes,
        channels=len(manifest.preprocessing.colour),
        stem=manifest.model.stem,
    )
    path = find_checkpoint(bundle, weights=weights)
    if path is None:
        assert manifest.weights.seed is not None
        randomise(model, manifest.weights.seed)
        where = f"random weights with seed {manifest.weights.seed}"
        advice = "another PyTorch version draws different numbers; export again on this machine"
    else:
        checkpoint = read_checkpoint(path, Choice(key=manifest.weights.key, prefix=manifest.weights.prefix))
        # The bundle may have been made without the classifier that the file has.
        load_into(model, checkpoint if manifest.model.classes else without_classifier(checkpoint))
        where = str(path)
        advice = "pass the checkpoint that was exported with --weights FILE"
    found, expected = hash_tensors(model.state_dict()), manifest.weights.tensors_sha256
    if found != expected:
        raise CheckpointError(
            f"{where}: its tensors have sha256 {found[:12]}…, the bundle was made from {expected[:12]}… "
            f"({manifest.weights.name}): {advice}"
        )
    return model


def find_checkpoint(bundle: Bundle, *, weights: Path | None) -> Path | None:
    """Return where the original's checkpoint is, or None where its weights are drawn from a seed.

    The arguments and errors are those of `load_original`.
    """
    stated = bundle.manifest.weights
    if weights is not None:
        return weights
    if stated.source == "random":
        return None
    if stated.source == "hub":
        return fetch_hub_weights(stated.name)
    found = find_file(bundle)
    if found is None:
        raise CheckpointError(
            f"the bundle was exported from {stated.name}, which is neither beside it nor in the working directory: "
            "pass it with --weights FILE"
        )
    return found


def find_file(bundle: Bundle) -> Path | None:
    """Return the checkpoint file that a manifest names, beside the bundle or else here; None where it is in neither."""
    folders = (bundle.path.resolve().parent, Path.cwd())
    candidates = (folder / bundle.manifest.weights.name for folder in folders)
    return next((file for file in candidates if file.is_file()), None)
