"""The last step of `export-ssl --engine tensorrt`: the plan, built by the same builder as `run-ssl build`'s."""

from pathlib import Path

from exporter.request import ExportRequest
from runtime.commands.plan_build import build_with_bar
from runtime.commands.plan_options import BuildChoices
from runtime.engines.trt.machine import require_machine
from runtime.errors import ExportSslError, UsageError
from runtime.plans.build_plan import BuiltBundle


def check_plan_choices(request: ExportRequest, choices: BuildChoices, *, wanted: bool) -> None:
    """Refuse a plan that could not be built, before the minutes that the export takes.

    Args:
        request: What is exported.
        choices: How a plan is built.
        wanted: Whether one is.

    Raises:
        UsageError: An option has an impossible value, or is for a plan that nobody asked for, or the INT8 asked for
            is none that TensorRT takes.
        EngineError: There is no TensorRT or no GPU here.
    """
    if not wanted:
        changed = choices.changed()
        if changed:
            raise UsageError(f"{changed[0]} is for TensorRT: add --engine tensorrt, or leave it out")
        return
    choices.read()
    if request.int8 is not None and request.int8.options.target == "cpu":
        raise UsageError(
            "--int8-target cpu makes some activations unsigned, and TensorRT accepts only signed ones: drop "
            "--engine tensorrt, or pass --int8-target tensorrt"
        )
    require_machine()


def build_exported_plan(path: Path, choices: BuildChoices) -> BuiltBundle:
    """Build the plan of a bundle that has just been written; without one it is whole all the same.

    Raises:
        ExportSslError: The plan cannot be built; the message says that the bundle is there.
    """
    try:
        return build_with_bar(path, choices)
    except ExportSslError as error:
        raise type(error)(f"{error} (the bundle {path} is complete without a plan: `run-ssl build {path}`)") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the bundle {path} is complete without a plan: `run-ssl build {path}`") from None
