"""A part as a Parquet file.

    key        string                            what the image is called
    sha256     string                            of its encoded bytes, hexadecimal
    embedding  fixed-size list of float32 or float16
    classes    fixed-size list of int32          with top_k: best classes, best first
    labels     list of string                    their names; of variable length, which every reader takes of strings
    scores     fixed-size list of float32        their probabilities

FP32 embeddings are compressed with zstd after a byte-stream split: 0.82 of their size, written in the time of no
compression (8,192 embeddings of a ResNet-18, pyarrow 26, 2 cores; zstd alone: 0.90). FP16 ones with zstd alone, 0.87:
a split, 0.78, is one that DuckDB cannot read ("BYTE_STREAM_SPLIT encoding is only supported for FLOAT, DOUBLE, INT32
or INT64 data", 2.0.1). The file's own metadata has the licence of the weights and what the job was.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from runtime.embed.output.identity import Job
from runtime.embed.output.rows import Rows
from runtime.support.files import cannot_write

SUFFIX = ".parquet"
# Rows that are written at a time: 4 MB of a ResNet-18's embeddings. A part holds no more of them in memory.
_ROW_GROUP = 2048


class ParquetPart:
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

        self._file, self._labels = file, labels
        self._waiting: list[Rows] = []
        self._schema = _schema(job)
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

    def add(self, rows: Rows) -> None:
        """Take some more rows; see `PartWriter`.

        Raises:
            BundleError: The disk cannot take them.
        """
        self._waiting.append(rows)
        if sum(len(some) for some in self._waiting) >= _ROW_GROUP:
            self._write()

    def close(self) -> None:
        """Write what is left, and the end of the file.

        Raises:
            BundleError: The disk cannot take it.
        """
        if self._waiting:
            self._write()
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

    def _write(self) -> None:
        import pyarrow

        columns = _columns(self._waiting, self._labels)
        table = pyarrow.table([columns[name] for name in self._schema.names], schema=self._schema)
        try:
            self._writer.write_table(table)
        except OSError as error:
            raise cannot_write(self._file, error) from error
        self._waiting = []


def _schema(job: Job) -> Any:
    import pyarrow as pa

    number = pa.float16() if job.rows.dtype == "float16" else pa.float32()
    fields = [
        pa.field("key", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("embedding", _list_of(number, job.bundle.embedding_dim), nullable=False),
    ]
    if job.rows.top_k:
        fields += [
            pa.field("classes", _list_of(pa.int32(), job.rows.top_k), nullable=False),
            pa.field("labels", _names(), nullable=False),
            pa.field("scores", _list_of(pa.float32(), job.rows.top_k), nullable=False),
        ]
    return pa.schema(fields, metadata=_metadata(job))


def _list_of(kind: Any, length: int) -> Any:
    import pyarrow as pa

    return pa.list_(pa.field("element", kind, nullable=False), length)


def _names() -> Any:
    import pyarrow as pa

    return pa.list_(pa.field("element", pa.string(), nullable=False))


def _metadata(job: Job) -> dict[str, str]:
    """Return what stands in the file's own metadata: the licence in plain words, and the job as JSON."""
    licence = job.bundle.licence
    return {
        "licence": licence.spdx,
        "licence_notice": licence.notice,
        "licence_url": licence.url,
        "model": job.bundle.model,
        "weights_sha256": job.bundle.weights_sha256,
        "export_ssl_job": json.dumps(job.model_dump(), sort_keys=True),
    }


def _columns(waiting: Sequence[Rows], labels: Sequence[str]) -> dict[str, Any]:
    """Return the rows column by column, in Arrow's memory."""
    import pyarrow as pa

    classes = np.concatenate([rows.classes for rows in waiting])
    numbers = {
        "embedding": np.concatenate([rows.embedding for rows in waiting]),
        "classes": classes,
        "scores": np.concatenate([rows.scores for rows in waiting]),
    }
    columns = {
        name: pa.FixedSizeListArray.from_arrays(
            pa.array(array.reshape(-1)), type=_list_of(pa.from_numpy_dtype(array.dtype), array.shape[1])
        )
        for name, array in numbers.items()
        if array.shape[1]
    }
    columns["key"] = pa.array([key for rows in waiting for key in rows.keys], pa.string())
    columns["sha256"] = pa.array([digest for rows in waiting for digest in rows.sha256], pa.string())
    if classes.shape[1]:
        names = pa.array([labels[index] for index in classes.reshape(-1)], pa.string())
        starts = pa.array(np.arange(0, len(names) + 1, classes.shape[1], dtype=np.int32))
        columns["labels"] = pa.ListArray.from_arrays(starts, names, type=_names())
    return columns
