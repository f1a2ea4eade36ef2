"""The `export-ssl` command: parse, call `exporter.pipeline.export_bundle`, print."""

import gc
import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from runtime.commands.console import message_console, one_line_errors, result_console, step_bar
from runtime.commands.plan_options import (
    HardwareChoice,
    HardwareCompatibleOption,
    LevelOption,
    MinShareOption,
    ProfileOption,
    TimingCacheOption,
    VerboseOption,
    VersionCompatibleOption,
    WorkspaceOption,
)
from runtime.commands.version_option import version_option
from runtime.support.progress import Listener

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


class InputChoice(str, Enum):
    """What the exported network takes."""

    uint8 = "uint8"
    float32 = "float32"


class TargetChoice(str, Enum):
    """What an INT8 graph is for."""

    tensorrt = "tensorrt"
    cpu = "cpu"


class EngineOfBundle(str, Enum):
    """What is built beside the ONNX file."""

    none = "none"
    tensorrt = "tensorrt"


class MethodChoice(str, Enum):
    """How clipping thresholds of activations are found."""

    auto = "auto"
    max = "max"
    percentile_99_99 = "percentile-99.99"
    percentile_99_999 = "percentile-99.999"
    entropy = "entropy"
    mse = "mse"


class InterpolationChoice(str, Enum):
    """Filter of the resize."""

    bilinear = "bilinear"
    bicubic = "bicubic"


@app.command()
def export(
    model: Annotated[
        str,
        typer.Option(help="Old or new timm name: ssl_resnet18, resnet50.fb_ssl_yfcc100m_ft_in1k, resnet34, …"),
    ],
    fp16: Annotated[
        bool,
        typer.Option("--fp16", help="FP16 for all layers, or with --int8 for those that are not INT8. Default FP32."),
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="INT8 with explicit Q/DQ, calibrated on the images of --calib.")
    ] = False,
    calib: Annotated[
        Path | None,
        typer.Option(help="Folder of calibration images: training images in class folders, such as imagenet/train."),
    ] = None,
    calib_images: Annotated[
        int, typer.Option(min=1, help="Calibration images to draw, balanced over the classes; one in eight judges.")
    ] = 512,
    calib_method: Annotated[
        MethodChoice,
        typer.Option(help="How activations are clipped; `auto` tries all and keeps the best on held-out images."),
    ] = MethodChoice.auto,
    calib_cache: Annotated[
        Path | None,
        typer.Option(help="File that keeps the calibration: written if absent, else used if it fits exactly."),
    ] = None,
    int8_target: Annotated[
        TargetChoice,
        typer.Option(
            help="`tensorrt`: activations signed, which every engine takes. `cpu`: non-negative ones unsigned, more "
            "accurate and fast in onnxruntime and OpenVINO; TensorRT does not take it."
        ),
    ] = TargetChoice.tensorrt,
    int8_classifier: Annotated[
        bool, typer.Option("--int8-classifier", help="Quantise the classifier too. It is < 0.1 % of the work.")
    ] = False,
    int8_float_weights: Annotated[
        bool, typer.Option("--int8-float-weights", help="Store INT8 weights as float with Q/DQ, four times larger.")
    ] = False,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Measure what each INT8 layer costs; table, JSON and plot.")
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest top-1 drop on --eval-data, percentage points: the fewest layers are kept float to meet it.",
            show_default="no limit",
        ),
    ] = None,
    eval_data: Annotated[
        Path | None,
        typer.Option(help="Class folders to measure accuracy on, such as imagenet/val; never calibrated on."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode images.", show_default="usable cores")
    ] = None,
    weights: Annotated[
        str,
        typer.Option(help="`hub` (timm's), a .safetensors or .pth file, or `random` (untrained, for tests of speed)."),
    ] = "hub",
    seed: Annotated[int, typer.Option(help="Seed of `--weights random` and of the draw of --calib.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="The bundle's directory.", show_default="./MODEL-PRECISION")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that exists.")] = False,
    input_kind: Annotated[
        InputChoice,
        typer.Option("--input", help="`uint8`: NHWC pixels, normalised in the graph. `float32`: normalised NCHW."),
    ] = InputChoice.uint8,
    golden: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures to verify on (8 are taken).", show_default="four packaged photographs"),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Text file, one class name per line.", show_default="ImageNet's, or class_0000 …"),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="SPDX identifier of your own weights' licence.", show_default="timm's")
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=1, help="Classes of random weights.", show_default="timm's")
    ] = None,
    img_size: Annotated[int | None, typer.Option(min=32, help="Input height and width.", show_default="timm's")] = None,
    crop_pct: Annotated[
        float | None, typer.Option(help="Share of the resized short side that is kept.", show_default="timm's")
    ] = None,
    interpolation: Annotated[
        InterpolationChoice | None, typer.Option(help="Filter of the resize.", show_default="timm's")
    ] = None,
    emit_cpp: Annotated[
        Path | None,
        typer.Option(
            help="Also write a C++ project there that classifies pictures with this bundle.", show_default="none"
        ),
    ] = None,
    triton_repo: Annotated[
        Path | None,
        typer.Option(
            help="Also put the bundle into this Triton repository, as `run-ssl repo` does later.", show_default="none"
        ),
    ] = None,
    engine: Annotated[
        EngineOfBundle,
        typer.Option(help="`tensorrt`: build the plan for this machine's GPU too, as `run-ssl build` does later."),
    ] = EngineOfBundle.none,
    profile: ProfileOption = "1:8:32",
    workspace: WorkspaceOption = None,
    optimization_level: LevelOption = 3,
    timing_cache: TimingCacheOption = "",
    version_compatible: VersionCompatibleOption = False,
    hardware_compatible: HardwareCompatibleOption = HardwareChoice.none,
    min_share: MinShareOption = 1.0,
    verbose: VerboseOption = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
    _version: Annotated[bool, version_option("export-ssl")] = False,
) -> None:
    """Export a semi-supervised ResNet to a verified bundle: ONNX, manifest, golden outputs, licence.

    Every step is compared with PyTorch on real images; a step that differs leaves no bundle.

    Examples:
      export-ssl --model ssl_resnet18 --fp16

      export-ssl --model ssl_resnet50 --int8 --calib imagenet/train --calib-images 512

      export-ssl --model ssl_resnet50 --int8 --fp16 --calib imagenet/train --engine tensorrt

      export-ssl --model resnet50 --weights mine.safetensors --labels classes.txt --licence MIT
    """
    with one_line_errors():
        # Imported here: `export-ssl --help` should not wait for them.
        from exporter.options import Int8Options
        from exporter.pipeline import export_bundle
        from exporter.printing.export_table import print_notices, print_result
        from exporter.request import ExportRequest, WeightsChoice
        from exporter.steps.plan import build_exported_plan, check_plan_choices
        from exporter.writing.cpp_project import check_cpp_target, write_cpp_project
        from runtime.commands.plan_build import BuildChoices, print_plan
        from runtime.serving.next_steps import as_lines
        from runtime.serving.place import check_repository
        from runtime.serving.repository import write_repository
        from runtime.serving.request import RepositoryRequest

        request = ExportRequest(
            model=model,
            half=fp16,
            int8=Int8Options(
                int8=int8,
                images=calib,
                count=calib_images,
                seed=seed,
                method=calib_method.value,
                target=int8_target.value,
                classifier=int8_classifier,
                float_weights=int8_float_weights,
                cache=calib_cache,
                eval_data=eval_data,
                max_drop=max_drop,
                sensitivity=sensitivity,
                workers=workers,
            ).read(),
            weights=WeightsChoice.parse(weights, seed=seed),
            input_kind=input_kind.value,
            img_size=img_size,
            crop_pct=crop_pct,
            interpolation=interpolation.value if interpolation else None,
            num_classes=num_classes,
            golden=golden,
            labels=labels,
            licence=licence,
            output=output,
            overwrite=overwrite,
        )
        plan = BuildChoices(
            profile=profile,
            workspace=workspace,
            optimization_level=optimization_level,
            timing_cache=timing_cache,
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible.value,
            min_share=min_share,
            verbose=verbose,
        )
        with_plan = engine is EngineOfBundle.tensorrt
        check_plan_choices(request, plan, wanted=with_plan)
        if emit_cpp is not None:
            check_cpp_target(emit_cpp)
        if triton_repo is not None:
            check_repository(triton_repo)
        messages = message_console()
        with step_bar(model, messages) as bar:
            listener = Listener(on_stage=bar.start, on_steps=bar.advance)
            result = export_bundle(request, listener)
        print_notices(result, messages)
        if json_output:
            print(result.manifest.model_dump_json(indent=2))
        else:
            print_result(result, result_console())
        if with_plan:
            built = build_exported_plan(result.path, plan)
            if not json_output:
                print_plan(built, result_console())
        if emit_cpp is not None:
            write_cpp_project(result.path, emit_cpp)
            messages.print(f"C++ project: {emit_cpp}; its README.md says how to build it", markup=False)
        if triton_repo is not None:
            written = write_repository(RepositoryRequest(bundle=result.path, repository=triton_repo))
            messages.print("\n".join(as_lines(written)), markup=False)


def main() -> None:
    """Run the command line."""
    # PyTorch's import and its tracer make millions of objects that live as long as this short process:
    # looking for garbage among them took 1.0 of 4.2 s of import and trace, and found next to nothing.
    gc.disable()
    code = 0
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    # Everything is written and closed by now. Python would spend 0.3 to 1 s on taking those objects apart.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
