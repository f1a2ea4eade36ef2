"""Take the network that was found in a checkpoint: its tensors by timm's names, and a word on what was left.

1. Networks and heads are found by `checkpoint_search.py` and `checkpoint_heads.py`; every tensor is used or left.
2. What lies beside the network's tensors under its own prefix must be known by its name, a head or a counter: other
   tensors may belong to a network that is no plain ResNet. Naming the prefix takes it all the same.
3. Strides, dilations and activations are not in tensors. They are timm's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import CheckpointError
from runtime.original.checkpoint_advice import advise
from runtime.original.checkpoint_heads import SELF_SUPERVISED, Head, find_head, parts
from runtime.original.checkpoint_names import NAMINGS, Naming
from runtime.original.checkpoint_search import Candidate, Choice, choose_network, containers_of, tensors_of
from runtime.support.words import counted, first_few

if TYPE_CHECKING:
    import torch

# Wrappers that say nothing about a network: DataParallel's and torch.compile's.
_WRAPPERS = ("module", "_orig_mod")
# Leftovers that a sentence names.
_SHOWN = 6
# What may lie beside the network under its own prefix without being part of it.
_BESIDE = re.compile(
    r"(fc|classifier|head|heads|linear|aux|n_averaged|queue|center|loss|criterion|step|initted)"
    r"|.*(proj|predict|prototyp|queue|momentum|teacher|student|target|online|head|classif|loss|criterion|metric).*"
)


@dataclass(frozen=True)
class Found:
    """The network that was taken.

    Attributes:
        state: Tensors by timm's names, `fc.*` for the classifier; none of those where it has none.
        note: What was taken, renamed and left, in one line; empty for a plain state dict.
        naming: How the file names its tensors.
    """

    state: "dict[str, torch.Tensor]"
    note: str
    naming: Naming


def find_network(content: object, where: str, choice: Choice | None = None) -> Found:
    """Return the tensors of the ResNet in a file's content, with its classifier, by timm's names.

    Args:
        content: What the file holds, from `runtime.original.checkpoint_files.read_content`.
        where: The file, for messages.
        choice: Where the user says that it lies.

    Raises:
        CheckpointError: There is no whole ResNet, there are several, a tensor is not a plain one, or what lies
            beside the network is unknown.
    """
    choice = choice or Choice()
    containers = containers_of(content)
    chosen, why = choose_network(containers, where, choice)
    backbone = _plain(chosen.members(), where)
    tensors = tensors_of(chosen.content)
    names = parts(name for key, held in containers for name in (*key, *tensors_of(held)))
    head = find_head(
        tensors, chosen.prefix, features=_features(backbone), self_supervised=bool(SELF_SUPERVISED & names)
    )
    used = head.used if head is not None else frozenset()
    left = [name for name in tensors if name not in used and not chosen.has(name)]
    if choice.prefix is None:
        _refuse_unknown(chosen, left, where)
    state = {**backbone, **(_plain(head.tensors, where) if head is not None else {})}
    return Found(state=state, note=_note(chosen, why, head=head, left=left), naming=chosen.naming)


def _plain(members: Mapping[str, object], where: str) -> "dict[str, torch.Tensor]":
    """Return values that are all plain tensors.

    Raises:
        CheckpointError: One is sparse, quantised or no tensor.
    """
    import torch

    state: dict[str, torch.Tensor] = {}
    for name, value in members.items():
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or value.is_quantized:
            raise CheckpointError(
                f"{where}: {name[:80]!r} is a {type(value).__name__} that is sparse, quantised or no tensor: "
                "expected plain tensors in a state dict; save model.state_dict() of the network before it was changed"
            )
        state[name] = value
    return state


def _features(backbone: "Mapping[str, torch.Tensor]") -> int:
    """Return the length of the embedding: the channels of the last convolution of a block of the last stage."""
    last = backbone.get("layer4.0.conv3.weight", backbone.get("layer4.0.conv2.weight"))
    return 0 if last is None else int(last.shape[0])


def _refuse_unknown(chosen: Candidate, left: list[str], where: str) -> None:
    """Refuse tensors under the network's own prefix that are no head, no counter and no other network; rule 2."""
    prefixes = {prefix for naming in NAMINGS for prefix in naming.prefixes(chosen.content)}
    others = tuple(prefix for prefix in prefixes if prefix.startswith(chosen.prefix) and prefix != chosen.prefix)
    inside = [name for name in left if name.startswith(chosen.prefix) and not name.startswith(others)]
    unknown = [name for name in inside if not _BESIDE.fullmatch(name.removeprefix(chosen.prefix).partition(".")[0])]
    if unknown:
        leave_out = f"if they are no part of the network, leave them out with --weights-prefix '{chosen.prefix}'"
        raise CheckpointError(
            f"{where}: beside the ResNet under prefix {chosen.prefix!r} lie {counted(len(unknown), 'other tensor')} "
            f"({first_few(unknown)}), expected none but heads; {advise(unknown, leave_out)}"
        )


def _note(chosen: Candidate, why: str, *, head: Head | None, left: list[str]) -> str:
    """Return what was taken, renamed and left; empty where that is a whole plain state dict."""
    told = []
    if chosen.key:
        told.append(f"key {'.'.join(chosen.key)}")
    if chosen.prefix:
        told.append(f"prefix {chosen.prefix}")
    if why:
        told.append(why)
    if any(name.endswith("n_averaged") for name in left):
        told.append("averaged weights (SWA or EMA)")
    if chosen.naming.title:
        told.append(f"names of {chosen.naming.title}")
    if head is not None and "fc.weight" in head.tensors and head.module != f"{chosen.prefix}fc":
        told.append(f"classifier at {head.module}")
    if head is not None and head.without_bias:
        told.append("a classifier without bias, zeros in its place")
    sentence = f"taken: {', '.join(told)}" if told else ""
    groups = _groups(chosen, left)
    if groups:
        names = first_few(
            [name if count == 1 else f"{name} ({count} tensors)" for name, count in groups.items()], shown=_SHOWN
        )
        sentence = f"{sentence or 'taken: the plain state dict'}; left: {names}"
    return sentence


def _groups(chosen: Candidate, left: list[str]) -> dict[str, int]:
    """Return how many tensors were left by the module that they are in, without wrappers."""
    groups: dict[str, int] = {}
    for name in left:
        rest = name.removeprefix(chosen.prefix) if name.startswith(chosen.prefix) else name
        modules = [module for module in rest.split(".") if module not in _WRAPPERS] or [rest]
        groups[modules[0]] = groups.get(modules[0], 0) + 1
    return groups
