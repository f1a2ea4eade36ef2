"""Labelled images in folders: class folders, or a flat folder with a labels file; which images there are, and a sample.

The rules are those of `runtime/data/open_images.py`.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from runtime.data.dataset import Dataset, LabelledImage
from runtime.data.labels import match_classes, match_folders, read_labels_file
from runtime.errors import DataError
from runtime.images.formats import PassedOver, describe_instead, describe_passed_over
from runtime.images.listing import list_images
from runtime.support.words import first_few


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


def read_class_folders(folder: Path, labels: Sequence[str]) -> Dataset:
    """Return the images of a class-folder tree; rule 2.

    Raises:
        DataError: There are no images, or their folders are not the classes of `labels`.
    """
    passed_over = PassedOver()
    files: dict[str, list[Path]] = {}
    loose: list[Path] = []
    for path in list_images(folder, passed_over):
        below = path.relative_to(folder)
        if len(below.parts) > 1:
            files.setdefault(below.parts[0], []).append(path)
        else:
            loose.append(path)
    if not files:
        raise DataError(_no_class_folders(folder, len(loose), describe_instead(passed_over)))
    empty = [one.name for one in _folders_in(folder) if one.name not in files]
    nested = next((name for name in ("validation", "val", "test", "train") if name in files), None)
    hint = f"; if {folder / nested} holds the class folders, pass that one" if nested else ""
    matched = match_folders(tuple(files), labels, what=f"class folders of {folder}", hint=hint)
    notes = [matched.note, _note("class folders without an image", empty)]
    notes.append(_note("images beside the class folders, not read", [path.name for path in loose]))
    notes.append(describe_passed_over(passed_over))
    return Dataset(
        images=tuple(
            LabelledImage(name=path.relative_to(folder).as_posix(), label=matched.classes[name], source=path)
            for name, paths in files.items()
            for path in paths
        ),
        notes=tuple(note for note in notes if note),
        classes=() if labels else tuple(matched.classes),
    )


def read_flat_folder(folder: Path, labels: Sequence[str], labels_file: Path) -> Dataset:
    """Return the images that a labels file names, in its order.

    Raises:
        DataError: The file cannot be read, names files that are absent, or labels that are no class.
    """
    rows = read_labels_file(labels_file)
    missing = [row.filename for row in rows if not (folder / row.filename).is_file()]
    if missing:
        raise DataError(
            f"--labels {labels_file} names {len(missing)} files that are not in {folder} ({first_few(missing)}): "
            "expected paths below that folder; correct the list or the folder"
        )
    classes = match_classes(tuple(dict.fromkeys(row.label for row in rows)), labels, what=f"labels of {labels_file}")
    named = {folder / row.filename for row in rows}
    passed_over = PassedOver()
    extra = [path.relative_to(folder).as_posix() for path in list_images(folder, passed_over) if path not in named]
    notes = (_note(f"images that {labels_file.name} does not name, not read", extra), describe_passed_over(passed_over))
    return Dataset(
        images=tuple(LabelledImage(row.filename, classes[row.label], folder / row.filename) for row in rows),
        notes=tuple(note for note in notes if note),
        classes=() if labels else tuple(classes),
    )


def _folders_in(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _no_class_folders(folder: Path, loose: int, instead: str) -> str:
    """Return the error for a folder with no image in any folder below it."""
    if loose:
        return (
            f"{folder} is flat: {loose} images and no class folder, expected one folder per class; "
            "state the classes with --labels FILE, lines 'filename label'"
        )
    return (
        f"{folder} holds no image: expected one folder per class with files such as .jpg or .png, {instead}; "
        "check the path, or that the download was unpacked"
    )


def _note(what: str, names: Sequence[str]) -> str:
    """Return a note that counts and names, or an empty string for no names."""
    return f"{len(names)} {what} ({first_few(names)})" if names else ""
