"""Labelled images: a class-folder tree, a flat folder with a labels file, or a dataset that timm names.

1. `source` is a folder if one of that name exists; else it must be a name such as `torch/cifar10` or
   `hfds/owner/name`, which `runtime/data/timm_names.py` opens, or one such as `wds/name`, which is a stream
   (`runtime/data/timm_streams.py`).
2. Class folders: every folder directly below `source` that holds an image at any depth is a class.
   Folders and files whose names start with a dot are not read. How names become class indices is the
   rule of `runtime/data/labels.py`; a folder that has no class is an error, never a skip, so a
   subset of the classes is scored right and a wrong data set is not scored at all.
3. A flat folder needs `labels_file`.
4. Order is by class-folder name, then path; for a labels file, its own order.
5. `limit` keeps a class-balanced sample: classes differ by at most one image while they last. Which
   images is decided by sha256 of the seed and the image's name, so it depends on no library's random
   numbers, and a larger limit keeps the images of a smaller one. Of a stream, `limit` keeps the first
   images, which need not be balanced.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from PIL import Image

from runtime.data.labels import match_classes, read_labels_file
from runtime.data.timm_names import PREFIXES, open_timm_samples
from runtime.data.timm_streams import TimmStream, names_stream, open_timm_stream
from runtime.errors import DataError, UsageError
from runtime.images.reading import IMAGE_SUFFIXES, decode, naming_damage
from runtime.support.words import first_few


class Picture(Protocol):
    """Something else than a file that holds one picture, read only when it is opened."""

    def open(self) -> Image.Image | BinaryIO:
        """Return the picture, or the contents of its file. Called from worker threads."""
        ...


@dataclass(frozen=True)
class LabelledImage:
    """One image and its class.

    Attributes:
        name: What messages and reports call it; unique in its data set.
        label: Class index, 0-based.
        source: The file, or what opens the picture.
    """

    name: str
    label: int
    source: Path | Picture

    def read(self) -> Image.Image:
        """Return the picture, RGB and decoded. Warning filters stay as they are; see `runtime/images/reading.py`.

        Raises:
            DataError: It cannot be read.
        """
        if isinstance(self.source, Path):
            return decode(self.source, str(self.source))
        with naming_damage(self.name), self.source.open() as opened:
            return opened.convert("RGB") if isinstance(opened, Image.Image) else decode(opened, self.name)


@dataclass(frozen=True)
class Dataset:
    """Labelled images in a fixed order.

    Attributes:
        images: The images.
        notes: What a person should know about how they were read; often empty.
    """

    images: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[LabelledImage]:
        return iter(self.images)

    @property
    def length(self) -> int:
        """How many images there are."""
        return len(self.images)


@dataclass(frozen=True)
class Stream:
    """Labelled images that come one after the other, from the first each time that they are iterated.

    Attributes:
        samples: The images, all of them.
        limit: At most this many, the first ones; None for all.
        notes: What a person should know about how they were read; often empty.
    """

    samples: TimmStream
    limit: int | None = None
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[LabelledImage]:
        """Yield the images; `runtime/data/timm_streams.py` says which errors end it."""
        for sample in islice(self.samples, self.limit):
            yield LabelledImage(sample.name, sample.label, sample)

    @property
    def length(self) -> int | None:
        """How many images are expected, or None where nothing says so; the stream may end sooner."""
        known = [number for number in (self.samples.length, self.limit) if number is not None]
        return min(known, default=None)

    def __length_hint__(self) -> int:
        return NotImplemented if self.length is None else self.length


def open_images(
    source: str,
    labels: Sequence[str],
    *,
    labels_file: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    split: str = "validation",
    root: Path | None = None,
) -> Dataset | Stream:
    """Return the labelled images that `source` names: a stream, or what `open_dataset` opens.

    The arguments are those of `open_dataset`.

    Raises:
        UsageError: `limit` is less than 1, or `labels_file` stands beside a data-set name.
        DataError: There are no such images, or their classes are not those of `labels`.
    """
    if not names_stream(source) or Path(source).exists():
        return open_dataset(source, labels, labels_file=labels_file, limit=limit, seed=seed, split=split, root=root)
    _check_limit(limit)
    _check_no_labels_file(source, labels_file)
    samples = open_timm_stream(source, len(labels), split=split, root=root)
    notes = () if limit is None else (f"the first {limit} images of a stream, not balanced over the classes",)
    return Stream(samples, limit, notes)


def open_dataset(
    source: str,
    labels: Sequence[str],
    *,
    labels_file: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    split: str = "validation",
    root: Path | None = None,
) -> Dataset:
    """Return the labelled images that `source` names, each with its position; no streams.

    Args:
        source: A folder, or a data-set name that timm's `create_dataset` takes.
        labels: The bundle's classes, one line each: `name`, or `id<TAB>description`.
        labels_file: For a flat folder: lines `filename label`.
        limit: At most this many images, sampled class by class; None for all.
        seed: Of the sample.
        split: For a data-set name only.
        root: Folder of the downloaded data, for a data-set name only.

    Raises:
        UsageError: `limit` is less than 1, or `labels_file` stands beside a data-set name.
        DataError: There are no such images, or their classes are not those of `labels`.
    """
    _check_limit(limit)
    folder = Path(source)
    if folder.is_dir():
        dataset = _from_labels_file(folder, labels, labels_file) if labels_file else _from_class_folders(folder, labels)
    else:
        dataset = _from_timm(source, labels, labels_file=labels_file, split=split, root=root)
    if limit is None or limit >= len(dataset):
        return dataset
    note = f"{limit} of {len(dataset)} images, balanced over the classes, seed {seed}"
    return replace(
        dataset, images=sample_balanced(dataset.images, limit=limit, seed=seed), notes=(*dataset.notes, note)
    )


def list_images(folder: Path) -> tuple[Path, ...]:
    """Return all image files below a folder, sorted; names that start with a dot are not read."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return tuple(sorted(found))


def _from_timm(
    source: str, labels: Sequence[str], *, labels_file: Path | None, split: str, root: Path | None
) -> Dataset:
    """Return a data set that timm opens, or say that the folder is missing."""
    if source.partition("/")[0].lower() not in PREFIXES or Path(source).exists():
        raise DataError(
            f"{source} is not a folder: expected a folder of class folders, a flat folder with --labels FILE, "
            f"or a timm data-set name that starts with {', '.join(f'{prefix}/' for prefix in PREFIXES)}"
        )
    _check_no_labels_file(source, labels_file)
    if names_stream(source):
        raise DataError(f"{source} is a stream, expected a data set with positions: open it with open_images")
    samples = open_timm_samples(source, len(labels), split=split, root=root)
    images = tuple(LabelledImage(f"{source}[{split}][{sample.index}]", sample.label, sample) for sample in samples)
    return Dataset(images)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: expected at least 1 image, or no --limit for all")


def _check_no_labels_file(source: str, labels_file: Path | None) -> None:
    if labels_file is not None:
        raise UsageError(f"--labels {labels_file}: expected none beside {source}, which brings its own labels")


def _from_class_folders(folder: Path, labels: Sequence[str]) -> Dataset:
    """Return the images of a class-folder tree; rule 2."""
    children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    listed = {child.name: list_images(child) for child in children}
    files = {name: images for name, images in listed.items() if images}
    loose = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise DataError(_no_class_folders(folder, len(loose)))
    nested = next((name for name in ("validation", "val", "test", "train") if name in files), None)
    hint = f"; if {folder / nested} holds the class folders, pass that one" if nested else ""
    classes = match_classes(tuple(files), labels, what=f"class folders of {folder}", hint=hint)
    notes = [_note("class folders without an image", [name for name in listed if not listed[name]])]
    notes.append(_note("images beside the class folders, not read", [path.name for path in loose]))
    return Dataset(
        images=tuple(
            LabelledImage(name=path.relative_to(folder).as_posix(), label=classes[name], source=path)
            for name, paths in files.items()
            for path in paths
        ),
        notes=tuple(note for note in notes if note),
    )


def _from_labels_file(folder: Path, labels: Sequence[str], labels_file: Path) -> Dataset:
    """Return the images that a labels file names, in its order.

    Raises:
        DataError: It cannot be read, names files that are absent, or labels that are no class.
    """
    rows = read_labels_file(labels_file)
    missing = [row.filename for row in rows if not (folder / row.filename).is_file()]
    if missing:
        raise DataError(
            f"--labels {labels_file} names {len(missing)} files that {folder} lacks ({first_few(missing)}): "
            "expected paths below that folder; correct the list or the folder"
        )
    classes = match_classes(tuple(dict.fromkeys(row.label for row in rows)), labels, what=f"labels of {labels_file}")
    named = {folder / row.filename for row in rows}
    extra = [path.relative_to(folder).as_posix() for path in list_images(folder) if path not in named]
    note = _note(f"images that {labels_file.name} does not name, not read", extra)
    return Dataset(
        images=tuple(LabelledImage(row.filename, classes[row.label], folder / row.filename) for row in rows),
        notes=(note,) if note else (),
    )


def sample_balanced(images: tuple[LabelledImage, ...], *, limit: int, seed: int) -> tuple[LabelledImage, ...]:
    """Return `limit` images in their order; rule 5."""
    keys = [hashlib.sha256(f"{seed}/{image.name}".encode(errors="surrogateescape")).digest() for image in images]
    rank: dict[int, int] = {}
    turns: list[tuple[int, bytes, int]] = []
    for index in sorted(range(len(images)), key=keys.__getitem__):
        label = images[index].label
        turns.append((rank.get(label, 0), keys[index], index))
        rank[label] = rank.get(label, 0) + 1
    return tuple(images[index] for index in sorted(index for _, _, index in sorted(turns)[:limit]))


def _no_class_folders(folder: Path, loose: int) -> str:
    """Return the error for a folder with no image in any folder below it."""
    if loose:
        return (
            f"{folder} is flat: {loose} images and no class folder, expected one folder per class; "
            "state the classes with --labels FILE, lines 'filename label'"
        )
    return (
        f"{folder} holds no image: expected one folder per class with files such as .jpg or .png; "
        "check the path, or that the download was unpacked"
    )


def _note(what: str, names: Sequence[str]) -> str:
    """Return a note that counts and names, or an empty string for no names."""
    return f"{len(names)} {what} ({first_few(names)})" if names else ""
