"""Layouts of further libraries, whose names come from their published code; no library made a file for these.

torchvision's detection and segmentation models, segmentation_models_pytorch, transformers' timm wrappers, MONAI's
`TorchVisionFCModel`, Composer, DeepSpeed, VISSL, MadryLab's robustness, SeCo, PixPro, R3M, fastreid,
pytorch-metric-learning and OpenCLIP's timm towers are taken; detectron2, CLIP, Big Transfer, and what PyTorch's own
tools changed are refused.
"""

import argparse
import re
from collections.abc import Callable

import torch
from torch.nn.utils import parametrizations, prune

from tests.helpers.checkpoints.layouts import CLASSES, FEATURES, Layout, State, body, children, lightning, mlp, under


def _frozen(state: State) -> State:
    """A network with FrozenBatchNorm2d, which counts no batches."""
    return {name: value for name, value in body(state).items() if not name.endswith("num_batches_tracked")}


def _noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape)


def _detectron2(state: State) -> State:
    renamed = {}
    for name, value in _frozen(state).items():
        stem = re.sub(r"^bn1\.", "stem.conv1.norm.", re.sub(r"^conv1\.", "stem.conv1.", name))
        stage = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", stem)
        norm = re.sub(r"\.bn(\d)\.", r".conv\1.norm.", stage)
        renamed[norm.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")] = value
    return renamed


def _changed(state: State, change: Callable[[torch.nn.Module], object]) -> State:
    """The state dict of torchvision's network after a tool of PyTorch's changed it."""
    import torchvision

    network = torchvision.models.resnet18(num_classes=CLASSES)
    network.load_state_dict(state)
    change(network)
    changed: State = network.state_dict()
    return changed


def _pruned(network: torch.nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            prune.l1_unstructured(module, "weight", amount=0.5)


def _seco(state: State, other: State) -> Layout:
    tensors = under("encoder_q.", children(state, 9)) | under("encoder_k.", children(other, 9))
    heads = under("heads_q.0.", mlp()) | {"queue": _noise(4, 8), "queue_ptr": torch.zeros(1)}
    return Layout(
        lightning(tensors | heads), body(state), ("MoCo's query encoder", "names of the order of the children")
    )


def _pixpro(state: State, other: State) -> Layout:
    tensors = under("module.encoder.", body(state)) | under("module.encoder_k.", body(other))
    heads = under("module.projector.", mlp()) | under("module.projector_k.", mlp())
    content = {"opt": argparse.Namespace(lr=1.0), "model": tensors | heads}
    return Layout(content, body(state), ("prefix module.encoder.", "the online encoder"))


def _robustness(state: State) -> Layout:
    tensors = under("module.model.", state) | under("module.attacker.model.", state)
    means = {
        f"module.{of}.new_{what}": _noise(3, 1, 1)
        for of in ("normalizer", "attacker.normalize")
        for what in ("mean", "std")
    }
    return Layout({"model": tensors | means, "epoch": 1}, state, ("equal tensors", "normalizer"))


def _clip(state: State) -> Layout:
    pool = {"attnpool.positional_embedding": _noise(50, FEATURES), "conv2.weight": _noise(32, 32, 3, 3)}
    return Layout(under("visual.", body(state) | pool) | {"logit_scale": torch.tensor(4.6)}, None, ("CLIP's ResNet",))


PUBLISHED: dict[str, Callable[[State, State], Layout]] = {
    "torchvision-detection": lambda s, _: Layout(
        under("backbone.body.", _frozen(s))
        | {"backbone.fpn.inner_blocks.0.0.weight": _noise(4, 4, 1, 1), "rpn.head.cls_logits.bias": _noise(3)},
        _frozen(s),
        ("prefix backbone.body.", "left: backbone, rpn"),
    ),
    "smp-unet": lambda s, _: Layout(
        under("encoder.", body(s))
        | {"decoder.blocks.0.conv1.0.weight": _noise(4, 4, 3, 3), "segmentation_head.0.bias": _noise(2)},
        body(s),
        ("prefix encoder.", "left: decoder, segmentation_head"),
    ),
    "timm-wrapper": lambda s, _: Layout(under("timm_model.", s), s, ("prefix timm_model.",)),
    "timm-backbone": lambda s, _: Layout(under("_backbone.", body(s)), body(s), ("prefix _backbone.",)),
    "monai": lambda s, _: Layout(
        under("features.", children(s, 9)) | {name: s[name] for name in ("fc.weight", "fc.bias")},
        s,
        ("classifier at fc",),
    ),
    "composer": lambda s, _: Layout(
        {"state": {"model": under("module.", s), "optimizers": {"SGD": {}}}, "rng": [{"torch": torch.zeros(3)}]},
        s,
        ("key state.model",),
    ),
    "deepspeed": lambda s, _: Layout({"module": s, "optimizer": None, "dp_world_size": 1}, s, ("key module",)),
    "vissl": lambda s, _: Layout(
        {"classy_state_dict": {"base_model": {"model": {"trunk": under("_feature_blocks.", body(s)), "heads": mlp()}}}},
        body(s),
        ("key classy_state_dict.base_model.model.trunk", "prefix _feature_blocks."),
    ),
    "robustness": lambda s, _: _robustness(s),
    "seco": _seco,
    "pixpro": _pixpro,
    "r3m": lambda s, _: Layout(
        {"r3m": under("module.convnet.", body(s)) | {"module.lang_rew.pred.0.weight": _noise(4, 4)}},
        body(s),
        ("key r3m", "left: lang_rew"),
    ),
    "fastreid": lambda s, _: Layout(
        {
            "model": under("backbone.", body(s))
            | {"heads.bottleneck.0.weight": _noise(FEATURES), "heads.weight": _noise(5, FEATURES)}
        },
        body(s),
        ("left: heads (2 tensors)",),
    ),
    "metric-learning": lambda s, _: Layout({"trunk": body(s), "embedder": mlp()}, body(s), ("key trunk",)),
    "detectron2": lambda s, _: Layout(
        {"model": under("backbone.bottom_up.", _detectron2(s))}, None, ("detectron2's names",)
    ),
    "clip": lambda s, _: _clip(s),
    "open-clip-timm": lambda s, _: Layout(
        under("visual.trunk.", body(s))
        | {"visual.head.proj.weight": _noise(CLASSES, FEATURES), "logit_scale": torch.tensor(4.6)},
        body(s),
        ("prefix visual.trunk.", "left: visual, logit_scale"),
    ),
    "big-transfer": lambda _s, _o: Layout({"block1.unit01.conv1.weight": _noise(4, 4, 1, 1)}, None, ("Big Transfer",)),
    "pruned": lambda s, _: Layout(_changed(s, _pruned), None, ("torch.nn.utils.prune.remove",)),
    "quantisation-aware": lambda s, _: Layout(
        s | {"activation_post_process_0.scale": _noise(1)}, None, ("the network before that",)
    ),
}


def with_spectral_norm(state: State) -> State:
    """The state dict of a network whose classifier has PyTorch's spectral norm."""
    return _changed(state, lambda network: parametrizations.spectral_norm(network.get_submodule("fc")))


def instance_normalised(state: State) -> State:
    """The names of an IBN-Net: its first blocks normalise half of their channels by instance."""
    return {re.sub(r"(layer1\.0\.bn1)\.", r"\1.IN.", name): value for name, value in state.items()}
