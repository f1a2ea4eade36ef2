"""How a network begins: channels and 3x3 stems, against networks that torchvision and timm build."""

import pytest
import torch
import torchvision

from runtime.errors import CheckpointError, UsageError
from runtime.original.checkpoint import Checkpoint, load_into
from runtime.original.checkpoint_take import find_network
from runtime.original.flops import count_card_flops, count_pytorch_macs
from runtime.original.network import build_network
from runtime.original.stems import channels_of, colour_of, stem_of
from tests.helpers.channel_bundles import CLASSES, timm_network

IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def torchvision_network(architecture, *, padding, pooled):
    """A network for small images as scripts make it from torchvision's, with drawn weights and statistics."""
    torch.manual_seed(0)
    network = getattr(torchvision.models, architecture)(num_classes=CLASSES)
    network.conv1 = torch.nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=padding, bias=False)
    if not pooled:
        network.maxpool = torch.nn.Identity()
    network.train()
    with torch.no_grad():
        network(torch.rand(4, 3, 32, 32))
    return network.eval()


STEMS = [("cifar", 1, False), ("solo-learn", 2, False), ("cifar-pool", 1, True)]


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("stem", "padding", "pooled"), STEMS)
def test_a_3x3_stem_gives_what_torchvisions_network_with_it_gives(architecture, stem, padding, pooled):
    theirs = torchvision_network(architecture, padding=padding, pooled=pooled)
    ours = build_network(architecture, CLASSES, stem=stem)
    load_into(ours, Checkpoint(state=theirs.state_dict(), file_sha256="0" * 64, name="x.pth"))
    with torch.no_grad():
        assert torch.allclose(ours(IMAGE), theirs(IMAGE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
def test_a_sequential_of_children_without_an_activation_is_computed_without_it(architecture):
    network = torchvision_network(architecture, padding=1, pooled=False)
    stages = [network.layer1, network.layer2, network.layer3, network.layer4]
    theirs = torch.nn.Sequential(network.conv1, network.bn1, *stages, torch.nn.AdaptiveAvgPool2d(1))
    found = find_network(theirs.state_dict(), "x.pth")
    assert stem_of(found.state, "cifar-linear", "x.pth", between=found.naming.between) == "cifar-linear"
    ours = build_network(architecture, 0, stem="cifar-linear")
    load_into(ours, Checkpoint(state=found.state, file_sha256="0" * 64, name="x.pth"))
    with torch.no_grad():
        assert torch.allclose(ours(IMAGE), theirs(IMAGE).flatten(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stated", [None, "timm", "cifar", "solo-learn", "cifar-pool"])
def test_another_stem_is_refused_where_the_names_show_that_it_has_no_activation(stated):
    network = torchvision_network("resnet18", padding=1, pooled=False)
    found = find_network(numbered(2, network), "x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth is an nn\.Sequential with no activation .*--stem cifar-linear"):
        stem_of(found.state, stated, "x.pth", between=found.naming.between)
    found = find_network(numbered(3, network), "x.pth")
    assert stem_of(found.state, "cifar", "x.pth", between=found.naming.between) == "cifar"


@pytest.mark.parametrize(("stages", "told"), [(2, "0 modules"), (3, "1 module")])
def test_a_sequential_that_lacks_a_part_of_timms_stem_is_refused(stages, told):
    found = find_network(numbered(stages, torchvision.models.resnet18()), "x.pth")
    with pytest.raises(CheckpointError, match=rf"x\.pth is an nn\.Sequential with {told} between .* be exported"):
        stem_of(found.state, None, "x.pth", between=found.naming.between)
    whole = torch.nn.Sequential(*torchvision.models.resnet18().children()).state_dict()
    found = find_network(whole, "x.pth")
    assert stem_of(found.state, None, "x.pth", between=found.naming.between) == "timm"


def pytorch_cifar(state):
    """kuangliu's names: `shortcut` and `linear`, under DataParallel and the key `net` of its training script."""
    names = {name: name.replace("downsample", "shortcut").replace("fc.", "linear.") for name in state}
    return {"net": {f"module.{names[name]}": value for name, value in state.items()}, "acc": 95.5, "epoch": 199}


def numbered(stages, network):
    """The children of a network in an nn.Sequential, as SimCLR for CIFAR and lightly's examples make it."""
    children = [network.conv1, network.bn1, *([network.relu] if stages == 3 else [])]
    children += [network.layer1, network.layer2, network.layer3, network.layer4]
    state = torch.nn.Sequential(*children).state_dict()
    return {f"backbone.{name.replace('downsample', 'shortcut')}": value for name, value in state.items()}


def test_files_of_cifar_scripts_are_found_whatever_their_names():
    network = torchvision_network("resnet18", padding=1, pooled=False)
    state = network.state_dict()
    whole = find_network(pytorch_cifar(state), "ckpt.pth").state
    assert whole.keys() == state.keys()
    assert all(torch.equal(whole[name], state[name]) for name in state)
    for stages in (2, 3):
        found = find_network(numbered(stages, network), "ckpt.pth").state
        assert found.keys() == {name for name in state if not name.startswith("fc.")}
        assert all(torch.equal(found[name], state[name]) for name in found)


def test_a_3x3_stem_is_refused_until_its_kind_is_stated():
    state = torchvision_network("resnet18", padding=1, pooled=False).state_dict()
    for stated in (None, "timm"):
        with pytest.raises(
            CheckpointError, match=r"ckpt\.pth begins with one 3x3 convolution.*--stem cifar \(no max-p"
        ):
            stem_of(state, stated, "ckpt.pth")
    assert stem_of(state, "solo-learn", "ckpt.pth") == "solo-learn"


def test_a_stem_is_refused_for_other_networks():
    plain, deep = (torchvision.models.resnet18().state_dict(), build_network("resnet18d", 5).state_dict())
    for state in (plain, deep):
        assert stem_of(state, None, "x.pth") == "timm"
        with pytest.raises(CheckpointError, match=r"--stem cifar, but x\.pth does not begin with one 3x3 convolution"):
            stem_of(state, "cifar", "x.pth")
    with pytest.raises(UsageError, match=r"--stem cifar: this architecture begins with several convolutions"):
        build_network("resnet18d", 5, stem="cifar")


@pytest.mark.parametrize(("channels", "colour"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("architecture", ["resnet18", "resnet18d"])
def test_channels_are_read_off_the_first_convolution(architecture, channels, colour):
    import timm

    state = timm.create_model(architecture, in_chans=channels, num_classes=CLASSES).state_dict()
    assert channels_of(state) == channels
    assert colour_of(channels, "x.pth") == colour
    load_into(
        build_network(architecture, CLASSES, channels=channels),
        Checkpoint(state=state, file_sha256="0" * 64, name="x.pth"),
    )


def test_other_channels_are_refused():
    with pytest.raises(CheckpointError, match=r"x\.pth takes 2 channels: expected 1 \(grey\), 3 \(RGB\) or 4"):
        colour_of(2, "x.pth")


def test_work_is_counted_for_the_channels_that_there_are():
    # 64 kernels of 7x7 at 112x112 outputs are what a channel costs at 224 px, and at 224x285 112x143.
    one, three = timm_network(1), timm_network(3)
    assert count_pytorch_macs(three, 224) - count_pytorch_macs(one, 224) == 2 * 49 * 64 * 112 * 112
    assert count_card_flops(three) - count_card_flops(one) == 2 * 49 * 64 * 112 * 143
