"""Settings of a network that stand beside its tensors, and that timm's network of the same shapes does not have.

A stride or an activation is in no tensor: a checkpoint of such a network loads, and computes something else. Two
libraries state them in text, which is read here, so that the checkpoint is refused:

1. transformers, in the config.json in the same folder: `downsample_in_bottleneck`, `downsample_in_first_stage` and
   `hidden_act`. Of a network that holds a ResNet, such as DETR, they are in `backbone_config`.
2. mmengine and mmcv, in the file itself: `meta.cfg` or `meta.config` is the text of the run's settings, with
   `style='caffe'` for a stride in the first convolution.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from runtime.errors import CheckpointError
from runtime.support.files import read_plain
from runtime.support.json_file import parse_json

_CONFIG = "config.json"
# Of transformers, what timm's networks have. Source: transformers 5.24's `ResNetConfig`, and its defaults.
_TIMMS = {"downsample_in_bottleneck": False, "downsample_in_first_stage": False, "hidden_act": "relu"}
# The first says something of bottlenecks alone, in both libraries.
_OF_BOTTLENECKS = "downsample_in_bottleneck"
# Source: mmpretrain 1.2's `ResNet(style=...)`, in mmengine's `Config.pretty_text` or in JSON.
_CAFFE = re.compile(r"""["']?\bstyle["']?\s*[=:]\s*["']caffe["']""")
_META, _META_TEXTS = "meta", ("cfg", "config")
_SETTING_LENGTH = 40


def refuse_other_settings(
    path: Path, containers: Iterable[tuple[tuple[str, ...], Mapping[str, object]]], *, bottleneck: bool, hugging: bool
) -> None:
    """Refuse a checkpoint whose network is stated to compute something else than timm's.

    Args:
        path: The checkpoint.
        containers: Dicts of the checkpoint, from `runtime.original.checkpoint_search.containers_of`.
        bottleneck: Whether its blocks are bottlenecks, of three convolutions.
        hugging: Whether its tensors have the names of transformers.

    Raises:
        CheckpointError: A setting is stated that timm's network does not have.
    """
    stated = _in_config(path.parent / _CONFIG, bottleneck=bottleneck) if hugging else None
    if stated is None and bottleneck and any(_says_caffe(key, held) for key, held in containers):
        stated = "style='caffe' (in its meta)"
    if stated is not None:
        raise CheckpointError(
            f"{path} is of a network with {stated}: expected strides and activations as timm's ResNets have them, in a "
            "bottleneck the stride in the 3 x 3 convolution and ReLU everywhere; this network cannot be exported, so "
            "pass a checkpoint of one with these"
        )


def _in_config(config: Path, *, bottleneck: bool) -> str | None:
    """Return the first setting in a config.json of transformers that differs from timm's; None if it states none."""
    try:
        content = parse_json(read_plain(config))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    inner = content.get("backbone_config")
    network = inner if isinstance(inner, dict) else content
    if network.get("model_type") != "resnet":
        return None
    for name, timms in _TIMMS.items():
        value = network.get(name, timms)
        if value != timms and (bottleneck or name != _OF_BOTTLENECKS):
            return f"{name} = {repr(value)[:_SETTING_LENGTH]} (in {config.name} beside it)"
    return None


def _says_caffe(key: tuple[str, ...], held: Mapping[str, object]) -> bool:
    """Return whether a dict of the file is mmengine's or mmcv's `meta`, and its text states the style of Caffe."""
    if not key or key[-1] != _META:
        return False
    texts = [held.get(name) for name in _META_TEXTS]
    return any(isinstance(text, str) and _CAFFE.search(text) is not None for text in texts)
