"""The options of `export-ssl`: their types and help texts, and what the INT8 ones mean together.

Nothing heavy is imported, since `export-ssl --help` reads this file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from calibration.options import MethodChoice, QuantizeOptions, Target
from exporter.request import Int8Request, Interpolation
from runtime.commands.plan_options import PLAN_PANEL
from runtime.errors import UsageError
from runtime.original.network import InputKind

# Headings of the help, in the order of the options of `exporter.cli.export`.
_MODEL = "Model and weights"
_PRECISION = "Precision"
_INT8 = "INT8 calibration"
_OUTPUT = "Output"
_ALSO = "Also write"

ModelOption = Annotated[
    str,
    typer.Option(
        help="Name of a ResNet in timm, in its old or new form: ssl_resnet18, resnet50.fb_ssl_yfcc100m_ft_in1k, "
        "resnet34, … Or a model that timm saved: local-dir:DIR, hf-hub:ORG/NAME.",
        rich_help_panel=_MODEL,
    ),
]
WeightsOption = Annotated[
    str,
    typer.Option(
        help="`hub`: download timm's weights. A path: your own checkpoint, in PyTorch's format or safetensors; the "
        "ResNet in it is found. `random`: untrained weights, to test the speed without a download.",
        rich_help_panel=_MODEL,
    ),
]
WeightsKeyOption = Annotated[
    str | None,
    typer.Option(
        help="With --weights FILE that holds several networks: key of the one to take, such as state_dict or teacher; "
        "inner keys follow after a dot.",
        show_default="found",
        rich_help_panel=_MODEL,
    ),
]
WeightsPrefixOption = Annotated[
    str | None,
    typer.Option(
        help="With --weights FILE: what the names of the network's tensors begin with, such as module.encoder_q. "
        "Whatever lies beside them is left out.",
        show_default="found",
        rich_help_panel=_MODEL,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(help="Seed for `--weights random`, and for choosing the calibration images.", rich_help_panel=_MODEL),
]
NumClassesOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="With --weights random: number of classes. 0, with any weights, is --no-classifier.",
        show_default="timm's",
        rich_help_panel=_MODEL,
    ),
]
NoClassifierOption = Annotated[
    bool,
    typer.Option(
        "--no-classifier",
        help="Leave the classifier out: the embedding is then the only output. A checkpoint without a classifier needs "
        "no option.",
        rich_help_panel=_MODEL,
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        help="Text file with one class name per line, or a folder of class folders, whose sorted names are the "
        "classes.",
        show_default="ImageNet's, or class_0000 …",
        rich_help_panel=_MODEL,
    ),
]
LicenceOption = Annotated[
    str | None,
    typer.Option(
        help="Licence of your own weights, as an SPDX identifier such as MIT.",
        show_default="timm's",
        rich_help_panel=_MODEL,
    ),
]
InputOption = Annotated[
    InputKind,
    typer.Option(
        "--input",
        help="Input of the exported network. `uint8`: pixels (N, H, W, 3); the graph normalises them. `float32`: "
        "images (N, 3, H, W) that your program has already normalised.",
        rich_help_panel=_MODEL,
    ),
]
ImgSizeOption = Annotated[
    int | None,
    typer.Option(
        min=32, help="Height and width of the input image, in pixels.", show_default="timm's", rich_help_panel=_MODEL
    ),
]
CropPctOption = Annotated[
    float | None,
    typer.Option(
        help="How much of the short side the centre crop keeps, as a fraction such as 0.875.",
        show_default="timm's",
        rich_help_panel=_MODEL,
    ),
]
InterpolationOption = Annotated[
    Interpolation | None,
    typer.Option(help="Filter for resizing the image.", show_default="timm's", rich_help_panel=_MODEL),
]

Fp16Option = Annotated[
    bool,
    typer.Option(
        "--fp16",
        help="Compute in FP16 instead of FP32. With --int8: only the layers that are not INT8.",
        rich_help_panel=_PRECISION,
    ),
]
Int8Option = Annotated[
    bool,
    typer.Option(
        "--int8",
        help="Compute the convolutions in INT8, with explicit Q/DQ nodes, calibrated on the images of --calib.",
        rich_help_panel=_PRECISION,
    ),
]
Int8TargetOption = Annotated[
    Target,
    typer.Option(
        help="`tensorrt`: all activations are signed, which every engine accepts. `cpu`: those that are never negative "
        "are unsigned, which is more accurate, and fast in onnxruntime and OpenVINO, but TensorRT refuses it.",
        rich_help_panel=_PRECISION,
    ),
]
Int8ClassifierOption = Annotated[
    bool,
    typer.Option(
        "--int8-classifier",
        help="Quantise the classifier layer too. It does less than 0.1 % of the computation.",
        rich_help_panel=_PRECISION,
    ),
]
Int8FloatWeightsOption = Annotated[
    bool,
    typer.Option(
        "--int8-float-weights",
        help="Store the INT8 weights as float32, followed by Q/DQ nodes. The weights are then four times larger.",
        rich_help_panel=_PRECISION,
    ),
]

CalibOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of calibration images, required with --int8: training images in class folders, such as "
        "imagenet/train.",
        rich_help_panel=_INT8,
    ),
]
CalibImagesOption = Annotated[
    int,
    typer.Option(
        min=1,
        help="How many calibration images to draw, spread evenly over the classes. One image in eight is held out: it "
        "is only used to judge the result.",
        rich_help_panel=_INT8,
    ),
]
CalibMethodOption = Annotated[
    MethodChoice,
    typer.Option(
        metavar="METHOD",
        help="How the range of each activation is chosen: max, percentile-99.99, percentile-99.999, entropy or mse. "
        "`auto` tries all of them and keeps the one that is best on the held-out images.",
        rich_help_panel=_INT8,
    ),
]
CalibCacheOption = Annotated[
    Path | None,
    typer.Option(
        help="File that stores the calibration. If it does not exist, it is written. If it exists, it is used, or "
        "refused if it is for another model, other images or other options.",
        rich_help_panel=_INT8,
    ),
]
SensitivityOption = Annotated[
    bool,
    typer.Option(
        "--sensitivity",
        help="Measure how much accuracy each INT8 layer costs. The result is a table, a JSON file and a plot.",
        rich_help_panel=_INT8,
    ),
]
EvalDataOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of labelled images in class folders to measure accuracy on, such as imagenet/val. They are never "
        "used to calibrate.",
        rich_help_panel=_INT8,
    ),
]
MaxDropOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Largest loss of top-1 accuracy on --eval-data that you accept, in percentage points. To stay within it, "
        "layers are kept in floating point, as few as possible.",
        show_default="no limit",
        rich_help_panel=_INT8,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads that decode images.",
        show_default="one per usable core",
        rich_help_panel=_INT8,
    ),
]

OutputOption = Annotated[
    Path | None,
    typer.Option(help="Directory of the bundle.", show_default="./MODEL-PRECISION", rich_help_panel=_OUTPUT),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace an existing bundle.", rich_help_panel=_OUTPUT)
]
GoldenOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of images to verify the export with. Eight of them are used.",
        show_default="four packaged photographs",
        rich_help_panel=_OUTPUT,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print the manifest as JSON instead of a table.", rich_help_panel=_OUTPUT),
]
DetailsOption = Annotated[
    bool,
    typer.Option(
        "--details", help="Also print what the calibration tried, and the nodes of the graphs.", rich_help_panel=_OUTPUT
    ),
]

EngineOption = Annotated[
    Literal["none", "tensorrt"],
    typer.Option(
        help="`tensorrt`: also build a plan for this machine's GPU, as `run-ssl build` does.",
        rich_help_panel=PLAN_PANEL,
    ),
]

EmitCppOption = Annotated[
    Path | None,
    typer.Option(
        help="Directory to write a C++ project into that classifies images with this bundle.",
        show_default="none",
        rich_help_panel=_ALSO,
    ),
]
TritonRepoOption = Annotated[
    Path | None,
    typer.Option(
        help="Triton model repository to put the bundle into, as `run-ssl repo` does.",
        show_default="none",
        rich_help_panel=_ALSO,
    ),
]


def read_classes(num_classes: int | None, *, no_classifier: bool) -> int | None:
    """Return the number of classes that was asked for, 0 for no classifier; None where none was.

    Raises:
        UsageError: Classes are asked for, and no classifier.
    """
    if no_classifier and num_classes:
        raise UsageError(f"--num-classes {num_classes} and --no-classifier: leave one of the two out")
    return 0 if no_classifier else num_classes


@dataclass(frozen=True)
class Int8Options:
    """The INT8 options as they were typed; see `export-ssl --help`. `max_drop` is in percentage points."""

    int8: bool
    images: Path | None
    count: int
    seed: int
    method: MethodChoice
    target: Target
    classifier: bool
    float_weights: bool
    cache: Path | None
    eval_data: Path | None
    max_drop: float | None
    sensitivity: bool
    workers: int | None

    def read(self) -> Int8Request | None:
        """Return how to calibrate, or None without `--int8`.

        Raises:
            UsageError: Options contradict each other, or one is missing.
        """
        if not self.int8:
            self._refuse_without_int8()
            return None
        if self.images is None:
            raise UsageError(
                "--int8 needs --calib FOLDER with real images (training images, 512 are drawn): "
                "scales from random data would be wrong, so there is no default"
            )
        if self.max_drop is not None and self.eval_data is None:
            raise UsageError(f"--max-drop {self.max_drop:g} needs --eval-data FOLDER of labelled images")
        return Int8Request(
            images=self.images,
            count=self.count,
            seed=self.seed,
            options=QuantizeOptions(
                method=self.method,
                target=self.target,
                classifier=self.classifier,
                float_weights=self.float_weights,
                workers=self.workers,
            ),
            eval_data=self.eval_data,
            max_drop=None if self.max_drop is None else self.max_drop / 100,
            sensitivity=self.sensitivity,
            cache=self.cache,
        )

    def _refuse_without_int8(self) -> None:
        given = {
            "--calib": self.images is not None,
            "--calib-images": self.count != Int8Request.count,
            "--calib-method": self.method != QuantizeOptions.method,
            "--calib-cache": self.cache is not None,
            "--eval-data": self.eval_data is not None,
            "--max-drop": self.max_drop is not None,
            "--sensitivity": self.sensitivity,
            "--int8-target": self.target != QuantizeOptions.target,
            "--int8-classifier": self.classifier,
            "--int8-float-weights": self.float_weights,
            "--workers": self.workers is not None,
        }
        named = [name for name, present in given.items() if present]
        if named:
            raise UsageError(f"{named[0]} is for INT8: add --int8, or leave it out")
