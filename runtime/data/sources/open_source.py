"""What the IMAGES of a command line are: folders, lists, tar shards, Parquet files, or image files.

1. Files go by their suffix: images, `.tar`, `.parquet` or `.pq`; any other file is an image if its contents are one,
   and else taken for a list.
2. A folder is read for images at any depth; one without any, for tar shards; one without these, for Parquet files.
3. Several arguments are read in the order given. They must be of one kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from pathlib import Path, PurePath

from runtime.data.sources.entries import Source
from runtime.data.sources.image_files import FolderSource, JoinedFiles, ListSource, NamedFiles
from runtime.data.sources.list_rows import find_layout
from runtime.data.sources.parquet_table import PARQUET_SUFFIXES, open_parquet
from runtime.data.sources.tar_shards import TAR_SUFFIXES, TarSource
from runtime.errors import DataError, UsageError
from runtime.images.formats import IMAGE_SUFFIXES, PassedOver, describe_instead, is_image
from runtime.images.listing import walk_files, walk_images
from runtime.support.files import open_plain

IMAGES, TARS, TABLES, LISTS = "images", "tar shards", "Parquet files", "lists"
_SUFFIXES = {
    **dict.fromkeys(IMAGE_SUFFIXES, IMAGES),
    **dict.fromkeys(TAR_SUFFIXES, TARS),
    **dict.fromkeys(PARQUET_SUFFIXES, TABLES),
}


@dataclass(frozen=True)
class InputChoice:
    """How the images are to be read.

    Attributes:
        root: Where relative paths start, of a list or in a column; None for the folder of the list or the table.
        image_column: Column of encoded images in Parquet files; None finds it.
        key_column: Column of keys in Parquet files; None finds it.
    """

    root: Path | None = None
    image_column: str | None = None
    key_column: str | None = None


def open_source(paths: Sequence[Path], choice: InputChoice | None = None) -> Source:
    """Return the source that some paths name.

    Raises:
        UsageError: The paths are of several kinds, or an option does not fit them.
        DataError: One is absent, empty, or cannot be read.
    """
    choice = choice or InputChoice()
    kinds = {path: find_kind(path) for path in paths}
    if len(set(kinds.values())) > 1:
        first, other = next((paths[0], path) for path in paths if kinds[path] != kinds[paths[0]])
        raise UsageError(
            f"{first} ({kinds[first]}) and {other} ({kinds[other]}) are of two kinds, expected one kind: run a "
            "job for each"
        )
    kind = kinds[paths[0]]
    check_options(choice, kind)
    if kind == TARS:
        return TarSource(tuple(chain.from_iterable(files_of(path, TAR_SUFFIXES) for path in paths)))
    if kind == TABLES:
        files = tuple(chain.from_iterable(files_of(path, PARQUET_SUFFIXES) for path in paths))
        return open_parquet(files, image=choice.image_column, key=choice.key_column, root=choice.root)
    if kind == LISTS:
        return JoinedFiles(tuple(open_list(path, choice.root) for path in paths))
    return _open_images(paths)


def find_kind(path: Path, *, otherwise: str | None = None) -> str:
    """Return what a path holds; rules 1 and 2.

    Args:
        path: The path.
        otherwise: What a folder counts as that holds nothing of these kinds; None refuses it.

    Raises:
        DataError: The path is absent, a pipe or a device, or a folder that holds nothing of the kind.
    """
    if path.is_file():
        known = _SUFFIXES.get(path.suffix.lower())
        return known or (IMAGES if is_image(path.name, partial(open_plain, path)) else LISTS)
    if not path.is_dir():
        if path.exists():
            raise DataError(
                f"{path} is a pipe, a socket or a device: expected a folder of images, a list of paths, a .tar or a "
                ".parquet file; write what it gives into a plain file first"
            )
        raise DataError(
            f"{path} does not exist: expected a folder of images, a list of paths, a .tar or a .parquet file"
        )
    others = PassedOver()
    if next(walk_images(path, others), None) is not None:
        return IMAGES
    for kind, suffixes in ((TARS, TAR_SUFFIXES), (TABLES, PARQUET_SUFFIXES)):
        if any(others[suffix] for suffix in suffixes):
            return kind
    if otherwise is not None:
        return otherwise
    raise DataError(
        f"{path} holds no image, no .tar and no .parquet file: expected files such as .jpg or .png at any depth, "
        f"{describe_instead(others)}; check the path, or that the download was unpacked"
    )


def check_options(choice: InputChoice, kind: str) -> None:
    """Refuse options that would have no effect.

    Raises:
        UsageError: There is one.
    """
    for option, given, wanted in (
        ("--root", choice.root, (LISTS, TABLES)),
        ("--image-column", choice.image_column, (TABLES,)),
        ("--key-column", choice.key_column, (TABLES,)),
    ):
        if given is not None and kind not in wanted:
            raise UsageError(
                f"{option} {given} cannot be used with {kind}: it is for {' and '.join(wanted)}; leave it out"
            )


def files_of(path: Path, suffixes: frozenset[str]) -> tuple[Path, ...]:
    """Return the file, or those below a folder, in order."""
    if path.is_file():
        return (path,)
    return tuple(path / below for below in walk_files(path) if PurePath(below).suffix.lower() in suffixes)


def open_list(path: Path, root: Path | None) -> ListSource:
    """Return a list of images as a source.

    Raises:
        DataError: The list cannot be read, or none of its first paths leads to a file.
    """
    start = path.parent if root is None else root
    return ListSource(path, start, find_layout(path, start))


def _open_images(paths: Sequence[Path]) -> Source:
    """Return folders and image files as one source."""
    if len(paths) == 1 and paths[0].is_dir():
        return FolderSource(str(paths[0]))
    parts: list[FolderSource | NamedFiles] = []
    for is_folder, here in groupby(paths, key=Path.is_dir):
        if is_folder:
            parts += [FolderSource(str(folder), prefix=f"{folder.as_posix()}/") for folder in here]
        else:
            parts.append(NamedFiles(tuple(str(file) for file in here)))
    return JoinedFiles(tuple(parts))
