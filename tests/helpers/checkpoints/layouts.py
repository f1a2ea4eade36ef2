"""Many ways in which a ResNet-18 lies in a checkpoint, with random tensors under the names of the real libraries.

Names and shapes are those that these wrote or would write:

- torchvision 0.29, timm 1.0.31, torch 2.14 (`DataParallel`, `torch.compile`, `AveragedModel`), Lightning 2.6.6
  (`Trainer.save_checkpoint`, with and without `EMAWeightAveraging`), fastai 2.8.12 (`create_vision_model`),
  lightly 1.6.0 (heads of its examples), solo-learn 1.0.2, mmpretrain 1.2.0 with mmengine 0.10.7 (`EMAHook`),
  ema-pytorch 0.8.3;
- transformers 5.24.0: `transformers_resnet18.txt` pairs the names of its ResNetForImageClassification with timm's by
  the order in which the two run their layers; with equal weights they gave equal logits;
- the repositories of MoCo, MoCo v3, SimSiam, SwAV, Barlow Twins, VICReg and DINO, as published.

More of them, of which no file was made by the library, are in `published_names.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

CLASSES, FEATURES = 5, 512
_DIM = 16
_TRANSFORMERS = Path(__file__).with_name("transformers_resnet18.txt")

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Layout:
    """A checkpoint and what is right for it.

    Attributes:
        content: What `torch.save` is given.
        expected: The tensors to take by timm's names, or None where the file is refused.
        says: What the note or the refusal says.
    """

    content: Any
    expected: State | None
    says: tuple[str, ...] = ()


def draw_state(seed: int = 0) -> State:
    """Return the state dict of a torchvision ResNet-18 with 5 classes, all values drawn; its names are timm's too."""
    import torchvision

    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        state = torchvision.models.resnet18(num_classes=CLASSES).state_dict()
    return {
        name: torch.rand(value.shape, generator=generator) * 0.1 if value.ndim else torch.tensor(1)
        for name, value in state.items()
    }


def under(prefix: str, state: Mapping[str, torch.Tensor]) -> State:
    return {prefix + name: value for name, value in state.items()}


def body(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def classifier(state: State, name: str) -> State:
    return {f"{name}.weight": state["fc.weight"], f"{name}.bias": state["fc.bias"]}


def half(state: State) -> State:
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def mlp(*, bias: bool = True) -> State:
    """A projection head: linear, BatchNorm, ReLU, linear."""
    layers = (nn.Linear(FEATURES, _DIM, bias=bias), nn.BatchNorm1d(_DIM), nn.ReLU(), nn.Linear(_DIM, _DIM))
    return nn.Sequential(*layers).state_dict()


def moco_head() -> State:
    return nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, _DIM)).state_dict()


def dino_head() -> State:
    layers = (nn.Linear(FEATURES, _DIM), nn.GELU(), nn.Linear(_DIM, _DIM), nn.GELU(), nn.Linear(_DIM, _DIM))
    last = {"last_layer.weight_g": torch.ones(64, 1), "last_layer.weight_v": torch.rand(64, _DIM)}
    return under("mlp.", nn.Sequential(*layers).state_dict()) | last


def children(state: State, count: int) -> State:
    """`nn.Sequential` of a torchvision ResNet-18's first children, whose tensors come in the same order."""
    import torchvision

    with torch.device("meta"):
        names = nn.Sequential(*list(torchvision.models.resnet18(num_classes=CLASSES).children())[:count]).state_dict()
    return dict(zip(names, state.values(), strict=False))


def fastai_head() -> State:
    """Source: fastai's `create_head`: pool, flatten, then two blocks of BatchNorm, dropout and linear."""
    blocks = (
        nn.Identity(),
        nn.Identity(),
        nn.BatchNorm1d(2 * FEATURES),
        nn.Dropout(),
        nn.Linear(2 * FEATURES, FEATURES, bias=False),
        nn.ReLU(),
        nn.BatchNorm1d(FEATURES),
        nn.Dropout(),
        nn.Linear(FEATURES, CLASSES, bias=False),
    )
    return nn.Sequential(*blocks).state_dict()


def transformers(state: State) -> State:
    pairs = dict(line.split() for line in _TRANSFORMERS.read_text().splitlines())
    return {theirs: state[timms] for theirs, timms in pairs.items()}


def lightning(state: State, **others: Any) -> dict[str, Any]:
    return {
        "epoch": 2,
        "global_step": 4,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5), "dirpath": "runs"}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "projector": "8192-8192"},
        **others,
    }


def optimiser() -> dict[str, Any]:
    return {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.03, "params": [0]}]}


def _queue() -> State:
    return {"queue": torch.rand(_DIM, 32), "queue_ptr": torch.zeros(1, dtype=torch.long)}


def _moco(state: State, other: State) -> Layout:
    tensors = (
        under("module.encoder_q.", body(state) | under("fc.", moco_head()))
        | under("module.encoder_k.", body(other) | under("fc.", moco_head()))
        | under("module.", _queue())
    )
    content = {"epoch": 200, "arch": "resnet18", "state_dict": tensors, "optimizer": optimiser()}
    return Layout(content, body(state), ("prefix module.encoder_q.", "MoCo's query encoder", "fc (4 tensors)", "queue"))


def _moco_v1(state: State, other: State) -> Layout:
    tensors = under("module.encoder_q.", state) | under("module.encoder_k.", other) | under("module.", _queue())
    return Layout({"state_dict": tensors}, body(state), ("MoCo's query encoder", "fc (2 tensors)"))


def _moco_v3(state: State, other: State) -> Layout:
    tensors = (
        under("module.base_encoder.", body(state) | under("fc.", mlp(bias=False)))
        | under("module.momentum_encoder.", body(other) | under("fc.", mlp(bias=False)))
        | under("module.predictor.", mlp(bias=False))
    )
    return Layout({"epoch": 1, "state_dict": tensors}, body(state), ("prefix module.base_encoder.", "predictor"))


def _simsiam(state: State) -> Layout:
    tensors = under("module.encoder.", body(state) | under("fc.", mlp())) | under("module.predictor.", mlp())
    content = {"epoch": 100, "arch": "resnet18", "state_dict": tensors, "optimizer": optimiser()}
    return Layout(content, body(state), ("prefix module.encoder.", "left: fc", "predictor"))


def _swav(state: State) -> Layout:
    heads = under("projection_head.", mlp()) | {"prototypes.weight": torch.rand(30, _DIM)}
    return Layout(under("module.", body(state) | heads), body(state), ("projection_head", "prototypes"))


def _dino(state: State, other: State) -> Layout:
    teacher = under("module.backbone.", body(state)) | under("module.head.", dino_head())
    student = under("module.backbone.", body(other)) | under("module.head.", dino_head())
    content = {"student": student, "teacher": teacher, "optimizer": optimiser(), "epoch": 100}
    content |= {"dino_loss": {"center": torch.zeros(1, 64)}}
    return Layout(content, body(state), ("key teacher", "DINO's teacher", "head (8 tensors)"))


def _lightly_byol(state: State, other: State) -> Layout:
    tensors = (
        under("backbone.", children(state, 9))
        | under("projection_head.layers.", mlp())
        | under("prediction_head.layers.", mlp())
        | under("backbone_momentum.", children(other, 9))
        | under("projection_head_momentum.layers.", mlp())
    )
    return Layout(
        tensors, body(state), ("prefix backbone.", "the online backbone", "names of the order of the children")
    )


def _solo(state: State, other: State) -> Layout:
    tensors = (
        under("encoder.", body(state))
        | classifier(state, "classifier")
        | under("momentum_encoder.", body(other))
        | under("projector.", mlp())
        | under("momentum_projector.", mlp())
        | _queue()
    )
    return Layout(lightning(tensors), state, ("prefix encoder.", "classifier at classifier", "projector"))


def _averaged(state: State, other: State) -> Layout:
    content = lightning(
        under("model.", state),
        current_model_state=under("model.", other),
        averaging_state={"n_averaged": torch.tensor(4)},
    )
    return Layout(content, state, ("key state_dict", "Lightning's averaged weights"))


def _mmengine(state: State, other: State) -> Layout:
    plain = under("backbone.", body(other)) | classifier(other, "head.fc")
    averaged = under("backbone.", body(state)) | classifier(state, "head.fc")
    content = {
        "meta": {"epoch": 3, "mmengine_version": "0.10.7"},
        "state_dict": averaged,
        "message_hub": {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}},
        "optimizer": optimiser(),
        "ema_state_dict": under("module.", plain) | {"steps": torch.tensor(3)},
    }
    return Layout(content, state, ("mmengine's averaged (EMA) weights", "classifier at head.fc"))


def _mean_teacher(state: State, other: State) -> Layout:
    return Layout({"student": state, "teacher": other}, None, ("2 ResNets", "--weights-key", "'student'", "'teacher'"))


def _head(state: State, name: str) -> Layout:
    return Layout({"state_dict": body(state) | classifier(state, name)}, state, (f"classifier at {name}",))


def _without_bias(state: State) -> Layout:
    expected = body(state) | {"fc.weight": state["fc.weight"], "fc.bias": torch.zeros(CLASSES)}
    return Layout(body(state) | {"fc.weight": state["fc.weight"]}, expected, ("without bias",))


def _attention(state: State) -> Layout:
    extra = {"ca.fc.weight": torch.rand(4, 4), "sa.conv.weight": torch.rand(1, 2, 7, 7)}
    return Layout(under("module.", state | extra), None, ("ca.fc.weight", "--weights-prefix 'module.'"))


LAYOUTS: dict[str, Callable[[State, State], Layout]] = {
    "torchvision": lambda s, _: Layout(s, s),
    "state_dict": lambda s, _: Layout({"epoch": 1, "state_dict": s, "best_acc1": 0.7}, s, ("key state_dict",)),
    "model": lambda s, _: Layout({"model": s, "optimizer": optimiser(), "epoch": 3}, s, ("key model",)),
    "model_state_dict": lambda s, _: Layout({"model_state_dict": s, "loss": 0.3}, s, ("key model_state_dict",)),
    "net": lambda s, _: Layout({"net": under("module.", s), "acc": 93.1}, s, ("key net", "prefix module.")),
    "weights": lambda s, _: Layout({"weights": s}, s, ("key weights",)),
    "nested": lambda s, _: Layout({"run": {"base": {"model": s}}}, s, ("key run.base.model",)),
    "list": lambda s, _: Layout([s, optimiser()], s, ("key 0",)),
    "data-parallel": lambda s, _: Layout({"state_dict": under("module.", s)}, s, ("prefix module.",)),
    "compiled": lambda s, _: Layout(under("_orig_mod.", s), s, ("prefix _orig_mod.",)),
    "timm-ema": lambda s, o: Layout({"state_dict": o, "state_dict_ema": s, "arch": "resnet18"}, s, ("EMA",)),
    "torchvision-ema": lambda s, o: Layout(
        {"model": o, "model_ema": under("module.", s) | {"n_averaged": torch.tensor(9)}}, s, ("key model_ema", "EMA")
    ),
    "swa": lambda s, _: Layout(
        under("module.", s) | {"n_averaged": torch.tensor(9)}, s, ("averaged", "left: n_averaged")
    ),
    "ema-pytorch": lambda s, o: Layout(
        under("ema_model.", s) | under("online_model.", o) | {"initted": torch.tensor(True), "step": torch.tensor(7)},
        s,
        ("prefix ema_model.", "EMA"),
    ),
    "half": lambda s, _: Layout(half(s), half(s)),
    "moco-v1": _moco_v1,
    "moco-v2": _moco,
    "moco-v3": _moco_v3,
    "simsiam": lambda s, _: _simsiam(s),
    "swav": lambda s, _: _swav(s),
    "barlow-twins": lambda s, _: Layout(body(s), body(s)),
    "barlow-twins-checkpoint": lambda s, _: Layout(
        {"epoch": 9, "model": under("module.backbone.", body(s)) | under("module.projector.", mlp(bias=False))},
        body(s),
        ("prefix module.backbone.", "left: projector"),
    ),
    "dino": _dino,
    "lightly-byol": _lightly_byol,
    "lightly-simclr": lambda s, _: Layout(
        lightning(under("backbone.", children(s, 9)) | under("projection_head.layers.", mlp())), body(s), ("children",)
    ),
    "solo-learn": _solo,
    "lightning-model": lambda s, _: Layout(lightning(under("model.", s)), s, ("prefix model.",)),
    "lightning-net": lambda s, _: Layout(lightning(under("net.", s)), s, ("prefix net.",)),
    "lightning-backbone": lambda s, _: Layout(
        lightning(under("backbone.", body(s)) | classifier(s, "head")), s, ("prefix backbone.", "classifier at head")
    ),
    "lightning-averaged": _averaged,
    "aliased": lambda s, _: Layout(lightning(under("model.", s) | under("net.", s)), s, ("equal tensors",)),
    "mmpretrain": lambda s, _: Layout(
        {"meta": {"epoch": 100}, "state_dict": under("backbone.", body(s)) | classifier(s, "head.fc")},
        s,
        ("prefix backbone.", "classifier at head.fc"),
    ),
    "mmengine-ema": _mmengine,
    "transformers": lambda s, _: Layout(transformers(s), s, ("names of Hugging Face transformers", "classifier.1")),
    "transformers-model": lambda s, _: Layout(
        {
            name.removeprefix("resnet."): value
            for name, value in transformers(s).items()
            if not name.startswith("classifier")
        },
        body(s),
        ("names of Hugging Face transformers",),
    ),
    "fc.0": lambda s, _: _head(s, "fc.0"),
    "fc.1": lambda s, _: _head(s, "fc.1"),
    "classifier": lambda s, _: _head(s, "classifier"),
    "head.fc": lambda s, _: _head(s, "head.fc"),
    "linear": lambda s, _: _head(s, "linear"),
    "sequential": lambda s, _: Layout(under("0.", body(s)) | classifier(s, "1"), s, ("prefix 0.", "classifier at 1")),
    "children-and-linear": lambda s, _: Layout(children(s, 9) | classifier(s, "10"), s, ("classifier at 10",)),
    "no-bias": lambda s, _: _without_bias(s),
    "shortcut": lambda s, _: Layout({name.replace("downsample", "shortcut"): v for name, v in s.items()}, s),
    "mean-teacher": _mean_teacher,
    "two-keys": lambda s, o: Layout({"last": s, "best": o}, None, ("2 ResNets", "--weights-key", "'last'", "'best'")),
    "attention": lambda s, _: _attention(s),
    "not-a-resnet": lambda _s, _o: Layout(
        {"model": nn.TransformerEncoderLayer(8, 2, 8).state_dict()},
        None,
        ("no whole ResNet", "self_attn.in_proj_weight"),
    ),
}
