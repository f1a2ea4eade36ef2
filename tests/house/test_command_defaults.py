"""A default of the command line is the default of the library: what is left out means the same to both."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import pytest

from calibration.options import QuantizeOptions
from exporter.cli import export
from exporter.request import ExportRequest, Int8Request, WeightsChoice
from runtime.bench.job import BenchRequest
from runtime.bench.turns import Effort
from runtime.commands.bench import bench
from runtime.commands.embed import embed
from runtime.commands.plan_options import BuildChoices
from runtime.commands.repo import repo
from runtime.commands.report import report
from runtime.commands.run_ssl import build, compare
from runtime.commands.search import search
from runtime.compare.request import CompareRequest
from runtime.data.sources.open_source import InputChoice
from runtime.embed.neighbours.check_job import CheckChoice
from runtime.embed.request import DEFAULT_PART_IMAGES, EmbedRequest, OutputChoice
from runtime.on_ray.choice import RayChoice
from runtime.report.inputs import ReportRequest
from runtime.search.request import SearchRequest
from runtime.serving.request import RepositoryRequest

RAY = {"ray_address": "address", "ray_workers": "workers", "ray_cpus": "cpus", "ray_gpus": "gpus"}


@dataclass(frozen=True)
class Command:
    """A command and what its options become.

    Attributes:
        function: The command.
        requests: The dataclasses that it makes.
        compared: How many of its options have a default there, so that none drops out unseen.
        renamed: Option to the field that it becomes, where their names differ.
        converted: Options whose value is typed in another form, with that form of the library's default.
    """

    function: Callable[..., None]
    requests: tuple[type, ...]
    compared: int
    renamed: Mapping[str, str] = field(default_factory=dict)
    converted: Mapping[str, Any] = field(default_factory=dict)


COMMANDS = (
    Command(
        export,
        (ExportRequest, WeightsChoice, Int8Request, QuantizeOptions, BuildChoices),
        compared=46,
        # Without an engine no plan is built, so whose it would be does not count.
        converted={"engine": "none"},
        renamed={
            "weights": "source",
            "calib_images": "count",
            "calib_method": "method",
            "calib_cache": "cache",
            "int8_target": "target",
            "int8_classifier": "classifier",
            "int8_effort": "effort",
            "int8_float_weights": "float_weights",
        },
    ),
    Command(build, (BuildChoices,), compared=11),
    Command(compare, (CompareRequest, RayChoice), compared=23, renamed=RAY),
    Command(
        bench,
        (BenchRequest, Effort),
        compared=14,
        renamed={"batch": "batches", "data": "images", "limit": "limits"},
        converted={"batch": "1", "threads": ""},
    ),
    Command(
        embed,
        (EmbedRequest, OutputChoice, InputChoice, CheckChoice, RayChoice),
        compared=27,
        renamed={**RAY, "output_format": "format"},
    ),
    Command(search, (SearchRequest,), compared=8),
    Command(repo, (RepositoryRequest,), compared=10),
    Command(report, (ReportRequest,), compared=4, converted={"max_drop": 100 * ReportRequest.max_drop}),
)


def is_nothing(value: object) -> bool:
    """Return whether it says that nothing was given: a text or a flag here, None or an empty tuple in the library."""
    return value is None or value is False or value in ("", ())


def defaults(request: type) -> dict[str, Any]:
    """Return the fields of a dataclass that have a default value."""
    return {one.name: one.default for one in fields(request) if one.default is not MISSING}


def of_library(command: Command) -> dict[str, list[Any]]:
    """Return option to the defaults of the fields that it becomes."""
    options = inspect.signature(command.function).parameters
    known = [defaults(request) for request in command.requests]
    found: dict[str, list[Any]] = {}
    for name, option in options.items():
        target = command.renamed.get(name, name)
        values = [
            one[target]
            for one, request in zip(known, command.requests, strict=True)
            # RayChoice has `workers` too, of another kind than the decoding threads.
            if target in one and (request is RayChoice) == (name in RAY)
        ]
        if values and option.default is not inspect.Parameter.empty:
            found[name] = values
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.function.__name__)
def test_an_option_that_is_left_out_means_what_the_library_does_by_itself(command: Command) -> None:
    options, library = inspect.signature(command.function).parameters, of_library(command)
    for name, values in library.items():
        typed = options[name].default
        for value in [command.converted[name]] if name in command.converted else values:
            assert typed == value or (is_nothing(typed) and is_nothing(value)), (name, typed, value)
    assert len(library) == command.compared, sorted(library)


def test_what_bench_reads_from_texts_is_the_librarys_default() -> None:
    assert BenchRequest.batches == (int(inspect.signature(bench).parameters["batch"].default),)
    assert BenchRequest.threads == (None,)


def test_the_part_size_that_the_help_of_embed_names_is_the_librarys() -> None:
    (option,) = inspect.signature(embed).parameters["part_images"].annotation.__metadata__
    assert option.show_default == str(DEFAULT_PART_IMAGES)


def test_the_export_command_reads_its_options_without_anything_heavy() -> None:
    script = "import sys, exporter.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"numpy", "PIL", "onnx", "onnx_ir", "onnxruntime", "openvino", "torch", "timm", "matplotlib"}
    assert set(done.stdout.split()) & heavy == set()
