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

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runtime.data.class_folders import read_class_folders, read_flat_folder, sample_balanced
from runtime.data.dataset import Dataset, LabelledImage, Stream
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
) -> Dataset | Stream:
    """Return the labelled images that `source` names, each with its position, or one after the other in a stream.

    Args:
        source: A folder, or a data-set name that timm's `create_dataset` takes.
        labels: The bundle's classes, one line each: `name`, or `id<TAB>description`; none for a network without a
            classifier, which takes the data's own classes.
        labels_file: File of lines `filename label`, for a flat folder.
        limit: Largest number of images, sampled class by class, or of a stream the first ones; None for all.
        seed: Seed of the sample.
        split: Split of the data set, for a data-set name only.
        root: Folder of the downloaded data, for a data-set name only.

    Raises:
        UsageError: `limit` is less than 1, or `labels_file` stands beside a data-set name.
        DataError: There are no such images, or their classes are not those of `labels`.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: expected at least 1 image, or no --limit for all")
    folder = Path(source)
    if folder.is_dir():
        dataset = read_flat_folder(folder, labels, labels_file) if labels_file else read_class_folders(folder, labels)
        return _limited(dataset, limit, seed)
    _check_name(source, labels_file)
    if names_stream(source):
        samples = open_timm_stream(source, len(labels), split=split, root=root)
        notes = () if limit is None else (f"the first {limit} images of a stream, not balanced over the classes",)
        return Stream(samples, limit, notes)
    found = open_timm_samples(source, len(labels), split=split, root=root)
    images = tuple(LabelledImage(f"{source}[{split}][{sample.index}]", sample.label, sample) for sample in found)
    return _limited(Dataset(images), limit, seed)


def _check_name(source: str, labels_file: Path | None) -> None:
    """Refuse what is neither a folder nor a data-set name, and a labels file beside a name."""
    if source.partition("/")[0].lower() not in PREFIXES or Path(source).exists():
        raise DataError(
            f"{source} is not a folder: expected a folder of class folders, a flat folder with --labels FILE, "
            f"or a timm data-set name that starts with {', '.join(f'{prefix}/' for prefix in PREFIXES)}"
        )
    if labels_file is not None:
        raise UsageError(f"--labels {labels_file} cannot be used with {source}, which has its own labels: leave it out")


def _limited(dataset: Dataset, limit: int | None, seed: int) -> Dataset:
    """Return a sample of a data set, and a note on it; all of it where it is no larger."""
    if limit is None or limit >= len(dataset):
        return dataset
    note = f"{limit} of {len(dataset)} images, balanced over the classes, seed {seed}"
    return replace(
        dataset, images=sample_balanced(dataset.images, limit=limit, seed=seed), notes=(*dataset.notes, note)
    )
