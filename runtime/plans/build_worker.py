"""The building process: `python -m runtime.plans.build_worker`, started by `runtime/plans/build_plan.py`.

TensorRT may crash, or be killed for the memory that it takes; here that ends this process and no other. It reads a
`BuildRequest` from its input and writes the events of `runtime/plans/build_events.py` to its output.
"""

import math
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.plan_json import Certificate, GoldenCheck, PlanFacts
from runtime.engines.golden_check import check_golden
from runtime.engines.trt.cuda_calls import find_cuda
from runtime.engines.trt.machine import current_platform, require_machine
from runtime.engines.trt.monitor import make_logger
from runtime.engines.trt.trt_engine import TensorRtEngine
from runtime.errors import ExportSslError, VerificationError
from runtime.plans.build_events import (
    CANCEL,
    BuildRequest,
    Cancelled,
    Event,
    Failed,
    Finished,
    Logged,
    StageBegan,
    StepDone,
    write_event,
)
from runtime.plans.build_network import BuildCallbacks, BuildCancelled, BuiltPlan, build_plan_bytes
from runtime.plans.certify import certify
from runtime.plans.inspector import read_layer_information

_KEPT_ERRORS = 8


class _Reporter:
    """Writes events, from any thread, and knows whether to stop. It is the build's `ProgressSink` too."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._phases: list[tuple[str, int]] = []
        self._cancelled = threading.Event()
        self.errors: deque[str] = deque(maxlen=_KEPT_ERRORS)

    def send(self, event: Event) -> None:
        """Write one event; where nobody reads them any more, stop."""
        try:
            with self._lock:
                self._output.write(write_event(event))
                self._output.flush()
        except BrokenPipeError:
            # Most calls come from TensorRT's callbacks, where an exception is dropped and the build goes on.
            self.cancel()

    def log(self, level: str, message: str) -> None:
        """Pass on a message of TensorRT's."""
        if level in ("ERROR", "CRITICAL"):
            self.errors.append(message)
        self.send(Logged(level=level, message=message))

    def phase_started(self, name: str, parent: str, steps: int) -> None:  # noqa: ARG002  (ProgressSink's)
        """Show the innermost phase, which is the one that moves."""
        self._phases.append((name, steps))
        self.send(StageBegan(name=f"build: {name}", steps=steps or None))

    def step_done(self, phase: str, step: int) -> bool:
        """Pass on a step of the phase that is shown."""
        if self._phases and self._phases[-1][0] == phase:
            self.send(StepDone(done=step + 1))
        return not self._cancelled.is_set()

    def phase_finished(self, name: str) -> None:
        """Show the phase around the one that ended."""
        self._phases = [phase for phase in self._phases if phase[0] != name]

    def cancelled(self) -> bool:
        """Whether the build was asked to stop."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Stop the build at its next step."""
        self._cancelled.set()


def build(request: BuildRequest, reporter: _Reporter) -> Finished:
    """Return what was built, after writing the plan to the request's path.

    Raises:
        ExportSslError: The plan cannot be built, in one line.
        BuildCancelled: The build was asked to stop.
    """
    version, device = require_machine()
    bundle = open_bundle(request.bundle)
    reporter.send(StageBegan(name="parse"))
    built = build_plan_bytes(
        bundle.model_path.read_bytes(),
        request.options,
        name=str(bundle.model_path),
        version=version,
        callbacks=BuildCallbacks(
            logger=make_logger(reporter.log, verbose=request.verbose),
            progress=reporter,
            cancelled=reporter.cancelled,
            errors=lambda: list(reporter.errors),
        ),
        timing_cache=request.timing_cache,
    )
    request.plan.write_bytes(built.plan)
    layers, certificate, golden, memory = _prove(bundle, built, request, reporter)
    cuda = find_cuda()
    facts = PlanFacts(
        tensorrt=str(version),
        cuda_runtime=cuda.runtime,
        driver=cuda.driver,
        gpu=device.name,
        compute_capability=device.compute_capability,
        platform=current_platform(),
        onnx_sha256=next(file.sha256 for file in bundle.manifest.files if file.path == bundle.model_path.name),
        plan_sha256=built.sha256,
        plan_bytes=len(built.plan),
        build_seconds=round(built.seconds, 3),
        device_memory_bytes=memory,
        timing_cache=built.timing_cache,
        certificate=certificate,
        golden=golden,
    )
    return Finished(facts=facts, layer_information=layers)


def _prove(
    bundle: Bundle, built: BuiltPlan, request: BuildRequest, reporter: _Reporter
) -> tuple[str, Certificate, GoldenCheck, int]:
    """Return the inspector's JSON, the certificate, the check on the golden images, and the scratch memory in bytes."""
    options = request.options
    with TensorRtEngine(
        bundle.manifest,
        built.plan,
        precision=bundle.manifest.precision.name,
        host_code_allowed=options.version_compatible,
    ) as engine:
        reporter.send(StageBegan(name="inspect"))
        text = engine.layer_information()
        certificate = certify(
            read_layer_information(text),
            bundle.layers(),
            required_share=options.required_share,
            times=engine.layer_times_ms(options.profile.opt),
        )
        reporter.send(StageBegan(name="verify"))
        check = check_golden(bundle, engine)
        if not check.passed:
            raise VerificationError(
                f"the plan of {bundle.path} gives {check.worst_db:.1f} dB on the golden "
                f"images, {check.required_db:.1f} are required: {check.meaning}"
            )
        golden = GoldenCheck(
            logits_db=_stored(check.logits_db),
            embedding_db=_stored(check.embedding_db),
            required_db=check.required_db,
            same_top1=check.same_top1,
            images=check.images,
        )
        return text, certificate, golden, engine.device_memory_bytes


def _stored(decibels: float | None) -> float | None:
    """Return decibels as JSON has them: None where the outputs are equal, or there are none."""
    return None if decibels is None or math.isinf(decibels) else round(decibels, 2)


def _watch(source: TextIO, cancel: Callable[[], None]) -> None:
    """Cancel when the parent says so, or is gone."""
    for line in source:
        if line.strip() == CANCEL:
            break
    cancel()


def main() -> None:
    """Serve one request."""
    # Ctrl-C reaches every process of the terminal. In here it could only surface inside a callback, in the middle of
    # TensorRT's C++; the parent hears it and asks this process to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries may print to stdout: the events get a descriptor of their own, and stdout goes to stderr.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    reporter = _Reporter(output)
    request = BuildRequest.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_watch, args=(sys.stdin, reporter.cancel), daemon=True).start()
    try:
        reporter.send(build(request, reporter))
    except BuildCancelled:
        reporter.send(Cancelled())
    except ExportSslError as error:
        reporter.send(Failed(kind=type(error).__name__, message=" ".join(str(error).split())))
    if reporter.cancelled():
        # Whoever asked may be gone, and could not take it away.
        request.plan.unlink(missing_ok=True)
    # Each event was flushed as it was written. What TensorRT and CUDA still hold goes with the process; their
    # destructors, at exit, are where they crash.
    os._exit(0)


if __name__ == "__main__":
    main()
