"""Which model a name means: its architecture, weights, licence, preprocessing and labels.

The names are the twelve of the paper in timm's old spelling (`ssl_resnet18`), timm's new ones
(`resnet18.fb_ssl_yfcc100m_ft_in1k`, with or without `timm/` or `hf_hub:timm/`), every other model
of timm's ResNet family, timm's other old spellings (`tv_resnet50`, `ig_resnext101_32x8d`,
`gluon_resnet50_v1d`), and other people's models in timm's form (`exporter/own_models.py`). Everything
but the tables below is read from timm's own configuration.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from exporter.own_models import OwnModel, read_own_model
from runtime.bundle.manifest import Licence
from runtime.data.labels import unnamed_labels
from runtime.errors import UnknownModelError, UsageError
from runtime.original.network import FAMILY

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

WeightsSource = Literal["hub", "file", "random"]

_SSL_TAG = "fb_ssl_yfcc100m_ft_in1k"
_SWSL_TAG = "fb_swsl_ig1b_ft_in1k"
_HUB_PREFIXES = ("hf_hub:", "hf-hub:", "timm/")
# timm's tag of an architecture that has no trained weights.
_UNTRAINED_TAG = "untrained"
_SUGGESTIONS = 3

# timm's oldest names begin with where the weights are from. timm maps them itself, but wrongly for three of the four
# `ig_` ones (all to 32x8d), and without `tv2_`, torchvision's second weights.
_OLD_PREFIXES = {
    "tv_": "tv_in1k",
    "tv2_": "tv2_in1k",
    "ig_": "fb_wsl_ig1b_ft_in1k",
    "gluon_": "gluon_in1k",
}
# GluonCV's variants of the stem; v1b is the plain network.
_GLUON_VARIANT = re.compile(r"(?<=\d)_v1([bcds])$")

# timm's licences are in lower case; SPDX identifiers have these capitals. Source: spdx.org/licenses.
_SPDX = {
    "apache-2.0": "Apache-2.0",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "mit": "MIT",
}
_NO_ASSERTION = "NOASSERTION"
_SSL_NOTICE = (
    "Weights by Facebook AI (Yalniz et al. 2019, arXiv 1905.00546), for non-commercial use only; "
    "this holds for everything made from them, this bundle included."
)


@dataclass(frozen=True)
class SslModel:
    """A model of the paper.

    Attributes:
        name: timm's old name.
        architecture: timm architecture.
        timm_tag: timm's new name.
        top1: ImageNet-1k top-1 accuracy of timm's model card, a fraction.
        top5: ImageNet-1k top-5 accuracy of the card, a fraction.
        card_flops: The card's "FLOPs"; the rule is in `runtime/original/flops.py`.
    """

    name: str
    architecture: str
    timm_tag: str
    top1: float
    top5: float
    card_flops: int


def _ssl(architecture: str, top1: float, *, top5: float, card_flops: int) -> SslModel:
    return SslModel(f"ssl_{architecture}", architecture, f"{architecture}.{_SSL_TAG}", top1, top5, card_flops)


def _swsl(architecture: str, top1: float, *, top5: float, card_flops: int) -> SslModel:
    return SslModel(f"swsl_{architecture}", architecture, f"{architecture}.{_SWSL_TAG}", top1, top5, card_flops)


# Source: timm's model cards, the model-index of ssl-resnet, ssl-resnext, swsl-resnet and swsl-resnext in
# its documentation of 2021 to 2023.
SSL_MODELS = (
    _ssl("resnet18", 0.7262, top5=0.9142, card_flops=2337073152),
    _ssl("resnet50", 0.7924, top5=0.9483, card_flops=5282531328),
    _ssl("resnext50_32x4d", 0.8030, top5=0.9541, card_flops=5472648192),
    _ssl("resnext101_32x4d", 0.8091, top5=0.9573, card_flops=10298145792),
    _ssl("resnext101_32x8d", 0.8161, top5=0.9604, card_flops=21180417024),
    _ssl("resnext101_32x16d", 0.8184, top5=0.9609, card_flops=46623691776),
    _swsl("resnet18", 0.7328, top5=0.9176, card_flops=2337073152),
    _swsl("resnet50", 0.8114, top5=0.9597, card_flops=5282531328),
    _swsl("resnext50_32x4d", 0.8217, top5=0.9623, card_flops=5472648192),
    _swsl("resnext101_32x4d", 0.8322, top5=0.9677, card_flops=10298145792),
    _swsl("resnext101_32x8d", 0.8427, top5=0.9717, card_flops=21180417024),
    _swsl("resnext101_32x16d", 0.8334, top5=0.9684, card_flops=46623691776),
)


@dataclass(frozen=True)
class ModelSpec:
    """What a model's name means.

    Attributes:
        name: Short name: the old name of one of the twelve, else timm's name as given.
        architecture: timm architecture, such as `resnet18`.
        timm_tag: timm's name with the weight tag, timm's default one where none was given; None
            where timm has no trained weights of it. It names weights only with those of the hub.
        licence: Licence of timm's weights; `licence_of` tells that of others.
        classes: Number of classes of timm's weights; 0 where they have no classifier.
        top1: The card's ImageNet-1k top-1 accuracy as a fraction, None where unknown.
        top5: The card's top-5 accuracy as a fraction, None where unknown.
        card_flops: The card's "FLOPs", None where unknown.
        own: The model of a folder or a repository, as config.json describes it; None for timm's.
    """

    name: str
    architecture: str
    timm_tag: str | None
    licence: Licence
    classes: int
    top1: float | None = None
    top5: float | None = None
    card_flops: int | None = None
    own: OwnModel | None = None


def resolve_model(name: str) -> ModelSpec:
    """Return what a model's name means.

    Args:
        name: An old or new timm name, a folder or a repository; see the module's docstring.

    Raises:
        UnknownModelError: timm's ResNet family has no such model; the nearest names are given.
        UsageError: The folder or the repository is not in timm's form.
        HubError: The repository cannot be fetched.
    """
    own = read_own_model(name)
    if own is not None:
        timm_config(own.architecture, own.architecture)
        return ModelSpec(
            name=own.name,
            architecture=own.architecture,
            timm_tag=None,
            licence=_own_licence(own),
            classes=own.classes,
            own=own,
        )
    bare = name
    for prefix in _HUB_PREFIXES:
        bare = bare.removeprefix(prefix)
    known = next((model for model in SSL_MODELS if bare in (model.name, model.timm_tag)), None)
    config = timm_config(known.timm_tag if known else _new_name(bare), name)
    trained = config.tag != _UNTRAINED_TAG
    timm_tag = f"{config.architecture}.{config.tag}" if trained and config.tag else None
    # A bare name may mean one of the twelve by timm's default: `resnext101_32x16d` does.
    known = known or next((model for model in SSL_MODELS if model.timm_tag == timm_tag), None)
    return ModelSpec(
        name=known.name if known and bare != config.architecture else bare,
        architecture=config.architecture,
        timm_tag=timm_tag,
        licence=_timm_licence(config, timm_tag),
        classes=config.num_classes,
        top1=known.top1 if known else None,
        top5=known.top5 if known else None,
        card_flops=known.card_flops if known else None,
    )


def licence_of(spec: ModelSpec, source: WeightsSource, *, stated: str | None = None) -> Licence:
    """Return the licence of the weights that are used.

    One of the twelve keeps its licence whatever file is given for it, the legacy `.pth` or weights that
    were fine-tuned from it; random weights carry it too, so that no bundle of that name is without. A
    file given for any other model is the user's own.

    Args:
        spec: The model.
        source: Where the weights come from.
        stated: SPDX identifier that the user states for weights of their own.

    Raises:
        UsageError: Another licence is stated for one of the twelve.
    """
    ssl = spec.name in {model.name for model in SSL_MODELS}
    if ssl and stated is not None and stated.lower() != spec.licence.spdx.lower():
        raise UsageError(
            f"--licence {stated}: weights of {spec.name} are under {spec.licence.spdx}, and so is everything made "
            f"from them: leave the option out, or pass --model {spec.architecture} for weights of your own"
        )
    if ssl and source == "random":
        notice = f"{spec.licence.notice} (The weights here are untrained random numbers.)"
        return Licence(spdx=spec.licence.spdx, notice=notice, url=spec.licence.url)
    if stated is not None and not ssl:
        return Licence(spdx=_SPDX.get(stated.lower(), stated), notice="As stated at the export.")
    if source == "random":
        trained = f"; {spec.timm_tag} is {spec.licence.spdx}" if spec.timm_tag else ""
        return Licence(spdx=_NO_ASSERTION, notice=f"Untrained random weights: nobody's work{trained}.")
    if source == "file" and not ssl and spec.own is None:
        return Licence(spdx=_NO_ASSERTION, notice="The user's own weights; no licence was stated at the export.")
    return spec.licence


def default_labels(classes: int, spec: ModelSpec) -> tuple[str, ...]:
    """Return a label for each class: config.json's, ImageNet's `wnid<TAB>description`, else `class_0000` and so on.

    Args:
        classes: Number of classes of the network.
        spec: The model; its own number of classes tells which ImageNet it was trained on.

    Source: timm's `ImageNetInfo`, whose order is that of its weights' outputs.
    """
    from timm.data import ImageNetInfo, infer_imagenet_subset

    if spec.own is not None and spec.own.labels is not None and len(spec.own.labels) == classes:
        return spec.own.labels
    subset = infer_imagenet_subset({"num_classes": classes})
    if classes != spec.classes or subset is None:
        return unnamed_labels(classes)
    info = ImageNetInfo(subset)
    return tuple(f"{wnid}\t{info.label_name_to_description(wnid)}" for wnid in info.label_names())


def describe_labels(labels: tuple[str, ...], spec: ModelSpec) -> str:
    """Return what a person should know about `default_labels`; empty where they are names, or there are none."""
    classes = len(labels)
    if not labels or labels != unnamed_labels(classes):
        return ""
    return (
        f"{spec.name}: the {classes} classes have no names, labels.txt says {labels[0]} to {labels[-1]}: pass them "
        "with --labels FILE, or data must name the classes by number"
    )


def _is_ssl(timm_tag: str | None) -> bool:
    return any(model.timm_tag == timm_tag for model in SSL_MODELS)


def _new_name(name: str) -> str:
    """Return what timm calls a model now, for one of its oldest names; any other name as it is."""
    for prefix, tag in _OLD_PREFIXES.items():
        if name.startswith(prefix):
            bare = name.removeprefix(prefix)
            plain = _GLUON_VARIANT.sub(lambda found: found[1].replace("b", ""), bare) if prefix == "gluon_" else bare
            return f"{plain}.{tag}"
    return name


def timm_config(timm_name: str, given: str) -> "PretrainedCfg":
    """Return timm's configuration of a name of the ResNet family, with or without a weight tag.

    Args:
        timm_name: timm's name.
        given: What the user calls it, for the message.

    Raises:
        UnknownModelError: timm's ResNet family has no such model; the nearest names are given.
    """
    import timm
    from timm.models import get_pretrained_cfg

    architectures = timm.list_models(module=FAMILY)
    tagged = timm.list_models(module=FAMILY, pretrained=True)
    # Looked up in timm's list first: timm warns about its old names, and takes any tag.
    if timm_name not in architectures and timm_name not in tagged:
        names = [*(model.name for model in SSL_MODELS), *architectures, *tagged]
        nearest = get_close_matches(given, names, n=_SUGGESTIONS) or [model.name for model in SSL_MODELS[:_SUGGESTIONS]]
        raise UnknownModelError(
            f"{given!r} is not a model of timm's ResNet family: expected a name such as {', '.join(nearest)}"
        )
    return get_pretrained_cfg(timm_name)


def configuration_of(spec: ModelSpec) -> "PretrainedCfg":
    """Return the configuration that says how images of a model are prepared: that of its config.json, or timm's."""
    return spec.own.config if spec.own is not None else timm_config(spec.timm_tag or spec.architecture, spec.name)


def _own_licence(own: OwnModel) -> Licence:
    if own.licence is None:
        return Licence(spdx=_NO_ASSERTION, notice=f"The config.json of {own.name} states no licence.")
    return Licence(spdx=_SPDX.get(own.licence, own.licence), notice=f"As the config.json of {own.name} states.")


def _timm_licence(config: "PretrainedCfg", timm_tag: str | None) -> Licence:
    if timm_tag is None:
        return Licence(spdx=_NO_ASSERTION, notice="timm has no trained weights of this architecture.")
    spdx = _SPDX.get(config.license or "", config.license or _NO_ASSERTION)
    url = f"https://spdx.org/licenses/{spdx}.html" if spdx != _NO_ASSERTION else ""
    if _is_ssl(timm_tag):
        return Licence(spdx=spdx, notice=_SSL_NOTICE, url=url)
    use = " For non-commercial use only." if "-NC-" in spdx else ""
    return Licence(spdx=spdx, notice=f"Weights {timm_tag} as published with timm.{use}", url=url)
