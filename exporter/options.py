"""The options of `export-ssl`: their types and help texts, and what the INT8 ones mean together.

Nothing heavy is imported, since `export-ssl --help` reads this file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from calibration.options import Int8Effort, MethodChoice, QuantizeOptions
from exporter.request import Int8Request, Interpolation
from runtime.bundle.manifest import Depth16, ResizeMode, Stem
from runtime.commands.plan_options import PLAN_PANEL
from runtime.errors import UsageError
from runtime.original.network import InputKind
from runtime.support.engine_names import Int8Target

# Headings of the help, in the order of the options of `exporter.cli.export`.
_MODEL = "Model and weights"
_PREPROCESSING = "Preprocessing"
_PRECISION = "Precision"
_INT8 = "INT8 calibration"
_OUTPUT = "Output"
_ALSO = "Also write"

# Of a fixed batch: the check of the finished graph runs a whole one, and a ResNet-50's takes tens of gigabytes.
_MOST_IMAGES = 1024

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
        help="`hub`: download timm's weights. A path: your own checkpoint, a file of PyTorch or safetensors; the "
        "ResNet in it is found automatically. `random`: untrained weights, to test the speed without a download.",
        rich_help_panel=_MODEL,
    ),
]
WeightsKeyOption = Annotated[
    str | None,
    typer.Option(
        help="If the --weights FILE holds several networks: key of the network to take, such as state_dict or "
        "teacher. An inner key is written after a dot: KEY.INNER.",
        show_default="found",
        rich_help_panel=_MODEL,
    ),
]
WeightsPrefixOption = Annotated[
    str | None,
    typer.Option(
        help="With --weights FILE: first part of the names of the network's tensors, such as module.encoder_q. All "
        "other tensors are left out.",
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
        help="With --weights random: number of classes. 0 works with any weights, and means the same as "
        "--no-classifier.",
        show_default="timm's",
        rich_help_panel=_MODEL,
    ),
]
NoClassifierOption = Annotated[
    bool,
    typer.Option(
        "--no-classifier",
        help="Leave the classifier out: the embedding is then the only output. A checkpoint without a classifier does "
        "not need this option.",
        rich_help_panel=_MODEL,
    ),
]
InChansOption = Annotated[
    int | None,
    typer.Option(
        help="With --weights random: number of image channels, 1 (grey), 3 (RGB) or 4 (RGB and alpha). For a "
        "checkpoint, the number is found automatically.",
        show_default="3",
        rich_help_panel=_MODEL,
    ),
]
StemOption = Annotated[
    Stem | None,
    typer.Option(
        help="First layers of a network for small images; a checkpoint does not tell which they are. `cifar`: one 3x3 "
        "convolution of stride 1, no max-pool. `solo-learn`: the same with padding 2. `cifar-pool`: like `cifar`, but "
        "with the max-pool. `cifar-linear`: like `cifar`, but without an activation before the first stage.",
        show_default="timm's",
        rich_help_panel=_MODEL,
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        help="File of class names: one per line, JSON (a list, or id2label) or a CSV table. Or the training folder: "
        "the sorted names of its class folders are the classes.",
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
        help="Input of the exported network. `uint8`: pixels (N, H, W, C); the graph normalises them. `float32`: "
        "images (N, C, H, W) that your program has already normalised.",
        rich_help_panel=_MODEL,
    ),
]
OpsetOption = Annotated[
    int,
    typer.Option(
        min=17,
        max=22,
        help="ONNX opset of the exported network. An older runtime may need an older one.",
        rich_help_panel=_OUTPUT,
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=_MOST_IMAGES,
        help="Fix the batch of the exported network: every run takes exactly this many images. For runtimes and "
        "compilers without dynamic shapes.",
        show_default="any number of images",
        rich_help_panel=_OUTPUT,
    ),
]
ImgSizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="N or H W",
        help="Height and width of the input image, in pixels. If they are equal, one number is enough.",
        show_default="timm's",
        rich_help_panel=_PREPROCESSING,
    ),
]
CropPctOption = Annotated[
    float | None,
    typer.Option(
        help="How much of the resized image the centre crop keeps, as a fraction such as 0.875.",
        show_default="timm's",
        rich_help_panel=_PREPROCESSING,
    ),
]
ResizeModeOption = Annotated[
    ResizeMode | None,
    typer.Option(
        help="How the image is resized before the crop. `short`: its short side gets the size. `cover`: it is resized "
        "without distortion until it covers height and width. `squash`: it is stretched to height and width, like "
        "torchvision's Resize((H, W)); it is cropped only if --crop-pct or --resize-size is given.",
        show_default="short, or cover where the input is not square",
        rich_help_panel=_PREPROCESSING,
    ),
]
ResizeSizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="N or H W",
        help="Size of the resized image before the crop, in pixels. Use it instead of --crop-pct.",
        show_default="image size / --crop-pct",
        rich_help_panel=_PREPROCESSING,
    ),
]
InterpolationOption = Annotated[
    Interpolation | None,
    typer.Option(help="Filter for resizing the image.", show_default="timm's", rich_help_panel=_PREPROCESSING),
]
MeanOption = Annotated[
    str | None,
    typer.Option(
        metavar="R G B",
        help="Mean of the normalisation, for pixels scaled to 0 to 1: one number for each channel, or one for all.",
        show_default="timm's",
        rich_help_panel=_PREPROCESSING,
    ),
]
StdOption = Annotated[
    str | None,
    typer.Option(
        metavar="R G B",
        help="Standard deviation of the normalisation, given in the same way as --mean.",
        show_default="timm's",
        rich_help_panel=_PREPROCESSING,
    ),
]
ExifRotateOption = Annotated[
    bool,
    typer.Option(
        "--exif-rotate",
        help="Turn images as their EXIF orientation says. timm does not turn them.",
        rich_help_panel=_PREPROCESSING,
    ),
]
Depth16Option = Annotated[
    Depth16,
    typer.Option(
        help="How 16-bit greyscale images are read. `clip`: values above 255 become 255, as in timm. `scale`: the "
        "high byte of each value is taken.",
        rich_help_panel=_PREPROCESSING,
    ),
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
    Int8Target,
    typer.Option(
        help="Form of the INT8 network. `tensorrt`: activations are signed. Every engine accepts this. `rtx`: "
        "activations are signed, each weight tensor has one scale, and other layers are FP16, as with --fp16. "
        "TensorRT for RTX fuses this into the convolutions. `cpu`: activations are unsigned. This is more accurate, "
        "and fast in onnxruntime (on ARM too) and in OpenVINO on x86, but TensorRT refuses it.",
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
Int8EffortOption = Annotated[
    Int8Effort,
    typer.Option(
        "--int8-effort",
        help="`high`: also learn the ranges of the activations from gradients. Less noise, same speed at run time; the "
        "calibration takes two to six times as long.",
        rich_help_panel=_INT8,
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
        help="Calibration images, required with --int8: a folder of training images in class folders, such as "
        "imagenet/train. Tar shards, Parquet files or a list are taken too.",
        rich_help_panel=_INT8,
    ),
]
CalibImagesOption = Annotated[
    int,
    typer.Option(
        min=1,
        help="Number of calibration images to draw, spread evenly over the classes. One image in eight is held out: "
        "it is used only to judge the result.",
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
        help="File that stores the calibration. If it does not exist, it is written. If it exists, it is used. If it "
        "is for another model, other images or other options, it is refused.",
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
        help="Labelled images to measure accuracy on, such as imagenet/val: any path that `run-ssl compare --data` "
        "takes. They are never used to calibrate.",
        rich_help_panel=_INT8,
    ),
]
MaxDropOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Largest loss of top-1 accuracy on --eval-data that you accept, in percentage points. Without a "
        "classifier, it is the loss of nearest-neighbour accuracy. To stay within this limit, as few layers as "
        "possible are kept in floating point.",
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
        help="Folder of images to verify the export with. They should be like the images that the network will see. "
        "Eight of them are used, spread evenly over all of the folder.",
        show_default="eight of --calib, left out there; else four packaged photographs",
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
    Literal["none", "tensorrt", "tensorrt-rtx"],
    typer.Option(
        help="`tensorrt`: also build a plan for this machine's GPU, as `run-ssl build` does. `tensorrt-rtx`: also "
        "build one for RTX GPUs.",
        rich_help_panel=PLAN_PANEL,
    ),
]

EmitCppOption = Annotated[
    Path | None,
    typer.Option(
        help="Directory for a new C++ project that classifies images with this bundle. Without a classifier, the "
        "project embeds them.",
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
    target: Int8Target
    classifier: bool
    effort: Int8Effort
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
                effort=self.effort,
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
            "--int8-effort": self.effort != QuantizeOptions.effort,
            "--int8-float-weights": self.float_weights,
            "--workers": self.workers is not None,
        }
        named = [name for name, present in given.items() if present]
        if named:
            raise UsageError(f"{named[0]} is for INT8: add --int8, or leave it out")
