"""The commands that write, on a network so small that each takes a second, and what of their outputs must be whole."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.helpers.tiny_resnet import draw
from tests.torture.whole import bundles, outputs, pages, repositories

Program = Literal["export-ssl", "run-ssl"]
# A network of timm's ResNet family with four blocks; weights are drawn.
_EXPORT = (
    "--model",
    "test_resnet",
    "--weights",
    "random",
    "--num-classes",
    "10",
    "--img-size",
    "64",
    "--licence",
    "MIT",
)
_INT8 = (
    "--int8",
    "--int8-target",
    "cpu",
    "--calib-method",
    "max",
    "--calib-images",
    "16",
    "--calib",
    "{inputs}/pictures",
)
_JOB = ("--engine", "onnxruntime", "--batch-size", "4", "--part-images", "8", "--threads", "1")
_EXPORTER = (
    *("exporter.pipeline", "exporter.printing.export_table", "torch", "timm", "torch.onnx._internal.exporter._core"),
    *(
        "onnx.reference",
        "onnx.inliner",
        "onnxscript.onnx_opset",
        "networkx",
        "onnxscript.function_libs.torch_lib.ops.core",
    ),
)
_EMBEDDER = ("runtime.embed.job",)
_SHORT = ("--runs", "6", "--seconds", "0", "--rounds", "2")
_QUERY = "{inputs}/pictures/0/00.png"
CLASSES, PICTURES, MORE = 4, 40, 16


@dataclass(frozen=True)
class Command:
    """A command line that writes into the folder that it is started in.

    Attributes:
        program: Which of the two programs.
        arguments: What follows it; `{inputs}` is a folder that it only reads.
        whole: Raises where something stands in the folder that is not whole.
        before: What stands in the folder before, copied from the inputs.
        preload: Modules to import before a fork, so that a try does not wait for them.
        varies: Patterns of the files that differ from run to run: they hold times.
        standin: Whether TensorRT's stand-in is installed.
        keeps: What of `before` must be there at every moment, in its old or a new form.
    """

    program: Program
    arguments: tuple[str, ...]
    whole: Callable[[Path], None]
    before: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    varies: tuple[str, ...] = ()
    standin: bool = False
    keeps: tuple[str, ...] = ()


COMMANDS: dict[str, Command] = {
    "export fp32": Command("export-ssl", (*_EXPORT, "--output", "bundle"), bundles, preload=_EXPORTER),
    "export fp32 over another": Command(
        "export-ssl",
        (*_EXPORT, "--output", "bundle-int8", "--overwrite"),
        bundles,
        before=("bundle-int8",),
        preload=_EXPORTER,
        keeps=("bundle-int8",),
    ),
    "export fp16, C++ project and repository": Command(
        "export-ssl",
        (*_EXPORT, "--fp16", "--output", "bundle", "--emit-cpp", "here-cpp", "--triton-repo", "repository"),
        bundles,
        preload=_EXPORTER,
    ),
    "export int8 and its cache": Command(
        "export-ssl",
        (*_EXPORT, *_INT8, "--calib-cache", "cache.zip", "--output", "bundle"),
        bundles,
        preload=(*_EXPORTER, "calibration.quantize"),
    ),
    "build": Command(
        "run-ssl",
        ("build", "bundle-fp16", "--timing-cache", "timing.cache"),
        bundles,
        before=("bundle-fp16",),
        varies=("*/model.plan.json",),
        standin=True,
    ),
    "build over another": Command(
        "run-ssl",
        ("build", "bundle-planned", "--profile", "1:2:4"),
        bundles,
        before=("bundle-planned",),
        varies=("*/model.plan.json",),
        standin=True,
    ),
    "compare --save": Command(
        "run-ssl",
        ("compare", "bundle-fp32", "bundle-int8", "--data", "{inputs}/pictures", "--engines", "onnxruntime", "--save"),
        bundles,
        before=("bundle-fp32", "bundle-int8"),
        preload=("runtime.compare.job", "torch", "timm"),
        varies=("*/results/*.json",),
    ),
    "bench": Command(
        "run-ssl",
        ("bench", "bundle-fp32", "bundle-int8", "--engines", "onnxruntime", "--no-limit", *_SHORT),
        bundles,
        before=("bundle-fp32", "bundle-int8"),
        preload=("runtime.bench.job",),
        varies=("*/results/*.json",),
    ),
    "report": Command(
        "run-ssl",
        ("report", "bundle-compared", "--output", "report.html", "--markdown", "report.md", "--json", "report.json"),
        pages,
        before=("bundle-compared",),
        preload=("runtime.report.build_report", "plotly.graph_objects"),
        varies=("report.*",),
    ),
    "embed": Command(
        "run-ssl",
        ("embed", "{inputs}/bundle-fp32", "{inputs}/pictures", "-o", "embedded", *_JOB),
        outputs,
        preload=_EMBEDDER,
    ),
    "embed, resumed": Command(
        "run-ssl",
        ("embed", "{inputs}/bundle-fp32", "{inputs}/pictures", "-o", "embedded-half", *_JOB),
        outputs,
        before=("embedded-half",),
        preload=_EMBEDDER,
        keeps=("embedded-half/_parts/part-000000.json", "embedded-half/_parts/part-000004.json"),
    ),
    "embed --append": Command(
        "run-ssl",
        ("embed", "{inputs}/bundle-fp32", "{inputs}/more", "-o", "embedded-whole", "--append", *_JOB),
        outputs,
        before=("embedded-whole",),
        preload=_EMBEDDER,
        keeps=tuple(f"embedded-whole/_parts/part-{number:06}.json" for number in range(5)),
    ),
    "embed --format npy": Command(
        "run-ssl",
        (
            "embed",
            "{inputs}/bundle-fp32",
            "{inputs}/pictures",
            "-o",
            "embedded",
            "--format",
            "npy",
            "--top-k",
            "2",
            *_JOB,
        ),
        outputs,
        preload=_EMBEDDER,
    ),
    "embed --check --save": Command(
        "run-ssl",
        ("embed", "bundle-int8", "{inputs}/pictures", "--check", "--save", "--engine", "onnxruntime"),
        bundles,
        before=("bundle-int8",),
        preload=("runtime.embed.neighbours.check_job", "torch", "timm"),
        varies=("*/results/*.json",),
    ),
    "search --unpack --html": Command(
        "run-ssl",
        ("search", "embedded-whole", _QUERY, "--unpack", "--html", "found.html", "--engine", "onnxruntime"),
        pages,
        before=("embedded-whole",),
        # It says how long the search took.
        varies=("found.html",),
        preload=("runtime.search.job",),
    ),
    "search --index": Command(
        "run-ssl",
        ("search", "embedded-whole", _QUERY, "--index", "--engine", "onnxruntime"),
        pages,
        before=("embedded-whole",),
        preload=("runtime.search.job",),
        varies=("*/_search/*/*",),
    ),
    "repo": Command(
        "run-ssl",
        ("repo", "{inputs}/bundle-fp32", "repository", "--name", "network"),
        repositories,
        preload=("runtime.serving.repository",),
    ),
    "repo, a second version": Command(
        "run-ssl",
        ("repo", "{inputs}/bundle-fp32", "repository", "--name", "network"),
        repositories,
        before=("repository",),
        preload=("runtime.serving.repository",),
        keeps=("repository/network/1/model.onnx",),
    ),
    "repo --overwrite": Command(
        "run-ssl",
        ("repo", "{inputs}/bundle-fp32", "repository", "--name", "network", "--version", "1", "--overwrite"),
        repositories,
        before=("repository",),
        preload=("runtime.serving.repository",),
        keeps=("repository/network/1/model.onnx",),
    ),
}


def make_inputs(folder: Path, run: Callable[[Command, Path], None]) -> None:
    """Make what the commands read.

    Args:
        folder: Empty folder to make it in.
        run: Runs a command in a folder, and raises if it fails.
    """
    from PIL import Image

    for name, count in (("pictures", PICTURES), ("more", PICTURES + MORE)):
        for number in range(count):
            file = folder / name / str(number % CLASSES) / f"{number:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(number)).save(file)

    def made(program: Program, *arguments: str, standin: bool = False) -> None:
        run(Command(program, arguments, bundles, standin=standin), folder)

    made("export-ssl", *_EXPORT, "--output", "bundle-fp32")
    made("export-ssl", *_EXPORT, "--fp16", "--output", "bundle-fp16")
    made("export-ssl", *_EXPORT, *_INT8, "--output", "bundle-int8")
    shutil.copytree(folder / "bundle-fp16", folder / "bundle-planned")
    made("run-ssl", "build", "bundle-planned", standin=True)
    shutil.copytree(folder / "bundle-fp32", folder / "bundle-compared")
    made(
        "run-ssl",
        *COMMANDS["compare --save"].arguments[:1],
        "bundle-compared",
        *COMMANDS["compare --save"].arguments[3:],
    )
    made("run-ssl", "embed", "bundle-fp32", "pictures", "-o", "embedded-whole", *_JOB)
    shutil.copytree(folder / "embedded-whole", folder / "embedded-half")
    for lost in ("_parts/part-000002.json", "data/part-000002.parquet"):
        (folder / "embedded-half" / lost).unlink()
    made("run-ssl", "repo", "bundle-fp32", "repository", "--name", "network")
