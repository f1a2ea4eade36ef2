"""What is exported: the original network with its weights, and what it gives on the golden images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from exporter.checks.choose_golden import GoldenImages, choose_golden
from exporter.checks.golden import golden_outputs, network_feed
from exporter.models import ModelSpec
from exporter.preprocessing import describe_recipe, resolve_preprocessing, warn_of_assumptions
from exporter.request import ExportRequest, WeightsChoice
from runtime.bundle.bundle import Golden
from runtime.bundle.manifest import Preprocessing, Stem, Weights
from runtime.errors import UsageError
from runtime.original.checkpoint import checkpoint_classes, hash_tensors, load_into, read_checkpoint, without_classifier
from runtime.original.checkpoint_search import Choice
from runtime.original.hub import fetch_hub_weights
from runtime.original.network import build_network, wrap
from runtime.original.random_weights import randomise
from runtime.original.stems import channels_of, colour_of, input_channels, stem_of
from runtime.support.arrays import Floats, Pixels

if TYPE_CHECKING:
    import torch

# For random weights of an architecture of which timm has no trained ones.
_IMAGENET_CLASSES = 1000
_RGB = 3


@dataclass(frozen=True)
class Subject:
    """The original, loaded and run.

    Attributes:
        spec: Description of the model.
        preprocessing: Preprocessing from image file to pixels.
        network: timm's network in eval mode.
        weights: Where its weights came from.
        module: The network with its normalisation and its outputs, as it is traced.
        golden_images: Which images they are.
        feed: The golden images as the graph's input.
        golden: Pixels of the golden images, with PyTorch's outputs.
        notices: What was taken from the checkpoint if not all of it, the preprocessing, and what a user should know of
            it, a line each.
        stem: How the network begins.
    """

    spec: ModelSpec
    preprocessing: Preprocessing
    network: "torch.nn.Module"
    weights: Weights
    module: "torch.nn.Module"
    golden_images: GoldenImages
    feed: Pixels | Floats
    golden: Golden
    notices: tuple[str, ...] = ()
    stem: Stem = "timm"

    def forget_weights(self) -> None:
        """Let go of the network's weights: `network` and `module` are shapes alone from here on."""
        self.network.to("meta")


def load_subject(request: ExportRequest, spec: ModelSpec) -> Subject:
    """Load the weights and run the original on the golden images.

    Raises:
        ExportSslError: The weights, the pictures or an option cannot be used.
    """
    if request.weights.source == "hub":
        # What no weights can mend is refused before they are fetched.
        resolve_preprocessing(spec, request, channels=_stated_channels(spec))
    network, weights, note = _load_network(request, spec)
    channels = input_channels(network)
    preprocessing = resolve_preprocessing(spec, request, channels=channels)
    images = choose_golden(request.golden, request.int8, preprocessing)
    pixels, lost = images.dataset.load(preprocessing)
    module = wrap(network, preprocessing, input_kind=request.input_kind)
    feed = network_feed(pixels, preprocessing, takes_floats=request.input_kind == "float32")
    return Subject(
        spec=spec,
        preprocessing=preprocessing,
        network=network,
        weights=weights,
        module=module,
        golden_images=images,
        feed=feed,
        golden=golden_outputs(module, pixels, feed),
        notices=(
            *([f"{weights.name}: {note}"] if note else []),
            describe_recipe(spec, request, preprocessing),
            *warn_of_assumptions(spec, request, own_weights=request.weights.source == "file", channels=channels),
            *([images.notice] if images.notice else []),
            *(f"warning: of the golden images, {sentence}" for sentence in lost.sentences()),
        ),
        stem=request.stem or "timm",
    )


def _stated_channels(spec: ModelSpec) -> int:
    """Return the channels of the images of a model, as timm or config.json state them."""
    return spec.own.channels if spec.own is not None else _RGB


def _load_network(request: ExportRequest, spec: ModelSpec) -> tuple["torch.nn.Module", Weights, str]:
    """Return timm's network with the chosen weights, where they came from, and what was taken and left."""
    choice, num_classes, stem = request.weights, request.num_classes, request.stem
    if choice.source == "random":
        classes = num_classes if num_classes is not None else spec.classes or _IMAGENET_CLASSES
        channels = request.in_chans or _stated_channels(spec)
        network = build_network(spec.architecture, classes, channels=channels, stem=stem or "timm")
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
    channels = channels_of(checkpoint.state)
    colour_of(channels, path.name)
    if request.in_chans not in (None, channels):
        raise UsageError(f"--in-chans {request.in_chans}, but {path.name} has {channels}: leave the option out")
    stem = stem_of(checkpoint.state, stem, path.name, between=checkpoint.between)
    network = build_network(spec.architecture, classes, channels=channels, stem=stem)
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
