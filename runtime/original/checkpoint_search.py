"""Find the ResNet in what a checkpoint file holds, by its structure, whatever the file calls it.

1. Every dict in the file, however deep, is looked through for a prefix under which a whole ResNet lies; prefixes and
   names of dicts are not guessed from a list.
2. Where several lie there, `PREFERENCES` tells which of two its framework uses once the training is over. Networks with
   equal tensors are one network. Otherwise the file is refused, and the options that choose are named.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import CheckpointError
from runtime.original.checkpoint_advice import advise
from runtime.original.checkpoint_files import ONE_FILE
from runtime.original.checkpoint_heads import parts
from runtime.original.checkpoint_names import NAMINGS, Naming
from runtime.support.words import counted, first_few

if TYPE_CHECKING:
    import torch

# Dicts deeper than that in a file are not looked through.
_DEEPEST = 8
# Names of files that hold a part of the weights. Source: huggingface_hub's `split_torch_state_dict_into_shards`.
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.\w+$")
# Networks and keys that a message names.
_SHOWN = 6

Key = tuple[str, ...]
Containers = list[tuple[Key, Mapping[str, object]]]


@dataclass(frozen=True)
class Preference:
    """Which of two networks a framework uses after the training.

    Attributes:
        taken: Part of the place (key or prefix) of the one that is used.
        over: Part of the place of the other.
        why: What it is, for the user.
        evidence: A part of a name elsewhere in the file that only this framework writes; empty where the two names
            are enough.
    """

    taken: str
    over: str
    why: str
    evidence: str = ""


# Sources: timm 1.0's `load_state_dict(use_ema=True)` and torchvision's references; DINO's `eval_linear.py`, whose
# `--checkpoint_key` is `teacher` by default; MoCo's `main_lincls.py`, which takes `encoder_q`, and MoCo v3's, which
# takes `base_encoder`; PixPro's `convert_pretrain_to_d2.py`, which takes `encoder`; BYOL's paper, section 3.1: only the
# online encoder is kept. The other names are those of solo-learn 1.0, lightly 1.6, mmpretrain 1.2 and ema-pytorch 0.8.
# mmengine 0.10's `EMAHook` and Lightning 2.6's `WeightAveraging` swap the averaged weights into `state_dict`.
PREFERENCES = (
    Preference("state_dict_ema", "state_dict", "timm's averaged (EMA) weights"),
    Preference("model_ema", "model", "the averaged (EMA) weights"),
    Preference("ema_model", "online_model", "the averaged (EMA) weights"),
    Preference("state_dict", "ema_state_dict", "mmengine's averaged (EMA) weights", "message_hub"),
    Preference("state_dict", "current_model_state", "Lightning's averaged weights", "averaging_state"),
    Preference("teacher", "student", "DINO's teacher", "last_layer"),
    Preference("teacher_backbone", "student_backbone", "DINO's teacher", "last_layer"),
    Preference("encoder_q", "encoder_k", "MoCo's query encoder"),
    Preference("base_encoder", "momentum_encoder", "MoCo's base encoder"),
    Preference("online_encoder", "target_encoder", "BYOL's online encoder"),
    Preference("online_network", "target_network", "BYOL's online network"),
    Preference("backbone", "target_net", "the online backbone"),
    Preference("backbone", "encoder_k", "MoCo's query encoder"),
    Preference("backbone", "momentum_backbone", "the online backbone"),
    Preference("backbone", "backbone_momentum", "the online backbone"),
    Preference("encoder", "momentum_encoder", "the online encoder"),
    Preference("encoder", "encoder_k", "the online encoder"),
)


@dataclass(frozen=True)
class Choice:
    """Where the user says that the network lies.

    Attributes:
        key: Name of the dict in the file, with dots between the levels; None to search all.
        prefix: What its tensors' names begin with, with or without the last dot; None to search.
    """

    key: str | None = None
    prefix: str | None = None

    @property
    def dotted_prefix(self) -> str | None:
        """The prefix with a dot at its end, or empty."""
        return f"{self.prefix.rstrip('.')}." if self.prefix else self.prefix


# Two of them are the same one or not: dicts of tensors cannot be compared.
@dataclass(frozen=True, eq=False)
class Candidate:
    """A whole ResNet in the file: the dict and the prefix that it lies under, and how its tensors are named."""

    key: Key
    prefix: str
    naming: Naming
    content: Mapping[str, object]

    @property
    def place(self) -> set[str]:
        """The parts of key and prefix."""
        return {*self.key, *parts([self.prefix])}

    def described(self) -> str:
        """Return where it lies, in words."""
        key = f"key {'.'.join(self.key)!r}" if self.key else "no key"
        return f"{key}, prefix {self.prefix!r}"

    def has(self, name: str) -> bool:
        """Return whether a name in the file is that of a tensor of the network, its classifier left aside."""
        return name.startswith(self.prefix) and self.naming.to_timm(name.removeprefix(self.prefix)) is not None

    def members(self) -> dict[str, object]:
        """Return the network's values by timm's names, without its classifier."""
        renamed = {
            self.naming.to_timm(name.removeprefix(self.prefix)): value
            for name, value in self.content.items()
            if name.startswith(self.prefix)
        }
        return {name: value for name, value in renamed.items() if name is not None}


def containers_of(content: object) -> Containers:
    """Return every dict of a file with its key, from the outside; an object that occurs twice comes once."""
    found: Containers = []
    waiting: list[tuple[Key, object]] = [((), content)]
    seen: set[int] = set()
    while waiting:
        key, value = waiting.pop(0)
        # A pickle may hold itself.
        if id(value) in seen or len(key) > _DEEPEST:
            continue
        if isinstance(value, dict):
            seen.add(id(value))
            named = {name: inner for name, inner in value.items() if isinstance(name, str)}
            found.append((key, named))
            waiting += [
                ((*key, name), inner) for name, inner in named.items() if isinstance(inner, (dict, list, tuple))
            ]
        elif isinstance(value, (list, tuple)):
            seen.add(id(value))
            waiting += [((*key, str(number)), inner) for number, inner in enumerate(value) if isinstance(inner, dict)]
    return found


def tensors_of(held: Mapping[str, object]) -> "dict[str, torch.Tensor]":
    """Return the tensors of a dict, sparse and quantised ones too."""
    import torch

    return {name: value for name, value in held.items() if isinstance(value, torch.Tensor)}


def choose_network(containers: Containers, where: str, choice: Choice) -> tuple[Candidate, str]:
    """Return the network to take, and why that one where there are several.

    Args:
        containers: The dicts of a file, from `containers_of`.
        where: The file, for messages.
        choice: Where the user says that it lies.

    Raises:
        CheckpointError: There is no whole ResNet, or nothing tells which of several.
    """
    tensors = [(key, held) for key, held in containers if tensors_of(held)]
    if not tensors:
        kind = "dict" if containers else "value"
        raise CheckpointError(f"{where} holds a {kind} without weights: expected a state dict; save one")
    if choice.key is not None:
        tensors = _under_key(tensors, choice.key, where)
    candidates = [
        Candidate(key, prefix, naming, held)
        for key, held in tensors
        for naming in NAMINGS
        for prefix in naming.prefixes(held)
    ]
    if not candidates:
        names = [name for _, held in tensors for name in tensors_of(held)]
        raise CheckpointError(
            f"{where} holds no whole ResNet ({first_few(names)}): expected a state dict with tensors such as "
            "conv1.weight and layer1.0.conv1.weight to layer4, under any prefix; "
            + advise(names, ONE_FILE if _SHARD.search(where) else "pass a ResNet's checkpoint")
        )
    if choice.dotted_prefix is not None:
        candidates = _under_prefix(candidates, choice.dotted_prefix, where)
    return _preferred(candidates, parts(name for key, held in containers for name in (*key, *held)), where)


def _under_key(tensors: Containers, wanted: str, where: str) -> Containers:
    """Return the dicts at the key that the user names, and in it.

    Raises:
        CheckpointError: There are none.
    """
    kept = [(key, held) for key, held in tensors if f"{'.'.join(key)}.".startswith(f"{wanted}.")]
    if not kept:
        keys = [".".join(key) for key, _ in tensors if key]
        raise CheckpointError(
            f"{where} has no tensors under the key {wanted!r}: expected "
            f"{first_few(keys, shown=_SHOWN) or 'no key, since it is a plain state dict'}; mend --weights-key"
        )
    return kept


def _under_prefix(candidates: list[Candidate], wanted: str, where: str) -> list[Candidate]:
    """Return the networks under the prefix that the user names.

    Raises:
        CheckpointError: There are none.
    """
    kept = [candidate for candidate in candidates if candidate.prefix == wanted]
    if not kept:
        others = sorted({repr(candidate.prefix) for candidate in candidates})
        raise CheckpointError(
            f"{where} has no whole ResNet under the prefix {wanted!r}: expected {first_few(others, shown=_SHOWN)}; "
            "mend --weights-prefix"
        )
    return kept


def _preferred(candidates: list[Candidate], names: set[str], where: str) -> tuple[Candidate, str]:
    """Return the network that is used after the training, and why; rule 2.

    Raises:
        CheckpointError: Nothing tells which.
    """
    left, reasons = candidates, list[str]()
    for preference in PREFERENCES:
        if preference.evidence and preference.evidence not in names:
            continue
        taken = [one for one in left if preference.taken in one.place and preference.over not in one.place]
        over = [one for one in left if preference.over in one.place and preference.taken not in one.place]
        if taken and over:
            left = [one for one in left if one not in over]
            reasons.append(preference.why)
    if len(left) > 1 and all(_same(left[0], other) for other in left[1:]):
        reasons.append(f"the first of {len(left)} networks with equal tensors")
        left = left[:1]
    if len(left) > 1:
        places = first_few([candidate.described() for candidate in left], shown=_SHOWN, separator="; ")
        raise CheckpointError(
            f"{where} holds {counted(len(left), 'ResNet')}: expected one, or a pair of which one is known to be the "
            f"result; choose with --weights-key KEY or --weights-prefix PREFIX: {places}"
        )
    return left[0], ", ".join(reasons)


def _same(one: Candidate, other: Candidate) -> bool:
    """Return whether two networks have equal tensors."""
    import torch

    left, right = tensors_of(one.members()), tensors_of(other.members())
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
