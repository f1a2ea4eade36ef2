"""The graphs of an export and how near each is to PyTorch, and what the next one must reach.

The comparisons run in a second thread while the next step is under way; all of them are waited for before anything is
written.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from exporter.checks.golden import named_outputs, run_original
from exporter.checks.rounding_noise import RoundingNoise
from exporter.checks.step_check import REPORT, Check, Tolerance, as_json_db, check_step
from exporter.checks.tolerance import (
    ACCUMULATION_DB,
    emulate_fp16,
    floor_tolerance,
    fp16_tolerance,
    fp32_tolerance,
    has_grouped_convolutions,
    int8_tolerance,
)
from exporter.passes.simplify import count_operators
from exporter.steps.subject import Subject
from runtime.bundle.manifest import Step, StepOutput
from runtime.original.network import wrap_fp16
from runtime.support.arrays import Floats

_Outputs = dict[str, Floats]


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
        self._original_fp16 = _start_fp16(subject, self.pool) if self.fp16 else None
        self._done: list[tuple[str, dict[str, int], str, Future[Check]]] = []

    def allow_rounding(self, traced: ir.Model) -> None:
        """Let graphs differ from here on by the rounding of float32; `traced` says how much is summed."""
        self._fp32 = self.tolerance = fp32_tolerance(traced, self._references, self._rounding.result())

    def add(
        self, step: str, graph: bytes, *, model: ir.Model, summary: str, as_written: bool = True
    ) -> "Future[Check]":
        """Start the comparison of a step's graph, `model` serialised, by the tolerance that holds now."""
        return self._add(step, graph, self.tolerance, model=model, summary=summary, as_written=as_written)

    def add_int8(self, step: str, graph: bytes, *, model: ir.Model, summary: str) -> None:
        """Judge an INT8 graph, and let graphs differ from here on as an engine of it may."""
        advice = (
            f"it was judged on {self.subject.golden_images.description}: pass --golden FOLDER with images like those "
            "that the network will see, calibrate on more images (--calib-images), or keep layers float (--max-drop)"
        )
        check = self._add(
            step, graph, floor_tolerance(self._fp32), model=model, summary=summary, advice=advice
        ).result()
        self.tolerance = int8_tolerance(check, self._references, fp32=self._fp32)

    def add_fp16(self, step: str, graph: bytes, *, model: ir.Model, summary: str) -> None:
        """Start the comparison of an FP16 graph, and let graphs differ from here on by the rounding of FP16."""
        advice = (
            f"it was judged on {self.subject.golden_images.description}: if the network will see others, pass --golden "
            "FOLDER with such images; if not, FP16 is too coarse for it: leave --fp16 out"
        )
        self.tolerance = self._fp16_tolerance()
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
        graph: bytes,
        required: Tolerance,
        *,
        model: ir.Model,
        summary: str,
        as_written: bool = True,
        advice: str = REPORT,
    ) -> "Future[Check]":
        check = self.pool.submit(
            check_step,
            graph,
            step=step,
            feed=self.subject.feed,
            golden=self.subject.golden,
            required=required,
            as_written=as_written,
            advice=advice,
        )
        self._done.append((step, count_operators(model), summary, check))
        return check

    def _fp16_tolerance(self) -> Tolerance:
        if self._original_fp16 is not None:
            found = self._original_fp16.result()
            if all(np.isfinite(array).all() for array in found.values()):
                return fp16_tolerance(self._references, found, fp32=self._fp32)
        subject = self.subject
        emulated = emulate_fp16(subject.network, subject.preprocessing, subject.golden.pixels)
        return fp16_tolerance(self._references, emulated, fp32=self._fp32, allowed_db=ACCUMULATION_DB)


@contextmanager
def one_worker() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of one thread; on an error what has not begun is not begun."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="check")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_fp16(subject: Subject, pool: ThreadPoolExecutor) -> "Future[_Outputs] | None":
    """Start PyTorch's run in FP16, which shares no lock with the tracer and costs no time beside it.

    None where it would be too slow. The FP16 copy is made here, in the tracer's own thread:
    while it traces, the network holds the tracer's stand-ins for its parameters.
    """
    if has_grouped_convolutions(subject.network):
        return None
    module, pixels = wrap_fp16(subject.network, subject.preprocessing), subject.golden.pixels
    return pool.submit(lambda: named_outputs(*run_original(module, pixels)))


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
