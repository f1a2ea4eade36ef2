"""The columns of a part in Arrow's types, for the formats that take them: Parquet and Lance.

    key        string                            what the image is called
    sha256     string                            of its encoded bytes, hexadecimal
    embedding  fixed-size list of float32 or float16
    classes    fixed-size list of int32          with top_k: best classes, best first
    labels     list of string                    their names; of variable length, which every reader takes of strings
    scores     fixed-size list of float32        their probabilities

The metadata of the schema has the licence of the weights and what the job was.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.embed.output.identity import Job
from runtime.embed.output.rows import Rows

# Rows that are written at a time: 4 MB of a ResNet-18's embeddings. A part holds no more of them in memory.
ROW_GROUP = 2048


def schema_of(job: Job) -> Any:
    """Return the columns of a job's parts, a `pyarrow.Schema`."""
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


def table_of(waiting: Sequence[Rows], labels: Sequence[str], schema: Any) -> Any:
    """Return rows as a `pyarrow.Table`.

    Args:
        waiting: The rows.
        labels: Line i names class i.
        schema: What `schema_of` gives for their job.
    """
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
    return pa.table([columns[name] for name in schema.names], schema=schema)


class ColumnsPart(ABC):
    """Keeps the rows of one part until there are enough to be written together; what writes them is the format's."""

    def __init__(self, labels: Sequence[str], schema: Any) -> None:
        """Begin without rows.

        Args:
            labels: Line i names class i.
            schema: Columns of the file, from `schema_of`.
        """
        self._labels, self._schema = labels, schema
        self._waiting: list[Rows] = []

    def add(self, rows: Rows) -> None:
        """Take some more rows; see `PartWriter`.

        Raises:
            BundleError: The disk cannot take them.
        """
        self._waiting.append(rows)
        if sum(len(some) for some in self._waiting) >= ROW_GROUP:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self._waiting:
            self._write(table_of(self._waiting, self._labels, self._schema))
        self._waiting = []

    @abstractmethod
    def _write(self, table: Any) -> None:
        """Write a `pyarrow.Table` to the file."""
