"""The keys of one part, of its rows and of its images without one."""

from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from runtime.embed.output.lance_part import SUFFIX as LANCE
from runtime.embed.output.lance_part import read_rows
from runtime.embed.output.npy_part import KEYS
from runtime.embed.output.parquet_part import SUFFIX as PARQUET
from runtime.embed.output.part_files import DATA, PartRecord
from runtime.errors import BundleError
from runtime.support.files import check_plain, open_plain
from runtime.support.json_file import parse_json


def part_keys(output: Path, record: PartRecord) -> Iterator[str]:
    """Yield the keys of a part that is done; those of its rows in their order.

    Raises:
        BundleError: A file of the part cannot be read.
    """
    yield from (image.key for image in record.unreadable)
    for entry in record.files:
        file = output / DATA / entry.name
        try:
            for key in _keys(file):
                if not isinstance(key, str):
                    raise ValueError(f"a key is {key!r}, expected text")
                yield key
        except (OSError, ValueError, LookupError, TypeError, NotImplementedError, MemoryError) as error:
            raise BundleError(
                f"{file} cannot be read ({error}): remove the part's record and run the job again without --append"
            ) from error


def _keys(file: Path) -> Iterator[object]:
    """Yield what a file of a part has as keys; nothing where its keys are in another file."""
    if file.name.endswith(PARQUET):
        yield from _parquet_keys(file)
    elif file.name.endswith(LANCE):
        yield from read_rows(file, ["key"]).column("key").to_pylist()
    elif file.name.endswith(KEYS):
        with TextIOWrapper(open_plain(file), encoding="utf-8") as lines:
            yield from (parse_json(line)["key"] for line in lines)


def _parquet_keys(file: Path) -> Iterator[object]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        check_plain(file)
        with ParquetFile(file) as table:
            for batch in table.iter_batches(columns=["key"], use_threads=False):
                yield from batch.column("key").to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
