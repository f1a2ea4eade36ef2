"""Time subjects in turn: every round calls each of them, so that a machine that drifts drifts for all.

Each subject lives in a process of its own (`runtime/bench/worker.py`) that is opened once. A round calls one after
the other, in an order that is reversed every other round. Nothing runs beside the one that is timed.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import runtime.errors
from runtime.bench.subjects import Subject
from runtime.errors import EngineError
from runtime.support.child_process import ChildProcess
from runtime.support.progress import Listener


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: Rounds, at least 2: how much a machine drifts is seen between them.
        runs: Calls of each subject, in all rounds together; more where `seconds` leaves time.
        seconds: Time for the calls of each subject, in all rounds together; 0 for as long as the runs take.
        warm_up_s: Most time for the warm-up of each subject.
    """

    rounds: int = 10
    runs: int = 200
    seconds: float = 0.0
    warm_up_s: float = 3.0


@dataclass(frozen=True)
class Times:
    """What was measured of a subject.

    Attributes:
        subject: The subject.
        precision: What it really executed.
        load_ms: Time from the bundle to something that can be called.
        first_ms: The first call.
        rounds_ms: All calls that count, by round.
        peak_memory_mb: Peak memory of the subject's process; None where unknown.
        notes: What a reader must know.
    """

    subject: Subject
    precision: str
    load_ms: float
    first_ms: float
    rounds_ms: tuple[tuple[float, ...], ...]
    peak_memory_mb: float | None
    notes: tuple[str, ...]


def measure(subjects: Sequence[Subject], effort: Effort, listener: Listener) -> tuple[Times, ...]:
    """Return the times of all subjects, measured in turn.

    Raises:
        ExportSslError: A subject cannot be opened or fails; which one and why.
    """
    with ExitStack() as stack:
        listener.on_stage("open", len(subjects))
        workers = []
        for subject in subjects:
            workers.append(stack.enter_context(_Worker(subject)))
            listener.on_steps(1)
        listener.on_stage("warm up", len(workers))
        for worker in workers:
            worker.ask({"warm": effort.warm_up_s})
            listener.on_steps(1)
        listener.on_stage("measure", effort.rounds * len(workers))
        runs = -(-effort.runs // effort.rounds)
        for number in range(effort.rounds):
            for worker in workers if number % 2 == 0 else reversed(workers):
                worker.run(runs=runs, seconds=effort.seconds / effort.rounds)
                listener.on_steps(1)
        return tuple(worker.times() for worker in workers)


class _Worker:
    """A subject's process and what it measured so far."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._rounds: list[tuple[float, ...]] = []
        self._peak: float | None = None
        self._process = ChildProcess("runtime.bench.worker")
        self._lines = self._process.lines()

    def __enter__(self) -> "_Worker":
        """Open the subject."""
        try:
            self._process.send(self._subject.model_dump_json())
            self._opened = self._receive()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.close()

    def ask(self, command: dict[str, object]) -> dict[str, Any]:
        """Return the answer to a command."""
        self._process.send(json.dumps(command))
        return self._receive()

    def run(self, *, runs: int, seconds: float) -> None:
        """Measure one round."""
        found = self.ask({"runs": runs, "seconds": seconds})
        self._rounds.append(tuple(found["times_ms"]))
        self._peak = found["peak_memory_mb"]

    def times(self) -> Times:
        """Return what was measured."""
        return Times(
            subject=self._subject,
            precision=self._opened["precision"],
            load_ms=self._opened["load_ms"],
            first_ms=self._opened["first_ms"],
            rounds_ms=tuple(self._rounds),
            peak_memory_mb=self._peak,
            notes=tuple(self._opened["notes"]),
        )

    def _receive(self) -> dict[str, Any]:
        line = next(self._lines, None)
        if line is None:
            words = self._process.last_words() or "it said nothing"
            raise EngineError(f"{self._subject.name}: its process ended with {self._process.wait()}: {words}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            kind = getattr(runtime.errors, answer["kind"], EngineError)
            raise kind(f"{self._subject.name}: {answer['error']}")
        return answer
