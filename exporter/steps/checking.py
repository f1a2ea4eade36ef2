"""The graphs of an export and how near each is to PyTorch, and what the next one must reach.

The comparisons run in a second thread while the next step is under way; all of them are waited for before anything is
written.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from calibration.graph.without_weights import NO_WEIGHTS, Skeleton, without_weights
from exporter.checks.fp16_sums import Fp16Run, affordable_images, loss_db, run_with_fp16_sums
from exporter.checks.golden import named_outputs, run_original
from exporter.checks.rounding_noise import RoundingNoise
from exporter.checks.step_check import REPORT, Check, Tolerance, as_json_db, check_step
from exporter.checks.tolerance import (
    ACCUMULATION_DB,
    emulate_fp16,
    floor_tolerance,
    fp16_sums_tolerance,
    fp16_tolerance,
    fp32_tolerance,
    has_grouped_convolutions,
    int8_tolerance,
)
from exporter.passes.simplify import count_operators
from exporter.steps.subject import Subject
from runtime.bundle.manifest import Fp16Sums, Step, StepOutput
from runtime.original.network import share_tensors, wrap_fp16
from runtime.support.arrays import Floats
from runtime.support.memory import free_memory, trim_heap
from runtime.support.paired_statistics import sqnr_db

if TYPE_CHECKING:
    import torch

_Outputs = dict[str, Floats]
Graph = Skeleton | bytes | Callable[[], Skeleton]
"""A graph to be compared, or what makes it then: while it waits, it takes no memory."""
# Bytes: more than a ResNet-18's 47 MB.
_WORTH_COLLECTING = 64 << 20
# Layers that the manifest names for what FP16 sums lose in them.
_NAMED_LAYERS = 3


@dataclass
class Checks:
    """The graphs made so far, and their comparisons with PyTorch, some still running.

    Attributes:
        subject: What is exported.
        pool: Where the comparisons run: one thread.
        fp16: Whether a graph in FP16 without INT8 comes, so that PyTorch's own FP16 is wanted.
        tolerance: What the next graph must reach; empty before the first.
    """

    subject: Subject
    pool: ThreadPoolExecutor
    fp16: bool
    tolerance: Tolerance = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start what is measured on the original, from copies of it: while it is traced, it holds no weights."""
        subject = self.subject
        self._references = named_outputs(subject.golden.logits, subject.golden.embedding)
        noise = RoundingNoise(subject.network, subject.preprocessing)
        self._rounding = self.pool.submit(noise.measure, subject.golden)
        self._allowed_db = ACCUMULATION_DB if has_grouped_convolutions(subject.network) else 0.0
        self._original_fp16 = _start_fp16(subject, self.pool) if self.fp16 else None
        self._original_gone = False
        self._done: list[tuple[str, dict[str, int], str, Future[Check]]] = []

    def allow_rounding(self, traced: ir.Model) -> None:
        """Let graphs differ from here on by the rounding of float32; `traced` says how much is summed."""
        self._fp32 = self.tolerance = fp32_tolerance(traced, self._references, self._rounding.result())

    def add(self, step: str, model: ir.Model, *, summary: str) -> "Future[Check]":
        """Start the comparison of a step's graph by the tolerance that holds now."""
        return self._add(step, without_weights(model), self.tolerance, model=model, summary=summary)

    def add_final(self, graph: bytes, *, model: ir.Model, summary: str) -> "Future[Check]":
        """Start the comparison of the finished graph, `model` as it will be written, run as a user runs it."""
        return self._add("final", graph, self.tolerance, model=model, summary=summary, as_written=False)

    def add_int8(self, step: str, graph: Graph, *, model: ir.Model, summary: str) -> None:
        """Judge an INT8 graph, and let graphs differ from here on as an engine of it may."""
        advice = (
            f"it was judged on {self.subject.golden_images.description}: pass --golden FOLDER with images like those "
            "that the network will see, calibrate on more images (--calib-images), or keep layers float (--max-drop)"
        )
        check = self._add(
            step, graph, floor_tolerance(self._fp32), model=model, summary=summary, advice=advice
        ).result()
        self.tolerance = int8_tolerance(check, self._references, fp32=self._fp32)

    def add_fp16(self, step: str, graph: Graph, *, model: ir.Model, summary: str) -> None:
        """Start the comparison of an FP16 graph, and let graphs differ from here on by the rounding of FP16."""
        advice = (
            f"it was judged on {self.subject.golden_images.description}: if the network will see others, pass --golden "
            "FOLDER with such images; if not, FP16 is too coarse for it: leave --fp16 out"
        )
        self._fp16, allowed_db = self._rounded
        self.tolerance = fp16_tolerance(self._references, self._fp16, fp32=self._fp32, allowed_db=allowed_db)
        self._add(step, graph, self.tolerance, model=model, summary=summary, advice=advice)

    def steps(self) -> tuple[Step, ...]:
        """Wait for all comparisons and return the steps; the first failure is raised."""
        return tuple(_describe_step(name, nodes, summary, check.result()) for name, nodes, summary, check in self._done)

    @property
    def required_db(self) -> float:
        """What every output must reach by the tolerance that holds now, decibels, for the manifest."""
        return round(min(self.tolerance.values()), 2)

    def _add(
        self,
        step: str,
        graph: Graph,
        required: Tolerance,
        *,
        model: ir.Model,
        summary: str,
        as_written: bool = True,
        advice: str = REPORT,
    ) -> "Future[Check]":
        def judge() -> Check:
            made = graph() if callable(graph) else graph
            weights = NO_WEIGHTS if isinstance(made, bytes) else made.weights
            content = made if isinstance(made, bytes) else made.to_bytes()
            if (
                self._original_gone
                and len(content) + sum(array.nbytes for array in weights.values()) >= _WORTH_COLLECTING
            ):
                # What the steps before have left behind.
                free_memory()
            return check_step(
                content,
                weights=weights,
                step=step,
                feed=self.subject.feed,
                golden=self.subject.golden,
                required=required,
                as_written=as_written,
                advice=advice,
            )

        check = self.pool.submit(judge)
        self._done.append((step, count_operators(model), summary, check))
        return check

    def forget_original(self) -> None:
        """Let go of PyTorch's weights once the graph has its own: from here on the golden outputs stand for it."""
        if self.fp16:
            self._rounded = self._rounded_outputs()
        held = sum(tensor.nbytes for tensor in self.subject.network.parameters())
        self.subject.forget_weights()
        # The trace's own garbage refers to the weights; to find it takes longer than small ones are worth.
        (free_memory if held >= _WORTH_COLLECTING else trim_heap)()
        self._original_gone = True

    def start_fp16_sums(self, model: ir.Model, macs: int) -> "Future[Fp16Run] | None":
        """Start to run the FP16 graph with FP16 sums on some golden images; None where that would take too long.

        Args:
            model: The graph.
            macs: Number of multiply-accumulates of the graph for one image.
        """
        images = affordable_images(macs, len(self.subject.feed))
        if not images:
            return None
        return self.pool.submit(run_with_fp16_sums, ir.to_proto(model), self.subject.feed[:images])

    def describe_fp16_sums(self, run: Fp16Run) -> Fp16Sums:
        """Return what the manifest says of FP16 sums; `add_fp16` comes before it."""
        images = len(next(iter(run.outputs.values())))
        some, wide = (
            {name: array[:images] for name, array in outputs.items()} for outputs in (self._references, self._fp16)
        )
        lost = loss_db(some, wide, run.outputs)
        required = fp16_sums_tolerance(self.tolerance, lost, self._references, images=images)
        reached = {name: sqnr_db(array, self._fp16[name]) for name, array in self._references.items()}
        overflows = any(map(math.isinf, lost.values()))
        worst = sorted(run.layer_db, key=lambda name: run.layer_db[name])[:_NAMED_LAYERS]
        return Fp16Sums(
            images=images,
            expected_db=None if overflows else round(min(reached[name] - lost[name] for name in lost), 2),
            min_sqnr_db=None if overflows else round(min(required.values()), 2),
            losing_most={name: as_json_db(run.layer_db[name]) for name in worst},
        )

    def _rounded_outputs(self) -> tuple[_Outputs, float]:
        """Return the outputs of the network in FP16 with FP32 sums, and what is allowed on top of their noise."""
        assert self._original_fp16 is not None
        found, allowed_db = self._original_fp16.result(), self._allowed_db
        if allowed_db or all(np.isfinite(array).all() for array in found.values()):
            return found, allowed_db
        return _emulate_fp16(self.subject, self.subject.network), ACCUMULATION_DB


@contextmanager
def one_worker() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of one thread; on an error what has not begun is not begun."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="check")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_fp16(subject: Subject, pool: ThreadPoolExecutor) -> "Future[_Outputs]":
    """Start the run of the original in FP16, which shares no lock with the tracer and costs no time beside it.

    It is PyTorch's own, or emulated where that would be too slow. The copy is made here, in the tracer's own thread:
    while it traces, the network holds the tracer's stand-ins for its parameters. The copy's FP16 weights are made in
    the other thread, and go with the run.
    """
    network, pixels = share_tensors(subject.network), subject.golden.pixels
    if has_grouped_convolutions(network):
        return pool.submit(_emulate_fp16, subject, network)
    return pool.submit(lambda: named_outputs(*run_original(wrap_fp16(network, subject.preprocessing), pixels)))


def _emulate_fp16(subject: Subject, network: "torch.nn.Module") -> _Outputs:
    return emulate_fp16(network, subject.preprocessing, subject.golden.pixels)


def _describe_step(name: str, nodes: dict[str, int], summary: str, check: Check) -> Step:
    outputs = {
        output: StepOutput(sqnr_db=as_json_db(reached), required_db=round(check.required[output], 2))
        for output, reached in check.reached.items()
    }
    worst = outputs[check.worst]
    return Step(
        name=name,
        nodes=nodes,
        sqnr_db=worst.sqnr_db,
        required_db=worst.required_db,
        outputs=outputs,
        summary=summary,
    )
