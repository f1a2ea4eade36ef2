"""The samples of tar shards (WebDataset), undecoded, none left out in silence.

timm resolves the split into shards, and says which entries hold the picture and the class. Its own loop is
not used: it decodes in the thread that asks, and it leaves out, with no more than a log line, each sample
that it cannot decode and the rest of each shard that it cannot read.

1. Shards in the split's order, samples in the shard's.
2. The picture is the first entry that the reader's `input_key` names (`jpg;png;webp`).
3. The class is the `cls` entry; or, where the split's `_info.json` has an `alt_label`, that field of the
   `json` entry. Samples whose `alt_label` is negative have no class there and are left out, as in timm.
4. A damaged shard is an error at the sample where the damage is (`runtime/support/tar_members.py`).
"""

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.errors import DataError
from runtime.support.tar_members import walk_members


def read_shards(reader: Any) -> Iterator[tuple[bytes, int, str]]:
    """Yield (bytes of an image file, class index, key) of every sample.

    Args:
        reader: timm's `ReaderWds`.

    Raises:
        DataError: A sample lacks its picture or its class.
        OSError, tarfile.TarError, EOFError: A shard is absent or damaged.
    """
    for name in reader.split_info.filenames:
        for sample in _samples(Path(reader.root, name)):
            label = _label(sample, reader.split_info.alt_label)
            if label is not None:
                yield _entry(sample, reader.input_key.split(";")), label, str(sample["__key__"])


def _samples(shard: Path) -> Iterator[dict[str, Any]]:
    """Yield a shard's samples as webdataset groups its files: bytes by suffix, with `__key__` and `__url__`."""
    from webdataset.tariterators import group_by_keys

    with tarfile.open(shard) as tar:
        yield from group_by_keys({"__url__": str(shard), **file} for file in _files(tar))


def _files(tar: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    """Yield name and contents of every file, as webdataset calls them; rule 4.

    Raises:
        ReadError: A file is cut off, or what follows the last one is not the end mark.
    """
    for member in walk_members(tar):
        contents = tar.extractfile(member) if member.isreg() else None
        if contents is not None:
            with contents:
                yield {"fname": member.name, "data": contents.read()}


def _label(sample: Mapping[str, Any], alt_label: str) -> int | None:
    """Return a sample's class, or None where `alt_label` gives it none; rule 3.

    Raises:
        DataError: There is no such entry or field, or it is not a whole number.
    """
    text = _entry(sample, ["json" if alt_label else "cls"])
    try:
        label = int(json.loads(text)[alt_label] if alt_label else text)
    except (ValueError, TypeError, KeyError) as error:
        what = f"field {alt_label} of the json entry" if alt_label else "cls entry"
        raise DataError(
            f"{_where(sample)} has no class index in its {what} ({text[:40]!r}): expected a whole number; "
            "write the shards again with class indices"
        ) from error
    return None if alt_label and label < 0 else label


def _entry(sample: Mapping[str, Any], suffixes: list[str]) -> bytes:
    """Return the first entry with one of the suffixes.

    Raises:
        DataError: There is none.
    """
    for suffix in suffixes:
        if suffix in sample:
            return bytes(sample[suffix])
    found = ", ".join(name for name in sample if not name.startswith("__"))
    raise DataError(
        f"{_where(sample)} has the entries {found}, expected one of {', '.join(suffixes)}: "
        "write the shards again with an image file and a .cls file per sample"
    )


def _where(sample: Mapping[str, Any]) -> str:
    return f"sample {sample['__key__']} of {sample['__url__']}"
