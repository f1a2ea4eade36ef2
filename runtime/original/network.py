"""The PyTorch original: timm's network, and the wrapper that gives it a bundle's inputs and outputs.

The wrapper holds timm's network under the attribute `network`, so that parameter names are timm's
with that prefix. What it computes, for `pixels` (N, H, W, C) uint8:

1. To (N, C, H, W) float32, then (x - 255 mean) / (255 std): timm's normalisation of [0, 1] pixels,
   with the division by 255 moved into its constants.
2. timm's `forward_features`: (N, D, H/32, W/32) float32.
3. `embedding`, their mean over H and W: (N, D) float32. timm's global pool is the same mean through
   `AdaptiveAvgPool2d`, which torch.export turns into a strided view that engines read badly.
4. `logits`, timm's classifier on the embedding: (N, classes) float32. A network without classes has none, and the
   embedding is its only output.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from runtime.bundle.manifest import Preprocessing, Stem
from runtime.errors import GraphError, UnknownModelError, UsageError
from runtime.original.stems import replace_stem

if TYPE_CHECKING:
    import torch

InputKind = Literal["uint8", "float32"]

# timm's name for its resnet.py: ResNet, ResNeXt, SE-ResNet, ECA-ResNet, ResNet-D, ResNet-RS, Wide ResNet.
FAMILY = "resnet"
_PIXEL_MAX = 255.0
_FIRST = "conv1.weight"
# What an unnamed checkpoint is tried against: the twelve SSL models' architectures and torchvision's.
_PLAIN_ARCHITECTURES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "resnext50_32x4d",
    "resnext101_32x4d",
    "resnext101_64x4d",
    "resnext101_32x8d",
    "resnext101_32x16d",
)


def resnet_architectures() -> tuple[str, ...]:
    """Return timm's architectures of the ResNet family, in timm's natural order, without weight tags."""
    import timm

    return tuple(timm.list_models(module=FAMILY))


def build_network(architecture: str, classes: int, *, channels: int = 3, stem: Stem = "timm") -> "torch.nn.Module":
    """Return timm's network in eval mode, in FP32 on the CPU, with parameters that need no gradient.

    Its weights are timm's initialisation, from PyTorch's global random generator: a caller replaces
    them, by `load_into` or `randomise`.

    Args:
        architecture: timm architecture without a weight tag, such as `resnet18`.
        classes: Number of classes; 0 for a network without a classifier, as in timm.
        channels: Channels of the images.
        stem: How the network begins.

    Raises:
        UnknownModelError: timm's ResNet family has no such architecture.
        UsageError: The number of classes is negative, or the architecture cannot have this stem.
    """
    import timm
    import torch

    if classes < 0:
        raise UsageError(f"{architecture} with {classes} classes: expected 0 or more; pass --num-classes N")
    known = resnet_architectures()
    if architecture not in known:
        nearest = ", ".join(get_close_matches(architecture, known, n=3)) or "resnet18, resnet50"
        raise UnknownModelError(
            f"{architecture!r} is not an architecture of timm's ResNet family: the nearest are {nearest}"
        )
    network = timm.create_model(architecture, pretrained=False, num_classes=classes, in_chans=channels)
    assert isinstance(network, torch.nn.Module)
    replace_stem(network, stem)
    return network.eval().requires_grad_(False)


def wrap(network: "torch.nn.Module", preprocessing: Preprocessing, *, input_kind: InputKind) -> "torch.nn.Module":
    """Return a module from images to (logits, embedding), in eval mode, sharing the network's parameters.

    Its input is `pixels` (N, H, W, C) uint8 where `input_kind` is `uint8`, or normalised pixels
    (N, C, H, W) float32. Its outputs are logits (N, classes) and embedding (N, D), both float32; without a classifier
    they are (embedding,).

    Args:
        network: `build_network`'s network.
        preprocessing: Gives the mean and the standard deviation of the normalisation.
        input_kind: What the module takes.

    Raises:
        GraphError: The network's global pool is not the average.
    """
    return _wrap(network, preprocessing, input_kind=input_kind, fp16=False)


def wrap_fp16(network: "torch.nn.Module", preprocessing: Preprocessing) -> "torch.nn.Module":
    """Return PyTorch's own FP16 model of `wrap`'s uint8 module: the reference of an FP16 graph.

    The normalisation is in float32 and its result is cast to float16; the network, a copy, is
    float16 in weights and activations; the outputs are cast to float32.

    Args:
        network: `build_network`'s network, left as it is.
        preprocessing: Gives the mean and the standard deviation of the normalisation.

    Raises:
        GraphError: The network's global pool is not the average.
    """
    import torch

    narrow = share_tensors(network)
    map_tensors(narrow, lambda tensor: tensor.half() if tensor.dtype == torch.float32 else tensor)
    return _wrap(narrow, preprocessing, input_kind="uint8", fp16=True)


def share_tensors(network: "torch.nn.Module") -> "torch.nn.Module":
    """Return a copy of a network's modules that holds the same parameters and buffers, not copies of them.

    Hooks on the copy, and other tensors in it, do not change the original; nor does tracing the original, which puts
    stand-ins into its modules for a while, change the copy.
    """
    import copy

    tensors = (*network.parameters(), *network.buffers())
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def map_tensors(network: "torch.nn.Module", change: "Callable[[torch.Tensor], torch.Tensor]") -> None:
    """Put other tensors in the place of a network's parameters and buffers; those that it had are left as they are."""
    import torch

    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(change(parameter.data), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, change(buffer))


def _wrap(
    network: "torch.nn.Module", preprocessing: Preprocessing, *, input_kind: InputKind, fp16: bool
) -> "torch.nn.Module":
    import torch

    _require_average_pool(network)

    class Original(torch.nn.Module):
        """timm's network between a bundle's inputs and outputs; defined here so that torch loads late."""

        mean: torch.Tensor  # (1, C, 1, 1) float32, in units of grey levels
        std: torch.Tensor  # (1, C, 1, 1) float32, in units of grey levels

        def __init__(self) -> None:
            super().__init__()
            # timm's methods are beyond nn.Module's type.
            self.network: Any = network
            self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, -1, 1, 1) * _PIXEL_MAX)
            self.register_buffer("std", torch.tensor(preprocessing.std).view(1, -1, 1, 1) * _PIXEL_MAX)

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            normalised = pixels
            if input_kind == "uint8":
                # The cast comes first: TensorRT takes uint8 as an input and for nothing but a cast.
                normalised = (pixels.to(torch.float32).permute(0, 3, 1, 2) - self.mean) / self.std
            if fp16:
                normalised = normalised.to(torch.float16)
            features = self.network.forward_features(normalised)
            embedding = features.mean(dim=(2, 3))
            classifier = self.network.get_classifier()
            outputs = (embedding,) if isinstance(classifier, torch.nn.Identity) else (classifier(embedding), embedding)
            return tuple(output.to(torch.float32) for output in outputs) if fp16 else outputs

    return Original().eval()


def _require_average_pool(network: "torch.nn.Module") -> None:
    pool = getattr(network.global_pool, "pool_type", "")
    if pool != "avg":
        raise GraphError(
            f"the network's global pool is {pool!r}: expected 'avg', since the embedding is the mean over positions; "
            "choose a model with an average pool"
        )


def fitting_architecture(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the plain ResNet or ResNeXt whose state dict has these names and shapes, or None.

    Args:
        shapes: Shapes by parameter name; BatchNorm's counters and the first convolution do not matter.
    """
    import timm
    import torch

    wanted = _compared(shapes)
    classes = next(iter(wanted.get("fc.weight", ())), 0)
    for architecture in _PLAIN_ARCHITECTURES:
        # On the meta device a network has shapes and no values, and is made in milliseconds.
        with torch.device("meta"):
            network = timm.create_model(architecture, pretrained=False, num_classes=classes)
        if wanted == _compared({name: tuple(value.shape) for name, value in network.state_dict().items()}):
            return architecture
    return None


def _compared(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that tell architectures apart; the first convolution has the stem's size and channels."""
    return {
        name: shape[:1] if name == _FIRST else shape
        for name, shape in shapes.items()
        if not name.endswith(".num_batches_tracked")
    }
