"""The `run-ssl` command: each subcommand parses, calls one library function, prints."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from runtime.commands.bench import bench
from runtime.commands.console import message_console, one_line_errors, progress_bar, result_console
from runtime.commands.embed import embed
from runtime.commands.image_options import Depth16Option, ExifRotateOption
from runtime.commands.interruption import run_to_end
from runtime.commands.parsing import split_list
from runtime.commands.plan_options import (
    BuildChoices,
    ComputeCapabilityOption,
    GpuOption,
    HardwareCompatibleOption,
    LevelOption,
    MinShareOption,
    ProfileOption,
    TimingCacheOption,
    VerboseOption,
    VersionCompatibleOption,
    WorkspaceOption,
)
from runtime.commands.ray_options import RayAddressOption, RayCpusOption, RayGpusOption, RayOption, RayWorkersOption
from runtime.commands.repo import repo
from runtime.commands.report import report
from runtime.commands.search import search
from runtime.commands.version_option import version_option
from runtime.errors import UsageError
from runtime.support.engine_names import DISTRIBUTIONS, PlanEngine
from runtime.support.ort_providers import PROVIDERS

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Check, compare, time, report on and serve the bundles that export-ssl makes.",
)

BundleArgument = Annotated[Path, typer.Argument(help="A bundle's directory.")]
_PROVIDER_HELP = " or ".join(f"`onnxruntime:{name}`" for name, provider in PROVIDERS.items() if provider.gpu)
EnginesOption = Annotated[
    str,
    typer.Option(
        help=f"Engines, comma-separated: {', '.join(DISTRIBUTIONS)}. `:bf16` or `:fp16` after a name sets the "
        f"engine's precision; {_PROVIDER_HELP} runs onnxruntime on a GPU.",
        show_default="all that are installed",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads for one inference.", show_default="the engine's choice")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def _commands(_version: Annotated[bool, version_option("run-ssl")] = False) -> None:
    """Take what stands before a subcommand."""


@app.command()
def verify(
    bundle: BundleArgument, engines: EnginesOption = "", threads: ThreadsOption = None, json_output: JsonOption = False
) -> None:
    """Check a bundle on this machine: hashes, schema, licence, and the golden outputs of every engine.

    If anything differs, the command says what the difference means, and exits with 1.
    """
    with one_line_errors():
        from runtime.bundle.bundle import open_bundle
        from runtime.health.verify import verify_bundle
        from runtime.health.verify_table import as_json, render

        opened = open_bundle(bundle)
        with message_console().status(f"verify {bundle}"):
            checks = verify_bundle(opened, split_list(engines), threads=threads)
        if json_output:
            print(as_json(opened, checks))
        else:
            render(opened, checks, result_console())
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


@app.command()
def compare(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles of the same original, in any precision.")],
    data: Annotated[
        str,
        typer.Option(
            help="Labelled images: a folder with one folder per class, .tar shards, .parquet files, a list of "
            "`path label` lines, or a data-set name that timm knows."
        ),
    ],
    engines: EnginesOption = "",
    weights: Annotated[
        Path | None, typer.Option(help="The original's checkpoint.", show_default="the one named in the manifest")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Use at most this many images: spread evenly over the classes, or the first ones of a stream."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="With --limit: seed for choosing the images.")] = 0,
    gallery: Annotated[
        str | None,
        typer.Option(
            help="For a network without a classifier: labelled images, such as the training images. The nearest of "
            "them decide the class.",
            show_default="the images of --data, each among all others",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="For a folder without class folders: a file with lines `filename label`.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set, if --data names a data set.")] = "validation",
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the files of a named data set, or from which paths in a list or column start."),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(help="Column of a Parquet file with the images.", show_default="found by name and type"),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(help="Column of a Parquet file that holds the classes.", show_default="found by its name"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per inference.")] = 32,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode images.", show_default="one per core")
    ] = None,
    threads: ThreadsOption = None,
    device: Annotated[Literal["cpu", "gpu"], typer.Option(help="Where the engines run.")] = "cpu",
    skip_unreadable: Annotated[
        bool,
        typer.Option(
            "--skip-unreadable", help="Do not stop at unreadable images: leave them out, list them and count them."
        ),
    ] = False,
    native: Annotated[
        Path | None,
        typer.Option(
            help="Path of libresnet_engine.so, the C library that `make cpp` builds. It preprocesses the images "
            "faster, with the same result.",
            show_default="Pillow",
        ),
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the result in each bundle's `results` folder, for `run-ssl report`.")
    ] = False,
    exif_rotate: ExifRotateOption = False,
    depth16: Depth16Option = None,
    ray: RayOption = False,
    ray_address: RayAddressOption = None,
    ray_workers: RayWorkersOption = None,
    ray_cpus: RayCpusOption = 2,
    ray_gpus: RayGpusOption = 0,
    details: Annotated[
        bool, typer.Option("--details", help="Print every number, and a sentence about each engine.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Compare exported networks with the PyTorch original: accuracy, changed decisions, FLOPs and speed.

    The original and every engine see the same images in one pass. Examples:

      run-ssl compare ssl_resnet18-fp16 --data imagenet/val

      run-ssl compare r18-fp32 r18-fp16 --data val --engines openvino,openvino:bf16 --limit 1000 --json

      run-ssl compare r50-fp32 r50-int8 --data imagenet/val --ray-address auto --ray-gpus 1
    """
    with one_line_errors():
        from runtime.compare.job import run_comparison
        from runtime.compare.ray_job import run_comparison_on_ray
        from runtime.compare.request import CompareRequest
        from runtime.compare.table import render
        from runtime.on_ray.choice import RayChoice

        request = CompareRequest(
            bundles=tuple(bundles),
            data=data,
            engines=split_list(engines),
            weights=weights,
            gallery=gallery,
            labels=labels,
            split=split,
            root=root,
            image_column=image_column,
            label_column=label_column,
            limit=limit,
            seed=seed,
            batch_size=batch_size,
            workers=workers,
            threads=threads,
            device=device,
            skip_unreadable=skip_unreadable,
            exif_rotate=exif_rotate,
            depth16=depth16,
            native=native,
            save=save,
        )
        messages = message_console()
        with progress_bar("compare", messages) as bar:
            if ray or ray_address:
                cluster = RayChoice(ray_address, ray_workers, ray_cpus, ray_gpus)
                comparison = run_comparison_on_ray(request, cluster, on_start=bar.start, on_images=bar.advance_to)
            else:
                comparison = run_comparison(request, on_start=bar.start, on_batch=bar.advance_to)
        if json_output:
            print(comparison.model_dump_json(indent=2))
        else:
            render(comparison, result_console(), details=details)
    if comparison.original.non_finite_logits or any(score.non_finite_logits for score in comparison.engines):
        raise typer.Exit(1)


@app.command()
def build(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle's directory.", show_default=False)] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Any ONNX graph, instead of a bundle. If NVIDIA's parser understands a node differently from ONNX, "
            "the node is named and nothing is built. Only for tensorrt-rtx.",
        ),
    ] = None,
    engine: Annotated[
        PlanEngine,
        typer.Option(help="`tensorrt`: for this machine's GPU. `tensorrt-rtx`: for RTX GPUs, on any machine."),
    ] = BuildChoices.engine,
    gpu: GpuOption = BuildChoices.gpu,
    compute_capability: ComputeCapabilityOption = BuildChoices.compute_capability,
    profile: ProfileOption = BuildChoices.profile,
    workspace: WorkspaceOption = BuildChoices.workspace,
    optimization_level: LevelOption = BuildChoices.optimization_level,
    timing_cache: TimingCacheOption = BuildChoices.timing_cache,
    version_compatible: VersionCompatibleOption = BuildChoices.version_compatible,
    hardware_compatible: HardwareCompatibleOption = BuildChoices.hardware_compatible,
    min_share: MinShareOption = BuildChoices.min_share,
    verbose: VerboseOption = BuildChoices.verbose,
    json_output: JsonOption = False,
) -> None:
    """Build the bundle's TensorRT plan for this machine's GPU, and check its precision and its outputs.

    TensorRT's plans are not portable: build on the machine where the plan will run. A plan of TensorRT for RTX can be
    built on any machine, which checks its precision, but not its outputs. An existing plan is replaced. A new plan is
    discarded if it does not run in the promised precision or its outputs are wrong. Examples:

      run-ssl build ssl_resnet50-int8-fp16

      run-ssl build ssl_resnet50-int8-fp16 --profile 1 --optimization-level 5

      run-ssl build ssl_resnet50-fp16 --engine tensorrt-rtx --gpu ampere,ada,blackwell

      run-ssl build --onnx other.onnx --engine tensorrt-rtx

    CUDA_VISIBLE_DEVICES chooses the GPU.
    """
    with one_line_errors():
        from runtime.commands.plan_build import build_foreign_with_bar, build_with_bar, print_foreign_plan, print_plan

        choices = BuildChoices(
            engine=engine,
            gpu=gpu,
            compute_capability=compute_capability,
            profile=profile,
            workspace=workspace,
            optimization_level=optimization_level,
            timing_cache=timing_cache,
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            min_share=min_share,
            verbose=verbose,
        )
        if (bundle is None) == (onnx is None):
            raise UsageError("expected a bundle's directory or --onnx FILE, one of them: `run-ssl build BUNDLE`")
        if onnx is not None:
            foreign = build_foreign_with_bar(onnx, choices)
            if json_output:
                print(foreign.model_dump_json(indent=2))
            else:
                print_foreign_plan(onnx, foreign, result_console())
            return
        assert bundle is not None
        built = build_with_bar(bundle, choices)
        if json_output:
            print(built.sidecar.model_dump_json(indent=2))
        else:
            print_plan(built, result_console())


@app.command()
def explain(
    plans: Annotated[
        list[str],
        typer.Argument(
            help="Bundles with a plan, or LAYERS.json[,PROFILE.json]: the files that trtexec writes with "
            "--exportLayerInfo and --exportProfile. The first one is compared with each of the others."
        ),
    ],
) -> None:
    """Show where the time of a TensorRT plan goes, and why one plan is faster than another.

    Counts the kernels, and if the plan's batch is dynamic, also the bytes that they read and write for one image. If a
    bundle has plans of both TensorRT and TensorRT for RTX, both are read. Needs neither a GPU nor TensorRT. Examples:

      run-ssl explain r50-int8-fp16 r50-fp16

      run-ssl explain layers.json,profile.json
    """
    with one_line_errors():
        from runtime.plans.read_account import read_accounts
        from runtime.plans.tables import render_accounts

        render_accounts(tuple(account for plan in plans for account in read_accounts(plan)), result_console())


@app.command()
def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(help="Also check whether this bundle can run on this machine.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Show what this machine can run, what is missing for the rest, and whether a bundle and its plan can run here.

    Exits with 1 if no engine can run here, or the bundle or its plan cannot run here.
    """
    with one_line_errors():
        from runtime.health.doctor import examine
        from runtime.health.doctor_table import as_json, render

        with message_console().status("doctor"):
            findings = examine(bundle)
        if json_output:
            print(as_json(findings))
        else:
            render(findings, result_console())
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)


app.command()(bench)
app.command()(report)
app.command()(embed)
app.command()(search)
app.command()(repo)


def main() -> None:
    """Run the command line."""
    sys.exit(run_to_end(app))
