"""What is exported: the original network with its weights, and what it gives on the golden images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from exporter.checks.golden import golden_files, golden_outputs, load_golden_pixels, network_feed
from exporter.models import ModelSpec, resolve_preprocessing
from exporter.request import ExportRequest, WeightsChoice
from runtime.bundle.bundle import Golden
from runtime.bundle.manifest import Preprocessing, Weights
from runtime.errors import DataError, UsageError
from runtime.original.checkpoint import checkpoint_classes, hash_tensors, load_into, read_checkpoint, without_classifier
from runtime.original.checkpoint_search import Choice
from runtime.original.hub import fetch_hub_weights
from runtime.original.network import build_network, wrap
from runtime.original.random_weights import randomise
from runtime.support.arrays import Floats, Pixels

if TYPE_CHECKING:
    import torch

# For random weights of an architecture of which timm has no trained ones.
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Subject:
    """The original, loaded and run.

    Attributes:
        spec: Description of the model.
        preprocessing: Preprocessing from image file to pixels.
        network: timm's network in eval mode.
        weights: Where its weights came from.
        note: What was taken from the checkpoint and what was left, in one line; empty for all of it.
        module: The network with its normalisation and its outputs, as it is traced.
        files: The golden images.
        feed: The golden images as the graph's input.
        golden: Pixels of the golden images, with PyTorch's outputs.
    """

    spec: ModelSpec
    preprocessing: Preprocessing
    network: "torch.nn.Module"
    weights: Weights
    note: str
    module: "torch.nn.Module"
    files: tuple[Path, ...]
    feed: Pixels | Floats
    golden: Golden


def load_subject(request: ExportRequest, spec: ModelSpec) -> Subject:
    """Load the weights and run the original on the golden images.

    Raises:
        ExportSslError: The weights, the pictures or an option cannot be used.
    """
    preprocessing = resolve_preprocessing(
        spec, img_size=request.img_size, crop_pct=request.crop_pct, interpolation=request.interpolation
    )
    files = golden_files(request.golden)
    pixels = load_golden_pixels(files, preprocessing)
    network, weights, note = _load_network(request.weights, spec, num_classes=request.num_classes)
    module = wrap(network, preprocessing, input_kind=request.input_kind)
    feed = network_feed(pixels, preprocessing, takes_floats=request.input_kind == "float32")
    return Subject(
        spec=spec,
        preprocessing=preprocessing,
        network=network,
        weights=weights,
        note=note,
        module=module,
        files=files,
        feed=feed,
        golden=golden_outputs(module, pixels, feed),
    )


def _load_network(
    choice: WeightsChoice, spec: ModelSpec, *, num_classes: int | None
) -> tuple["torch.nn.Module", Weights, str]:
    """Return timm's network with the chosen weights, where they came from, and what was taken and left."""
    if choice.source == "random":
        classes = num_classes if num_classes is not None else spec.classes or _IMAGENET_CLASSES
        network = build_network(spec.architecture, classes)
        randomise(network, choice.seed)
        weights = Weights(
            source="random",
            name=f"untrained, seed {choice.seed}",
            file_sha256=None,
            tensors_sha256=hash_tensors(network.state_dict()),
            seed=choice.seed,
        )
        return network, weights, ""
    source, name, path = _locate(choice, spec)
    checkpoint = read_checkpoint(path, Choice(key=choice.key, prefix=choice.prefix))
    if num_classes == 0:
        checkpoint = without_classifier(checkpoint)
    classes = checkpoint_classes(checkpoint.state)
    if num_classes not in (None, classes):
        raise UsageError(f"--num-classes {num_classes}, but {path.name} has {classes}: leave the option out")
    network = build_network(spec.architecture, classes)
    load_into(network, checkpoint)
    weights = Weights(
        source=source,
        name=name,
        file_sha256=checkpoint.file_sha256,
        tensors_sha256=hash_tensors(network.state_dict()),
        key=choice.key,
        prefix=choice.prefix,
    )
    return network, weights, checkpoint.note


def _locate(choice: WeightsChoice, spec: ModelSpec) -> tuple[Literal["hub", "file"], str, Path]:
    """Return where the weights come from, the name that the manifest gives them, and their file.

    Raises:
        UsageError: timm has no weights of this architecture.
        HubError: The weights cannot be fetched.
    """
    if choice.path is not None:
        return "file", choice.path.name, choice.path
    if spec.own is not None and spec.own.weights is not None:
        return "file", spec.own.weights.name, spec.own.weights
    name = spec.own.repository if spec.own is not None else spec.timm_tag
    if name is None:
        raise UsageError(f"timm has no trained weights of {spec.name}: pass --weights FILE or --weights random")
    return "hub", name, fetch_hub_weights(name)


def read_class_names(path: Path, classes: int) -> tuple[str, ...]:
    """Return the class names of a text file, one line per class in the order of the outputs, or of a folder.

    Of a folder, the sorted names of its class folders are the classes: torchvision's rule, by which it was trained.

    Raises:
        DataError: The file is unreadable, has another number of lines, or names a class twice; or the folder has
            another number of class folders.
    """
    if path.is_dir():
        return _folder_names(path, classes)
    try:
        names = tuple(line.rstrip() for line in path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"--labels {path} cannot be read ({error}): expected a text file with one class per line"
        ) from error
    if len(names) != classes:
        raise DataError(
            f"--labels {path} has {len(names)} lines, but the network has {classes} classes: expected "
            "one line per class"
        )
    repeated = sorted({name for name in names if names.count(name) > 1 or not name})
    if repeated:
        raise DataError(
            f"--labels {path} has an empty or repeated name {repeated[0]!r}: expected {classes} different ones"
        )
    return names


def _folder_names(path: Path, classes: int) -> tuple[str, ...]:
    """Return the sorted names of a folder's folders.

    Source: torchvision 0.29, `torchvision.datasets.folder.find_classes`; hidden folders, which it counts, are passed
    over here, as they are wherever class folders are read.
    """
    names = tuple(sorted(child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")))
    if len(names) != classes:
        raise DataError(
            f"--labels {path} has {len(names)} class folders, but the network has {classes} classes: expected "
            "one folder per class, as in its training"
        )
    return names
