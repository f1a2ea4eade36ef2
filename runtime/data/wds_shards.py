"""The samples of tar shards (WebDataset), undecoded, none left out in silence.

timm resolves the split into shards, and says which entries hold the picture and the class. Its own loop is
not used: it decodes in the thread that asks, and it leaves out, with no more than a log line, each sample
that it cannot decode and the rest of each shard that it cannot read.

1. Shards in the split's order, samples in the shard's.
2. Files belong to one sample as webdataset says: as long as their names are alike up to the first dot. But where the
   class has a longer name in common with its picture (`photo.v2.0001.jpg`, `photo.v2.0001.cls`), that name is the key.
   The picture is the first entry that the reader's `input_key` names (`jpg;png;webp`), or else the first one with an
   image's ending (`x.jpeg`, `x.input.jpg`).
3. The class is the `cls` entry; or, where the split's `_info.json` has an `alt_label`, that field of the
   `json` entry. Samples whose `alt_label` is negative have no class there and are left out, as in timm.
4. A damaged shard is an error at the sample where the damage is (`runtime/support/tar_members.py`).
"""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from runtime.errors import DataError
from runtime.images.formats import IMAGE_SUFFIXES
from runtime.support.files import open_plain
from runtime.support.json_file import parse_json
from runtime.support.tar_members import walk_members
from runtime.support.words import first_few

_ENTRIES_SHOWN = 6


def read_shards(reader: Any) -> Iterator[tuple[bytes, int, str]]:
    """Yield (bytes of an image file, class index, key) of every sample.

    Args:
        reader: timm's `ReaderWds`.

    Raises:
        DataError: A sample lacks its picture or its class, or a second archive follows in a shard.
        OSError, tarfile.TarError, EOFError: A shard is absent or damaged.
    """
    for name in reader.split_info.filenames:
        for sample in _samples(Path(reader.root, name)):
            label = _label(sample, reader.split_info.alt_label)
            if label is not None:
                yield _picture(sample, reader.input_key.split(";")), label, str(sample["__key__"])


def _samples(shard: Path) -> Iterator[dict[str, Any]]:
    """Yield a shard's samples: bytes by what follows the key and a dot, with `__key__` and `__url__`; rule 2."""
    with open_plain(shard) as file, tarfile.open(fileobj=file) as tar:
        held: list[tuple[str, bytes]] = []
        for name, contents in _files(tar):
            if held and (_key(name) != _key(held[0][0]) or (_stem(name) != _stem(held[-1][0]) and _own_class(held))):
                yield _as_sample(shard, held)
                held = []
            held.append((name, contents))
        if held:
            yield _as_sample(shard, held)


def _as_sample(shard: Path, held: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    key = _own_class(held) or _key(held[0][0])
    entries = {name.removeprefix(f"{key}."): contents for name, contents in held}
    return {"__key__": key, "__url__": str(shard), **entries}


def _own_class(held: Sequence[tuple[str, bytes]]) -> str:
    """Return the longer name that a class has in common with a picture; empty where it has none."""
    stems = [_stem(name) for name, _ in held if PurePosixPath(name).suffix in (".cls", ".json")]
    return next((stem for stem in stems if stem != _key(held[0][0])), "")


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def _stem(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.rpartition('.')[0]}"


def _files(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """Yield name and contents of every file whose name has an ending; rule 4.

    Raises:
        ReadError: A file is cut off, or what follows the last one is not the end mark.
    """
    for member in walk_members(tar):
        contents = tar.extractfile(member) if member.isreg() and PurePosixPath(member.name).suffix else None
        if contents is not None:
            with contents:
                yield member.name, contents.read()


def _label(sample: Mapping[str, Any], alt_label: str) -> int | None:
    """Return a sample's class, or None where `alt_label` gives it none; rule 3.

    Raises:
        DataError: There is no such entry or field, or it is not a whole number.
    """
    text = _entry(sample, ["json" if alt_label else "cls"])
    try:
        label = int(parse_json(text)[alt_label] if alt_label else text)
    except (ValueError, TypeError, KeyError) as error:
        what = f"field {alt_label} of the json entry" if alt_label else "cls entry"
        raise DataError(
            f"{_where(sample)} has no class index in its {what} ({text[:40]!r}): expected a whole number; "
            "write the shards again with class indices"
        ) from error
    return None if alt_label and label < 0 else label


def _picture(sample: Mapping[str, Any], suffixes: list[str]) -> bytes:
    """Return the sample's picture; rule 2.

    Raises:
        DataError: There is none.
    """
    if not any(suffix in sample for suffix in suffixes):
        pictures = [name for name in sample if PurePosixPath(f"x.{name}").suffix.lower() in IMAGE_SUFFIXES]
        suffixes = sorted(pictures, key=lambda name: name.count("."))[:1] or suffixes
    return _entry(sample, suffixes)


def _entry(sample: Mapping[str, Any], suffixes: list[str]) -> bytes:
    """Return the first entry with one of the suffixes.

    Raises:
        DataError: There is none.
    """
    for suffix in suffixes:
        if suffix in sample:
            return bytes(sample[suffix])
    found = first_few([name for name in sample if not name.startswith("__")], shown=_ENTRIES_SHOWN)
    raise DataError(
        f"{_where(sample)} has the entries {found}, expected one of {', '.join(suffixes)}: "
        "write the shards again with an image file and a .cls file per sample"
    )


def _where(sample: Mapping[str, Any]) -> str:
    return f"sample {sample['__key__']} of {sample['__url__']}"
