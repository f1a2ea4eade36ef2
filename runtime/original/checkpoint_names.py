"""The names under which libraries store a ResNet's tensors, and timm's names for them.

Three kinds of naming are known, each told by the weight of the first convolution of the first block:

1. timm's and torchvision's own: `layer1.0.conv1.weight`. mmpretrain, lightly, solo-learn, DINO and MoCo keep it. So do
   the ResNets for CIFAR that say `shortcut` for `downsample`.
2. Children by number, as `nn.Sequential(*network.children())` gives them: `4.0.conv1.weight` in fastai and lightly.
   Networks for CIFAR have no max-pool among them (leftthomas' SimCLR): the stages then begin at 3. Where a network
   calls its activation as a function (lightly's ResNetGenerator, pytorch-cifar), it is no child either, and the stages
   begin at 2: such a Sequential has no activation in its stem.
3. Hugging Face transformers: `encoder.stages.0.layers.0.layer.0.convolution.weight`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Naming:
    """One way to name a ResNet's tensors.

    Attributes:
        title: The library or the rule that the names come from, for a message; empty for timm's own.
        first: Name of the first block's first weight.
        last: Name of the last stage's first weight.
        stems: Names of the stem's first weight, any of which is there.
        to_timm: Returns timm's name of a tensor of the network without its classifier, None for any other tensor.
        between: Modules between the first normalisation and the stages, 2 where these are an activation and a max-pool;
            None where names do not tell.
    """

    title: str
    first: str
    last: str
    stems: tuple[str, ...]
    to_timm: Callable[[str], str | None]
    between: int | None = None

    def prefixes(self, names: Iterable[str]) -> list[str]:
        """Return the prefixes under which a whole network of this naming lies, in the order of the names."""
        held = set(names)
        ends = [name.removesuffix(self.first) for name in held if name.endswith(self.first)]
        return sorted(
            prefix
            for prefix in ends
            if (not prefix or prefix.endswith("."))
            and prefix + self.last in held
            and any(prefix + stem in held for stem in self.stems)
        )


# Modules of timm's ResNets that are not the classifier; `maxpool` has weights in some stems.
_TIMM = re.compile(r"(conv1|bn1|maxpool|layer[1-4])\.")
_STAGES = ("layer1", "layer2", "layer3", "layer4")
# Where the stages begin among the children; in timm's and torchvision's ResNet 2 is the activation, 3 the max-pool.
_FIRST_STAGES = (4, 3, 2)
_STEM = {"embedder.embedder.convolution.": "conv1.", "embedder.embedder.normalization.": "bn1."}
# The title of its naming.
TRANSFORMERS = "Hugging Face transformers"
_BLOCK = re.compile(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(shortcut|layer\.(\d+))\.(convolution|normalization)\.")


def _plain(name: str) -> str | None:
    return name.replace(".shortcut.", ".downsample.") if _TIMM.match(name) else None


def _numbered(first_stage: int) -> Callable[[str], str | None]:
    """Return the function to timm's names where the stages begin with this child."""
    children = {"0": "conv1", "1": "bn1"} | ({"3": "maxpool"} if first_stage == _FIRST_STAGES[0] else {})
    children |= {str(first_stage + index): stage for index, stage in enumerate(_STAGES)}

    def to_timm(name: str) -> str | None:
        number, _, rest = name.partition(".")
        return _plain(f"{children[number]}.{rest}") if number in children else None

    return to_timm


def _transformers(name: str) -> str | None:
    for theirs, timms in _STEM.items():
        if name.startswith(theirs):
            return timms + name.removeprefix(theirs)
    block = _BLOCK.match(name)
    if block is None:
        return None
    stage, layer, part, number, kind = block.groups()
    if part == "shortcut":
        module = "downsample.0" if kind == "convolution" else "downsample.1"
    else:
        module = f"{'conv' if kind == 'convolution' else 'bn'}{int(number) + 1}"
    return f"layer{int(stage) + 1}.{layer}.{module}.{name[block.end() :]}"


NAMINGS = (
    Naming(
        title="",
        first="layer1.0.conv1.weight",
        last="layer4.0.conv1.weight",
        stems=("conv1.weight", "conv1.0.weight"),
        to_timm=_plain,
    ),
    *(
        Naming(
            title="the order of the children",
            first=f"{stage}.0.conv1.weight",
            last=f"{stage + 3}.0.conv1.weight",
            stems=("0.weight", "0.0.weight"),
            to_timm=_numbered(stage),
            # Convolution and normalisation are the first two.
            between=stage - 2,
        )
        for stage in _FIRST_STAGES
    ),
    Naming(
        title=TRANSFORMERS,
        first="encoder.stages.0.layers.0.layer.0.convolution.weight",
        last="encoder.stages.3.layers.0.layer.0.convolution.weight",
        stems=("embedder.embedder.convolution.weight",),
        to_timm=_transformers,
    ),
)
