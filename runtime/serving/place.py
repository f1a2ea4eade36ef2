"""Where a version goes in a repository, and how it gets there whole.

Triton takes every folder of a repository for a model, hidden ones too, and while it polls it reloads a model's
versions when anything but a version or the configuration changes in its folder (core src/model_repository_manager/
model_repository_manager.cc Poll and ModelTimestamp at 73aad7c). So nothing is staged inside a repository: it is made
beside it, in the same file system, and renamed into place once.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BundleError, UsageError
from runtime.serving.record import Record, read_record
from runtime.support.partial import partial_folder, recover, replace_folder

# Both servers have the name in URLs; Triton refuses '/' and '..' in it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Triton ignores versions with leading zeros; OpenVINO Model Server wants more than 0. Both read a 64-bit number.
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
# As `runtime/support/partial.py` names it.
_MOVED_ASIDE = re.compile(r"\.([1-9][0-9]{0,17})\..+")


@dataclass(frozen=True)
class Place:
    """A model's folder in a repository, new or existing.

    Attributes:
        repository: The repository, an absolute path.
        name: The model's name.
        versions: Numbers of the versions that are there, ascending.
        standing: What the highest of them was made from; None where there is none.
    """

    repository: Path
    name: str
    versions: tuple[int, ...]
    standing: Record | None

    @property
    def model(self) -> Path:
        """The model's folder."""
        return self.repository / self.name

    def next_version(self) -> int:
        """Return the number after the highest."""
        return self.versions[-1] + 1 if self.versions else 1


def find_place(repository: Path, name: str) -> Place:
    """Return a model's place in a repository.

    Raises:
        UsageError: The name cannot be a folder and part of a URL.
        BundleError: The repository cannot be written, or the model's folder there is not one of ours.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name {name!r}: expected letters, digits, '.', '_' and '-', beginning with a letter or digit, "
            "such as resnet50"
        )
    check_repository(repository)
    repository = repository.resolve()
    model = repository / name
    if not model.exists() and not model.is_symlink():
        return Place(repository, name, (), None)
    if model.is_symlink() or not model.is_dir():
        raise BundleError(f"{model} is no plain folder of {repository}: remove it, or pass another --name")
    _put_versions_back(model)
    found = sorted(int(path.name) for path in model.iterdir() if path.is_dir() and _VERSION.fullmatch(path.name))
    if not found:
        raise BundleError(f"{model} has no version made by run-ssl repo: remove it, or pass another --name")
    return Place(repository, name, tuple(found), read_record(model / str(found[-1])))


def _put_versions_back(model: Path) -> None:
    """Put back the versions that a process moved aside and was killed before it could replace."""
    for path in list(model.iterdir()):
        if aside := _MOVED_ASIDE.fullmatch(path.name):
            recover(model / aside[1])


def check_repository(repository: Path) -> None:
    """Refuse a repository that cannot be written, before any long work is done for it.

    Raises:
        BundleError: The path is a file, it or the folder that it stands in cannot be written, or it is a file system
            of its own.
    """
    if (repository.exists() or repository.is_symlink()) and not repository.is_dir():
        raise BundleError(f"{repository} is not a directory: pass a model repository, new or existing")
    repository = repository.resolve()
    parent = repository.parent
    if not parent.is_dir():
        raise BundleError(f"{parent} is not a directory: create it first, or pass another repository")
    for folder in (repository, parent):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise BundleError(
                f"cannot write into {folder}: a version is made beside {repository} and then renamed into it; "
                "change its permissions, or pass another repository"
            )
    if repository.exists() and repository.stat().st_dev != parent.stat().st_dev:
        raise BundleError(
            f"{repository} is a mount point: a version is made beside the repository and then renamed into it, which "
            f"needs one file system; pass a folder inside, such as {repository / 'models'}"
        )


def check_version(place: Place, version: int | None, *, overwrite: bool) -> int:
    """Return the version to write.

    Raises:
        UsageError: The version is no version number.
        BundleError: The version exists and may not be replaced.
    """
    if version is None:
        return place.next_version()
    if not _VERSION.fullmatch(str(version)):
        raise UsageError(f"--version {version}: expected a whole number from 1 on, of at most 18 digits")
    folder = place.model / str(version)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder} is no plain folder: remove it, or pass another --version")
    if folder.exists() and not overwrite:
        raise BundleError(
            f"{folder} exists: pass --overwrite to replace it, or leave --version out for {place.next_version()}"
        )
    return version


@contextmanager
def staged(place: Place, version: int) -> Iterator[Path]:
    """Yield an empty version folder that is put in its place when the block succeeds.

    Of a new model, the yielded folder's parent is the model's folder, which is renamed with it; of a new repository,
    that one's parent too. So a server sees all of it at once. When the block raises, nothing has changed.

    Raises:
        BundleError: The disk cannot take it.
    """
    beside = place.repository.parent
    target = place.model / str(version)
    try:
        recover(target)
        with partial_folder(place.repository) as staging:
            folder = staging / "new" / place.name / str(version)
            folder.mkdir(parents=True)
            yield folder
            _put(staging, place, version)
    except OSError as error:
        raise BundleError(
            f"cannot write {target}: {error.strerror or error}; free some space, or change the permissions of "
            f"{beside}, "
            "or pass another repository"
        ) from error


def _put(staging: Path, place: Place, version: int) -> None:
    """Rename the largest part that is new into place; an old version steps aside, and comes back on failure."""
    repository, model = staging / "new", staging / "new" / place.name
    if not place.repository.exists():
        replace_folder(repository, place.repository)
    elif not place.model.exists():
        replace_folder(model, place.model)
    else:
        replace_folder(model / str(version), place.model / str(version))
