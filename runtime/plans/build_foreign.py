"""Build a plan of an ONNX graph from elsewhere with TensorRT for RTX, and say whether it runs in the graph's precision.

There are no golden images and no licence: the plan stands beside the graph, with the certificate and the layers.
"""

import logging
from pathlib import Path

from runtime.bundle.layout import PlanFiles
from runtime.bundle.plan_json import BuildOptions, ForeignPlan
from runtime.engines.trt.library import LIBRARIES
from runtime.engines.trt.versions import require_tensorrt
from runtime.errors import UsageError
from runtime.plans.build_events import BuildRequest
from runtime.plans.build_process import LOGGER, BuildListener, BuildProcess
from runtime.plans.install_plan import describe_build, install_plan, staging_file


def plan_files(onnx: Path) -> PlanFiles:
    """Return the names of the files beside a graph: `x.rtx.plan` and what belongs to it for `x.onnx`."""
    return PlanFiles(f"{onnx.stem}.rtx.plan")


def build_foreign_plan(onnx: Path, options: BuildOptions, *, listener: BuildListener | None = None) -> ForeignPlan:
    """Build the plan of an ONNX graph and write it beside the graph; one that is there is replaced.

    Args:
        onnx: The graph. Nodes that the library would take in another sense than ONNX are refused by name.
        options: How to build, with TensorRT for RTX.
        listener: Receiver of the progress.

    Raises:
        UsageError: Another library is asked for, or the file cannot be read.
        GraphError: The graph is not valid, or the library would take nodes in another sense.
        EngineError: The library is not here, or cannot build the graph.
        VerificationError: The plan does not run in the precision of the graph.
        BundleError: The folder cannot be written into.
        KeyboardInterrupt: The user stopped it; nothing was changed.
    """
    library = LIBRARIES[options.engine]
    if library.builds_on_gpu:
        raise UsageError(f"--onnx is built by TensorRT for RTX only, not by {library.label}: add --engine tensorrt-rtx")
    require_tensorrt(library)
    if not onnx.is_file():
        raise UsageError(f"--onnx {onnx}: there is no such file; expected an ONNX graph")
    files, folder = plan_files(onnx), onnx.absolute().parent
    with staging_file(folder, files) as staged:
        request = BuildRequest(
            bundle=None,
            onnx=onnx.absolute(),
            plan=staged,
            options=options,
            verbose=LOGGER.isEnabledFor(logging.DEBUG),
        )
        finished = BuildProcess(request, listener or BuildListener()).run()
        described = ForeignPlan(**describe_build(finished.facts, options), onnx=onnx.name)
        install_plan(folder, files, staged, described, finished.layer_information)
    return described
