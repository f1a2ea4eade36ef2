"""How a network begins: how many channels it takes, and the stem of networks for small images.

1. The channels are those of the first convolution's weight: 1 is a grey image, 3 is RGB, 4 is RGB and alpha.
2. timm's plain stem is a 7x7 convolution of stride 2 and a max-pool. Networks for images of 32 pixels have a 3x3
   convolution of stride 1 instead, of which there are four kinds:

       cifar          padding 1, no max-pool: kuangliu's pytorch-cifar, lightly's ResNetGenerator, most scripts
       solo-learn     padding 2, no max-pool: solo-learn, where a picture of 32 pixels becomes 34
       cifar-pool     padding 1, and the max-pool: where the convolution alone was replaced
       cifar-linear   padding 1, no max-pool, no activation: an nn.Sequential of the children of one of the first
                      networks, which call their activation as a function, as in lightly's examples

3. Padding and max-pool have no tensors: which kind a 3x3 convolution belongs to is for the user to state.
4. The numbers of an nn.Sequential's children tell how many modules stand before the stages. None is `cifar-linear`.
   With a 7x7 convolution there must be two.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from runtime.bundle.manifest import Colour, Stem
from runtime.errors import CheckpointError, UsageError
from runtime.support.words import counted

if TYPE_CHECKING:
    import torch

_COLOURS: Mapping[int, Colour] = {1: "L", 3: "RGB", 4: "RGBA"}
_KERNEL = 3
# Modules of timm's stem behind the normalisation: the activation and the max-pool.
_TIMMS_MODULES = 2


class _SmallStem(NamedTuple):
    padding: int
    pooled: bool
    activated: bool = True


# Sources: kuangliu's pytorch-cifar, `models/resnet.py`; lightly 1.6, `lightly/models/resnet.py` and the example of its
# `lightly/utils/benchmarking/benchmark_module.py`; solo-learn 1.0, `solo/methods/base.py`.
_SMALL: Mapping[Stem, _SmallStem] = {
    "cifar": _SmallStem(padding=1, pooled=False),
    "solo-learn": _SmallStem(padding=2, pooled=False),
    "cifar-pool": _SmallStem(padding=1, pooled=True),
    "cifar-linear": _SmallStem(padding=1, pooled=False, activated=False),
}


def colour_of(channels: int, where: str) -> Colour:
    """Return what pictures are converted to for a network of so many channels; rule 1.

    Args:
        channels: Channels that the network takes.
        where: What states them, for the message.

    Raises:
        CheckpointError: No picture has so many channels.
    """
    if channels not in _COLOURS:
        raise CheckpointError(
            f"{where} takes {channels} channels: expected 1 (grey), 3 (RGB) or 4 (RGB and alpha), which image files "
            "have; pass the checkpoint of a network for images"
        )
    return _COLOURS[channels]


def channels_of(state: "Mapping[str, torch.Tensor]") -> int:
    """Return how many channels a checkpoint's network takes; 3 where its first convolution is not found.

    Args:
        state: Tensors by timm's names.
    """
    weight = state.get("conv1.weight", state.get("conv1.0.weight"))
    return int(weight.shape[1]) if weight is not None and weight.ndim > 1 else len("RGB")


def stem_of(
    state: "Mapping[str, torch.Tensor]", stated: Stem | None, where: str, *, between: int | None = None
) -> Stem:
    """Return how a checkpoint's network begins; rules 2 to 4.

    Args:
        state: Tensors by timm's names.
        stated: What the user states; None for nothing.
        where: The file, for the message.
        between: Modules between the first normalisation and the stages; None where the file does not tell.

    Raises:
        CheckpointError: The kind of a 3x3 convolution is not stated, or the network has another stem than is stated.
    """
    weight = state.get("conv1.weight")
    small = weight is not None and tuple(weight.shape[2:]) == (_KERNEL, _KERNEL)
    if small and between == 0 and stated != "cifar-linear":
        raise CheckpointError(
            f"{where} is an nn.Sequential with no activation between its first 3x3 convolution and the stages, as of "
            "the children of lightly's ResNetGenerator: expected --stem cifar-linear, which has none; pass it"
        )
    if weight is not None and not small and between is not None and between < _TIMMS_MODULES:
        raise CheckpointError(
            f"{where} is an nn.Sequential with {counted(between, 'module')} between its first normalisation and the "
            "stages: expected two, an activation and a max-pool, as in timm's ResNets; it cannot be exported"
        )
    if small and stated in (None, "timm"):
        raise CheckpointError(
            f"{where} begins with one 3x3 convolution, as networks for small images do: its padding, and whether a "
            "max-pool follows, are in no tensor; pass --stem cifar (no max-pool: pytorch-cifar, lightly), --stem "
            "solo-learn (no max-pool, padding 2) or --stem cifar-pool (with it)"
        )
    if not small and stated not in (None, "timm"):
        raise CheckpointError(
            f"--stem {stated}, but {where} does not begin with one 3x3 convolution: expected one for this stem; leave "
            "the option out"
        )
    return stated or "timm"


def replace_stem(network: "torch.nn.Module", stem: Stem) -> None:
    """Give a network of timm's another stem, in place, with PyTorch's initial weights; rule 2.

    Args:
        network: timm's network.
        stem: What it shall begin with; `timm` leaves it as it is.

    Raises:
        UsageError: The architecture begins with several convolutions.
    """
    import torch

    if stem == "timm":
        return
    conv = network.conv1
    if not isinstance(conv, torch.nn.Conv2d):
        raise UsageError(
            f"--stem {stem}: this architecture begins with several convolutions, expected one that can be replaced; "
            "leave the option out, or pass a plain ResNet with --model, such as resnet18"
        )
    small = _SMALL[stem]
    network.conv1 = torch.nn.Conv2d(
        conv.in_channels, conv.out_channels, _KERNEL, stride=1, padding=small.padding, bias=False
    )
    if not small.pooled:
        network.maxpool = torch.nn.Identity()
    if not small.activated:
        network.act1 = torch.nn.Identity()


def input_channels(network: "torch.nn.Module") -> int:
    """Return how many channels a network takes, those of its first convolution."""
    import torch

    return next(module.in_channels for module in network.modules() if isinstance(module, torch.nn.Conv2d))
