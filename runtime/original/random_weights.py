"""Random weights that are worth testing with.

timm starts the last BatchNorm of every residual block at zero, so that an untrained network is an
identity behind its stem: folded, half of its convolutions are zeros, and every check of a graph, of
FP16 or of a count of layers passes for nothing. So all weights are drawn again, as follows:

1. Convolutions and linear layers: uniform with the variance 2 / fan_in (He et al. 2015, eq. 10).
   Uniform, because PyTorch's float32 normal generator differs in its last bits between CPUs with and
   without AVX2. The classifier's rows are larger and sum to zero: pooled ReLU outputs share a large
   positive mean, which would otherwise choose the same class for every picture.
2. Normalisation layers: weights from U(0.5, 1.5), biases from N(0, 0.2^2); the last one of a residual
   block has weights from U(0.1, 0.3). Branches as large as the skip amplify every rounding error
   from block to block: with them ResNet-50's logits in FP16 are some 14 dB further from FP32's
   (docs/explanation/decisions.md).
3. BatchNorm's running statistics: the exact mean and variance over one forward pass of noise that is
   like photographs, so that every layer sees activations of a sane size at any depth.

The pass is in float64, and the statistics are kept to bfloat16's 8 significant bits: float64 sums
differ between CPUs and thread counts in their last bits, which the rounding hides. So the same seed
gives the same bytes, tested with and without vector instructions, and on one and two threads.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.original.stems import input_channels

if TYPE_CHECKING:
    import torch

_HE_GAIN = 2.0
# Spreads the logits of a picture over a few units, as a trained classifier does.
_CLASSIFIER_GAIN = 16.0
_NORM_WEIGHT_RANGE = (0.5, 1.5)
_LAST_NORM_WEIGHT_RANGE = (0.1, 0.3)
_NORM_BIAS_STD = 0.2
# Eight pictures of 96 pixels: 72 samples per channel in a stage of stride 32, for a fraction of a
# second.
_PICTURES = 8
_PICTURE_SIZE = 96
# The noise's scales, pixels per cell, each with an amplitude of the cell's square root; the cells have
# sharp edges, and colours are mostly shades of one luminance, as in photographs.
_NOISE_CELLS = (48, 24, 12, 6, 3)
_CHROMA_SHARE = 0.4


def randomise(model: "torch.nn.Module", seed: int) -> None:
    """Draw all weights of a network again, in place; PyTorch's global random generator is not touched.

    Args:
        model: `runtime.original.network.build_network`'s, float32 on the CPU, in eval mode (kept).
        seed: Any integer that PyTorch takes; the same seed gives the same bytes.

    Source: the module's docstring.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            # timm's own statement of which norm is a block's last: this zeroes its weight.
            if callable(zero_last := getattr(module, "zero_init_last", None)):
                zero_last()
        for module in model.modules():
            _draw(module, generator)
        if isinstance(model.get_submodule("fc"), torch.nn.Linear):
            _draw_classifier(model, generator)
        _set_statistics(model, _noise_pictures(input_channels(model), generator))


def _draw(module: "torch.nn.Module", generator: "torch.Generator") -> None:
    """Draw the module's own parameters (not its children's); a norm of zeros is a block's last."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.conv import _ConvNd

    if isinstance(module, (_ConvNd, torch.nn.Linear)):
        _draw_kernel(module.weight, gain=_HE_GAIN, generator=generator)
    elif isinstance(module, (_BatchNorm, torch.nn.GroupNorm, torch.nn.LayerNorm)):
        weight_range = _NORM_WEIGHT_RANGE if module.weight.any() else _LAST_NORM_WEIGHT_RANGE
        _draw_uniform(module.weight, weight_range, generator=generator)
    else:
        return
    if module.bias is not None:
        # In float64, whose normal generator is the same code on every CPU.
        bias = torch.empty(module.bias.shape, dtype=torch.float64)
        module.bias.copy_(bias.normal_(0, _NORM_BIAS_STD, generator=generator))


def _draw_kernel(weight: "torch.Tensor", *, gain: float, generator: "torch.Generator") -> None:
    """Fill a weight (out, in, ...) uniformly with mean 0 and variance gain / fan_in."""
    bound = math.sqrt(3 * gain / weight[0].numel())
    _draw_uniform(weight, (-bound, bound), generator=generator)


def _draw_uniform(tensor: "torch.Tensor", bounds: tuple[float, float], *, generator: "torch.Generator") -> None:
    """Fill uniformly between two bounds, in steps that round alike on every CPU.

    PyTorch's own `uniform_(low, high)` multiplies and adds, which is one rounding where the CPU's code
    has fused multiply-add and two where it has not; between 0 and 1 it is exact.
    """
    low, high = bounds
    tensor.uniform_(0, 1, generator=generator).mul_(high - low).add_(low)


def _draw_classifier(model: "torch.nn.Module", generator: "torch.Generator") -> None:
    """Draw the classifier's weight (classes, D) with rows that sum to about zero."""
    import torch

    weight = model.get_parameter("fc.weight")
    _draw_kernel(weight, gain=_CLASSIFIER_GAIN, generator=generator)
    # Rounded, so that the order of the sum does not show.
    weight.sub_(weight.double().mean(dim=1, keepdim=True).to(torch.bfloat16))


def _noise_pictures(channels: int, generator: "torch.Generator") -> "torch.Tensor":
    """Return noise like normalised photographs, (8, channels, 96, 96) float64, mean 0, std 1."""
    luminance = _noise(1, generator)
    chroma = _noise(channels, generator)
    pictures = luminance / luminance.std() + _CHROMA_SHARE * chroma / chroma.std()
    return (pictures - pictures.mean()) / pictures.std()


def _noise(channels: int, generator: "torch.Generator") -> "torch.Tensor":
    """Return the sum of noise of all scales, (8, channels, 96, 96) float64."""
    import torch

    total = torch.zeros(_PICTURES, channels, _PICTURE_SIZE, _PICTURE_SIZE, dtype=torch.float64)
    for cell in _NOISE_CELLS:
        side = _PICTURE_SIZE // cell
        coarse = torch.empty(_PICTURES, channels, side, side, dtype=torch.float64)
        coarse.uniform_(-1, 1, generator=generator)
        total += math.sqrt(cell) * coarse.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    return total


def _set_statistics(model: "torch.nn.Module", pictures: "torch.Tensor") -> None:
    """Set every BatchNorm's running mean and variance to those of one batch, rounded to bfloat16.

    Args:
        model: The network.
        pictures: (N, C, H, W) float64.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None is PyTorch's cumulative average: after one batch, that batch's own mean and variance.
        norm.momentum = None
        norm.train()
    with _in_float64(model):
        model(pictures)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
        for statistic in (norm.running_mean, norm.running_var):
            assert statistic is not None
            statistic.copy_(statistic.to(torch.bfloat16))


@contextmanager
def _in_float64(model: "torch.nn.Module") -> Iterator[None]:
    """Run every layer in float64 within the block, one at a time, so that one layer's copy is in memory."""
    import torch

    def widen(module: torch.nn.Module, _inputs: object) -> None:
        module.double()

    def narrow(module: torch.nn.Module, _inputs: object, _output: object) -> None:
        module.float()

    hooks = []
    for module in model.modules():
        if not any(True for _ in module.children()):
            hooks += [module.register_forward_pre_hook(widen), module.register_forward_hook(narrow)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
