"""Data sets by the names that timm's `create_dataset` takes: `torch/...` and `hfds/...`.

1. Classes are the data set's own indices, so it must have as many classes as the network; names are not
   compared, since data sets spell them in their own ways.
2. Nothing is downloaded: `root` holds the data (for `hfds/`, the cache folder).
3. `hfids/`, `tfds/` and `wds/` stream: their images have no positions; see `runtime/data/timm_streams.py`.
4. Unreadable images are reported as for files. timm itself would score the next image in their place.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from runtime.errors import DataError

PREFIXES = ("torch", "hfds", "hfids", "tfds", "wds")
STREAMS = ("hfids", "tfds", "wds")
# What timm's readers import, and how it is installed. Where one is missing they print so, to stdout.
_PACKAGES = {
    "hfds": (("datasets",), "datasets"),
    "hfids": (("datasets",), "datasets"),
    "tfds": (("tensorflow", "tensorflow_datasets"), "tensorflow tensorflow-datasets"),
    "wds": (("webdataset",), "webdataset"),
}
# An argument that timm passes to datasets; 1.0.31 looks first whether datasets takes it.
_OLD_ARGUMENT = "trust_remote_code"


@dataclass(frozen=True)
class TimmSample:
    """One sample of an indexable data set.

    Attributes:
        samples: Gives (picture or open file, class) by position.
        index: The position.
        label: Class index, 0-based.
    """

    samples: Any
    index: int
    label: int

    def open(self) -> Image.Image | BinaryIO:
        """Return the picture, or its open file."""
        opened: Image.Image | BinaryIO = self.samples[self.index][0]
        return opened


def open_timm_samples(source: str, classes: int, *, split: str, root: Path | None) -> tuple[TimmSample, ...]:
    """Return the samples of a data set that timm opens, pictures read only when they are asked for.

    Args:
        source: Name of the data set, for example `torch/cifar10`.
        classes: The network's.
        split: Name of the split, for example `validation`.
        root: Folder of the downloaded data.

    Raises:
        DataError: The data set cannot be opened, or has another number of classes.
    """
    opened = create_timm_dataset(source, split, root)
    # timm's own ImageDataset replaces an unreadable image by the next one; its reader does not.
    samples = getattr(opened, "reader", opened)
    targets = _targets(samples)
    _check_classes(source, samples, targets, classes)
    return tuple(TimmSample(samples, index, label) for index, label in enumerate(targets))


def create_timm_dataset(source: str, split: str, root: Path | None, *, num_samples: int | None = None) -> Any:
    """Return what timm's `create_dataset` gives.

    Args:
        source: The data set's name.
        split: Split of the data set.
        root: Folder of the downloaded data.
        num_samples: The length of a stream, where timm needs to be told.

    Raises:
        DataError: timm or what it needs is not installed, it does not know the name, or finds no data.
    """
    modules, install = _PACKAGES.get(source.partition("/")[0].lower(), ((), ""))
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise DataError(f"{source} needs {' and '.join(missing)}, not installed here: pip install {install}")
    try:
        from timm.data import create_dataset

        folder = None if root is None else str(root)
        return create_dataset(source, root=folder, split=split, download=False, num_samples=num_samples)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if _OLD_ARGUMENT in reason:
            raise DataError(
                f"timm cannot open {source}: timm before 1.0.31 passes {_OLD_ARGUMENT}, which datasets no longer takes "
                "from version 4 on; pip install 'timm>=1.0.31', or 'datasets<4'"
            ) from error
        raise DataError(
            f"timm cannot open {source}, split {split}, below {root} ({reason}): expected a data-set name that "
            "timm.data.create_dataset takes, with its data already there; check the name and the folder"
        ) from error


def _targets(samples: Any) -> list[int]:
    """Return the class of every sample, without decoding where the data set lists them."""
    if hasattr(samples, "targets"):
        return [int(target) for target in samples.targets]
    if hasattr(samples, "iter_targets"):
        return [int(target) for target in samples.iter_targets()]
    return [int(samples[index][1]) for index in range(len(samples))]


def _check_classes(source: str, samples: Any, targets: list[int], classes: int) -> None:
    """Refuse a data set whose classes cannot be the network's.

    Raises:
        DataError: Another number of classes, a label out of range, or no image.
    """
    names = getattr(samples, "classes", None) or getattr(samples, "class_to_idx", None)
    found = len(names) if names else max(targets, default=-1) + 1
    if not targets:
        raise DataError(f"{source} holds no image: expected at least one; check --split")
    if min(targets) < 0 or (classes and (max(targets) >= classes or (names and found != classes))):
        raise DataError(
            f"{source} has {found} classes (labels {min(targets)} to {max(targets)}), expected the network's "
            f"{classes}: use the data that the network was trained for"
        )
