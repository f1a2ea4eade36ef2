"""Build a bundle's plan on this machine, prove it, and put it into the bundle with what it is.

    bundle ──► worker process: parse, build, inspect, certify, run golden images ──► model.plan, .json, .layers.json

The plan is built from `model.onnx` alone, in a process of its own, and kept only if the promised share of
layers runs in the promised precision and its outputs are the original's within the bundle's tolerance. TensorRT for
RTX builds on any machine: there the build's log tells the layers, and nothing is run.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.plan_json import BuildOptions, Sidecar
from runtime.engines.trt.library import LIBRARIES, TENSORRT, Library
from runtime.engines.trt.machine import require_machine
from runtime.engines.trt.versions import require_tensorrt
from runtime.errors import EngineError, UsageError
from runtime.plans.build_events import BuildRequest
from runtime.plans.build_process import LOGGER, BuildListener, BuildProcess
from runtime.plans.install_plan import describe_build, install_plan, staging_file


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
            f"{bundle.path} is INT8 for CPUs, where activations are unsigned, and {library.label} accepts only "
            "signed ones: export one for TensorRT with `export-ssl --int8 --int8-target tensorrt`"
        )


def options_of_bundle(options: BuildOptions, bundle: Bundle) -> BuildOptions:
    """Return how a bundle's plan is built: a graph of a fixed batch has one profile.

    Raises:
        UsageError: The batch is fixed, and another profile is asked for.
    """
    return options.model_copy(update={"profile": options.profile.of_graph(bundle.manifest.fixed_batch)})


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
        UsageError: There is a timing cache, and the library has none; or a profile, and the graph's batch is fixed.
        EngineError: There is no TensorRT or GPU here, TensorRT cannot build the graph, or crashed.
        VerificationError: The plan breaks the promised precision, or gives other outputs.
        BundleError: The bundle is damaged, or cannot be written.
        KeyboardInterrupt: The user stopped it; nothing was changed.
    """
    library = LIBRARIES[options.engine]
    if timing_cache is not None and "--timing-cache" in library.refused:
        raise UsageError(f"{library.label} has no timing cache: {library.refused['--timing-cache']}")
    require_builder(library)
    bundle = open_bundle(path)
    check_can_build(bundle, library)
    options = options_of_bundle(options, bundle)
    with staging_file(path, library.files) as staged:
        request = BuildRequest(
            bundle=path.absolute(),
            plan=staged.absolute(),
            options=options,
            timing_cache=timing_cache.absolute() if timing_cache is not None else None,
            # Hundreds of thousands of messages: only for who asked for them in Python's own way.
            verbose=LOGGER.isEnabledFor(logging.DEBUG),
        )
        finished = BuildProcess(request, listener or BuildListener()).run()
        sidecar = Sidecar(
            **describe_build(finished.facts, options),
            model=bundle.manifest.model.name,
            precision=bundle.manifest.precision.name,
            licence=bundle.manifest.licence,
        )
        install_plan(path, library.files, staged, sidecar, finished.layer_information)
    return BuiltBundle(bundle, sidecar)
