"""The last step of `export-ssl --engine`: the plan, built by the same builder as `run-ssl build`'s."""

from pathlib import Path

from exporter.request import ExportRequest
from runtime.bundle.plan_json import build_command
from runtime.commands.plan_build import build_with_bar
from runtime.commands.plan_options import BuildChoices
from runtime.engines.trt.capabilities import INT8_ON_TURING, TURING
from runtime.engines.trt.library import LIBRARIES, RTX, TENSORRT
from runtime.errors import ExportSslError, UsageError
from runtime.plans.build_plan import BuiltBundle, require_builder


def check_plan_choices(request: ExportRequest, choices: BuildChoices, *, wanted: bool) -> None:
    """Refuse a plan that could not be built, before the minutes that the export takes.

    Args:
        request: What is exported.
        choices: How a plan is built.
        wanted: Whether one is.

    Raises:
        UsageError: An option has an impossible value, or is for a plan that nobody asked for, or the precision asked
            for is none that the plan's GPUs take.
        EngineError: There is no TensorRT or no GPU here.
    """
    if not wanted:
        changed = choices.changed()
        if changed:
            library = RTX if changed[0] in TENSORRT.refused else TENSORRT
            raise UsageError(f"{changed[0]} is for {library.label}: add --engine {library.engine}, or leave it out")
        return
    library, options = LIBRARIES[choices.engine], choices.read()
    if request.int8 is not None and request.int8.options.target == "cpu":
        raise UsageError(
            f"--int8-target cpu makes activations unsigned, and {library.label} accepts only signed ones: drop "
            f"--engine {library.engine}, or pass --int8-target tensorrt"
        )
    if TURING in options.compute_capabilities and request.int8 is not None:
        raise UsageError(f"{INT8_ON_TURING}: drop --int8, or leave Turing out")
    if TURING in options.compute_capabilities and not request.fp16:
        raise UsageError(
            f"{library.label} has no FP32 matrix product for Turing, which the classifier would be: add --fp16, or "
            "leave Turing out"
        )
    options.profile.of_graph(request.batch)
    require_builder(library)


def build_exported_plan(path: Path, choices: BuildChoices) -> BuiltBundle:
    """Build the plan of a bundle that has just been written; without one it is whole all the same.

    Raises:
        ExportSslError: The plan cannot be built; the message says that the bundle is there.
    """
    try:
        return build_with_bar(path, choices)
    except ExportSslError as error:
        raise type(error)(f"{error} ({_complete(path, choices)})") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_complete(path, choices)) from None


def _complete(path: Path, choices: BuildChoices) -> str:
    return f"the bundle {path} is complete without a plan: `{build_command(path, choices.engine)}`"
