"""Multiply-accumulates of the PyTorch original, and the rule behind the model card's "FLOPs"."""

from typing import TYPE_CHECKING, Any

from runtime.bundle.manifest import sides
from runtime.original.network import share_tensors
from runtime.original.stems import input_channels

if TYPE_CHECKING:
    import torch

# The card's figures were counted on pytorch-hub's dog.jpg, 1546 x 1213, its short side resized to
# 224 and nothing cropped: width int(224 * 1546 / 1213).
CARD_HEIGHT = 224
CARD_WIDTH = 285


def count_pytorch_macs(network: "torch.nn.Module", image_size: int | tuple[int, int]) -> int:
    """Return the multiply-accumulates of one image, as `torch.utils.flop_counter` counts them.

    It counts 2 FLOPs per multiply-accumulate of convolutions and matrix products and nothing for
    biases, normalisation, activations and pooling.

    Args:
        network: timm's network, taking (1, C, height, width) float32.
        image_size: Height and width of the input, pixels; one number where they are equal.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _on_meta(network)(torch.empty((1, input_channels(network), *sides(image_size)), device="meta"))
    return int(counter.get_total_flops()) // 2


def count_card_flops(network: "torch.nn.Module") -> int:
    """Return what the model card calls FLOPs: thop's count on a 1x3x224x285 input, or of as many channels as it takes.

    Convolution: 1 per multiply-accumulate, and 1 per output where it has a bias. BatchNorm: 2 per
    element. Adaptive average pool: H * W + 1 per channel. ReLU, max-pool, addition and the
    classifier: nothing. So it is neither 2 x MACs nor counted at 224x224.

    Source: reproduced exactly for 241 of timm's 266 cards of this kind; thop's `vision/basic_hooks.py`.
    """
    import torch

    meta = _on_meta(network)
    total = 0

    def hook(module: "torch.nn.Module", inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        total += _card_flops_of(module, inputs[0], output)

    for module in meta.modules():
        module.register_forward_hook(hook)
    with torch.no_grad():
        meta(torch.empty((1, input_channels(network), CARD_HEIGHT, CARD_WIDTH), device="meta"))
    return total


def _card_flops_of(module: "torch.nn.Module", taken: "torch.Tensor", made: "torch.Tensor") -> int:
    from torch import nn

    if isinstance(module, nn.Conv2d):
        products = module.weight[0].numel()
        return made.numel() * (products + (module.bias is not None))
    if isinstance(module, nn.BatchNorm2d):
        return 2 * taken.numel()
    if isinstance(module, nn.AdaptiveAvgPool2d):
        kernel = taken[0, 0].numel() // made[0, 0].numel()
        return made.numel() * (kernel + 1)
    return 0


def count_parameters(network: "torch.nn.Module") -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def _on_meta(network: "torch.nn.Module") -> "torch.nn.Module":
    """Return a copy without data: shapes are all that counting needs."""
    return share_tensors(network).to("meta").eval()
