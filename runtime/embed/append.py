"""Adding to a finished output: the images that it does not know yet, as parts behind its own.

1. New are the images whose key no part of the output has, with or without a row. An image that changed under its old
   key is not new, nor is one that could not be read before.
2. The parts that are there stay as they are, also the last one, which may hold fewer images: new parts begin behind it.
3. A run that was stopped is gone on with by the same command, as any job.
4. The keys that the output has are held in memory, about 100 bytes for each.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.data.sources.entries import Entry, Source
from runtime.embed.output.identity import ImageFacts, Job, read_job
from runtime.embed.output.part_files import list_done
from runtime.embed.output.part_keys import part_keys
from runtime.errors import BundleError
from runtime.images.formats import PassedOver

_HASH_BYTES = 16


@dataclass(frozen=True)
class NewImages:
    """The images of a source that an output does not have; as `Source`.

    Attributes:
        source: All images.
        known: Hashes of the keys that the output has.
    """

    source: Source
    known: frozenset[bytes]

    @property
    def what(self) -> str:
        """The source."""
        return self.source.what

    @property
    def root(self) -> str:
        """The source's."""
        return self.source.root

    def entries(self, passed_over: PassedOver | None = None) -> Iterator[Entry]:
        """Yield the new images; see `Source.entries`."""
        return (entry for entry in self.source.entries(passed_over) if _hash(entry.key) not in self.known)

    def opened(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Callable[[], bytes]]]:
        """Yield each entry with what reads its bytes; see `Source.opened`."""
        return self.source.opened(entries)


@dataclass(frozen=True)
class Addition:
    """What is added to an output.

    Attributes:
        images: The images that are new.
        earlier: The images of the rounds before, oldest first.
        found: The job as the output describes it.
        begins: Whether this is a new round; otherwise the last one was stopped.
    """

    images: NewImages
    earlier: tuple[ImageFacts, ...]
    found: Job
    begins: bool


def find_new_images(output: Path, source: Source) -> Addition:
    """Return what a source has that an output has not.

    Raises:
        BundleError: There is no output, its first job is not finished, or it is damaged.
    """
    found = read_job(output) if output.exists() else None
    if found is None:
        raise BundleError(f"--append: {output} is no output of a job yet: leave --append out")
    records = list(list_done(output, found.parts))
    begins = len(records) == found.parts
    if not begins and not found.earlier:
        raise BundleError(
            f"--append: {output} has {len(records)} of {found.parts} parts: finish it first, by its own command "
            "without --append"
        )
    before = (record for record in records if begins or record.number < found.first_part)
    known = frozenset(_hash(key) for record in before for key in part_keys(output, record))
    earlier = (*found.earlier, found.images) if begins else found.earlier
    return Addition(NewImages(source, known), earlier, found, begins)


def _hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=_HASH_BYTES).digest()
