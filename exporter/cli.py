"""The `export-ssl` command: parse, call `exporter.pipeline.export_bundle`, print."""

import gc
import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from runtime.console import message_console, one_line_errors, result_console

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


class InputChoice(str, Enum):
    """What the exported network takes."""

    uint8 = "uint8"
    float32 = "float32"


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
        bool, typer.Option("--fp16", help="Write FP16 into the graph. Without it the bundle is FP32.")
    ] = False,
    weights: Annotated[
        str,
        typer.Option(help="`hub` (timm's), a .safetensors or .pth file, or `random` (untrained, for tests of speed)."),
    ] = "hub",
    seed: Annotated[int, typer.Option(help="Seed of `--weights random`.")] = 0,
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
    json_output: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Export a semi-supervised ResNet to a verified bundle: ONNX, manifest, golden outputs, licence.

    Every step is compared with PyTorch on real images; a step that differs leaves no bundle.

    Examples:
      export-ssl --model ssl_resnet18 --fp16

      export-ssl --model resnet50 --weights mine.safetensors --labels classes.txt --licence MIT
    """
    with one_line_errors():
        # Imported here: `export-ssl --help` should not wait for them.
        from exporter.pipeline import export_bundle
        from exporter.report import print_notices, print_result
        from exporter.request import ExportRequest, WeightsChoice

        request = ExportRequest(
            model=model,
            precision="fp16" if fp16 else "fp32",
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
        messages = message_console()
        with messages.status("export") as status:
            result = export_bundle(request, on_step=lambda step: status.update(f"{model}: {step}"))
        print_notices(result.manifest, messages)
        if json_output:
            print(result.manifest.model_dump_json(indent=2))
        else:
            print_result(result, result_console())


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
