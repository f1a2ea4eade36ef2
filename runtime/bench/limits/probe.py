"""What the machine can attain: the best rates of large matrix products, and of moving bytes, through the same engine.

The rates are read from the same profile as a network's layers, so that both have the same clock and neither has
the engine's cost per call in it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from runtime.bench.limits.counted import Counted
from runtime.bench.limits.node_names import is_product
from runtime.bench.limits.openvino_counters import count_openvino, openvino_config
from runtime.bench.limits.ort_profile import count_onnxruntime
from runtime.bench.limits.tiny_onnx import tiny_model
from runtime.engines.contract import ExecutionPrecision
from runtime.engines.open_engine import parse_engine
from runtime.engines.openvino_engine import NAME as OPENVINO
from runtime.engines.openvino_package import import_openvino
from runtime.engines.ort_engine import NAME as ONNXRUNTIME
from runtime.errors import EngineError

# Rows, columns and depth of the square products, and how often they run: large enough for a kernel's best rate, small
# enough for the operands (12 MB in FP32 at 1024) to stay in a server's last-level cache. On a shared machine short ones
# find a quiet moment more easily.
_PRODUCTS = {256: 40, 512: 20, 1024: 6}
_SIDE = 32
# Elements of float32 tensors that are copied; a copy moves 8 bytes each. From one that stays in a core's second-level
# cache to 256 MB, more than most last-level caches hold.
_COPY_ELEMENTS = (1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 25)
# Rows of the float32 weights, 1024 wide, that are multiplied with one vector: 4 and 16 MB that are only read. At
# batch 1 this is what the last convolutions of a network do, and reading is faster than copying.
_READ_ROWS, _READ_WIDTH = (1 << 10, 1 << 12), 1 << 10
_MOVE_RUNS, _WARM_UP = 20, 2
# Runs of copies that take long are fewer.
_MOST_COPIED_BYTES = 1 << 30


@dataclass(frozen=True)
class MoveRate:
    """The best rate of moving tensors of one size.

    Attributes:
        moved_bytes: Bytes read and written.
        gb_per_s: 1e9 bytes per second.
        copied: Whether half of them were written; else they were only read.
    """

    moved_bytes: int
    gb_per_s: float
    copied: bool = True


@dataclass(frozen=True)
class Rates:
    """What an engine attains on this machine in one precision.

    Attributes:
        gmacs_per_s: Best rate of a large matrix product, 1e9 multiply-accumulates per second.
        moves: Best rates of copies and of reading weights, by size; at least one is a copy.
    """

    gmacs_per_s: float
    moves: tuple[MoveRate, ...]

    @property
    def gb_per_s(self) -> float:
        """Rate of the largest copy, which is main memory's."""
        return max((move for move in self.moves if move.copied), key=lambda copy: copy.moved_bytes).gb_per_s

    def move_rate(self, moved_bytes: int) -> float:
        """Return the best rate at which this many bytes or more were moved, 1e9 bytes per second.

        What fits in a cache moves faster than main memory allows; small copies are slow for other reasons than their
        bytes, so that those of all larger sizes count too.
        """
        larger = [move.gb_per_s for move in self.moves if move.moved_bytes >= moved_bytes]
        return max(larger, default=self.gb_per_s)


def probe_rates(engine: str, precision: str, *, threads: int | None) -> Rates:
    """Return what an engine attains on this machine: the best of several sizes and repeats. Takes one or two seconds.

    Args:
        engine: `openvino` or `onnxruntime`, on the CPU.
        precision: What the products compute in: `fp32`, `bf16`, `fp16` or `int8`.
        threads: Threads for one call; None leaves the engine's choice.

    Raises:
        EngineError: The engine is not probed, is not installed, or has no such kernels on this machine.
    """
    name = parse_engine(engine).name
    if name == OPENVINO:
        return _rates(_openvino_products(precision, threads), _openvino_moves(threads), engine, precision)
    if name == ONNXRUNTIME:
        return _rates(_onnxruntime_products(precision, threads), _onnxruntime_moves(threads), engine, precision)
    raise EngineError(
        f"the attainable rates of {engine} are not measured: expected {OPENVINO} or {ONNXRUNTIME}; for a plan, "
        "`run-ssl explain` shows where the time goes"
    )


def _rates(
    products: Iterable[tuple[int, tuple[Counted, ...]]], moves: Iterable[MoveRate], engine: str, precision: str
) -> Rates:
    rates, others = [], set()
    for macs, counted in products:
        for layer in counted:
            if is_product(layer.operator) and layer.precision == precision:
                rates.append(macs / min(layer.times_ms) / 1e6)
            elif is_product(layer.operator):
                others.add(layer.precision)
    if not rates:
        found = f"its product ran in {', '.join(sorted(others))}" if others else "it has no product to try"
        raise EngineError(
            f"{engine} does not compute in {precision} on this machine: {found}; the rate in {precision} is unknown"
        )
    return Rates(gmacs_per_s=max(rates), moves=tuple(moves))


def _copy_rate(elements: int, count: Callable[[int], tuple[Counted, ...]]) -> MoveRate:
    moved = 8 * elements
    return MoveRate(moved, moved / _best_ms(count(max(3, min(_MOVE_RUNS, _MOST_COPIED_BYTES // moved)))) / 1e6)


def _read_rate(rows: int, count: Callable[[int], tuple[Counted, ...]]) -> MoveRate:
    moved = 4 * rows * _READ_WIDTH
    products = tuple(layer for layer in count(_MOVE_RUNS) if is_product(layer.operator))
    return MoveRate(moved, moved / _best_ms(products) / 1e6, copied=False)


def _best_ms(counted: tuple[Counted, ...]) -> float:
    # The counters have whole microseconds; 0 of them is less than one.
    return max(min(map(sum, zip(*(layer.times_ms for layer in counted), strict=True))), 1e-3)


def _openvino_products(precision: str, threads: int | None) -> Iterable[tuple[int, tuple[Counted, ...]]]:
    """Yield MACs and layers of matrix products, and of 1x1 convolutions, which are matrix products too."""
    ov = import_openvino()
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)
    hint: ExecutionPrecision = "bf16" if precision == "bf16" else "fp16" if precision == "fp16" else "fp32"
    core = ov.Core()
    for size, runs in _PRODUCTS.items():
        for make, shape, macs in (
            (_ov_matmul, (size, size), size**3),
            (_ov_convolution, (1, size, _SIDE, _SIDE), size**2 * _SIDE**2),
        ):
            source = ops.parameter(list(shape), np.float32)
            model = ov.Model([make(ops, source, size, rng, precision == "int8")], [source])
            compiled = core.compile_model(model, "CPU", openvino_config(threads, hint))
            feed = rng.random(shape, np.float32)
            yield macs, count_openvino(compiled, [feed], batch=1, warm_up=_WARM_UP, runs=runs)


def _ov_matmul(ops: Any, source: Any, size: int, rng: np.random.Generator, int8: bool) -> Any:
    product = ops.matmul(_ov_input(ops, source, int8), _ov_weight(ops, (size, size), rng, int8), False, True)
    return _ov_output(ops, product, int8)


def _ov_convolution(ops: Any, source: Any, size: int, rng: np.random.Generator, int8: bool) -> Any:
    weight = _ov_weight(ops, (size, size, 1, 1), rng, int8)
    product = ops.convolution(_ov_input(ops, source, int8), weight, [1, 1], [0, 0], [0, 0], [1, 1])
    return _ov_output(ops, product, int8)


def _ov_input(ops: Any, source: Any, int8: bool) -> Any:
    return _ov_quantise(ops, source, 1.0) if int8 else source


def _ov_output(ops: Any, product: Any, int8: bool) -> Any:
    return _ov_quantise(ops, ops.relu(product), 255.0) if int8 else product


def _ov_quantise(ops: Any, value: Any, most: float) -> Any:
    low, high = np.float32(0), np.float32(most)
    return ops.fake_quantize(value, low, high, low, high, 256)


def _ov_weight(ops: Any, shape: tuple[int, ...], rng: np.random.Generator, int8: bool) -> Any:
    if not int8:
        return ops.constant(rng.standard_normal(shape, np.float32))
    scale = np.full((shape[0], *(1 for _ in shape[1:])), 0.01, np.float32)
    integers = ops.constant(rng.integers(-127, 128, shape, np.int8))
    return ops.multiply(ops.convert(integers, np.float32), ops.constant(scale))


def _openvino_moves(threads: int | None) -> Iterable[MoveRate]:
    ov = import_openvino()
    from openvino import opset13 as ops

    core = ov.Core()

    def count(result: Any, source: Any, runs: int) -> tuple[Counted, ...]:
        compiled = core.compile_model(ov.Model([result], [source]), "CPU", openvino_config(threads, "fp32"))
        feed = np.ones([int(size) for size in source.get_shape()], np.float32)
        return count_openvino(compiled, [feed], batch=1, warm_up=_WARM_UP, runs=runs)

    for elements in _COPY_ELEMENTS:
        source = ops.parameter([elements], np.float32)
        yield _copy_rate(elements, partial(count, ops.relu(source), source))
    for rows in _READ_ROWS:
        source = ops.parameter([1, _READ_WIDTH], np.float32)
        weight = ops.constant(np.ones((rows, _READ_WIDTH), np.float32))
        yield _read_rate(rows, partial(count, ops.matmul(source, weight, False, True), source))


def _onnxruntime_products(precision: str, threads: int | None) -> Iterable[tuple[int, tuple[Counted, ...]]]:
    """Yield MACs and kernels of `MatMul`, or of `MatMulInteger` on unsigned activations and signed weights."""
    if precision not in ("fp32", "int8"):
        raise EngineError(f"the attainable rate of onnxruntime in {precision} is not measured: expected fp32 or int8")
    rng = np.random.default_rng(0)
    for size, runs in _PRODUCTS.items():
        shape = (size, size)
        if precision == "int8":
            feed: Any = rng.integers(0, 256, shape, np.uint8)
            weight: Any = rng.integers(-127, 128, shape, np.int8)
            operator, kinds = "MatMulInteger", ("uint8", "int32")
        else:
            feed, weight = rng.random(shape, np.float32), rng.standard_normal(shape, np.float32)
            operator, kinds = "MatMul", ("float32", "float32")
        model = tiny_model(
            [(operator, ["x", "weight"], "y")],
            inputs={"x": (kinds[0], shape)},
            outputs={"y": (kinds[1], shape)},
            constants={"weight": weight},
        )
        yield size**3, count_onnxruntime(model, [feed], fusion="all", threads=threads, warm_up=_WARM_UP, runs=runs)


def _onnxruntime_moves(threads: int | None) -> Iterable[MoveRate]:
    def count(model: bytes, shape: tuple[int, ...], runs: int) -> tuple[Counted, ...]:
        feed = np.ones(shape, np.float32)
        return count_onnxruntime(model, [feed], fusion="all", threads=threads, warm_up=_WARM_UP, runs=runs)

    for elements in _COPY_ELEMENTS:
        kind = ("float32", (elements,))
        model = tiny_model([("Relu", ["x"], "y")], inputs={"x": kind}, outputs={"y": kind}, constants={})
        yield _copy_rate(elements, partial(count, model, (elements,)))
    for rows in _READ_ROWS:
        model = tiny_model(
            [("MatMul", ["x", "weight"], "y")],
            inputs={"x": ("float32", (1, _READ_WIDTH))},
            outputs={"y": ("float32", (1, rows))},
            constants={"weight": np.ones((_READ_WIDTH, rows), np.float32)},
        )
        yield _read_rate(rows, partial(count, model, (1, _READ_WIDTH)))
