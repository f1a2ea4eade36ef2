"""A part as .npy files, for whoever has NumPy alone.

part-000003.npy            embeddings, (N, D) float32 or float16
part-000003.classes.npy    with top_k: (N, K) int32, best class first
part-000003.scores.npy     their probabilities, (N, K) float32
part-000003.jsonl          a line per row: {"key": ..., "sha256": ...}
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from runtime.embed.output.identity import Job
from runtime.embed.output.rows import Rows, no_rows
from runtime.support.files import cannot_write

EMBEDDING, CLASSES, SCORES, KEYS = ".npy", ".classes.npy", ".scores.npy", ".jsonl"


def npy_suffixes(job: Job) -> tuple[str, ...]:
    """Return the suffixes of a part's files."""
    return (EMBEDDING, KEYS, *((CLASSES, SCORES) if job.rows.top_k else ()))


class NpyPart:
    """Keeps the rows of one part, and writes them at its end: a .npy file begins with its length."""

    def __init__(self, files: dict[str, Path], job: Job) -> None:
        self._files = files
        # So that a part without a row has arrays of the right kind.
        self._rows = [no_rows(job.rows, job.bundle.embedding_dim)]

    def add(self, rows: Rows) -> None:
        """Take some more rows; see `PartWriter`."""
        self._rows.append(rows)

    def close(self) -> None:
        """Write the files.

        Raises:
            BundleError: The disk cannot take them.
        """
        arrays = {
            EMBEDDING: np.concatenate([rows.embedding for rows in self._rows]),
            CLASSES: np.concatenate([rows.classes for rows in self._rows]),
            SCORES: np.concatenate([rows.scores for rows in self._rows]),
        }
        for suffix, file in self._files.items():
            try:
                with file.open("wb") as output:
                    if suffix == KEYS:
                        output.writelines(_lines(self._rows))
                    else:
                        # To a file NumPy would write by itself, and hide why the disk took no more.
                        np.save(SimpleNamespace(write=output.write), arrays[suffix], allow_pickle=False)
            except OSError as error:
                raise cannot_write(file, error) from error

    def discard(self) -> None:
        """Let the rows go; see `PartWriter`."""
        self._rows = []


def _lines(parts: Sequence[Rows]) -> Iterator[bytes]:
    for rows in parts:
        for key, digest in zip(rows.keys, rows.sha256, strict=True):
            yield json.dumps({"key": key, "sha256": digest}, ensure_ascii=False).encode() + b"\n"
