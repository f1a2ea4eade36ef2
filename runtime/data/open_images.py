"""Labelled images: class folders, a labels file, Parquet, tar shards, a list, or a dataset that timm names.

1. `source` is a path if there is one: a folder of images; a `.tar` or `.parquet` file, or a folder of them without any
   image; or a list with labels (`runtime/data/labelled_sources.py`). Else it must be a name such as `torch/cifar10`
   or `hfds/owner/name`, which `runtime/data/timm_names.py` opens, or one such as `wds/name`, which is a stream
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

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runtime.data.class_folders import read_class_folders, read_flat_folder, sample_balanced
from runtime.data.dataset import Dataset, LabelledImage, Stream
from runtime.data.labelled_sources import read_list, read_shards, read_tables
from runtime.data.sources.open_source import (
    IMAGES,
    LISTS,
    TABLES,
    TARS,
    InputChoice,
    check_options,
    files_of,
    find_kind,
)
from runtime.data.sources.parquet_table import PARQUET_SUFFIXES
from runtime.data.sources.tar_shards import TAR_SUFFIXES
from runtime.data.timm_names import PREFIXES, open_timm_samples
from runtime.data.timm_streams import names_stream, open_timm_stream
from runtime.errors import DataError, UsageError


def open_images(
    source: str,
    labels: Sequence[str],
    *,
    labels_file: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    split: str = "validation",
    root: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Dataset | Stream:
    """Return the labelled images that `source` names, each with its position, or one after the other in a stream.

    Args:
        source: A folder, file or list, or a data-set name that timm's `create_dataset` takes.
        labels: The bundle's classes, one line each: `name`, or `id<TAB>description`; none for a network without a
            classifier, which takes the data's own classes.
        labels_file: File of lines `filename label`, for a flat folder.
        limit: Largest number of images, sampled class by class, or of a stream the first ones; None for all.
        seed: Seed of the sample.
        split: Split of the data set, for a data-set name only.
        root: Folder of the downloaded data, for a data-set name; where relative paths start, for a list or table.
        image_column: Column of a Parquet file with the images; None finds it.
        label_column: Column of a Parquet file with the labels; None finds it.

    Raises:
        UsageError: `limit` is less than 1, or an option does not fit the source.
        DataError: There are no such images, or their classes are not those of `labels`.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: expected at least 1 image, or no --limit for all")
    path = Path(source)
    if labels_file is not None and path.is_dir():
        return _limited(read_flat_folder(path, labels, labels_file), limit, seed)
    if path.exists():
        if labels_file is not None:
            raise _own_labels(source, labels_file)
        dataset = _read_path(path, labels, InputChoice(root, image_column), label_column)
        return _limited(dataset, limit, seed)
    _check_name(source, labels_file)
    if names_stream(source):
        samples = open_timm_stream(source, len(labels), split=split, root=root)
        notes = () if limit is None else (f"the first {limit} images of a stream, not balanced over the classes",)
        return Stream(samples, limit, notes)
    found = open_timm_samples(source, len(labels), split=split, root=root)
    images = tuple(LabelledImage(f"{source}[{split}][{sample.index}]", sample.label, sample) for sample in found)
    return _limited(Dataset(images), limit, seed)


def _read_path(path: Path, labels: Sequence[str], choice: InputChoice, label_column: str | None) -> Dataset:
    """Return what a path holds; rule 1."""
    kind = find_kind(path, otherwise=IMAGES)
    check_options(choice, kind)
    if label_column is not None and kind != TABLES:
        raise UsageError(f"--label-column {label_column} cannot be used with {kind}: it is for {TABLES}; leave it out")
    if kind == TABLES:
        files = files_of(path, PARQUET_SUFFIXES)
        return read_tables(files, labels, image=choice.image_column, label=label_column, root=choice.root)
    if kind == TARS:
        return read_shards(files_of(path, TAR_SUFFIXES), labels)
    if kind == LISTS:
        return read_list(path, labels, choice.root)
    if path.is_file():
        raise DataError(f"{path} is not a folder: expected a folder of class folders; pass the one above its class's")
    return read_class_folders(path, labels)


def _own_labels(source: str, labels_file: Path) -> UsageError:
    return UsageError(f"--labels {labels_file} cannot be used with {source}, which has its own labels: leave it out")


def _check_name(source: str, labels_file: Path | None) -> None:
    """Refuse what is neither a folder nor a data-set name, and a labels file beside a name."""
    if source.partition("/")[0].lower() not in PREFIXES:
        raise DataError(
            f"{source} is not a folder: expected a folder of class folders, a flat folder with --labels FILE, .tar or "
            ".parquet files, a list of `path label` lines, or a timm data-set name that starts with "
            f"{', '.join(f'{prefix}/' for prefix in PREFIXES)}"
        )
    if labels_file is not None:
        raise _own_labels(source, labels_file)


def _limited(dataset: Dataset, limit: int | None, seed: int) -> Dataset:
    """Return a sample of a data set, and a note on it; all of it where it is no larger."""
    if limit is None or limit >= len(dataset):
        return dataset
    note = f"{limit} of {len(dataset)} images, balanced over the classes, seed {seed}"
    return replace(
        dataset, images=sample_balanced(dataset.images, limit=limit, seed=seed), notes=(*dataset.notes, note)
    )
