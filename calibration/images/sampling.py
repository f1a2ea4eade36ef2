"""Draw calibration images from a folder: seeded, balanced over class folders, the same ones every time."""

from dataclasses import dataclass, replace
from pathlib import Path

from runtime.data.class_folders import list_images, sample_balanced
from runtime.data.dataset import Dataset, LabelledImage
from runtime.errors import DataError, UsageError

# One in eight judges the candidates; of few images more, so that two or more remain to judge by.
_HELD_OUT_SHARE = 8
_SHARE_OF_FEW = 4
_FEW = 32


@dataclass(frozen=True)
class CalibrationSample:
    """The images drawn.

    Attributes:
        folder: Folder to draw from.
        dataset: The images, in order of their names; the label is the index of the class folder.
        classes: Names of the class folders; empty for a flat folder.
        available: Images in the folder that could be drawn.
        requested: How many were asked for.
        seed: Seed of the random draw.
    """

    folder: Path
    dataset: Dataset
    classes: tuple[str, ...]
    available: int
    requested: int
    seed: int


def sample_images(
    folder: Path, *, count: int = 512, seed: int = 0, leave_out: frozenset[str] = frozenset()
) -> CalibrationSample:
    """Return images drawn from a folder.

    The first folder level below `folder` is the class; images at any depth below it belong to it. Classes
    differ by at most one image while they last (the rule of `runtime.data.class_folders.sample_balanced`). What the
    classes are called does not matter: calibration needs no labels.

    Args:
        folder: A folder of class folders, or of images.
        count: How many to draw; all where there are fewer.
        seed: Seed of the random draw.
        leave_out: Names of images, from the folder, that are not drawn: they judge the result.

    Raises:
        UsageError: `count` is less than 1.
        DataError: There is no such folder, or no image in it.
    """
    if count < 1:
        raise UsageError(f"--calib-images {count}: expected at least 8")
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder: expected calibration images, as a folder of class folders such as ImageNet's "
            "train, or a folder of images"
        )
    paths = list_images(folder)
    if not paths:
        raise DataError(
            f"{folder} holds no image: expected files such as .jpg or .png; check the path, or unpack the download"
        )
    names = [path.relative_to(folder) for path in paths]
    classes = tuple(sorted({name.parts[0] for name in names if len(name.parts) > 1}))
    indices = {name: index for index, name in enumerate(classes)}
    images = tuple(
        LabelledImage(name.as_posix(), indices.get(name.parts[0], len(classes)), path)
        for name, path in zip(names, paths, strict=True)
        if name.as_posix() not in leave_out
    )
    chosen = sample_balanced(images, limit=min(count, len(images)), seed=seed)
    return CalibrationSample(folder, Dataset(chosen), classes, len(images), count, seed)


def split_held_out(sample: CalibrationSample) -> tuple[Dataset, Dataset]:
    """Return the images that are measured, and those that are held out to judge by.

    Every image is in one of the two. One in eight is held out, of fewer than 32 images one in four; they are
    drawn by the rule of the sample with the next seed.
    """
    images = sample.dataset.images
    share = _SHARE_OF_FEW if len(images) < _FEW else _HELD_OUT_SHARE
    held_out = sample_balanced(images, limit=max(1, len(images) // share), seed=sample.seed + 1)
    names = {image.name for image in held_out}
    measured = tuple(image for image in images if image.name not in names)
    return replace(sample.dataset, images=measured), replace(sample.dataset, images=held_out)
