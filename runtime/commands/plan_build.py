"""What `run-ssl build` and `export-ssl --engine tensorrt` share: the build with its bar, and the report."""

import logging
from collections import Counter
from pathlib import Path

from rich.console import Console

from runtime.bundle.bundle import open_bundle
from runtime.bundle.plan_json import BuildOptions, ForeignPlan, GoldenCheck, PlanDescription
from runtime.commands.console import message_console, step_bar
from runtime.commands.plan_options import BuildChoices
from runtime.engines.trt.capabilities import describe_capabilities
from runtime.engines.trt.library import LIBRARIES, Library
from runtime.engines.trt.machine import require_machine
from runtime.plans.build_foreign import build_foreign_plan, plan_files
from runtime.plans.build_plan import BuiltBundle, build_plan, options_of_bundle
from runtime.plans.build_process import LOGGER, BuildListener
from runtime.plans.inspector import read_layer_information
from runtime.plans.tables import render
from runtime.plans.traffic import traffic
from runtime.plans.trtexec import trtexec_command
from runtime.support.words import counted, verb_for


def build_with_bar(path: Path, choices: BuildChoices) -> BuiltBundle:
    """Build a bundle's plan with a progress bar on stderr, TensorRT's warnings above it.

    Raises:
        ExportSslError: See `build_plan`.
    """
    options, timing_cache, messages = choices.read(), choices.timing_cache_path(), message_console()
    with log_to(messages, verbose=choices.verbose):
        if choices.verbose and options.engine == "tensorrt":
            print_trtexec(path, options, messages, timing_cache=timing_cache)
        with step_bar(options.engine, messages) as bar:
            listener = BuildListener(on_stage=bar.start, on_done=bar.advance_to)
            return build_plan(path, options, timing_cache=timing_cache, listener=listener)


def build_foreign_with_bar(onnx: Path, choices: BuildChoices) -> ForeignPlan:
    """Build the plan of a graph from elsewhere, with the same bar and log as a bundle's.

    Raises:
        ExportSslError: See `build_foreign_plan`.
    """
    options, messages = choices.read(), message_console()
    with log_to(messages, verbose=choices.verbose), step_bar(options.engine, messages) as bar:
        listener = BuildListener(on_stage=bar.start, on_done=bar.advance_to)
        return build_foreign_plan(onnx, options, listener=listener)


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
    """One line per message, never broken: a log file is searched line by line.

    Where not all is asked for, what is said of each layer anew is shown once, and its number at the end.
    """

    def __init__(self, console: Console, *, patient: bool) -> None:
        super().__init__()
        self._console, self._patient = console, patient
        self._waiting: list[logging.LogRecord] = []
        self._said: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message, or keep an error until the end."""
        if self._patient and record.levelno >= logging.ERROR:
            self._waiting.append(record)
        else:
            self._show(record)

    def show_waiting(self) -> None:
        """Show the errors that were kept, and how often the other messages came."""
        for record in self._waiting:
            self._show(record)
        self._waiting.clear()
        for line, number in self._said.items():
            if number > 1:
                self._console.print(f"{line} (this {number:,} times)", markup=False, soft_wrap=True)
        self._said.clear()

    def _show(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}"
        self._said[line] += self._patient
        if self._said[line] <= 1:
            self._console.print(line, markup=False, soft_wrap=True)


def print_trtexec(path: Path, options: BuildOptions, console: Console, *, timing_cache: Path | None) -> None:
    """Print the trtexec commands of 10.x and 11.x that build and time the same plan."""
    bundle, (version, _) = open_bundle(path), require_machine()
    options = options_of_bundle(options, bundle)
    for major in (10, 11):
        # Kernel times of one version are none to another.
        cache = timing_cache if major == version.major else None
        command = trtexec_command(bundle.model_path, bundle.manifest.input, options, major=major, timing_cache=cache)
        console.print(f"the same with trtexec {major}.x:\n  {command}", markup=False, soft_wrap=True)


def print_plan(built: BuiltBundle, console: Console) -> None:
    """Print what was built and in which precision it runs."""
    sidecar = built.sidecar
    plan = built.bundle.path / LIBRARIES[sidecar.options.engine].files.plan
    _print_facts(f"{plan}: {sidecar.model}, {sidecar.precision}", sidecar, f"licence {sidecar.licence.spdx}", console)
    _print_traffic(built.bundle.path / LIBRARIES[sidecar.options.engine].files.layers, console)
    console.print(_golden(sidecar.golden), markup=False, soft_wrap=True)


def print_foreign_plan(onnx: Path, plan: ForeignPlan, console: Console) -> None:
    """Print what was built of a graph from elsewhere and in which precision it runs."""
    file = onnx.parent / plan_files(onnx).plan
    _print_facts(f"{file}: {onnx.name}", plan, "the licence is the graph's", console)
    _print_traffic(onnx.parent / plan_files(onnx).layers, console)
    console.print("its outputs were not compared with anything: compare them where the plan is loaded", soft_wrap=True)


def _print_facts(headline: str, plan: PlanDescription, licence: str, console: Console) -> None:
    library = LIBRARIES[plan.options.engine]
    # A path that is broken in two cannot be copied.
    console.print(f"{headline}, {library.label} {plan.tensorrt}, {_gpus(plan, library)}", markup=False, soft_wrap=True)
    cache = f"; timing cache {plan.timing_cache}" if library.builds_on_gpu else ""
    console.print(
        f"built in {plan.build_seconds:.1f} s, {plan.plan_bytes / 1e6:.1f} MB; batch {plan.options.profile}; "
        f"{plan.device_memory_bytes / 1e6:.1f} MB of scratch memory{cache}; {licence}",
        markup=False,
        soft_wrap=True,
    )
    render(plan.certificate, console)


def _print_traffic(layers: Path, console: Console) -> None:
    """Print kernels and bytes for an image, and what INT8 costs, where the plan's layers tell them."""
    counts = traffic(read_layer_information(layers.read_text(encoding="utf-8")))
    if counts is None:
        return
    moved = f"{counted(len(counts.layers), 'kernel')} read and write {counts.moved_bytes / 1e6:.1f} MB for an image"
    if counts.rescaling:
        number = len(counts.rescaling)
        moved += (
            f"; {number:,} of them only {verb_for(number, 'rescale')} or {verb_for(number, 'round')} what INT8 "
            "convolutions wrote as floats. FP16 plans have none: build one too, compare both with `run-ssl explain "
            "INT8 FP16`, and measure before you choose INT8"
        )
    console.print(moved, markup=False, soft_wrap=True)


def _gpus(plan: PlanDescription, library: Library) -> str:
    if library.builds_on_gpu:
        return f"{plan.gpu} (compute capability {plan.compute_capability})"
    return describe_capabilities(plan.options.compute_capabilities)


def _golden(golden: GoldenCheck | None) -> str:
    """Return how near the plan's outputs on the golden images are to PyTorch's, where it was run."""
    if golden is None:
        return "golden images: not run, as the build needs no GPU; kernels are compiled where the plan is loaded"
    classifies = golden.same_top1 is not None
    output, db = ("logits", golden.logits_db) if classifies else ("embeddings", golden.embedding_db)
    near = "equal to" if db is None else f"{db:.1f} dB from"
    sentence = f"golden images: {output} {near} PyTorch's, {golden.required_db:.1f} dB required"
    return f"{sentence}; {golden.same_top1} of {golden.images} same top-1" if classifies else sentence
