"""Find the classifier beside a ResNet, and tell it from the projection heads of self-supervised training.

1. It is looked for under its usual names (`fc`, `classifier`, `head.fc`, `head`, `linear`), beside the network and
   then beside each of the modules that wrap it: mmpretrain's `head.fc` stands beside `backbone`.
2. It is one linear layer that takes the network's features, perhaps inside a Sequential with Flatten or Dropout, which
   have no tensors: `fc.1.weight` becomes `fc.weight`. A layer without a bias gets one of zeros.
3. Several layers are no classifier that can be exported. They keep their names under `fc.`, so that the export refuses
   them, unless it leaves the classifier out.
4. Where the file shows self-supervised training (a queue, a predictor, prototypes, …), what stands in the network's own
   `fc` is a projection head, as in MoCo and SimSiam, and so is a head of several layers: both are left.
5. A head of which a layer is called a projection (`head.proj`, as in OpenCLIP) is none either, and is left.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_NAMES = ("fc", "classifier", "head.fc", "head", "linear")
# fastai's body is child 0, its head child 1. Numbers of children from here on stand behind the network's last stage.
_BODY, _HEAD = "0.", "1"
_FIRST_HEAD_CHILD = 8
# Source: open_clip 3.1's TimmModel, whose `head` is Dropout and a Linear named `proj` into the space of the texts.
_PROJECTIONS = frozenset({"proj", "projection"})

# Names of modules and tensors that only self-supervised training has. Source: MoCo v1 to v3, SimSiam, SwAV, DINO, BYOL,
# Barlow Twins and VICReg as published, lightly 1.6, solo-learn 1.0 and mmpretrain 1.2.
SELF_SUPERVISED = frozenset(
    {
        "encoder_q",
        "encoder_k",
        "base_encoder",
        "momentum_encoder",
        "momentum_backbone",
        "backbone_momentum",
        "online_encoder",
        "target_encoder",
        "online_network",
        "target_network",
        "queue",
        "queue_ptr",
        "projector",
        "momentum_projector",
        "projection_head",
        "projection_head_momentum",
        "predictor",
        "prediction_head",
        "online_predictor",
        "prototypes",
        "last_layer",
    }
)


@dataclass(frozen=True)
class Head:
    """What stands where the classifier is expected.

    Attributes:
        module: Name of the module in the file, such as `head.fc`.
        tensors: The module's tensors by timm's names, `fc.weight` and `fc.bias` where it is a linear layer.
        used: Names of its tensors in the file.
        without_bias: Whether the file has no bias, and `tensors` has zeros.
    """

    module: str
    tensors: "dict[str, torch.Tensor]"
    used: frozenset[str]
    without_bias: bool = False


def parts(names: Iterable[str]) -> set[str]:
    """Return all parts of dotted names."""
    return {part for name in names for part in name.split(".")}


def find_head(
    tensors: "Mapping[str, torch.Tensor]", prefix: str, *, features: int, self_supervised: bool
) -> Head | None:
    """Return the classifier of the network under a prefix; None where there is none.

    Args:
        tensors: All tensors of the container by name.
        prefix: What the network's names begin with, empty or with a dot at its end.
        features: Length of the embedding.
        self_supervised: Whether rule 4 applies.
    """
    for outer in _outer(prefix):
        for module in _modules(tensors, outer, prefix):
            held = {name: tensors[name] for name in tensors if name.startswith(f"{module}.")}
            inside = parts(name.removeprefix(f"{module}.") for name in held)
            if not held or (self_supervised and outer == prefix) or inside & _PROJECTIONS:
                continue
            linear = _linear(held, features)
            if linear is not None:
                return linear
            if not self_supervised:
                kept = {f"fc.{name.removeprefix(module).lstrip('.')}": tensor for name, tensor in held.items()}
                return Head(module=module, tensors=kept, used=frozenset(held))
    return None


def _outer(prefix: str) -> list[str]:
    """Return a prefix and those of the modules around it, from the inside: `a.b.`, `a.`, and the empty one."""
    modules = prefix.split(".")[:-1]
    return ["".join(f"{module}." for module in modules[:count]) for count in range(len(modules), -1, -1)]


def _modules(tensors: "Mapping[str, torch.Tensor]", outer: str, prefix: str) -> list[str]:
    """Return the names of the modules that may be the classifier, under `outer`, the likeliest first."""
    modules = [outer + name for name in _NAMES]
    inside = prefix.removeprefix(outer)
    if inside.startswith(_BODY):
        modules.append(outer + _HEAD)
    if not inside:
        numbers = {name.removeprefix(outer).partition(".")[0] for name in tensors if name.startswith(outer)}
        modules += [
            outer + number for number in sorted(numbers) if number.isdigit() and int(number) >= _FIRST_HEAD_CHILD
        ]
    return modules


def _linear(held: "Mapping[str, torch.Tensor]", features: int) -> Head | None:
    """Return the one linear layer on the features that a module is; None for any other module."""
    import torch

    matrices = [name for name, tensor in held.items() if name.endswith(".weight") and tensor.ndim == 2]
    if len(matrices) != 1 or held[matrices[0]].shape[1] != features:
        return None
    weight, bias = matrices[0], matrices[0].removesuffix("weight") + "bias"
    if set(held) - {weight, bias}:
        return None
    rows = held[weight].shape[0]
    values = held.get(bias, torch.zeros(rows, dtype=held[weight].dtype))
    return Head(
        module=weight.removesuffix(".weight"),
        tensors={"fc.weight": held[weight], "fc.bias": values},
        used=frozenset(held),
        without_bias=bias not in held,
    )
