"""The `export-ssl` command: parse, call `exporter.pipeline.export_bundle`, print."""

import gc
import os
from pathlib import Path
from typing import Annotated

import typer

from calibration.options import QuantizeOptions
from exporter.number_options import NumbersCommand, read_numbers, read_size
from exporter.options import (
    BatchOption,
    CalibCacheOption,
    CalibImagesOption,
    CalibMethodOption,
    CalibOption,
    CropPctOption,
    Depth16Option,
    DetailsOption,
    EmitCppOption,
    EngineOption,
    EvalDataOption,
    ExifRotateOption,
    Fp16Option,
    GoldenOption,
    ImgSizeOption,
    InChansOption,
    InputOption,
    Int8ClassifierOption,
    Int8EffortOption,
    Int8FloatWeightsOption,
    Int8Option,
    Int8Options,
    Int8TargetOption,
    InterpolationOption,
    JsonOption,
    LabelsOption,
    LicenceOption,
    MaxDropOption,
    MeanOption,
    ModelOption,
    NoClassifierOption,
    NumClassesOption,
    OpsetOption,
    OutputOption,
    OverwriteOption,
    ResizeModeOption,
    ResizeSizeOption,
    SeedOption,
    SensitivityOption,
    StdOption,
    StemOption,
    TritonRepoOption,
    WeightsKeyOption,
    WeightsOption,
    WeightsPrefixOption,
    WorkersOption,
    read_classes,
)
from exporter.request import ExportRequest, Int8Request, WeightsChoice
from runtime.commands.console import message_console, one_line_errors, result_console, step_bar
from runtime.commands.interruption import run_to_end
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
from runtime.commands.version_option import version_option
from runtime.support.progress import Listener

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command(cls=NumbersCommand)
def export(
    model: ModelOption,
    weights: WeightsOption = WeightsChoice.source,
    weights_key: WeightsKeyOption = WeightsChoice.key,
    weights_prefix: WeightsPrefixOption = WeightsChoice.prefix,
    seed: SeedOption = WeightsChoice.seed,
    num_classes: NumClassesOption = ExportRequest.num_classes,
    no_classifier: NoClassifierOption = False,
    in_chans: InChansOption = ExportRequest.in_chans,
    stem: StemOption = ExportRequest.stem,
    labels: LabelsOption = ExportRequest.labels,
    licence: LicenceOption = ExportRequest.licence,
    input_kind: InputOption = ExportRequest.input_kind,
    img_size: ImgSizeOption = None,
    resize_mode: ResizeModeOption = ExportRequest.resize_mode,
    resize_size: ResizeSizeOption = None,
    crop_pct: CropPctOption = ExportRequest.crop_pct,
    interpolation: InterpolationOption = ExportRequest.interpolation,
    mean: MeanOption = None,
    std: StdOption = None,
    exif_rotate: ExifRotateOption = ExportRequest.exif_rotate,
    depth16: Depth16Option = ExportRequest.depth16,
    fp16: Fp16Option = ExportRequest.fp16,
    int8: Int8Option = False,
    int8_target: Int8TargetOption = QuantizeOptions.target,
    int8_classifier: Int8ClassifierOption = QuantizeOptions.classifier,
    int8_float_weights: Int8FloatWeightsOption = QuantizeOptions.float_weights,
    calib: CalibOption = None,
    calib_images: CalibImagesOption = Int8Request.count,
    calib_method: CalibMethodOption = QuantizeOptions.method,
    int8_effort: Int8EffortOption = QuantizeOptions.effort,
    calib_cache: CalibCacheOption = Int8Request.cache,
    sensitivity: SensitivityOption = Int8Request.sensitivity,
    eval_data: EvalDataOption = Int8Request.eval_data,
    max_drop: MaxDropOption = Int8Request.max_drop,
    workers: WorkersOption = QuantizeOptions.workers,
    output: OutputOption = ExportRequest.output,
    overwrite: OverwriteOption = ExportRequest.overwrite,
    golden: GoldenOption = ExportRequest.golden,
    opset: OpsetOption = ExportRequest.opset,
    batch: BatchOption = ExportRequest.batch,
    details: DetailsOption = False,
    json_output: JsonOption = False,
    engine: EngineOption = "none",
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
    emit_cpp: EmitCppOption = None,
    triton_repo: TritonRepoOption = None,
    _version: Annotated[bool, version_option("export-ssl")] = False,
) -> None:
    """Export a semi-supervised ResNet to a verified bundle: ONNX, manifest, golden outputs, licence.

    Every step is compared with PyTorch on real images; if one differs, no bundle is written.

    Examples:
      export-ssl --model ssl_resnet18 --fp16

      export-ssl --model ssl_resnet50 --int8 --calib imagenet/train --calib-images 512

      export-ssl --model ssl_resnet50 --int8 --fp16 --calib imagenet/train --engine tensorrt

      export-ssl --model resnet50 --weights mine.safetensors --labels classes.txt --licence MIT

      export-ssl --model resnet50 --weights mine.pth --img-size 192 256 --resize-mode squash --mean 0.5 --std 0.5
    """
    with one_line_errors():
        request = ExportRequest(
            model=model,
            # One weight scale for the tensor pays only where the convolution may write Half.
            fp16=fp16 or (int8 and int8_target == "rtx"),
            int8=Int8Options(
                int8=int8,
                images=calib,
                count=calib_images,
                seed=seed,
                method=calib_method,
                target=int8_target,
                classifier=int8_classifier,
                effort=int8_effort,
                float_weights=int8_float_weights,
                cache=calib_cache,
                eval_data=eval_data,
                max_drop=max_drop,
                sensitivity=sensitivity,
                workers=workers,
            ).read(),
            weights=WeightsChoice.parse(weights, seed=seed, key=weights_key, prefix=weights_prefix),
            input_kind=input_kind,
            img_size=read_size("--img-size", img_size),
            resize_mode=resize_mode,
            resize_size=read_size("--resize-size", resize_size),
            crop_pct=crop_pct,
            interpolation=interpolation,
            mean=read_numbers("--mean", mean),
            std=read_numbers("--std", std),
            exif_rotate=exif_rotate,
            depth16=depth16,
            num_classes=read_classes(num_classes, no_classifier=no_classifier),
            in_chans=in_chans,
            stem=stem,
            golden=golden,
            labels=labels,
            licence=licence,
            opset=opset,
            batch=batch,
            output=output,
            overwrite=overwrite,
        )
        plan = BuildChoices(
            engine="tensorrt" if engine == "none" else engine,
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
        _check(request, plan, with_plan=engine != "none", emit_cpp=emit_cpp, triton_repo=triton_repo)
        bundle = _export(request, details=details, json_output=json_output)
        if engine != "none":
            _build_plan(bundle, plan, quiet=json_output)
        _write_others(bundle, emit_cpp=emit_cpp, triton_repo=triton_repo)


# What each step needs is imported in it: `export-ssl --help` should not wait for that.


def _check(
    request: ExportRequest, plan: BuildChoices, *, with_plan: bool, emit_cpp: Path | None, triton_repo: Path | None
) -> None:
    """Refuse what comes after the export before the minutes that the export takes.

    Raises:
        ExportSslError: The plan, the C++ project or the repository could not be made.
    """
    from exporter.steps.plan import check_plan_choices
    from exporter.writing.cpp_project import check_cpp_target
    from runtime.serving.place import check_repository

    check_plan_choices(request, plan, wanted=with_plan)
    if emit_cpp is not None:
        check_cpp_target(emit_cpp)
    if triton_repo is not None:
        check_repository(triton_repo)


def _export(request: ExportRequest, *, details: bool, json_output: bool) -> Path:
    """Export, print the result, and return the bundle's directory."""
    from exporter.pipeline import export_bundle
    from exporter.printing.export_table import print_notices, print_result

    messages = message_console()
    with step_bar(request.model, messages) as bar:
        result = export_bundle(request, Listener(on_stage=bar.start, on_steps=bar.advance))
    print_notices(result, messages)
    if json_output:
        print(result.manifest.model_dump_json(indent=2))
    else:
        print_result(result, result_console(), details=details)
    return result.path


def _build_plan(bundle: Path, plan: BuildChoices, *, quiet: bool) -> None:
    from exporter.steps.plan import build_exported_plan
    from runtime.commands.plan_build import print_plan

    built = build_exported_plan(bundle, plan)
    if not quiet:
        print_plan(built, result_console())


def _write_others(bundle: Path, *, emit_cpp: Path | None, triton_repo: Path | None) -> None:
    """Write what else was asked for beside the bundle."""
    from exporter.writing.cpp_project import write_cpp_project
    from runtime.serving.next_steps import as_lines
    from runtime.serving.repository import write_repository
    from runtime.serving.request import RepositoryRequest

    messages = message_console()
    if emit_cpp is not None:
        write_cpp_project(bundle, emit_cpp)
        messages.print(f"C++ project: {emit_cpp}; its README.md says how to build it", markup=False)
    if triton_repo is not None:
        written = write_repository(RepositoryRequest(bundle=bundle, repository=triton_repo))
        messages.print("\n".join(as_lines(written)), markup=False)


def main() -> None:
    """Run the command line."""
    # PyTorch's import and its tracer make millions of objects that live as long as this short process: looking for
    # garbage among them took a quarter of import and trace, and found next to nothing.
    gc.disable()
    code = run_to_end(app)
    # Everything is written and closed by now. Python would spend up to a second on taking those objects apart.
    os._exit(code)
