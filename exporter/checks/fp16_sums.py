"""What an FP16 graph gives in an engine that adds up in FP16 too, by emulation.

`write_roundings` rounds every tensor and adds up in FP32, as most engines do. On ARM processors with FP16 arithmetic
onnxruntime's CPU kernels add up in FP16. Their order was read from their source, and found again to the bit in small
graphs (`tests/exporter/checks/test_fp16_sums.py`):

1. Conv begins with the bias, and adds the products one by one, over the kernel's rows, its columns and the channels,
   innermost last. Each addition is a fused multiply-add, rounded to FP16 once.
2. Gemm with a transposed weight begins with zero and adds the bias at the end, otherwise as Conv.
3. GlobalAveragePool adds up one value after the other in FP16, and divides.
4. Everything else rounds its result alone.

The product of two FP16 numbers is exact in FP32. The sum is rounded to FP32 and then to FP16 here, which differs from
one rounding only where the FP32 sum is a tie of FP16: of sums of 4,608 products one in fifty ends one step away.

Emulation takes about three seconds for a thousand million additions. So it is done for as many golden images as
`BUDGET` allows, and not for a network above `MOST`; what counts is by how much the sums lower the SQNR of the same
images (`loss_db`), since one image's SQNR says little of another's.

Source: onnxruntime 1.32, mlas/lib/aarch64/HalfGemmKernelNeon.S, mlas/lib/halfgemm.h (MlasHalfGemmNoPackOperation),
core/providers/cpu/fp16/fp16_conv.cc (ReorderFilter), core/providers/cpu/math/gemm.cc, mlas/lib/pooling_fp16.cpp.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from exporter.checks.step_check import Tolerance
from runtime.support.arrays import Feed, Floats
from runtime.support.paired_statistics import sqnr_db

if TYPE_CHECKING:
    import torch

Halves = npt.NDArray[np.float16]

# Additions that are emulated in one export, of all images together.
BUDGET = 1_200_000_000
# A network with more additions for one image is not emulated: a ResNet-50 at 224 px has 4.1 thousand million.
MOST = 5_000_000_000


@dataclass
class Fp16Run:
    """A network run with FP16 sums.

    Attributes:
        outputs: Output name to values, (N, D) float32.
        layer_db: Layer to the SQNR that its FP16 sums alone have, against FP32 sums of the same inputs, decibels;
            -infinity where a sum overflows.
    """

    outputs: dict[str, Floats] = field(default_factory=dict)
    layer_db: dict[str, float] = field(default_factory=dict)


def affordable_images(macs: int, images: int) -> int:
    """Return how many of the golden images are emulated; 0 where one would take too long.

    Args:
        macs: Multiply-accumulates for one image.
        images: Golden images.
    """
    return 0 if macs > MOST else min(images, max(1, BUDGET // macs))


def loss_db(references: Mapping[str, Floats], wide: Mapping[str, Floats], narrow: Mapping[str, Floats]) -> Tolerance:
    """Return by how much FP16 sums lower the SQNR of each output, decibels; infinite where one is not finite.

    Args:
        references: Output name to FP32 values, (N, D) float32.
        wide: The same of the network in FP16 with FP32 sums.
        narrow: The same with FP16 sums.
    """
    found = {}
    for name, reference in references.items():
        finite = bool(np.isfinite(narrow[name]).all())
        lost = sqnr_db(reference, wide[name]) - sqnr_db(reference, narrow[name]) if finite else math.inf
        # Equal outputs have an infinite SQNR, and nothing to lose.
        found[name] = 0.0 if math.isnan(lost) else max(lost, 0.0)
    return found


def run_with_fp16_sums(model: onnx.ModelProto, feed: Feed) -> Fp16Run:
    """Return the outputs of an FP16 graph where every sum of FP16 values is rounded at each addition.

    Args:
        model: A graph of convolutions, a classifier and pools in FP16, or partly in FP32, where sums are FP32.
        feed: Input of the graph, (N, ...).
    """
    from onnx.reference import ReferenceEvaluator

    run = Fp16Run()
    names = [output.name for output in model.graph.output]
    evaluator = ReferenceEvaluator(model, new_ops=_operators(run))
    found = evaluator.run(names, {model.graph.input[0].name: feed})
    run.outputs = {name: np.asarray(array, np.float32) for name, array in zip(names, found, strict=True)}
    return run


def _operators(run: Fp16Run) -> list[Any]:
    """Return the operators that add up, as onnx's reference evaluator takes them; layers are noted in `run`."""
    from onnx.reference.op_run import OpRun

    def note(name: str, narrow: Halves, wide: Floats) -> None:
        finite = bool(np.isfinite(narrow).all())
        run.layer_db[name] = sqnr_db(wide, narrow.astype(np.float32)) if finite else -math.inf

    class Conv(OpRun):
        op_domain = ""

        def _run(self, x: Any, weight: Any, bias: Any = None, **given: Any) -> tuple[Any]:
            wide = _convolve(x, weight, bias, given)
            if x.dtype != np.float16:
                return (wide,)
            narrow = _convolve_in_fp16(x, weight, bias, given)
            note(self.onnx_node.name, narrow, wide)
            return (narrow,)

    class Gemm(OpRun):
        op_domain = ""

        def _run(self, x: Any, weight: Any, bias: Any = None, **given: Any) -> tuple[Any]:
            transposed = bool(given.get("transB"))
            columns = weight.T if transposed else weight
            added = np.zeros(columns.shape[1], x.dtype) if bias is None else bias
            wide = x.astype(np.float32) @ columns.astype(np.float32) + added.astype(np.float32)
            if x.dtype != np.float16:
                return (wide,)
            start = np.zeros_like(added) if transposed else added
            narrow = add_products(x, columns, start)
            if transposed:
                narrow = narrow + added
            note(self.onnx_node.name, narrow, wide)
            return (narrow,)

    class GlobalAveragePool(OpRun):
        op_domain = ""

        def _run(self, x: Any, **_given: Any) -> tuple[Any]:
            values = x.reshape(*x.shape[:2], -1)
            total = np.zeros(x.shape[:2], x.dtype)
            for index in range(values.shape[2]):
                total = total + values[:, :, index]
            return ((total / x.dtype.type(values.shape[2])).reshape(*x.shape[:2], *(1 for _ in x.shape[2:])),)

    return [Conv, Gemm, GlobalAveragePool, *_pools(OpRun)]


def _pools(base: Any) -> list[Any]:
    """Return the windowed pools, which are exact or add up few values, by PyTorch: onnx's own take minutes."""
    import torch

    def pool(kind: Callable[..., "torch.Tensor"], x: Any, given: dict[str, Any], **more: Any) -> tuple[Any]:
        pads = _begin_pads(given, len(given["kernel_shape"]))
        found = kind(
            torch.from_numpy(x.astype(np.float32)),
            tuple(given["kernel_shape"]),
            stride=tuple(given.get("strides") or (1, 1)),
            padding=pads,
            ceil_mode=bool(given.get("ceil_mode")),
            **more,
        )
        return (found.numpy().astype(x.dtype),)

    class MaxPool(base):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Any, **given: Any) -> tuple[Any]:
            return pool(torch.nn.functional.max_pool2d, x, given)

    class AveragePool(base):  # type: ignore[misc]
        op_domain = ""

        def _run(self, x: Any, **given: Any) -> tuple[Any]:
            counted = bool(given.get("count_include_pad"))
            return pool(torch.nn.functional.avg_pool2d, x, given, count_include_pad=counted)

    return [MaxPool, AveragePool]


def _begin_pads(given: dict[str, Any], rank: int) -> tuple[int, ...]:
    """Return the padding of each spatial axis, which is the same at both ends in a network from PyTorch."""
    pads = tuple(given.get("pads") or (0,) * 2 * rank)
    assert pads[:rank] == pads[rank:], f"pads {pads} differ at the two ends"
    return pads[:rank]


def _convolve(x: Any, weight: Any, bias: Any, given: dict[str, Any]) -> Floats:
    """Return a convolution in FP32, (N, K, ...) float32."""
    import torch

    rank = x.ndim - 2
    convolve: Any = torch.nn.functional.conv2d if rank == 2 else torch.nn.functional.conv1d
    found = convolve(
        torch.from_numpy(x.astype(np.float32)),
        torch.from_numpy(weight.astype(np.float32)),
        None if bias is None else torch.from_numpy(bias.astype(np.float32)),
        stride=tuple(given.get("strides") or (1,) * rank),
        padding=_begin_pads(given, rank),
        dilation=tuple(given.get("dilations") or (1,) * rank),
        groups=given.get("group") or 1,
    )
    result: Floats = found.numpy()
    return result


def _convolve_in_fp16(x: Halves, weight: Halves, bias: Halves | None, given: dict[str, Any]) -> Halves:
    """Return a convolution whose sums are FP16, (N, K, ...) float16; rule 1."""
    groups = given.get("group") or 1
    kernels = np.split(weight, groups)
    biases = np.split(np.zeros(len(weight), np.float16) if bias is None else bias, groups)
    parts = []
    for part, kernel, start in zip(np.split(x, groups, axis=1), kernels, biases, strict=True):
        windows = _windows(part, kernel.shape[2:], given)
        images, *places = windows.shape[: x.ndim - 1]
        columns = np.moveaxis(kernel, (0, 1), (-1, -2)).reshape(-1, len(kernel))
        rows = windows.reshape(-1, len(columns))
        sums = add_products(rows, columns, start)
        parts.append(np.moveaxis(sums.reshape(images, *places, len(kernel)), -1, 1))
    return np.concatenate(parts, axis=1)


def _windows(x: Halves, kernel: Sequence[int], given: dict[str, Any]) -> Halves:
    """Return what each output value sees, (N, places ..., kernel ..., C)."""
    rank = x.ndim - 2
    strides, dilations = given.get("strides") or (1,) * rank, given.get("dilations") or (1,) * rank
    padded = np.pad(x, ((0, 0), (0, 0), *((pad, pad) for pad in _begin_pads(given, rank))))
    reach = tuple((side - 1) * step + 1 for side, step in zip(kernel, dilations, strict=True))
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, x.ndim)))
    places = tuple(slice(None, None, step) for step in strides)
    taken = tuple(slice(None, None, step) for step in dilations)
    return np.ascontiguousarray(np.moveaxis(seen[(slice(None), slice(None), *places, *taken)], 1, -1))


def add_products(rows: Halves, columns: Halves, start: Halves) -> Halves:
    """Return rows @ columns with FP16 sums, one product after the other, each addition rounded to FP16.

    Args:
        rows: (P, K) float16.
        columns: (K, M) float16.
        start: What the sums begin with, (M,) float16.

    Returns:
        (P, M) float16.
    """
    import torch

    terms, factors = torch.from_numpy(rows.T.copy()), torch.from_numpy(columns.copy())
    # As many rows at a time as stay in the processor's cache.
    step = max(1, 65536 // columns.shape[1])
    parts = []
    for first in range(0, len(rows), step):
        part = terms[:, first : first + step]
        sums = torch.from_numpy(start.copy()).repeat(part.shape[1], 1)
        for term, factor in zip(part, factors, strict=True):
            # PyTorch computes it in FP32, and rounds once to FP16.
            sums.addcmul_(term[:, None], factor[None])
        parts.append(sums)
    result: Halves = torch.cat(parts).numpy()
    return result
