"""Every layout is taken, and gives what timm's network gives with the same tensors, or is refused with a next step."""

import pytest
import timm
import torch

from runtime.errors import CheckpointError
from runtime.original.checkpoint import Checkpoint, checkpoint_classes, load_into, read_checkpoint, without_classifier
from runtime.original.checkpoint_search import Choice
from runtime.original.checkpoint_take import find_network
from runtime.original.network import build_network
from tests.helpers.checkpoints.layouts import (
    CLASSES,
    LAYOUTS,
    body,
    children,
    draw_state,
    fastai_head,
    mlp,
    under,
)
from tests.helpers.checkpoints.published_names import PUBLISHED, instance_normalised, with_spectral_norm


@pytest.fixture(scope="module")
def state():
    return draw_state(0)


@pytest.fixture(scope="module")
def other():
    return draw_state(1)


@pytest.fixture(scope="module")
def images():
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def networks():
    """What an export would build, and timm's, with a classifier and without."""
    ours = {classes: build_network("resnet18", classes) for classes in (0, CLASSES)}
    timms = {classes: timm.create_model("resnet18", num_classes=classes).eval() for classes in (0, CLASSES)}
    return ours, timms


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("name", LAYOUTS | PUBLISHED)
def test_a_layout_is_taken_or_refused_with_a_next_step(name, state, other, images, networks):
    layout = (LAYOUTS | PUBLISHED)[name](state, other)
    if layout.expected is None:
        with pytest.raises(CheckpointError) as caught:
            find_network(layout.content, "weights.pth")
        told = str(caught.value)
        assert told.startswith("weights.pth")
    else:
        found = find_network(layout.content, "weights.pth")
        told = found.note
        assert same(found.state, layout.expected)
        ours, timms = (held[checkpoint_classes(found.state)] for held in networks)
        load_into(ours, Checkpoint(state=found.state, file_sha256="0" * 64, name="weights.pth"))
        timms.load_state_dict(layout.expected)
        with torch.no_grad():
            assert torch.equal(ours(images), timms(images))
    assert "\n" not in told
    for words in layout.says:
        assert words in told


def test_what_a_tool_or_another_network_left_in_the_names_is_said(state, networks):
    with pytest.raises(CheckpointError, match=r"parametrize\.remove_parametrizations .*, or .* --no-classifier"):
        checkpoint_classes(find_network(with_spectral_norm(state), "weights.pth").state)
    found = find_network(instance_normalised(state), "weights.pth")
    with pytest.raises(CheckpointError, match=r"it is an IBN-Net, no network of timm's ResNet family"):
        load_into(networks[0][CLASSES], Checkpoint(state=found.state, file_sha256="0" * 64, name="weights.pth"))


def test_a_plain_state_dict_needs_no_words(state):
    assert find_network(state, "weights.pth").note == ""


@pytest.mark.parametrize("head", [fastai_head(), mlp()], ids=["fastai", "mlp"])
def test_a_classifier_of_several_layers_is_refused_and_can_be_left_out(state, head):
    content = {"model": under("0.", children(state, 8)) | under("1.", head), "opt": {"state": [], "hypers": []}}
    found = find_network(content, "learner.pth")
    with pytest.raises(CheckpointError, match="--no-classifier"):
        checkpoint_classes(found.state)
    checkpoint = without_classifier(Checkpoint(state=found.state, file_sha256="0" * 64, name="learner.pth"))
    assert same(checkpoint.state, body(state))


@pytest.mark.parametrize("prefix", ["proj.", "module.projection."])
def test_a_network_that_lies_under_a_projections_name_keeps_its_classifier(state, prefix):
    assert same(find_network(under(prefix, state), "weights.pth").state, state)


@pytest.mark.parametrize("name", ["fc", "classifier", "head"])
def test_an_mlp_under_the_classifiers_name_is_refused(state, name):
    found = find_network({"state_dict": body(state) | under(f"{name}.", mlp())}, "weights.pth")
    with pytest.raises(CheckpointError, match=r"fc\.0\.weight of shape .*--no-classifier"):
        checkpoint_classes(found.state)


@pytest.mark.parametrize(
    ("choice", "second"),
    [
        (Choice(key="last"), False),
        (Choice(key="best"), True),
        (Choice(key="best", prefix=""), True),
    ],
)
def test_a_key_chooses_between_two_networks(state, other, choice, second):
    found = find_network({"last": state, "best": other}, "weights.pth", choice)
    assert same(found.state, other if second else state)


@pytest.mark.parametrize("prefix", ["module.encoder_k", "module.encoder_k."])
def test_a_prefix_overrides_what_would_be_taken(state, other, prefix):
    content = LAYOUTS["moco-v1"](state, other).content
    assert same(find_network(content, "moco.pth", Choice(prefix=prefix)).state, body(other))
    assert same(find_network(content, "moco.pth", Choice(key="state_dict", prefix=prefix)).state, body(other))


def test_a_prefix_takes_the_network_without_what_lies_beside_it(state, other):
    content = LAYOUTS["attention"](state, other).content
    found = find_network(content, "weights.pth", Choice(prefix="module."))
    assert same(found.state, state)
    assert "left: ca, sa" in found.note


@pytest.mark.parametrize(
    ("choice", "option", "expected"),
    [
        (Choice(key="teacher"), "--weights-key", "state_dict"),
        (Choice(prefix="backbone"), "--weights-prefix", "'model.'"),
    ],
)
def test_a_wrong_key_or_prefix_is_answered_with_the_right_ones(state, choice, option, expected):
    with pytest.raises(CheckpointError, match=option) as caught:
        find_network({"state_dict": under("model.", state)}, "weights.pth", choice)
    assert expected in str(caught.value)


def test_a_file_that_holds_itself_is_read(state, tmp_path):
    content: dict[str, object] = {"state_dict": state}
    content["self"] = content
    torch.save(content, tmp_path / "weights.pth")
    assert same(read_checkpoint(tmp_path / "weights.pth").state, state)


@pytest.mark.parametrize("architecture", ["wide_resnet50_2", "resnext50_32x4d", "resnext101_32x8d", "resnet152"])
def test_torchvisions_variants_load_strictly(architecture):
    import torchvision

    with torch.device("meta"):
        theirs = torchvision.models.get_model(architecture, num_classes=3).state_dict()
        ours = timm.create_model(architecture, num_classes=3).state_dict()
    found = find_network({"state_dict": under("module.", theirs)}, "weights.pth")
    assert {name: value.shape for name, value in found.state.items()} == {n: v.shape for n, v in ours.items()}


@pytest.mark.parametrize(
    "architecture", ["resnet50d", "resnet50t", "seresnet50", "ecaresnet26t", "resnetrs50", "resnetaa50", "resnetblur18"]
)
def test_timms_variants_are_found_whole(architecture):
    with torch.device("meta"):
        ours = timm.create_model(architecture, num_classes=3).state_dict()
    assert find_network(under("model.", ours), "weights.pth").state.keys() == ours.keys()
