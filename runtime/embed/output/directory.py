"""The directory of an output: opened for one run at a time, started, resumed and finished."""

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import LICENCE_FILE
from runtime.embed.output.identity import JOB_FILE, Job, read_job, require_same_job, write_job
from runtime.embed.output.part_files import (
    DATA,
    LICENCE_COPY,
    RECORDS,
    UNREADABLE_FILE,
    list_done,
    remove_output,
    remove_partial,
)
from runtime.errors import BundleError
from runtime.images.losses import Losses
from runtime.support.file_locks import require_posix
from runtime.support.files import atomic_file, cannot_write
from runtime.support.partial import PARTIAL
from runtime.support.syncing import sync_names


@dataclass(frozen=True)
class Totals:
    """What an output holds.

    Attributes:
        parts: Parts that are done.
        images: Images that these were made from.
        rows: Rows of the parts.
        unreadable: Images of the parts without a row.
        lost: What the images lost on their way to the network.
        repeated: Number of rows whose embedding equals that of another file in the same part.
    """

    parts: int
    images: int
    rows: int
    unreadable: int
    lost: Losses
    repeated: int


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse an output that cannot be written, before the images are listed.

    Raises:
        BundleError: The output is no directory, or not a job's, or cannot be created or locked.
    """
    require_posix("the output of an embedding job")
    try:
        if output.exists():
            if not output.is_dir():
                raise BundleError(f"{output} is not a directory: expected the output of a job; pass another --output")
            if not (output / JOB_FILE).is_file() and not _is_unbegun(output):
                raise BundleError(
                    f"{output} holds files and is not a job's output (it has no {JOB_FILE}): pass a new directory as "
                    "--output"
                )
            if not overwrite:
                read_job(output)
        elif not output.absolute().parent.is_dir():
            raise BundleError(f"{output.parent} is not a directory: create it first, or pass another --output")
        place = output if output.exists() else output.absolute().parent
        if not os.access(place, os.W_OK):
            raise BundleError(f"cannot write into {place}: pass another --output, or change its permissions")
    except OSError as error:
        raise cannot_write(output, error) from error


@contextmanager
def opened_output(
    output: Path, job: Job, bundle: Bundle, *, overwrite: bool, adds_to: Job | None = None
) -> Iterator[None]:
    """Hold an output's directory for one run, which starts or resumes it, or adds to it.

    Args:
        output: The directory.
        job: The job that runs.
        bundle: Bundle that the job runs.
        overwrite: Whether what is there is deleted.
        adds_to: The finished job that this one adds to.

    Raises:
        BundleError: The output is of another job, another run writes it, or the disk cannot take it.
    """
    with _locked(output):
        found = read_job(output) if not overwrite else None
        begins = found is None or found == adds_to
        if found is not None and not begins:
            require_same_job(output, found, job)
        try:
            if overwrite:
                # The old job's description stays until the new one replaces it: a removal that was killed can be gone
                # on with, either way.
                remove_output(output)
            remove_partial(output)
            if begins:
                # Before anything else is written: a directory that holds files and no description is refused.
                write_job(output, job)
            for folder in (RECORDS, DATA):
                (output / folder).mkdir(exist_ok=True)
            sync_names(output)
            with atomic_file(output / LICENCE_COPY) as copy:
                copy.write((bundle.path / LICENCE_FILE).read_bytes())
        except OSError as error:
            raise cannot_write(output, error) from error
        yield


def add_up(output: Path, job: Job) -> Totals:
    """Return what an output holds so far.

    Raises:
        BundleError: A part is damaged.
    """
    parts = images = rows = unreadable = repeated = 0
    lost = Losses()
    for record in list_done(output, job.parts):
        parts += 1
        images += record.images
        rows += record.rows
        unreadable += len(record.unreadable)
        lost += record.lost
        repeated += record.repeated
    return Totals(parts, images, rows, unreadable, lost, repeated)


def write_unreadable(output: Path, job: Job) -> Path | None:
    """Write which images could not be read, and return where; None where all could.

    Raises:
        BundleError: The disk cannot take it.
    """
    missing = ((one.key, one.reason) for record in list_done(output, job.parts) for one in record.unreadable)
    target = output / UNREADABLE_FILE
    first = next(missing, None)
    if first is None:
        try:
            # Of an earlier run, if parts were made again since.
            target.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(target, error) from error
        return None
    with atomic_file(target) as file:
        # Kept open by the block above, which closes it.
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        table = csv.writer(text)
        table.writerow(("key", "reason"))
        table.writerow(first)
        table.writerows(missing)
        text.detach()
    return target


def _is_unbegun(output: Path) -> bool:
    """Return whether a directory is empty but for what a run leaves that was killed before it began the job."""
    return all(file.name.startswith(f".{JOB_FILE}.") and file.suffix == PARTIAL for file in output.iterdir())


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Make the directory and hold it; the lock goes with the process, however that ends.

    Raises:
        BundleError: Another run holds it, or it cannot be made.
    """
    require_posix("the output of an embedding job")
    import fcntl

    try:
        output.mkdir(exist_ok=True)
        sync_names(output.absolute().parent)
        handle = os.open(output, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(output, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BundleError(f"another run is writing {output}: wait for it, or pass another --output") from error
        except OSError as error:
            # NFS, for one, locks no directories.
            raise BundleError(
                f"{output} cannot be locked against a second run ({error.strerror}): pass an --output on a local disk"
            ) from error
        yield
    finally:
        os.close(handle)
