"""Data sets that timm reads as a stream: `wds/...`, `hfids/...` and `tfds/...`.

1. Samples come one after the other, in the stream's order; there are no positions to jump to, so a limit
   can only mean the first ones. A data set may not know how many it has.
2. Every label is checked when its sample comes: the first one that is not a class of the network ends
   the run. Where the data set names its classes, their number is checked before.
3. A picture that cannot be decoded in a worker is one unreadable image, as of a file. An error inside the
   reader itself ends the run, since no reader can go on after one; `--skip-unreadable` does not help.
4. The readers for `hfids/` and `tfds/` decode in the thread that asks; `wds/` gives undecoded files
   (`runtime/data/wds_shards.py`).
5. `hfids/` fetches a hub data set over the network while it is read, unless the rest of the name is a
   local folder, as in `hfids//data/val`. Nothing is downloaded for the others.
"""

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from runtime.data.timm_names import STREAMS, create_timm_dataset
from runtime.data.wds_shards import read_shards
from runtime.errors import DataError, UsageError


@dataclass(frozen=True)
class StreamSample:
    """One sample of a stream; holds its picture, so it should not be kept for long.

    Attributes:
        name: What messages call it: the data set, its split, the position from 0, and a key if it has one.
        label: Class index, 0-based, a class of the network.
        picture: The picture, or the bytes of its file.
    """

    name: str
    label: int
    picture: Image.Image | bytes

    def open(self) -> Image.Image | BinaryIO:
        """Return the picture, or its file's contents."""
        return BytesIO(self.picture) if isinstance(self.picture, bytes) else self.picture


class _Raw(NamedTuple):
    """What a reader gives."""

    picture: Any
    target: Any
    key: str = ""


@dataclass(frozen=True)
class TimmStream:
    """The samples of a stream, from its start each time that they are iterated.

    Attributes:
        what: The data set and its split, for messages.
        classes: The network's; 0 where it has no classifier, and takes the data's.
        length: How many the data set says it has, or None.
        start: Begins a pass over (picture or bytes, target, key).
    """

    what: str
    classes: int
    length: int | None
    start: Callable[[], Iterable[tuple[Any, Any, str]]]

    def __iter__(self) -> Iterator[StreamSample]:
        """Yield the samples.

        Raises:
            DataError: The reader failed, a label is not a class of the network, or there is no sample.
        """
        position = -1
        for position, raw in enumerate(self._pull()):
            name = f"{self.what}[{position}]" + (f" {raw.key}" if raw.key else "")
            if not isinstance(raw.picture, Image.Image | bytes):
                raise DataError(
                    f"{name} is a {type(raw.picture).__name__}, expected an image: use a data set of labelled images"
                )
            yield StreamSample(name, _class_index(name, raw.target, self.classes), raw.picture)
        if position < 0:
            raise DataError(f"{self.what} gave no image: expected at least one; check --split and --root")

    def _pull(self) -> Iterator[_Raw]:
        """Yield what the reader gives, its errors named by position; rule 3."""
        position = 0
        try:
            for picture, target, key in self.start():
                yield _Raw(picture, target, key)
                position += 1
        except DataError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            repair = (
                f"or compare on those before it with --limit {position}" if position else "check --split and --root"
            )
            raise DataError(
                f"{self.what}[{position}] cannot be read ({reason}), and a stream cannot continue after that: "
                f"expected undamaged data; repair it, {repair}"
            ) from error


def names_stream(source: str) -> bool:
    """Return whether a data-set name is one that timm reads as a stream."""
    prefix, slash, _ = source.partition("/")
    return bool(slash) and prefix.lower() in STREAMS


def open_timm_stream(source: str, classes: int, *, split: str, root: Path | None) -> TimmStream:
    """Return the stream that a name stands for; no sample is read yet.

    Args:
        source: Name of the stream, for example `wds/imagenet`; for `wds/` the rest of the name is yours to choose.
        classes: The network's.
        split: Name of the split, for example `validation`; for `wds/` also shards, `val-{00..63}.tar`, or with the
            number of images, `val-{00..63}.tar|50000`.
        root: Folder of the data; for `hfids/`, the cache folder.

    Raises:
        UsageError: `wds/` without `root`.
        DataError: A package is missing, the data set cannot be opened, or has another number of classes.
    """
    prefix = source.partition("/")[0].lower()
    if prefix == "wds" and root is None:
        raise UsageError(f"--data {source} without --root: expected the folder of the .tar shards as --root FOLDER")
    # timm's hfids reader insists on a length, which only training needs.
    opened = create_timm_dataset(source, split, root, num_samples=1 if prefix == "hfids" else None)
    names = getattr(opened.reader, "class_to_idx", None)
    if classes and names and len(names) != classes:
        raise DataError(
            f"{source} has {len(names)} classes, expected the network's {classes}: use the data that the network "
            "was trained for"
        )
    length = _hub_length(opened.reader, split) if prefix == "hfids" else len(opened)
    return TimmStream(f"{source}[{split}]", classes, length or None, _pass_over(prefix, opened))


def _pass_over(prefix: str, opened: Any) -> Callable[[], Iterable[tuple[Any, Any, str]]]:
    """Return what begins a pass over a data set that timm opened."""
    if prefix == "wds":
        return lambda: read_shards(opened.reader)
    return lambda: ((picture, target, "") for picture, target in opened)


def _hub_length(reader: Any, split: str) -> int | None:
    """Return the number of examples that a Hugging Face data set states, or None."""
    info = (reader.builder.info.splits or {}).get(split)
    return getattr(info, "num_examples", None)


def _class_index(name: str, target: Any, classes: int) -> int:
    """Return a label as a class index; rule 2.

    Raises:
        DataError: The label is not one whole number, or not a class.
    """
    try:
        label = operator.index(target)
    except TypeError:
        label = -1
    if label < 0 or (classes and label >= classes):
        expected = f"of the network, 0 to {classes - 1}" if classes else "of 0 or more"
        raise DataError(
            f"{name} has the label {target!r}, expected a class index {expected}: use the data that the network was "
            "trained for"
        )
    return label
