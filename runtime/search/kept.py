"""What a search keeps in an output, in `OUT/_search`: folders that are whole or absent, each of one job's rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.embed.output.identity import JOB_FILE
from runtime.embed.output.part_files import SEARCH
from runtime.search.gallery import Gallery
from runtime.support.files import cannot_write, hash_file, read_plain
from runtime.support.partial import partial_folder, replace_folder
from runtime.support.syncing import sync_names


class KeptRecord(BaseModel):
    """What stands in each folder as JSON.

    Attributes:
        schema_version: Raised when a meaning changes.
        job_sha256: sha256 of the output's `_job.json` when the folder was made.
        rows: Number of rows that the output had then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    job_sha256: str
    rows: int


_Record = TypeVar("_Record", bound=KeptRecord)


def folder_of(gallery: Gallery, name: str) -> Path:
    """Return where an output keeps something."""
    return gallery.output / SEARCH / name


def job_hash(gallery: Gallery) -> str:
    """Return what a record says of an output's job, 64 hexadecimal digits."""
    return hash_file(gallery.output / JOB_FILE)


def read_record(file: Path, schema: type[_Record], gallery: Gallery) -> _Record | None:
    """Return a record, or None where there is none, or one of other rows."""
    try:
        record = schema.model_validate_json(read_plain(file))
    except (OSError, ValidationError):
        return None
    return record if (record.job_sha256, record.rows) == (job_hash(gallery), gallery.rows) else None


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which takes the place of `folder` when the block succeeds.

    Raises:
        BundleError: The disk cannot take it.
    """
    try:
        folder.parent.mkdir(exist_ok=True)
        sync_names(folder.parent.parent)
        with partial_folder(folder) as partial:
            partial.chmod(0o755)
            yield partial
            replace_folder(partial, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
