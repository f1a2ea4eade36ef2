"""What `run-ssl build` and `export-ssl --engine tensorrt` share: the build with its bar, and the report."""

import logging
from pathlib import Path

from rich.console import Console

from runtime.bundle.bundle import open_bundle
from runtime.bundle.layout import PLAN_FILE
from runtime.bundle.plan_json import BuildOptions, GoldenCheck, Sidecar
from runtime.commands.console import message_console, step_bar
from runtime.commands.plan_options import BuildChoices
from runtime.engines.trt.machine import require_machine
from runtime.plans.build_plan import LOGGER, BuildListener, BuiltBundle, build_plan
from runtime.plans.tables import render
from runtime.plans.trtexec import trtexec_command


def build_with_bar(path: Path, choices: BuildChoices) -> BuiltBundle:
    """Build a bundle's plan with a progress bar on stderr, TensorRT's warnings above it.

    Raises:
        ExportSslError: See `build_plan`.
    """
    options, timing_cache, messages = choices.read(), choices.timing_cache_path(), message_console()
    with log_to(messages, verbose=choices.verbose):
        if choices.verbose:
            print_trtexec(path, options, messages, timing_cache=timing_cache)
        with step_bar("tensorrt", messages) as bar:
            listener = BuildListener(on_stage=bar.start, on_done=bar.advance_to)
            return build_plan(path, options, timing_cache=timing_cache, listener=listener)


class log_to:  # noqa: N801  (a context manager, named as it reads in a `with`)
    """Shows TensorRT's log on a console while a block runs.

    Unless all of it is asked for, its errors wait for the end of the block: what the block raises has them in it, and
    only where the build succeeds in spite of them nothing else would tell of them.
    """

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._handler = _LineHandler(console, patient=not verbose)
        self._level = logging.INFO if verbose else logging.WARNING
        self._before = (LOGGER.level, LOGGER.propagate)

    def __enter__(self) -> None:
        """Begin to show it."""
        LOGGER.addHandler(self._handler)
        LOGGER.setLevel(self._level)
        LOGGER.propagate = False

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave the log as it was."""
        if kind is None:
            self._handler.show_waiting()
        LOGGER.removeHandler(self._handler)
        LOGGER.level, LOGGER.propagate = self._before


class _LineHandler(logging.Handler):
    """One line per message, never broken: a log file is searched line by line."""

    def __init__(self, console: Console, *, patient: bool) -> None:
        super().__init__()
        self._console, self._patient = console, patient
        self._waiting: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message, or keep an error until the end."""
        if self._patient and record.levelno >= logging.ERROR:
            self._waiting.append(record)
        else:
            self._show(record)

    def show_waiting(self) -> None:
        """Show the errors that were kept."""
        for record in self._waiting:
            self._show(record)
        self._waiting.clear()

    def _show(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        self._console.print(f"{record.levelname.lower()}: {text}", markup=False, soft_wrap=True)


def print_trtexec(path: Path, options: BuildOptions, console: Console, *, timing_cache: Path | None) -> None:
    """Print the trtexec commands of 10.x and 11.x that build and time the same plan."""
    bundle, (version, _) = open_bundle(path), require_machine()
    for major in (10, 11):
        # Kernel times of one version are none to another.
        cache = timing_cache if major == version.major else None
        command = trtexec_command(bundle.model_path, bundle.manifest.input, options, major=major, timing_cache=cache)
        console.print(f"the same with trtexec {major}.x:\n  {command}", markup=False, soft_wrap=True)


def print_plan(built: BuiltBundle, console: Console) -> None:
    """Print what was built and in which precision it runs."""
    sidecar = built.sidecar
    # A path that is broken in two cannot be copied.
    console.print(_headline(built.bundle.path / PLAN_FILE, sidecar), markup=False, soft_wrap=True)
    console.print(
        f"built in {sidecar.build_seconds:.1f} s, {sidecar.plan_bytes / 1e6:.1f} MB; batch "
        f"{sidecar.options.profile}; {sidecar.device_memory_bytes / 1e6:.1f} MB of scratch memory; timing cache "
        f"{sidecar.timing_cache}; licence {sidecar.licence.spdx}",
        markup=False,
        soft_wrap=True,
    )
    render(sidecar.certificate, console)
    console.print(_golden(sidecar.golden), markup=False)


def _golden(golden: GoldenCheck) -> str:
    """Return how near the plan's outputs on the golden images are to PyTorch's."""
    classifies = golden.same_top1 is not None
    output, db = ("logits", golden.logits_db) if classifies else ("embeddings", golden.embedding_db)
    near = "equal to" if db is None else f"{db:.1f} dB from"
    sentence = f"golden images: {output} {near} PyTorch's, {golden.required_db:.1f} dB required"
    return f"{sentence}; {golden.same_top1} of {golden.images} same top-1" if classifies else sentence


def _headline(plan: Path, sidecar: Sidecar) -> str:
    return (
        f"{plan}: {sidecar.model}, {sidecar.precision}, TensorRT {sidecar.tensorrt}, {sidecar.gpu} "
        f"(compute capability {sidecar.compute_capability})"
    )
