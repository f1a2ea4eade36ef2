"""Learn the ranges of activations, and of their channels, from what they do to the network's outputs.

A wide range costs by rounding, since its steps are coarse; a narrow one costs by clipping. How much of each is best
depends on how much the outputs feel of it, channel by channel. Gradients say that.

Rules:

1. Every quantised tensor has a threshold c, and every group of tensors that share channels one factor f per channel
   (`calibration/graph/channel_groups.py`): channel k is clipped at c * f_k, and its step is that / the levels above
   zero. Below zero it is clipped where the levels below end. So the graph costs nothing more at run time than an
   equalised one.
2. Rounding is foretold: a step d adds noise of variance d^2 / 12 to every value that is not zero, and the noise of
   different values is independent. What the outputs get of it is sum_k G_k d_k^2 / 12, where G_k is the sum of the
   squared derivatives of all outputs over the channel's values. It is measured once, on all images, with the float
   network: the gradient of r * y with random signs r has the expected square G.
3. Clipping is run: the errors of clipped values are not independent, they add up in the outputs. The network runs with
   its tensors clipped but not rounded, and the difference of its outputs is what is differentiated.
4. The sum of both, relative to the signal of each output as the judge takes it, is minimised by Adam over batches of
   images, with a rate that falls to zero along a cosine. It begins with the best thresholds and factors found before.
5. A channel's G is drawn a little towards its tensor's mean: it is an estimate, and a minimum seeks out what has been
   underestimated.

Source: rule 2, Widrow and Kollar 2008, Quantization Noise, chapter 5 (d^2 / 12), and Hutchinson 1990, A stochastic
estimator of the trace of the influence matrix (random signs); rule 3, Jain et al. 2020, Trained Quantization
Thresholds (arXiv 1903.08066), which trains thresholds by gradient, rounding included; rule 4, Kingma and Ba 2015, Adam
(arXiv 1412.6980), and Loshchilov and Hutter 2017, SGDR (arXiv 1608.03983).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from calibration.graph.channel_groups import ChannelGroup
from calibration.graph.in_torch import Read, TorchGraph
from calibration.qdq.placement import QuantizedTensor
from calibration.qdq.zero_points import MIDDLE, levels_above
from calibration.weights.equalize import FLOOR
from runtime.support.arrays import Doubles, Feed, Pixels

if TYPE_CHECKING:
    from torch import Tensor

IMAGES_A_STEP = 4
STEPS = 300
# Of logarithms: a step moves a factor by at most so much, and a threshold by half of it.
_RATE = 0.03
# Rule 5.
_TOWARDS_MEAN = 0.1
_SEED = 0


@dataclass(frozen=True)
class Ranges:
    """The ranges of activations.

    Attributes:
        clips: Tensor name to the magnitude above which its values are clipped once they are divided by `factors`.
        factors: Tensor name to a factor per channel, (C,) float64 in `FLOOR` .. 1; other tensors are not divided.
    """

    clips: Mapping[str, float]
    factors: Mapping[str, Doubles]


def learn_ranges(
    model: ir.Model,
    tensors: Sequence[QuantizedTensor],
    groups: Sequence[ChannelGroup],
    start: Ranges,
    batches: Sequence[Pixels],
    *,
    feed: Callable[[Pixels], Feed],
    outputs: Sequence[str],
    zero_points: Mapping[str, int],
    on_batch: Callable[[], None] = lambda: None,
) -> Ranges | None:
    """Return learned ranges; None where the outputs are zero, or something is not finite.

    Args:
        model: The float32 graph as it is, which `TorchGraph` can run; not changed.
        tensors: What is quantised.
        groups: What shares factors; those of groups that are not scalable stay 1.
        start: Where it begins.
        batches: Images, (N, H, W, C) uint8 each, `IMAGES_A_STEP` at a time.
        feed: Function from pixels to the graph's input.
        outputs: Names of the outputs that count.
        zero_points: Tensor name to the level of zero, of 256.
        on_batch: Called after each run with gradients: once for each batch, and `STEPS` times.
    """
    learner = _Learner(TorchGraph(model), tensors, groups, start, outputs, zero_points)
    if not learner.measure(lambda: map(feed, batches), on_batch):
        return None
    return learner.minimise(lambda number: feed(batches[number]), on_batch)


class _Learner:
    def __init__(
        self,
        graph: TorchGraph,
        tensors: Sequence[QuantizedTensor],
        groups: Sequence[ChannelGroup],
        start: Ranges,
        outputs: Sequence[str],
        zero_points: Mapping[str, int],
    ) -> None:
        import torch

        self._graph, self._outputs, self._zero_points = graph, outputs, zero_points
        self._readers = {use: tensor.name for tensor in tensors for use in tensor.uses}
        self._clips = {
            tensor.name: torch.tensor(math.log(start.clips[tensor.name]), requires_grad=True) for tensor in tensors
        }
        self._groups = [
            group for group in groups if group.scalable and any(name in self._clips for name in group.tensors)
        ]
        self._factors = [
            torch.tensor(np.log(start.factors.get(group.tensors[0], np.ones(group.channels))), dtype=torch.float32)
            for group in self._groups
        ]
        self._of_tensor = {
            name: factors.requires_grad_()
            for group, factors in zip(self._groups, self._factors, strict=True)
            for name in group.tensors
        }
        # What `measure` finds: of each output 1 / its signal, of each batch its outputs, of each tensor its G.
        self._weights: list[float] = []
        self._wanted: list[list[Tensor]] = []
        self._felt: dict[str, Tensor] = {}

    def measure(self, feeds: Callable[[], Iterable[Feed]], on_batch: Callable[[], None]) -> bool:
        """Run the float network for its outputs and rule 2's G; return whether there is something to minimise.

        Args:
            feeds: Gives the batches, as the graph's input; they are read twice.
            on_batch: Called after each.
        """
        import torch

        with torch.no_grad():
            self._wanted = [self._graph.run(batch, self._outputs) for batch in feeds()]
        signals = [float(torch.cat(values).square().sum(1).mean()) for values in zip(*self._wanted, strict=True)]
        if not all(math.isfinite(signal) and signal > 0 for signal in signals):
            return False
        self._weights = [1 / (signal * len(signals)) for signal in signals]
        squares: dict[str, Tensor] = {}
        signs = torch.Generator().manual_seed(_SEED)
        for batch in feeds():
            seen: dict[str, Tensor] = {}
            found = self._graph.run(batch, self._outputs, self._watching(seen))
            drawn = [torch.randint(0, 2, values.shape, generator=signs) * 2.0 - 1.0 for values in found]
            parts = zip(self._weights, found, drawn, strict=True)
            total = torch.stack([weight**0.5 * (values * sign).sum() for weight, values, sign in parts]).sum()
            for name, gradient in zip(seen, torch.autograd.grad(total, list(seen.values())), strict=True):
                # Zero is a level: it is never rounded.
                felt = (gradient.square() * (seen[name] != 0)).transpose(0, 1).flatten(1).sum(1)
                squares[name] = squares.get(name, torch.zeros_like(felt)) + felt
            on_batch()
        images = sum(len(found[0]) for found in self._wanted)
        for name, felt in squares.items():
            self._felt[name] = ((1 - _TOWARDS_MEAN) * felt + _TOWARDS_MEAN * felt.mean()) / images
        return True

    def minimise(self, batch: Callable[[int], Feed], on_batch: Callable[[], None]) -> Ranges | None:
        """Return the ranges after rule 4's steps; None where a value was not finite."""
        import torch

        adam = torch.optim.Adam(
            [{"params": self._factors, "lr": _RATE}, {"params": list(self._clips.values()), "lr": _RATE / 2}]
        )
        along_cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
        for number in self._order():
            found = self._graph.run(batch(number), self._outputs, self._clipping())
            parts = zip(self._weights, found, self._wanted[number], strict=True)
            clipping = [weight * (values - wanted).square().sum(1).mean() for weight, values, wanted in parts]
            noise = torch.stack([*clipping, self._rounding()]).sum()
            if not torch.isfinite(noise) or noise <= 0:
                return None
            adam.zero_grad()
            # In decibels, so to say: how far a step goes does not hang on how noisy the network is.
            torch.autograd.backward(noise.log())
            adam.step()
            along_cosine.step()
            on_batch()
        return self._ranges()

    def _order(self) -> Iterator[int]:
        """Yield the batch of each step: all of them in an order that is drawn, and again."""
        drawn, batches = np.random.default_rng(_SEED), len(self._wanted)
        rounds = [drawn.permutation(batches) for _ in range(-(-STEPS // batches))]
        yield from map(int, np.concatenate(rounds)[:STEPS])

    def _bound(self, name: str) -> "Tensor":
        """Return the threshold of each channel, (C,)."""
        clip = self._clips[name]
        return (clip + self._of_tensor[name] if name in self._of_tensor else clip.expand(len(self._felt[name]))).exp()

    def _rounding(self) -> "Tensor":
        """Return the noise of rounding, relative to the signal; rule 2."""
        import torch

        steps = {name: self._bound(name) / levels_above(self._zero_points[name]) for name in self._felt}
        return torch.stack([(felt * steps[name].square()).sum() / 12 for name, felt in self._felt.items()]).sum()

    def _watching(self, seen: "dict[str, Tensor]") -> Read:
        """Return what puts a quantised tensor into `seen`, so that gradients can be taken of it."""

        def read(node: ir.Node, index: int, values: "Tensor") -> "Tensor":
            name = self._readers.get((node.name or "", index))
            if name is None:
                return values
            if name not in seen:
                # The image needs no gradient of its own accord.
                seen[name] = values.view_as(values) if values.requires_grad else values.detach().requires_grad_()
            return seen[name]

        return read

    def _clipping(self) -> Read:
        """Return what clips quantised tensors; rule 3."""
        clipped: dict[str, Tensor] = {}

        def read(node: ir.Node, index: int, values: "Tensor") -> "Tensor":
            name = self._readers.get((node.name or "", index))
            if name is None:
                return values
            if name not in clipped:
                bound = self._bound(name).reshape(-1, *[1] * (values.ndim - 2))
                zero_point = self._zero_points[name]
                # With zero in the middle the 128th level below it is left out of account.
                share = 1.0 if zero_point == MIDDLE else zero_point / levels_above(zero_point)
                clipped[name] = values.minimum(bound).maximum(-share * bound)
            return clipped[name]

        return read

    def _ranges(self) -> Ranges:
        """Return what was learned, the largest factor of each group 1."""
        clips = {name: float(clip.detach().exp()) for name, clip in self._clips.items()}
        factors: dict[str, Doubles] = {}
        for group, learned in zip(self._groups, self._factors, strict=True):
            found = learned.detach().double().exp().numpy()
            largest = float(found.max())
            for name in group.tensors:
                factors[name] = np.maximum(found / largest, FLOOR)
                if name in clips:
                    clips[name] *= largest
        return Ranges(clips, factors)
