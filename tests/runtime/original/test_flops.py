"""The figures are those of FIELD.md, section 1: timm's cards, and PyTorch's counter at 224x224."""

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from runtime.original.flops import count_card_flops, count_parameters, count_pytorch_macs

# Architecture: the card's FLOPs, parameters, multiply-accumulates.
FIGURES = {
    "resnet18": (2337073152, 11689512, 1814073344),
    "resnet50": (5282531328, 25557032, 4089184256),
    "resnext50_32x4d": (5472648192, 25028904, 4230479872),
    "resnext101_32x4d": (10298145792, 44177704, 7969996800),
    "resnext101_32x8d": (21180417024, 88791336, 16414015488),
    "resnext101_32x16d": (46623691776, 194026792, 36163289088),
}


@pytest.fixture(scope="module")
def networks():
    # Shapes without values: counting needs no more, and the largest network would take 776 MB.
    with torch.device("meta"):
        return {name: timm.create_model(name).eval() for name in FIGURES}


@pytest.mark.parametrize("architecture", FIGURES)
def test_cards_flops_are_reproduced_exactly(networks, architecture):
    assert count_card_flops(networks[architecture]) == FIGURES[architecture][0]


@pytest.mark.parametrize("architecture", FIGURES)
def test_parameters_are_the_fields(networks, architecture):
    assert count_parameters(networks[architecture]) == FIGURES[architecture][1]


@pytest.mark.parametrize("architecture", FIGURES)
def test_macs_at_224_pixels_are_the_fields(networks, architecture):
    assert count_pytorch_macs(networks[architecture], 224) == FIGURES[architecture][2]


@pytest.mark.parametrize("size", [64, 96])
def test_macs_are_half_of_pytorchs_flops_at_any_size(networks, size):
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        networks["resnet50"](torch.empty(1, 3, size, size))
    assert 2 * count_pytorch_macs(networks["resnet50"], size) == counter.get_total_flops()


def small_network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2, bias=True),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1, groups=4, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


def test_macs_of_a_small_network_are_those_worked_by_hand():
    # 10x10 pixels become 5x5: 8 filters of 27, then 4 filters of 8/4, then 4 features for 5 classes.
    assert count_pytorch_macs(small_network(), 10) == 8 * 27 * 25 + 4 * 2 * 25 + 4 * 5


def test_cards_rule_on_a_small_network_is_that_worked_by_hand():
    # 224x285 becomes 112x143. A bias counts one per output, BatchNorm two, the pool H*W + 1 per channel.
    area = 112 * 143
    assert count_card_flops(small_network()) == 8 * area * (27 + 1) + 2 * 8 * area + 4 * area * 2 + 4 * (area + 1)


def test_counting_leaves_the_network_as_it_was():
    network = small_network()
    count_card_flops(network)
    count_pytorch_macs(network, 16)
    assert network.training
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
    assert not any(module._forward_hooks for module in network.modules())
