"""A part as a Lance data file, and an output as the Lance data set of its parts.

    OUT/data/part-000003.lance    a data file, with the columns of `part_columns.py`
    OUT/_versions, _transactions  Lance's own: which data files are the data set; written when a job ends

1. The data files are those that Lance's writer makes, put where a data set has them, so that nothing is copied.
2. A data file's metadata have one entry, the licence: Lance writes several in an order that changes from run to run,
   and a part's bytes may not. The data set has all that Parquet's files have.
3. A version of the data set is added when a job ends, unless the newest one has all parts: what a user has added since,
   such as an index or a column, stays. Until then there is no data set, or that of the job before.

Source: pylance 14.0, `lance.file.LanceFileWriter`, `lance.fragment.DataFile.create`, `lance.LanceDataset.commit`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runtime.embed.output.identity import Job
from runtime.embed.output.part_columns import ColumnsPart, schema_of
from runtime.embed.output.part_files import LANCE_TRANSACTIONS, LANCE_VERSIONS, list_done
from runtime.errors import BundleError
from runtime.support.files import cannot_write, check_plain
from runtime.support.syncing import sync_names, sync_tree

SUFFIX = ".lance"


class LancePart(ColumnsPart):
    """Writes rows to one Lance file, some at a time."""

    def __init__(self, file: Path, job: Job, labels: Sequence[str]) -> None:
        """Begin the file.

        Args:
            file: Where to write.
            job: What the rows are of.
            labels: Line i names class i.

        Raises:
            BundleError: The disk cannot take it.
        """
        from lance.file import LanceFileWriter

        licence = job.bundle.licence
        one = " ".join(part for part in (f"{licence.spdx}.", licence.notice, licence.url) if part)
        super().__init__(labels, schema_of(job).with_metadata({"licence": one}))
        self._file = file
        with _writing(file):
            self._writer = LanceFileWriter(str(file), self._schema)

    def close(self) -> None:
        """Write what is left, and the end of the file.

        Raises:
            BundleError: The disk cannot take it.
        """
        self._write_waiting()
        with _writing(self._file):
            self._writer.close()

    def discard(self) -> None:
        """Let the file go as it is; see `PartWriter`."""
        with suppress(OSError, ValueError, RuntimeError):
            self._writer.close()

    def _write(self, table: Any) -> None:
        with _writing(self._file):
            self._writer.write_batch(table)


def commit_parts(output: Path, job: Job) -> None:
    """Make an output the data set of its parts; rule 3.

    Args:
        output: The output of a job whose parts are all made.
        job: The job.

    Raises:
        BundleError: The disk cannot take it, or Lance cannot read a part.
    """
    import lance
    from lance.fragment import DataFile, FragmentMetadata

    # An empty part has a file, and a data set has no fragment without rows.
    parts = [(record.files[0].name, record.rows) for record in list_done(output, job.parts) if record.rows]
    with _writing(output / LANCE_VERSIONS):
        found = lance.dataset(str(output)) if (output / LANCE_VERSIONS).is_dir() else None
        if found is not None and {name for name, _ in parts} <= set(_data_files(found)):
            return
        if found is None:
            found = lance.LanceDataset.commit(str(output), lance.LanceOperation.Overwrite(schema_of(job), []))
        fragments = [
            FragmentMetadata(number, [DataFile.create(found, name)], rows) for number, (name, rows) in enumerate(parts)
        ]
        lance.LanceDataset.commit(str(output), lance.LanceOperation.Overwrite(schema_of(job), fragments))
        # Lance syncs nothing of its own.
        for folder in (LANCE_VERSIONS, LANCE_TRANSACTIONS):
            sync_tree(output / folder)
        sync_names(output)


def read_rows(file: Path, columns: Sequence[str], *, start: int = 0, count: int | None = None) -> Any:
    """Return some columns of some rows of a part, a `pyarrow.Table`.

    Args:
        file: A part's file.
        columns: Names of columns.
        start: Number of the first row.
        count: How many rows; None for all that follow.

    Raises:
        OSError: The file cannot be read.
        ValueError: Likewise.
    """
    from lance.file import LanceFileReader

    check_plain(file)
    reader = LanceFileReader(str(file), columns=list(columns))
    rows = reader.num_rows() - start if count is None else count
    return reader.read_range(start, rows, batch_size=max(rows, 1)).to_table()


def count_rows(file: Path) -> int:
    """Return how many rows a part's file has.

    Raises:
        OSError: The file cannot be read.
        ValueError: Likewise.
    """
    from lance.file import LanceFileReader

    check_plain(file)
    return int(LanceFileReader(str(file)).num_rows())


def _data_files(dataset: Any) -> Iterator[str]:
    for fragment in dataset.get_fragments():
        yield from (Path(file.path).name for file in fragment.metadata.files)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn what Lance says of a disk or a file into an error that names it.

    Raises:
        BundleError: The block could not write.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(target, error) from error
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"cannot write {target}: {reason}") from error
