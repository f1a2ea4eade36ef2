"""A build as its parent sees it: started, listened to, and stopped."""

import logging
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from runtime.engines.trt.library import LIBRARIES
from runtime.errors import EngineError, named_error
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
from runtime.plans.failures import explain_death
from runtime.support.child_process import ChildProcess

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


class BuildProcess:
    """The building process and what it said so far; see `runtime/plans/build_worker.py`."""

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
            raise KeyboardInterrupt("the build was stopped; nothing was changed") from None

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
            raise KeyboardInterrupt("the build was stopped; nothing was changed")

    def _stop(self, process: ChildProcess) -> None:
        """Ask the build to stop, and wait until it does or time is up. A second Ctrl-C ends the waiting."""
        with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            process.send(CANCEL)
            process.wait(_PATIENCE_S)
