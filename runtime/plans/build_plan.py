"""Build a bundle's plan on this machine, prove it, and put it into the bundle with what it is.

    bundle ──► worker process: parse, build, inspect, certify, run golden images ──► model.plan, .json, .layers.json

The plan is built from `model.onnx` alone, in a process of its own, and kept only if the promised share of
layers runs in the promised precision and its outputs are the original's within the bundle's tolerance. TensorRT for
RTX builds on any machine: there the build's log tells the layers, and nothing is run.
"""

import logging
import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layout import PlanFiles
from runtime.bundle.plan_json import BuildOptions, Sidecar
from runtime.engines.trt.capabilities import INT8_ON_TURING, TURING
from runtime.engines.trt.library import LIBRARIES, TENSORRT, Library
from runtime.engines.trt.machine import require_machine
from runtime.engines.trt.versions import require_tensorrt
from runtime.errors import BundleError, EngineError, UsageError, VerificationError, named_error
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
    read_event,
)
from runtime.plans.certify import explain_failure
from runtime.plans.failures import explain_death
from runtime.support.child_process import ChildProcess
from runtime.support.files import atomic_file

LOGGER = logging.getLogger("export_ssl.tensorrt")
# How long a build that was asked to stop may take to come to its next step, and a finished one to end, seconds.
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class BuildListener:
    """Who is told how a build goes.

    Attributes:
        on_stage: Called with a stage's name and its number of steps, None where it is not known.
        on_done: Called with the number of the stage's steps that are done.
    """

    on_stage: Callable[[str, int | None], None] = lambda _name, _steps: None
    on_done: Callable[[int], None] = lambda _done: None


@dataclass(frozen=True)
class BuiltBundle:
    """A bundle with a plan.

    Attributes:
        bundle: The bundle.
        sidecar: What the plan is.
    """

    bundle: Bundle
    sidecar: Sidecar


def require_builder(library: Library) -> None:
    """Refuse a machine on which a library cannot build.

    Raises:
        EngineError: The library is not here, or there is no GPU and it builds on one.
    """
    if library.builds_on_gpu:
        require_machine()
    else:
        require_tensorrt(library)


def check_can_build(bundle: Bundle, library: Library = TENSORRT) -> None:
    """Refuse a bundle that a library cannot take.

    Raises:
        EngineError: The bundle's INT8 is for CPUs.
    """
    int8 = bundle.manifest.precision.int8
    if int8 is not None and int8.target == "cpu":
        raise EngineError(
            f"{bundle.path} is INT8 for CPUs, where some activations are unsigned, and {library.label} accepts only "
            "signed ones: export one for TensorRT with `export-ssl --int8 --int8-target tensorrt`"
        )


def build_plan(
    path: Path,
    options: BuildOptions,
    *,
    timing_cache: Path | None = None,
    listener: BuildListener | None = None,
) -> BuiltBundle:
    """Build the plan of a bundle, for this machine's GPU or those that `options` names; one that is there is replaced.

    Args:
        path: The bundle's directory.
        options: How to build.
        timing_cache: File of kernel times, read and written; None for none.
        listener: Receiver of the progress.

    Raises:
        UsageError: There is a timing cache, and the library has none.
        EngineError: There is no TensorRT or GPU here, TensorRT cannot build the graph, or crashed.
        VerificationError: The plan breaks the promised precision, or gives other outputs.
        BundleError: The bundle is damaged, or cannot be written.
        KeyboardInterrupt: The user stopped it; the bundle is as it was.
    """
    library = LIBRARIES[options.engine]
    if timing_cache is not None and "--timing-cache" in library.refused:
        raise UsageError(f"{library.label} has no timing cache: {library.refused['--timing-cache']}")
    require_builder(library)
    bundle = open_bundle(path)
    check_can_build(bundle, library)
    staged = _staging_file(path, library.files)
    try:
        request = BuildRequest(
            bundle=path.absolute(),
            plan=staged.absolute(),
            options=options,
            timing_cache=timing_cache.absolute() if timing_cache is not None else None,
            # Hundreds of thousands of messages: only for who asked for them in Python's own way.
            verbose=LOGGER.isEnabledFor(logging.DEBUG),
        )
        finished = _Worker(request, listener or BuildListener()).run()
        sidecar = _describe(bundle, finished, options)
        if not sidecar.certificate.passed:
            rejected = path / library.files.rejected
            _write(rejected, finished.layer_information)
            raise VerificationError(
                f"{explain_failure(sidecar.certificate)}; {_hint(sidecar)}`run-ssl explain {rejected}` shows the layers"
            )
        _install(path, staged, sidecar, finished.layer_information)
    finally:
        staged.unlink(missing_ok=True)
    return BuiltBundle(bundle, sidecar)


def _staging_file(path: Path, files: PlanFiles) -> Path:
    """Return where the building process writes the plan: a new name, of no file, so that a kill leaves none behind.

    Raises:
        BundleError: The bundle cannot be written into.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{files.plan}.", suffix=".partial", dir=path)
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise BundleError(
            f"cannot write into {path}: {error.strerror}; copy the bundle to a place where you have write permission"
        ) from error
    return Path(name)


def _describe(bundle: Bundle, finished: Finished, options: BuildOptions) -> Sidecar:
    return Sidecar(
        **finished.facts.model_dump(exclude={"certificate", "golden"}),
        certificate=finished.facts.certificate,
        golden=finished.facts.golden,
        model=bundle.manifest.model.name,
        precision=bundle.manifest.precision.name,
        licence=bundle.manifest.licence,
        options=options,
        built_at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool=f"export-ssl {metadata.version('export-ssl')}",
    )


def _hint(sidecar: Sidecar) -> str:
    """Return what is known to break a promise with these GPUs, as a part of a sentence."""
    int8 = any(verdict.promised == "int8" for verdict in sidecar.certificate.verdicts)
    return f"{INT8_ON_TURING}: leave Turing out; " if int8 and TURING in sidecar.options.compute_capabilities else ""


def _install(path: Path, staged: Path, sidecar: Sidecar, layer_information: str) -> None:
    """Put the three files in place: what describes the plan first, so that no plan stands there undescribed."""
    files = LIBRARIES[sidecar.options.engine].files
    _write(path / files.layers, layer_information)
    _write(path / files.sidecar, sidecar.model_dump_json(indent=2) + "\n")
    try:
        staged.chmod(0o644)
        staged.replace(path / files.plan)
    except OSError as error:
        raise BundleError(f"cannot write {path / files.plan}: {error.strerror}") from error
    (path / files.rejected).unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    with atomic_file(file) as output:
        output.write(text.encode())


class _Worker:
    """The building process and what it said so far."""

    def __init__(self, request: BuildRequest, listener: BuildListener) -> None:
        self._request, self._listener = request, listener
        self._stage, self._last_error = "start", ""

    def run(self) -> Finished:
        """Return what the process built.

        Raises:
            ExportSslError: What stopped it.
            KeyboardInterrupt: The user did.
        """
        try:
            with ChildProcess("runtime.plans.build_worker") as process:
                try:
                    return self._listen(process)
                except KeyboardInterrupt:
                    self._stop(process)
                    raise
        except KeyboardInterrupt:  # while the process was being started, too
            raise KeyboardInterrupt("the build was stopped; the bundle is as it was") from None

    def _listen(self, process: ChildProcess) -> Finished:
        process.send(self._request.model_dump_json())
        for line in process.lines():
            event = read_event(line)
            if isinstance(event, Finished):
                # It ends by itself. At the end of its input it would take its parent for dead, and remove the plan.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_PATIENCE_S)
                return event
            self._tell(event)
        returncode = process.wait()
        last_words = process.last_words() or self._last_error
        library = LIBRARIES[self._request.options.engine]
        raise EngineError(explain_death(returncode, stage=self._stage, last_words=last_words, library=library))

    def _tell(self, event: Event) -> None:
        if isinstance(event, Logged):
            if event.level in ("ERROR", "CRITICAL"):
                self._last_error = " ".join(event.message.split())
            LOGGER.log(logging.getLevelName(event.level), "%s", event.message)
        elif isinstance(event, StageBegan):
            self._stage = event.name
            self._listener.on_stage(event.name, event.steps)
        elif isinstance(event, StepDone):
            self._listener.on_done(event.done)
        elif isinstance(event, Failed):
            raise named_error(event.kind, event.message)
        elif isinstance(event, Cancelled):
            raise KeyboardInterrupt("the build was stopped; the bundle is as it was")

    def _stop(self, process: ChildProcess) -> None:
        """Ask the build to stop, and wait until it does or time is up. A second Ctrl-C ends the waiting."""
        with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            process.send(CANCEL)
            process.wait(_PATIENCE_S)
