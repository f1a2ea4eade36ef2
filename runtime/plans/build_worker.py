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
from dataclasses import dataclass
from typing import TextIO

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.plan_json import Certificate, GoldenCheck, PlanFacts
from runtime.engines.golden_check import check_golden
from runtime.engines.trt.cuda_calls import find_cuda
from runtime.engines.trt.library import LIBRARIES
from runtime.engines.trt.machine import current_platform, require_machine
from runtime.engines.trt.monitor import make_logger
from runtime.engines.trt.trt_engine import TensorRtEngine
from runtime.engines.trt.versions import require_tensorrt
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
from runtime.plans.certify import PromisedLayer, certify
from runtime.plans.failures import is_refusal
from runtime.plans.foreign_graph import read_foreign_graph
from runtime.plans.inspector import read_layer_information
from runtime.plans.layer_log import activation_bytes, is_layer_list, layer_information
from runtime.support.files import hash_file

_KEPT_ERRORS = 8


class _Reporter:
    """Writes events, from any thread, and knows whether to stop. It is the build's `ProgressSink` too."""

    def __init__(self, output: TextIO, *, verbose: bool) -> None:
        self._output, self._verbose = output, verbose
        self._lock = threading.Lock()
        self._phases: list[tuple[str, int]] = []
        self._cancelled = threading.Event()
        self.errors: deque[str] = deque(maxlen=_KEPT_ERRORS)
        self.layer_lists: list[str] = []
        self.memory_bytes = 0

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
        """Pass on a message of TensorRT's, and keep what a plan that cannot be loaded here is known by."""
        if is_refusal(message):
            level = "ERROR"
        if level in ("ERROR", "CRITICAL"):
            self.errors.append(message)
        if is_layer_list(message):
            self.layer_lists.append(message)
        self.memory_bytes = activation_bytes(message) or self.memory_bytes
        if level != "DEBUG" or self._verbose:
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
    library = LIBRARIES[request.options.engine]
    version, device = require_machine() if library.builds_on_gpu else (require_tensorrt(library), None)
    source = _open_source(request, reporter)
    reporter.send(StageBegan(name="parse"))
    built = build_plan_bytes(
        source.model,
        request.options,
        name=source.name,
        version=version,
        callbacks=BuildCallbacks(
            # Where no inspector can be asked, the layers are told in a VERBOSE message.
            logger=make_logger(reporter.log, verbose=request.verbose or not library.builds_on_gpu, library=library),
            progress=reporter,
            cancelled=reporter.cancelled,
            errors=lambda: list(reporter.errors),
        ),
        timing_cache=request.timing_cache,
    )
    request.plan.write_bytes(built.plan)
    prove = _prove_by_running if library.builds_on_gpu else _prove_by_log
    layers, certificate, golden, memory = prove(source, built, request, reporter)
    cuda = find_cuda() if library.builds_on_gpu else None
    facts = PlanFacts(
        tensorrt=str(version),
        cuda_runtime=cuda.runtime if cuda else "",
        driver=cuda.driver if cuda else "",
        gpu=device.name if device else "",
        compute_capability=device.compute_capability if device else "",
        platform=current_platform(),
        onnx_sha256=source.sha256,
        plan_sha256=built.sha256,
        plan_bytes=len(built.plan),
        build_seconds=round(built.seconds, 3),
        device_memory_bytes=memory,
        timing_cache=built.timing_cache,
        certificate=certificate,
        golden=golden,
    )
    return Finished(facts=facts, layer_information=layers)


@dataclass(frozen=True)
class _Source:
    """What a plan is built from.

    Attributes:
        model: The serialised graph.
        name: The file's name, for messages.
        sha256: Hash of the file.
        layers: What the graph promises.
        bundle: The bundle that it belongs to; None for a graph from elsewhere.
    """

    model: bytes
    name: str
    sha256: str
    layers: tuple[PromisedLayer, ...]
    bundle: Bundle | None


def _open_source(request: BuildRequest, reporter: _Reporter) -> _Source:
    if request.bundle is not None:
        bundle = open_bundle(request.bundle)
        model = bundle.model_path
        sha256 = next(file.sha256 for file in bundle.manifest.files if file.path == model.name)
        return _Source(model.read_bytes(), str(model), sha256, bundle.layers(), bundle)
    assert request.onnx is not None
    reporter.send(StageBegan(name="check"))
    graph = read_foreign_graph(request.onnx)
    for sentence in graph.costly:
        reporter.log("WARNING", sentence)
    return _Source(graph.model, str(request.onnx), hash_file(request.onnx), graph.layers, None)


# The inspector's JSON, the certificate, the check on the golden images, and the scratch memory in bytes.
_Proof = tuple[str, Certificate, GoldenCheck | None, int]


def _prove_by_log(source: _Source, built: BuiltPlan, request: BuildRequest, reporter: _Reporter) -> _Proof:  # noqa: ARG001
    """Return what the build's own log says of a plan: it cannot be loaded here, so nothing of it is run."""
    reporter.send(StageBegan(name="inspect"))
    text = layer_information(reporter.layer_lists)
    certificate = certify(read_layer_information(text), source.layers, required_share=request.options.required_share)
    return text, certificate, None, reporter.memory_bytes


def _prove_by_running(source: _Source, built: BuiltPlan, request: BuildRequest, reporter: _Reporter) -> _Proof:
    """Return what the plan says of itself on this GPU, and its outputs on the golden images."""
    options, bundle = request.options, source.bundle
    assert bundle is not None, "a graph from elsewhere is built for no GPU of this machine"
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
            source.layers,
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
    request = BuildRequest.model_validate_json(sys.stdin.readline())
    reporter = _Reporter(output, verbose=request.verbose)
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
