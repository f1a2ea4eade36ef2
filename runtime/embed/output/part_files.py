"""The parts of an output, each whole or absent.

    OUT/data/part-000003.parquet   (.lance, .npy files) rows of the images at positions 3 P and on, P images to a part
    OUT/_parts/part-000003.json    the part is done: its rows, the images that could not be read, its files
    OUT/_job.json                  what the job is (`runtime/embed/output/identity.py`)
    OUT/_places.json               where bundle and images were (`runtime/embed/output/places.py`)
    OUT/_search/                   what `run-ssl search` keeps: its index
    OUT/_unreadable.csv            at the end, where an image could not be read: `key,reason`
    OUT/_LICENSE-WEIGHTS.txt       the licence of the weights
    OUT/_versions, _transactions   of Lance: the data set of the parts (`runtime/embed/output/lance_part.py`)

1. A part's files are written under other names, flushed to the disk, and renamed; its record comes last. A part
   without its record is made again.
2. What is written depends on the job alone, not on when it was stopped: no time, no machine. But for the places and
   the index, which are no part of it.
3. OUT/data holds whole parts and nothing else at any moment: Polars and Daft read every file of a folder, hidden ones
   too. Names of what lies beside it begin with `_`, so that pyarrow and Spark read OUT itself as well.
"""

import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.embed.output.rows import Rows
from runtime.errors import BundleError
from runtime.images.losses import Losses
from runtime.support.files import cannot_write, put_file, read_plain
from runtime.support.json_file import first_problem, write_model
from runtime.support.partial import PARTIAL
from runtime.support.syncing import sync_names

# What a reader is given.
DATA = "data"
RECORDS = "_parts"
SEARCH = "_search"
PLACES_FILE = "_places.json"
# While a job runs on Ray: what is still to do (`runtime/embed/output/pieces_on_disk.py`).
PIECES = "_pieces"
UNREADABLE_FILE = "_unreadable.csv"
LICENCE_COPY = "_LICENSE-WEIGHTS.txt"
# Lance's own.
LANCE_VERSIONS, LANCE_TRANSACTIONS = "_versions", "_transactions"
# Lance's writer writes here until a file is closed.
_LANCE_PARTIAL = ".tmp??????"
# Spark's own parts, for one, are named `part-00000-` and on.
_PART_FILE = re.compile(r"^part-\d{6,}\.(parquet|lance|npy|classes\.npy|scores\.npy|jsonl)$")
# As `part_name` writes a number: with zeros in front up to six digits.
_RECORD = re.compile(r"part-(\d{6}|[1-9]\d{6,})\.json")


class UnreadableImage(BaseModel):
    """An image without a row.

    Attributes:
        key: Key of the image.
        reason: Why it could not be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: str
    reason: str


class PartFile(BaseModel):
    """A file of a part.

    Attributes:
        name: Name of the file in the output's `data` folder.
        size_bytes: Size of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(pattern=_PART_FILE.pattern)]
    size_bytes: int = Field(ge=0)


class PartRecord(BaseModel):
    """All of a part's record.

    Attributes:
        number: Number of the part, from 0.
        images: How many the part was made from.
        rows: How many could be read.
        unreadable: The others, in order.
        files: What holds the rows.
        lost: What its images lost on their way to the network.
        repeated: Number of rows whose embedding equals an earlier one's of another file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    number: int = Field(ge=0)
    images: int = Field(ge=0)
    rows: int = Field(ge=0)
    unreadable: tuple[UnreadableImage, ...]
    files: tuple[PartFile, ...]
    lost: Losses = Losses()
    repeated: int = Field(default=0, ge=0)


class PartWriter(Protocol):
    """What writes the rows of one part, to files of names given."""

    def add(self, rows: Rows) -> None:
        """Take some more rows."""
        ...

    def close(self) -> None:
        """Write what is left; the files are whole then."""
        ...

    def discard(self) -> None:
        """Let go of the files after a failure; whoever named them removes them."""
        ...


def part_name(number: int) -> str:
    """Return what a part is called, such as `part-000003`."""
    return f"part-{number:06d}"


def partial_names(output: Path, number: int, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return for each suffix the file that a part's writer writes until the part is whole; no two writers share one.

    These lie outside the folder of the parts; rule 3.
    """
    writer = secrets.token_hex(4)
    return {suffix: output / f".{part_name(number)}{suffix}.{writer}{PARTIAL}" for suffix in suffixes}


def finish_part(output: Path, record: PartRecord, written: dict[str, Path]) -> PartRecord:
    """Put a part's files in place and write its record; rule 1.

    Args:
        output: The output's directory.
        record: What is known of the part but its files.
        written: Files of the part by suffix, under the names of `partial_names`.

    Returns:
        The record, with the files.

    Raises:
        BundleError: The disk cannot take it.
    """
    files: list[PartFile] = []
    for suffix, partial in written.items():
        target = output / DATA / f"{part_name(record.number)}{suffix}"
        try:
            size = partial.stat().st_size
            put_file(partial, target)
        except OSError as error:
            raise cannot_write(target, error) from error
        files.append(PartFile(name=target.name, size_bytes=size))
    whole = record.model_copy(update={"files": tuple(files)})
    write_model(_record_file(output, record.number), whole)
    return whole


def read_part(output: Path, number: int) -> PartRecord | None:
    """Return the record of a part that is done, or None where it is to be made.

    Raises:
        BundleError: The record is damaged, or the part's files are not what it says.
    """
    file = _record_file(output, number)
    try:
        record = PartRecord.model_validate_json(read_plain(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{file} cannot be read ({error.strerror}): change its permissions, or remove it") from error
    except ValidationError as error:
        raise BundleError(
            f"{file} is not a part's record ({first_problem(error)}): remove it, and the part will be made again"
        ) from error
    for entry in record.files:
        made = output / DATA / entry.name
        size = made.stat().st_size if made.is_file() else None
        if size != entry.size_bytes:
            given = "is missing" if size is None else f"has {size} bytes"
            raise BundleError(
                f"{made} {given}, its record says {entry.size_bytes}: remove {file}, and the part will be made again"
            )
    return record


def list_done(output: Path, parts: int) -> Iterator[PartRecord]:
    """Yield the records of the parts that are done, in order.

    Raises:
        BundleError: See `read_part`.
    """
    for number in _recorded(output):
        record = read_part(output, number) if number < parts else None
        if record is not None:
            yield record


def _recorded(output: Path) -> list[int]:
    """Return the numbers of the parts that have a record, in order: what is there, however many a job claims."""
    folder = output / RECORDS
    try:
        names = [file.name for file in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BundleError(f"{folder} cannot be read ({error.strerror}): change its permissions") from error
    return sorted(int(found[1]) for name in names if (found := _RECORD.fullmatch(name)))


def remove_partial(output: Path) -> None:
    """Remove what a killed run left unfinished. Nobody else may be writing then."""
    for folder in (output, output / RECORDS):
        for pattern in (f".*{PARTIAL}", _LANCE_PARTIAL):
            for file in folder.glob(pattern):
                file.unlink(missing_ok=True)
    if (output / PIECES).is_dir():
        shutil.rmtree(output / PIECES)


def remove_output(output: Path) -> None:
    """Remove what jobs write from an output's directory but its description, and nothing else.

    Records go first: at no moment does one stand for a part that is not there. The parts of schema version 1 lie beside
    the records, where pyarrow would read them with the new ones.
    """
    for folder in (RECORDS, SEARCH, LANCE_VERSIONS, LANCE_TRANSACTIONS):
        if (output / folder).is_dir():
            shutil.rmtree(output / folder)
    # Nor after a loss of power.
    sync_names(output)
    beside = [output / name for name in (UNREADABLE_FILE, LICENCE_COPY, PLACES_FILE)]
    folders = [folder for folder in (output, output / DATA) if folder.is_dir()]
    for file in [file for folder in folders for file in folder.iterdir()]:
        if _PART_FILE.fullmatch(file.name) or file in beside:
            file.unlink()


def _record_file(output: Path, number: int) -> Path:
    return output / RECORDS / f"{part_name(number)}.json"
