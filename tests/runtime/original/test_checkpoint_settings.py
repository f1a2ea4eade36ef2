"""A network that is stated to have other strides or activations than timm's is refused, and no other is."""

import json

import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import CheckpointError
from runtime.original.checkpoint import read_checkpoint
from tests.helpers.checkpoints.layouts import draw_state

# Of the config.json that transformers 5.24.0 wrote for `ResNetModel(ResNetConfig(downsample_in_bottleneck=True))`.
CAFFE = {
    "architectures": ["ResNetModel"],
    "downsample_in_bottleneck": True,
    "downsample_in_first_stage": False,
    "hidden_act": "relu",
    "layer_type": "bottleneck",
    "model_type": "resnet",
}
PLAIN = {**CAFFE, "downsample_in_bottleneck": False}
# As mmpretrain 1.2 writes the settings of a run into `meta`: mmengine's pretty text.
CAFFE_TEXT = "model = dict(\n    backbone=dict(\n        depth=50,\n        style='caffe',\n        type='ResNet'),\n)"


def transformers_state(convolutions: int) -> dict[str, torch.Tensor]:
    """The names of transformers' ResNet with one block in each stage."""
    names = [
        f"encoder.stages.{stage}.layers.0.layer.{number}.convolution.weight"
        for stage in range(4)
        for number in range(convolutions)
    ]
    return {name: torch.ones(4, 4, 1, 1) for name in ("embedder.embedder.convolution.weight", *names)}


def beside(folder, config: object, convolutions: int = 3):
    path = folder / "model.safetensors"
    save_file(transformers_state(convolutions), path)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (CAFFE, r"downsample_in_bottleneck = True \(in config\.json beside it\)"),
        ({**PLAIN, "downsample_in_first_stage": True}, "downsample_in_first_stage = True"),
        ({**PLAIN, "hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"model_type": "detr", "backbone_config": CAFFE}, "downsample_in_bottleneck = True"),
    ],
    ids=["stride", "first-stage", "activation", "inside"],
)
def test_what_transformers_states_is_followed_or_refused(tmp_path, config, said):
    with pytest.raises(CheckpointError, match=said) as caught:
        read_checkpoint(beside(tmp_path, config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [PLAIN, {"model_type": "resnet"}, {**CAFFE, "model_type": "other"}, [CAFFE], "no JSON", "[" * 100_000],
    ids=["plain", "defaults", "another", "list", "damaged", "deep"],
)
def test_a_config_that_states_nothing_else_does_no_harm(tmp_path, config):
    assert "layer4.0.conv3.weight" in read_checkpoint(beside(tmp_path, config)).state


def test_the_stride_in_a_bottleneck_says_nothing_of_basic_blocks(tmp_path):
    assert read_checkpoint(beside(tmp_path, CAFFE, convolutions=2)).state


def test_a_config_beside_tensors_of_other_names_is_not_read(tmp_path):
    path = beside(tmp_path, {**CAFFE, "hidden_act": "gelu"})
    save_file(draw_state(0), path)
    assert read_checkpoint(path).state


def bottlenecks() -> dict[str, torch.Tensor]:
    names = [f"layer{stage}.0.conv{number}.weight" for stage in range(1, 5) for number in (1, 2, 3)]
    return {f"backbone.{name}": torch.ones(4, 4, 1, 1) for name in ("conv1.weight", *names)}


@pytest.mark.parametrize("key", ["cfg", "config"])
@pytest.mark.parametrize("text", [CAFFE_TEXT, json.dumps({"model": {"backbone": {"style": "caffe"}}})])
def test_the_style_that_mmengine_and_mmcv_state_is_refused(tmp_path, key, text):
    torch.save({"meta": {key: text, "epoch": 3}, "state_dict": bottlenecks()}, tmp_path / "epoch_3.pth")
    with pytest.raises(CheckpointError, match="style='caffe' "):
        read_checkpoint(tmp_path / "epoch_3.pth")


def test_the_other_style_and_basic_blocks_are_taken(tmp_path):
    plain = {"meta": {"cfg": CAFFE_TEXT.replace("caffe", "pytorch")}, "state_dict": bottlenecks()}
    torch.save(plain, tmp_path / "plain.pth")
    torch.save({"meta": {"cfg": CAFFE_TEXT}, "state_dict": draw_state(0)}, tmp_path / "basic.pth")
    for name in ("plain.pth", "basic.pth"):
        assert read_checkpoint(tmp_path / name).state
