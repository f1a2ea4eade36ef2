"""Draw calibration images: seeded, of a folder balanced over class folders, the same ones every time."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from runtime.data.class_folders import sample_balanced
from runtime.data.dataset import Dataset, LabelledImage
from runtime.data.sources.entries import Entry
from runtime.data.sources.open_source import IMAGES, find_kind, open_source
from runtime.data.sources.sample import sample_keys
from runtime.errors import DataError, UsageError
from runtime.images.formats import PassedOver, describe_instead
from runtime.images.listing import list_images

# One in eight judges the candidates; of few images more, so that two or more remain to judge by.
_HELD_OUT_SHARE = 8
_SHARE_OF_FEW = 4
_FEW = 32


@dataclass(frozen=True)
class CalibrationSample:
    """The images drawn.

    Attributes:
        folder: Where they are: a folder, or a file or folder of another of `runtime/data/sources/`'s kinds.
        dataset: The images, in order of their names; the label is the index of the class folder.
        classes: Names of the class folders; empty where there are none.
        available: Images that could be drawn.
        requested: How many were asked for.
        seed: Seed of the random draw.
        passed_over: Files that are no image, counted by their ending.
    """

    folder: Path
    dataset: Dataset
    classes: tuple[str, ...]
    available: int
    requested: int
    seed: int
    passed_over: PassedOver = field(default_factory=PassedOver)


def sample_images(
    folder: Path, *, count: int = 512, seed: int = 0, leave_out: frozenset[str] = frozenset()
) -> CalibrationSample:
    """Return images drawn from a folder, or from tar shards, Parquet files or a list.

    Of a folder of images the first folder level below `folder` is the class; images at any depth below it belong to it.
    Classes differ by at most one image while they last (the rule of `runtime.data.class_folders.sample_balanced`). What
    the classes are called does not matter: calibration needs no labels. Of the other sources, where nothing needs to
    name classes, images are drawn from all alike, by the same hash.

    Args:
        folder: A folder of class folders or images, `.tar` or `.parquet` files or a folder of them, or a list.
        count: How many to draw; all where there are fewer.
        seed: Seed of the random draw.
        leave_out: Names of images, from `folder`, that are not drawn: they judge the result.

    Raises:
        UsageError: `count` is less than 1.
        DataError: There is no such place, or no image in it, or it cannot be read.
        UsageError: Parquet files have no column of images, or several.
    """
    if count < 1:
        raise UsageError(f"--calib-images {count}: expected at least 8")
    if not folder.exists() or (folder.is_file() and find_kind(folder) == IMAGES):
        raise DataError(
            f"{folder} is not a folder: expected calibration images, as a folder of class folders such as ImageNet's "
            "train, a folder of images, .tar or .parquet files, or a list"
        )
    passed_over = PassedOver()
    if find_kind(folder, otherwise=IMAGES) != IMAGES:
        return _sample_alike(folder, passed_over, count=count, seed=seed, leave_out=leave_out)
    paths = list_images(folder, passed_over)
    if not paths:
        raise DataError(
            f"{folder} holds no image: expected files such as .jpg or .png, {describe_instead(passed_over)}; check the "
            "path, or unpack the download"
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
    return CalibrationSample(folder, Dataset(chosen), classes, len(images), count, seed, passed_over)


def _sample_alike(
    folder: Path, passed_over: PassedOver, *, count: int, seed: int, leave_out: frozenset[str]
) -> CalibrationSample:
    """Return images drawn from a source that has no class folders."""
    source = open_source((folder,))
    listed = 0

    def allowed(others: PassedOver | None = None) -> Iterator[Entry]:
        return (entry for entry in source.entries(others) if entry.key not in leave_out)

    def keys() -> Iterator[str]:
        nonlocal listed
        for entry in allowed(passed_over):
            listed += 1
            yield entry.key

    chosen = frozenset(sample_keys(keys(), size=count, seed=seed))
    if not chosen:
        raise DataError(f"{folder} has no image: expected at least one; check the path")
    images = tuple(LabelledImage(entry.key, 0, entry) for position, entry in enumerate(allowed()) if position in chosen)
    return CalibrationSample(folder, Dataset(images, source=source), (), listed, count, seed, passed_over)


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
