"""The preprocessing of an export: timm's configuration of the model, with what the user states, and both in words."""

import math
from typing import TYPE_CHECKING

from exporter.models import ModelSpec, configuration_of
from exporter.request import Recipe
from runtime.bundle.manifest import Preprocessing, ResizeMode, sides
from runtime.errors import UsageError
from runtime.original.stems import colour_of
from runtime.support.words import describe_size

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

_INTERPOLATIONS = ("bilinear", "bicubic")
# The bounds of `runtime.bundle.manifest.Preprocessing`, pixels.
_MAX_IMAGE_SIZE = 8192
_MAX_RESIZE_SIZE = 16384
_RGB = 3
# Pixels are scaled to [0, 1]: no mean or deviation of theirs is larger. Numbers of 0 to 255 are the usual slip.
_LARGEST = 1.0
# The C library's smallest deviation.
_SMALLEST_STD = 1e-6

_Size = int | tuple[int, int]


def resolve_preprocessing(spec: ModelSpec, stated: Recipe | None = None, *, channels: int = _RGB) -> Preprocessing:
    """Return timm's evaluation preprocessing of a model, with what the user states in its place.

    It is the configuration that timm's `create_transform` uses by default; the larger `test_input_size`
    of some models, which timm uses only on demand, is for the user to state (`describe_recipe` names it).

    1. A square image is resized by its short side to floor(size / crop_pct), then cropped.
    2. One that is not square is resized until it covers (floor(height / crop_pct), floor(width / crop_pct)).
    3. `squash` without a size or a share crops nothing, as torchvision's `Resize((height, width))`. Nor does a stem for
       small images, whose size is to be stated: timm's configuration is for another network.
    4. Of means and deviations for another number of channels the average is taken, for each channel.

    Args:
        spec: The model.
        stated: What the user states; None for nothing.
        channels: Channels of the images.

    Raises:
        UsageError: What is stated is impossible, or timm's configuration is one that the runtime's
            preprocessing does not do.

    Source: timm 1.0, `transforms_imagenet_eval`; of rule 4, `timm.data.loader.adapt_to_chs`.
    """
    stated = stated or Recipe()
    config = configuration_of(spec)
    _, height, width = config.input_size
    if config.crop_mode != "center" or height != width:
        raise UsageError(
            f"{spec.name} needs {height}x{width} pixels and crop mode {config.crop_mode!r}: "
            "expected a square image and 'center'; choose another model"
        )
    if _is_small(stated) and stated.img_size is None:
        raise UsageError(
            f"--stem {stated.stem} without --img-size: expected the size of the small images that the network was "
            f"trained on, which is not timm's {height}; pass it, such as --img-size 32"
        )
    size = _image_size(height if stated.img_size is None else stated.img_size, usual=height)
    if stated.interpolation not in (None, *_INTERPOLATIONS):
        raise UsageError(
            f"--interpolation {stated.interpolation!r}: expected {' or '.join(_INTERPOLATIONS)}; pass one of them"
        )
    interpolation = stated.interpolation or config.interpolation
    if interpolation not in _INTERPOLATIONS:
        raise UsageError(
            f"{spec.name} is resized with the filter {interpolation!r}: expected {' or '.join(_INTERPOLATIONS)}; state "
            "the nearer one with --interpolation"
        )
    mode, resized, share = _resize(stated, size, config)
    return Preprocessing.model_validate(
        {
            "image_size": size,
            "resize_size": resized,
            "crop_pct": share,
            "interpolation": interpolation,
            "mean": _per_channel("--mean", stated.mean, for_channels(config.mean, channels), least=-_LARGEST),
            "std": _per_channel("--std", stated.std, for_channels(config.std, channels), least=_SMALLEST_STD),
            "colour": colour_of(channels, spec.name),
            "resize_mode": mode,
            "exif_rotate": stated.exif_rotate,
            "depth16": stated.depth16,
        }
    )


def for_channels(numbers: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Return a number for each channel: the average of all where there are not as many; rule 4."""
    return numbers if len(numbers) == channels else (sum(numbers) / len(numbers),) * channels


def describe_recipe(spec: ModelSpec, stated: Recipe, preprocessing: Preprocessing) -> str:
    """Return the preprocessing in one line: what is done to an image, and where each part of it is from."""
    p = preprocessing
    to = describe_size(p.resize_size)
    resize = {
        "short": f"short side to {to} px",
        "cover": f"resized to cover {describe_size(sides(p.resize_size))} px",
        "squash": f"squashed to {describe_size(sides(p.resize_size))} px",
    }[p.resize_mode]
    kept = describe_size(sides(p.image_size))
    crop = f"no crop, {kept}" if p.resize_mode == "squash" and p.resize_size == p.image_size else f"centre crop {kept}"
    reading = (", turned by EXIF" if p.exif_rotate else "") + (", 16 bits scaled" if p.depth16 == "scale" else "")
    options = _stated(stated)
    given = f", with {', '.join(options)} as given" if options else ""
    colour = {"L": "read as grey, ", "RGB": "", "RGBA": "read as RGBA, "}[p.colour]
    return (
        f"preprocessing: {colour}{resize} ({p.interpolation}), {crop}, mean {_numbers(p.mean)}, std "
        f"{_numbers(p.std)}{reading}; from {_origin(spec)}{given}"
    )


def warn_of_assumptions(spec: ModelSpec, stated: Recipe, *, own_weights: bool, channels: int = _RGB) -> tuple[str, ...]:
    """Return what a user should know of a recipe that was not stated; often nothing.

    Args:
        spec: The model.
        stated: What the user states.
        own_weights: Whether the weights are a file of the user's.
        channels: Channels of the images.
    """
    config = configuration_of(spec)
    options = _stated(stated)
    warnings = []
    assumed = [
        what
        for what, among in (
            ("size", ("--img-size",)),
            ("resize and crop", ("--crop-pct", "--resize-size", "--resize-mode")),
            ("filter", ("--interpolation",)),
            ("mean", ("--mean",)),
            ("std", ("--std",)),
        )
        if not set(among) & set(options) and not (what == "resize and crop" and _is_small(stated))
    ]
    if own_weights and spec.own is None and spec.name == spec.architecture and assumed:
        warnings.append(
            f"warning: {spec.name} is a bare name, which does not say how your weights were trained: "
            f"{', '.join(assumed)} of {_origin(spec)} were assumed; name the tag (torchvision's weights: --model "
            f"tv_{spec.architecture} or tv2_{spec.architecture}), or state them with --img-size, --crop-pct or "
            "--resize-size, --interpolation, --mean and --std"
        )
    averaged = [
        f"{option} {_numbers(for_channels(numbers, channels))}"
        for option, numbers in (("--mean", config.mean), ("--std", config.std))
        if len(numbers) != channels and option not in options
    ]
    if averaged:
        warnings.append(
            f"warning: {_origin(spec)} is for {len(config.mean)} channels, and the network takes {channels}: the "
            f"average of the numbers was taken for each, as timm does, {' and '.join(averaged)}; state what it was "
            "trained with"
        )
    tested = config.test_input_size
    if (
        tested is not None
        and not _is_small(stated)
        and not {"--img-size", "--crop-pct", "--resize-size"} & set(options)
    ):
        share = config.test_crop_pct or config.crop_pct
        warnings.append(
            f"note: timm also has a size for tests of {spec.timm_tag or spec.architecture}, which is often more "
            f"accurate and slower: --img-size {tested[-1]} --crop-pct {share:g}"
        )
    return tuple(warnings)


def _image_size(size: _Size, *, usual: int) -> _Size:
    """Return the image size, one number where the sides are equal."""
    height, width = sides(size)
    if not all(1 <= side <= _MAX_IMAGE_SIZE for side in (height, width)):
        raise UsageError(
            f"--img-size {describe_size(size)}: expected 1 to {_MAX_IMAGE_SIZE} pixels, such as {usual}, or a height "
            "and a width"
        )
    return height if height == width else (height, width)


def _resize(stated: Recipe, size: _Size, config: "PretrainedCfg") -> tuple[ResizeMode, _Size, float]:
    """Return resize mode, resize size and crop share; the rules are those of `resolve_preprocessing`."""
    mode = stated.resize_mode
    if stated.resize_size is not None:
        return _stated_resize(stated, size)
    share = config.crop_pct if stated.crop_pct is None else stated.crop_pct
    if (mode == "squash" or _is_small(stated)) and stated.crop_pct is None:
        share = 1.0
    if not 0 < share <= 1 or math.floor(max(sides(size)) / share) > _MAX_RESIZE_SIZE:
        raise UsageError(f"--crop-pct {share}: expected a share in (0, 1], such as {config.crop_pct}")
    mode = mode or ("short" if isinstance(size, int) else "cover")
    high, wide = (math.floor(side / share) for side in sides(size))
    return mode, max(high, wide) if mode == "short" else (high, wide), share


def _stated_resize(stated: Recipe, size: _Size) -> tuple[ResizeMode, _Size, float]:
    """Return what `--resize-size` means."""
    resized = stated.resize_size
    assert resized is not None, "the caller looked"
    given = f"--resize-size {describe_size(resized)}"
    if stated.crop_pct is not None:
        raise UsageError(f"{given} cannot be used with --crop-pct, which also says how much is cropped: leave one out")
    mode = stated.resize_mode or "short"
    if mode == "short" and not isinstance(resized, int):
        raise UsageError(
            f"{given} has a height and a width: expected one number for the short side, or --resize-mode squash or "
            "cover"
        )
    high, wide = sides(resized)
    kept = sides(size)
    if high < kept[0] or wide < kept[1] or max(high, wide) > _MAX_RESIZE_SIZE:
        raise UsageError(
            f"{given}: expected at least the {describe_size(size)} px that are cropped (--img-size), and at most "
            f"{_MAX_RESIZE_SIZE}"
        )
    share = min(kept[0] / high, kept[1] / wide)
    return mode, high if mode == "short" else (high, wide), share


def _per_channel(
    option: str, given: tuple[float, ...] | None, usual: tuple[float, ...], *, least: float
) -> tuple[float, ...]:
    """Return a number for each channel."""
    if given is None:
        return usual
    channels = len(usual)
    if len(given) not in (1, channels) or not all(least <= number <= _LARGEST for number in given):
        counts = "1 number" if channels == 1 else f"1 or {channels} numbers"
        raise UsageError(
            f"{option} {_numbers(given)}: expected {counts} for pixels scaled to [0, 1], {least:g} to "
            f"{_LARGEST:g}, such as {_numbers(usual)}; divide by 255 if yours are for 0 to 255"
        )
    return given * channels if len(given) == 1 else given


def _is_small(stated: Recipe) -> bool:
    """Return whether the network is one for small images."""
    return stated.stem not in (None, "timm")


def _stated(stated: Recipe) -> tuple[str, ...]:
    """Return the options that replace a part of timm's configuration."""
    given = {
        "--stem": stated.stem,
        "--img-size": stated.img_size,
        "--resize-mode": stated.resize_mode,
        "--resize-size": stated.resize_size,
        "--crop-pct": stated.crop_pct,
        "--interpolation": stated.interpolation,
        "--mean": stated.mean,
        "--std": stated.std,
    }
    return tuple(option for option, value in given.items() if value is not None)


def _origin(spec: ModelSpec) -> str:
    if spec.own is not None:
        return f"the config.json of {spec.name}"
    return f"timm's {spec.timm_tag}" if spec.timm_tag else f"timm's untagged configuration of {spec.architecture}"


def _numbers(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for number in numbers)
