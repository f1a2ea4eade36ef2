"""What is written of each image: computed from an engine's outputs, batch by batch."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.embed.output.identity import RowFacts
from runtime.support.arrays import Floats

Embeddings = npt.NDArray[np.float32] | npt.NDArray[np.float16]


@dataclass(frozen=True)
class Rows:
    """Some rows of the output, in the input's order.

    Attributes:
        keys: (N,) what the images are called.
        sha256: (N,) of the images' encoded bytes, 64 hexadecimal digits.
        embedding: (N, D) float32 or float16.
        classes: Best classes, best first, (N, K) int32; K is 0 where none were asked for.
        scores: Probabilities of the classes after softmax, (N, K) float32.
    """

    keys: tuple[str, ...]
    sha256: tuple[str, ...]
    embedding: Embeddings
    classes: npt.NDArray[np.int32]
    scores: Floats

    def __len__(self) -> int:
        return len(self.keys)


class Repeats:
    """Counts rows whose embedding equals an earlier one's, to the last bit, although their files differ.

    Attributes:
        count: How many there are so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: dict[bytes, str] = {}

    def add(self, rows: Rows) -> None:
        """Look at some more rows; of each different one 16 bytes and its file's hash are kept."""
        for file, embedding in zip(rows.sha256, rows.embedding, strict=True):
            digest = hashlib.blake2b(embedding.tobytes(), digest_size=16).digest()
            self.count += self._first.setdefault(digest, file) != file


def no_rows(facts: RowFacts, dim: int) -> Rows:
    """Return no rows, in arrays of a job's shapes and types."""
    scores = np.empty((0, facts.top_k), np.float32)
    return Rows((), (), np.empty((0, dim), facts.dtype), scores.astype(np.int32), scores)


def finish_embedding(embedding: Floats, facts: RowFacts) -> Embeddings:
    """Return embeddings as they are written, in memory of their own.

    Args:
        embedding: Embeddings as the engine gave them, (N, D) float32.
        facts: What is wanted. A vector of zeros, which has no direction, stays one.

    Returns:
        (N, D) of the dtype wanted; infinite where a number is beyond its range (float16: 65,504).
    """
    if facts.normalised:
        norms = np.sqrt(np.square(embedding, dtype=np.float64).sum(axis=1, keepdims=True))
        embedding = (embedding / np.where(norms > 0, norms, 1)).astype(np.float32)
    with np.errstate(over="ignore"):
        return embedding.astype(facts.dtype)


def best_classes(logits: Floats, top_k: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """Return the best classes and their probabilities, (N, K) int32 and (N, K) float32, best first.

    Of equal logits the lower class comes first.

    Args:
        logits: (N, C) float32.
        top_k: K, at most C.
    """
    if not top_k:
        return np.empty((len(logits), 0), np.int32), np.empty((len(logits), 0), np.float32)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    return order.astype(np.int32), np.take_along_axis(probabilities, order, axis=1).astype(np.float32)


def why_not_finite(embedding: Floats, written: Embeddings, logits: Floats) -> list[str]:
    """Return for each row why it cannot be written, or an empty string.

    Args:
        embedding: Embeddings as the engine gave them, (N, D) float32.
        written: Embeddings as they would be written, (N, D).
        logits: (N, C) float32.
    """
    reasons = []
    for given, kept, scores in zip(embedding, written, logits, strict=True):
        if not (np.isfinite(given).all() and np.isfinite(scores).all()):
            reasons.append("the engine gave NaN or infinity")
        else:
            reasons.append("" if np.isfinite(kept).all() else "the embedding is beyond float16's range")
    return reasons
