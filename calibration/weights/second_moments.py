"""What each convolution reads, summed up: the second moments that weights are rounded by.

Rules:

1. Of every image and layer, `POSITIONS` output positions are drawn, without replacement, with a
   generator seeded by the seed, the layer and the image; for each, the patch that the kernel reads there is
   a row a of (C / group) * R * S values. H = E[a a^T] and E[a] are taken over those rows.
2. The network runs in float32: a layer is rounded for what it should read. (Rounding for what the
   quantised layers before it give changes nothing: docs/explanation/decisions.md.)
3. H of a 3x3 convolution on 512 channels takes 85 MB, so layers come in groups of at most
   `_GROUP_BYTES`, and the network runs from one group to the next (calibration/graph/in_parts.py).

Source: Frantar et al. 2022, GPTQ (arXiv 2210.17323), section 3.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from calibration.graph.in_parts import run_in_parts
from calibration.graph.structure import constant
from calibration.graph.without_weights import without_weights
from runtime.support.arrays import Doubles, Floats

POSITIONS = 64
_GROUP_BYTES = 128 << 20
# Of a layer with D = 4608 they are a tenth of its H.
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Step:
    """How a layer's input is quantised: real = level * scale, levels from `lowest` to `highest`."""

    scale: float
    lowest: int
    highest: int

    def round(self, values: Floats) -> Floats:
        """Return the values that the integers mean, float32, halves to even."""
        scale = np.float32(self.scale)
        rounded: Floats = np.clip(np.rint(values / scale), self.lowest, self.highest) * scale
        return rounded


@dataclass
class LayerMoments:
    """What one layer reads, over the rows drawn; groups of channels apart.

    Attributes:
        products: Sum of a a^T, (groups, D, D) float32.
        totals: Sum of a, (groups, D) float64.
        rounded_totals: Sum of a after the quantisation of the layer's input, (groups, D) float64.
        rows: Rows drawn.
    """

    products: Floats
    totals: Doubles
    rounded_totals: Doubles
    rows: int = 0
    _waiting: list[Floats] = field(default_factory=list, repr=False)

    def add(self, rows: Floats, step: Step) -> None:
        """Take in rows, (n, groups, D) float32; `products` has them after `finish`."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _ROWS_AT_ONCE:
            self.finish()
        self.totals += rows.sum(axis=0, dtype=np.float64)
        self.rounded_totals += step.round(rows).sum(axis=0, dtype=np.float64)
        self.rows += len(rows)

    def finish(self) -> None:
        """Take the products of the rows that wait: for many rows at a time the sum of two D x D matrices is rare."""
        if not self._waiting:
            return
        rows, self._waiting = np.concatenate(self._waiting), []
        for group in range(rows.shape[1]):
            part = np.ascontiguousarray(rows[:, group])
            self.products[group] += part.T @ part


@dataclass(frozen=True)
class _Layer:
    name: str
    source: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    same: str
    groups: int
    length: int
    moments: LayerMoments = field(compare=False)

    def patches(self, values: Floats, first_image: int, seed: int) -> Floats:
        """Return drawn patches, (n, groups, D) float32, of a batch of the layer's input."""
        if values.ndim == 2:
            return values.reshape(len(values), 1, -1)
        top, left, bottom, right = self._padding(values.shape[2:])
        padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
        extent = [(size - 1) * dilation + 1 for size, dilation in zip(self.kernel, self.dilations, strict=True)]
        windows = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=(2, 3))
        windows = windows[:, :, :: self.strides[0], :: self.strides[1], :: self.dilations[0], :: self.dilations[1]]
        height, width = windows.shape[2:4]
        drawn = [self._positions(height * width, first_image + image, seed) for image in range(len(values))]
        images = np.repeat(np.arange(len(values)), len(drawn[0]))
        at = np.concatenate(drawn)
        return windows[images, :, at // width, at % width].reshape(len(at), self.groups, self.length)

    def _positions(self, count: int, image: int, seed: int) -> npt.NDArray[np.int64]:
        generator = np.random.default_rng((seed, zlib.crc32(self.name.encode()), image))
        return generator.choice(count, min(POSITIONS, count), replace=False)

    def _padding(self, size: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Return top, left, bottom, right; ONNX Conv's rule where the graph says SAME."""
        if not self.same:
            return self.pads
        ends = []
        for axis in (0, 1):
            extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            steps = -(-size[axis] // self.strides[axis])
            total = max((steps - 1) * self.strides[axis] + extent - size[axis], 0)
            small, large = total // 2, total - total // 2
            ends.append((small, large) if self.same == "SAME_UPPER" else (large, small))
        return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def collect_moments(
    model: ir.Model,
    steps: Mapping[str, Step],
    batches: Iterable[npt.NDArray[np.generic]],
    *,
    seed: int = 0,
    threads: int | None = None,
) -> Iterator[tuple[str, LayerMoments]]:
    """Yield each layer's name and moments, in graph order.

    Args:
        model: A float32 graph; not changed.
        steps: Name of a Conv or Gemm to how its input will be quantised; the layers that are wanted.
        batches: The images, as the graph's input; read once.
        seed: Seed of the random positions.
        threads: Threads of onnxruntime; None leaves its choice.
    """
    nodes = [node for node in model.graph if node.name in steps]
    skeleton = without_weights(model)
    groups = list(_in_groups(nodes))
    parts = [sorted({_source(node) for node in group}) for group in groups]
    run = run_in_parts(skeleton.model, parts, batches, weights=skeleton.weights, threads=threads)
    for group, part in zip(groups, run, strict=True):
        layers = [_describe(node) for node in group]
        done = 0
        for values in part:
            for layer in layers:
                source = values[layer.source].astype(np.float32, copy=False)
                layer.moments.add(layer.patches(source, done, seed), steps[layer.name])
            done += len(source)
        for layer in layers:
            layer.moments.finish()
        # A layer's sums are of no use once it is rounded: they are not kept while the caller works.
        while layers:
            layer = layers.pop(0)
            yield layer.name, layer.moments
            del layer


def _in_groups(nodes: Sequence[ir.Node]) -> Iterator[list[ir.Node]]:
    """Yield runs of layers whose products fit into `_GROUP_BYTES` together, or single ones; rule 3."""
    group: list[ir.Node] = []
    used = 0
    for node in nodes:
        groups, length = _extent(node)
        needed = 4 * groups * length * length
        if group and used + needed > _GROUP_BYTES:
            yield group
            group, used = [], 0
        group.append(node)
        used += needed
    if group:
        yield group


def _extent(node: ir.Node) -> tuple[int, int]:
    """Return the number of channel groups, and the length of a row."""
    shape = constant(node, 1).shape
    if node.op_type == "Conv":
        return node.attributes.get_int("group", 1), int(np.prod(shape[1:]))
    return 1, shape[1] if node.attributes.get_int("transB", 0) == 1 else shape[0]


def _describe(node: ir.Node) -> _Layer:
    groups, length = _extent(node)
    convolution = node.op_type == "Conv"
    kernel = constant(node, 1).shape[2:] if convolution else (1, 1)
    automatic = node.attributes.get_string("auto_pad", "NOTSET") if convolution else "NOTSET"
    return _Layer(
        name=node.name or "",
        source=_source(node),
        kernel=(kernel[0], kernel[1]),
        strides=_pair(node, "strides"),
        dilations=_pair(node, "dilations"),
        pads=_pads(node) if automatic == "NOTSET" else (0, 0, 0, 0),
        same=automatic if automatic.startswith("SAME") else "",
        groups=groups,
        length=length,
        moments=LayerMoments(
            products=np.zeros((groups, length, length), np.float32),
            totals=np.zeros((groups, length)),
            rounded_totals=np.zeros((groups, length)),
        ),
    )


def _source(node: ir.Node) -> str:
    source = node.inputs[0]
    assert source is not None
    assert source.name is not None
    return source.name


def _pair(node: ir.Node, name: str) -> tuple[int, int]:
    first, second = node.attributes.get_ints(name, (1, 1))
    return int(first), int(second)


def _pads(node: ir.Node) -> tuple[int, int, int, int]:
    top, left, bottom, right = (int(pad) for pad in node.attributes.get_ints("pads", (0, 0, 0, 0)))
    return top, left, bottom, right
