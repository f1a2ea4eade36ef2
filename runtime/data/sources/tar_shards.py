"""Images in tar archives, as WebDataset's shards hold them.

1. `runtime/images/formats.py` says which regular files in the archive are images; classes, captions and the rest are
   counted as passed over. An image's key is `shard.tar/name in the archive`; where two archives have one name, with
   their paths as given.
2. The archive's headers are walked, its contents are not read for that; a damaged one is an error at once, before
   any image of it, also where tarfile would take the damage for the end.
3. Workers read an image's bytes by their place. That needs an archive without compression.
"""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from runtime.data.sources.entries import Entry, names_in_keys
from runtime.errors import DataError
from runtime.images.formats import PassedOver, is_image
from runtime.support.files import open_plain
from runtime.support.tar_members import walk_members
from runtime.support.words import printable

TAR_SUFFIXES = frozenset({".tar"})


@dataclass(frozen=True)
class TarSource:
    """Tar archives in an order."""

    shards: tuple[Path, ...]

    @property
    def what(self) -> str:
        """The archive, or how many."""
        return str(self.shards[0]) if len(self.shards) == 1 else f"{len(self.shards)} tar shards"

    @property
    def root(self) -> str:
        """The first archive."""
        return str(self.shards[0])

    def entries(self, passed_over: PassedOver | None = None) -> Iterator[Entry]:
        """Yield the archives' images; see `Source.entries`."""
        for shard, name in zip(self.shards, names_in_keys(self.shards), strict=True):
            yield from (entry for _, entry, picture in walk_shard(shard, name, passed_over) if picture)

    def opened(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Callable[[], bytes]]]:
        """Yield each entry with what reads its bytes; see `Source.opened`."""
        for entry in entries:
            yield entry, partial(read_entry, entry)


def walk_shard(shard: Path, name: str, passed_over: PassedOver | None) -> Iterator[tuple[str, Entry, bool]]:
    """Yield every regular file of an archive: its name there, where it is, and whether it is an image.

    Args:
        shard: The archive.
        name: What keys call it.
        passed_over: Counts what is no image.

    Raises:
        DataError: The archive cannot be read.
    """
    try:
        with open_plain(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in walk_members(tar):
                if not member.isreg():
                    continue
                picture = is_image(member.name, partial(_contents, tar, member), passed_over)
                if picture and member.sparse is not None:
                    raise DataError(
                        f"{shard}: {member.name} is stored as a sparse file, expected an ordinary one: make the "
                        "archive again without tar's option -S"
                    )
                key = f"{name}/{printable(member.name)}"
                yield member.name, Entry(key, str(shard), member.offset_data, member.size), picture
    except (OSError, tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        # The last two are tarfile's for a size beyond 64 bits.
        reason = " ".join(str(error).split())
        raise DataError(
            f"{shard} cannot be read as a tar archive ({reason}): expected a whole one without compression; copy it "
            "again, or gunzip it"
        ) from error


def _contents(tar: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    contents = tar.extractfile(member)
    assert contents is not None, "a regular file has contents"
    return cast("BinaryIO", contents)


def read_entry(entry: Entry) -> bytes:
    """Return the bytes of a file in an archive; EOFError where the archive is shorter than it was."""
    with open_plain(Path(entry.file)) as shard:
        shard.seek(entry.start)
        contents = shard.read(entry.size)
    if len(contents) != entry.size:
        raise EOFError("the archive ends within it: it was cut off after it was listed")
    return contents
