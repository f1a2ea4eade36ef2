"""How far float32 rounding alone may move a network's outputs, measured on the network itself.

1. A sum of K products p is rounded K times, each time by at most u of the partial sum, u = 2^-24. Whatever the order,
   partial sums are about as large as the result y and as the root of the sum of p^2: where products cancel, the
   second is the larger, and rounding is large beside the result. So the output of every convolution and linear layer
   gets noise of the size u sqrt(K) sqrt(y^2 + sum p^2 + bias^2), and so do BatchNorm and the normalisation of pixels
   with what they add up, and the mean over positions with its u sqrt(H W). Other layers round once or not at all,
   which is little beside that.
   A rounding is u at most and u / sqrt(3) on average, so that this is room for both sides, the graph and PyTorch, each
   of which rounds by itself: 2 / 3 of the power.
2. Equal sums are rounded equally: the noise of a value is drawn by its bits, so that it is the same all over a flat
   part of an image, where no mean over positions takes it out. What a layer's own numbers are rounded by, where a
   BatchNorm is folded, is the same at every position too: each channel has one such rounding on top.
3. The noise goes through the rest of the network: what amplifies it or averages it out is the network's own.
4. It is made 2^8 times as large as rounding is, so that the float32 of the run itself does not count, and the result
   2^8 times smaller again. At that size a network is still linear in it.

Source: Higham and Mary 2019, "A new approach to probabilistic rounding error analysis", theorem 2.4, with
partial sums in place of its bound on them by sum |p|, which only products of one sign reach.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.checks.golden import named_outputs, run_original
from runtime.bundle.bundle import Golden
from runtime.bundle.manifest import Preprocessing
from runtime.images.preprocessing import normalise
from runtime.original.network import share_tensors, wrap
from runtime.support.arrays import Floats
from runtime.support.paired_statistics import SqnrSum

if TYPE_CHECKING:
    import torch

FLOAT32_UNIT_ROUNDOFF = 2.0**-24
# Engines may flush what is smaller to zero, at every value.
FLOAT32_SMALLEST_NORMAL = 2.0**-126
_AMPLIFIED = 2.0**8
# Fewer noisy values say little about their mean power: a network of one class gives one per image.
_FEWEST_VALUES = 32
# The product with the scale, the sum with the offset, and the rounding of both where they are folded.
_ROUNDINGS_OF_A_NORM = 3
_SEED = 0


class RoundingNoise:
    """A copy of a network whose layers are noisy as rounding makes them, made before the network is traced."""

    def __init__(self, network: "torch.nn.Module", preprocessing: Preprocessing) -> None:
        """Copy the network's modules; its tensors are shared.

        Args:
            network: timm's network in float32; it is left as it is.
            preprocessing: Preprocessing from image file to pixels.
        """
        import torch

        self._network, self._preprocessing = share_tensors(network), preprocessing
        self._generator = torch.Generator().manual_seed(_SEED)

    def measure(self, golden: Golden) -> dict[str, float]:
        """Return for every output the SQNR that rounding alone leaves, decibels; infinity where nothing is rounded.

        Args:
            golden: The golden images, with PyTorch's outputs.
        """
        for layer in self._network.modules():
            if _rounds_sums(layer):
                layer.register_forward_hook(self._add_noise)
        self._make_mean_noisy()
        module = wrap(self._network, self._preprocessing, input_kind="float32")
        planes = normalise(golden.pixels, self._preprocessing)
        references = named_outputs(golden.logits, golden.embedding)
        sums = {name: SqnrSum() for name in references}
        for _ in range(math.ceil(_FEWEST_VALUES / min(array.size for array in references.values()))):
            noisy = named_outputs(*run_original(module, self._noisy_planes(planes)))
            for name, array in noisy.items():
                sums[name] = sums[name].add(references[name], array)
        return {name: found.db + 20 * math.log10(_AMPLIFIED) for name, found in sums.items()}

    def _make_mean_noisy(self) -> None:
        """Let the features have, at all positions of a channel alike, the noise of the mean that is taken of them."""
        import torch

        network: Any = self._network
        exact = network.forward_features

        def noisy(planes: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = exact(planes)
            size = features.abs().mean(dim=(2, 3), keepdim=True)
            noise = torch.randn(size.shape, generator=self._generator)
            positions = features.shape[2] * features.shape[3]
            return features + noise * size * (FLOAT32_UNIT_ROUNDOFF * _AMPLIFIED * math.sqrt(positions))

        network.forward_features = noisy

    def _noisy_planes(self, planes: Floats) -> Floats:
        """Return normalised pixels, (N, C, H, W), with the noise of (x - mean) / std."""
        import torch

        offset = np.array(self._preprocessing.mean) / np.array(self._preprocessing.std)
        exact = torch.from_numpy(planes)
        added = torch.from_numpy(offset.astype(np.float32)).view(1, -1, 1, 1)
        noisy: Floats = self._noisy(exact, _ROUNDINGS_OF_A_NORM, exact, added).numpy()
        return noisy

    def _add_noise(self, layer: "torch.nn.Module", inputs: Any, output: Any) -> Any:
        """Return a layer's output with its noise; a hook of PyTorch's."""
        from torch.nn.modules.batchnorm import _BatchNorm

        if isinstance(layer, _BatchNorm):
            return self._noisy(output, _ROUNDINGS_OF_A_NORM, _scaled(layer, inputs[0]))
        weight: Any = layer.weight
        return self._noisy(output, weight[0].numel(), *_terms_of_a_sum(layer, inputs[0]))

    def _noisy(self, exact: "torch.Tensor", roundings: int, *terms: "torch.Tensor") -> "torch.Tensor":
        """Return values with the noise of so many roundings of numbers as large as they and the terms."""
        import torch

        size = exact.abs()
        for term in terms:
            size = torch.hypot(size, term)
        salt, channels = int(torch.randint(2**31, (1,), generator=self._generator)), (1, exact.shape[1])
        of_channel = torch.randn(channels, generator=self._generator).view(*channels, *[1] * (exact.dim() - 2))
        noise = _noise_of_bits(exact, salt).mul_(math.sqrt(roundings)).add_(of_channel)
        rounding = FLOAT32_UNIT_ROUNDOFF * size + FLOAT32_SMALLEST_NORMAL
        return exact + noise * rounding * _AMPLIFIED


def _noise_of_bits(values: "torch.Tensor", salt: int) -> "torch.Tensor":
    """Return noise of mean 0 and variance 1, uniform, the same for equal values.

    Args:
        values: Any shape, float32.
        salt: Another one gives other noise.

    Source: the finaliser of MurmurHash3, whose multiplications wrap around in 32 bits.
    """
    import torch

    bits = values.contiguous().view(torch.int32) ^ salt
    for factor, shift in ((-2048144789, 13), (-1028477387, 16)):
        bits = bits * factor
        # PyTorch's shift repeats the sign, which would cancel itself.
        bits ^= (bits >> shift) & (2 ** (32 - shift) - 1)
    return bits.float().mul_(math.sqrt(3) / 2**31)


def _rounds_sums(layer: "torch.nn.Module") -> bool:
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.conv import _ConvNd

    return isinstance(layer, (_ConvNd, torch.nn.Linear, _BatchNorm))


def _scaled(norm: Any, values: "torch.Tensor") -> "torch.Tensor":
    """Return what BatchNorm adds its offset to; where they cancel, both are larger than the result."""
    import torch

    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    scaled: torch.Tensor = values * scale.view(1, -1, *[1] * (values.dim() - 2))
    return scaled


def _terms_of_a_sum(layer: Any, values: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
    """Return the root of the sum of the squared products of a convolution or linear layer, and its bias if it has one.

    Both are broadcast over the layer's output.
    """
    import torch

    # Squares of very small or very large numbers are none of float32's: both factors are brought to 1 first.
    sizes = [tensor.abs().amax().clamp_min(FLOAT32_SMALLEST_NORMAL) for tensor in (values, layer.weight)]
    squares = [(tensor / size).square() for tensor, size in zip((values, layer.weight), sizes, strict=True)]
    if isinstance(layer, torch.nn.Linear):
        summed = torch.nn.functional.linear(*squares)
    else:
        convolve: Mapping[int, Any] = {3: torch.nn.functional.conv1d, 4: torch.nn.functional.conv2d}
        summed = convolve[layer.weight.dim()](
            *squares, stride=layer.stride, padding=layer.padding, dilation=layer.dilation, groups=layer.groups
        )
    # A fast convolution may give a sum of squares that is a hair below zero.
    root = summed.clamp_min(0).sqrt() * sizes[0] * sizes[1]
    return (root,) if layer.bias is None else (root, layer.bias.view(1, -1, *[1] * (root.dim() - 2)))
