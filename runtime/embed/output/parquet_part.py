"""A part as a Parquet file, with the columns of `part_columns.py`.

FP32 embeddings are compressed with zstd after a byte-stream split: 0.82 of their size, written in the time of no
compression (8,192 embeddings of a ResNet-18, pyarrow 26, 2 cores; zstd alone: 0.90). FP16 ones with zstd alone, 0.87:
a split, 0.78, is one that DuckDB cannot read ("BYTE_STREAM_SPLIT encoding is only supported for FLOAT, DOUBLE, INT32
or INT64 data", 2.0.1).
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.embed.output.identity import Job
from runtime.embed.output.part_columns import ColumnsPart, schema_of
from runtime.support.files import cannot_write

SUFFIX = ".parquet"


class ParquetPart(ColumnsPart):
    """Writes rows to one Parquet file, a row group at a time."""

    def __init__(self, file: Path, job: Job, labels: Sequence[str]) -> None:
        """Begin the file.

        Args:
            file: Where to write.
            job: What the rows are of.
            labels: Line i names class i.

        Raises:
            BundleError: The disk cannot take it.
        """
        from pyarrow.parquet import ParquetWriter

        super().__init__(labels, schema_of(job))
        self._file = file
        try:
            self._output = file.open("wb")
            self._writer = ParquetWriter(
                self._output,
                self._schema,
                compression="zstd",
                use_dictionary=["labels.list.element"] if job.rows.top_k else False,
                use_byte_stream_split=["embedding.list.element"] if job.rows.dtype == "float32" else False,
                write_statistics=False,
            )
        except OSError as error:
            raise cannot_write(file, error) from error

    def close(self) -> None:
        """Write what is left, and the end of the file.

        Raises:
            BundleError: The disk cannot take it.
        """
        self._write_waiting()
        try:
            self._writer.close()
            self._output.close()
        except OSError as error:
            raise cannot_write(self._file, error) from error

    def discard(self) -> None:
        """Let the file go as it is; see `PartWriter`."""
        # Else pyarrow ends the file when the writer is collected, and complains to stderr that it cannot.
        with suppress(OSError, ValueError):
            self._writer.close()
        with suppress(OSError):
            self._output.close()

    def _write(self, table: Any) -> None:
        try:
            self._writer.write_table(table)
        except OSError as error:
            raise cannot_write(self._file, error) from error
