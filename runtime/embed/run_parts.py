"""Pieces of a job's images in, parts of its output out: what one machine and each worker of Ray do alike.

1. Piece k is the entries at positions k P and on, and becomes part k. Batches are B entries, and P is a multiple of
   B, so that a batch holds the same images whatever pieces run here, and in whatever order.
2. An image that cannot be read leaves a black one in its batch, and no row: what is computed of the others does not
   depend on it.
3. Images are decoded ahead in threads across pieces, in turn with inference or beside it
   (`runtime/support/read_ahead.py`).
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.bundle.manifest import Preprocessing
from runtime.data.sources.entries import Entry, Source
from runtime.embed.decode import Decoded, Opened, decode_entry
from runtime.embed.output.identity import Job, require_still
from runtime.embed.output.lance_part import SUFFIX as LANCE
from runtime.embed.output.lance_part import LancePart
from runtime.embed.output.npy_part import NpyPart, npy_suffixes
from runtime.embed.output.parquet_part import SUFFIX as PARQUET
from runtime.embed.output.parquet_part import ParquetPart
from runtime.embed.output.part_files import (
    PartRecord,
    PartWriter,
    UnreadableImage,
    finish_part,
    partial_names,
)
from runtime.embed.output.rows import Repeats, Rows, best_classes, finish_embedding, no_rows, why_not_finite
from runtime.embed.pieces import Piece
from runtime.engines.contract import Engine
from runtime.images.losses import Losses
from runtime.images.reading import pillow_silenced
from runtime.support.arrays import Pixels
from runtime.support.read_ahead import Ahead, read_ahead


@dataclass(frozen=True)
class Place:
    """Where and how pieces are worked on.

    Attributes:
        output: The output's directory.
        job: What is made.
        labels: Line i names class i.
        source: Reads the entries.
        engine: Opened.
        preprocessing: The contract by which files are read.
        transform: Function from a picture to the network's pixels.
        workers: Decoding threads.
        overlap: Whether they go on while the engine works.
    """

    output: Path
    job: Job
    labels: tuple[str, ...]
    source: Source
    engine: Engine
    preprocessing: Preprocessing
    transform: Callable[[Image.Image], Pixels]
    workers: int
    overlap: bool


def embed_pieces(
    pieces: Iterable[Piece], place: Place, *, on_images: Callable[[int], None] = lambda _images: None
) -> Generator[PartRecord, None, None]:
    """Yield the record of each piece's part, once it is whole.

    Args:
        pieces: What is to be done, none of it empty.
        place: Where and how.
        on_images: Called after every batch with how many images it was made from.

    Raises:
        DataError: What holds the images cannot be read.
        EngineError: The engine cannot run them.
        BundleError: The disk cannot take a part, or the output is another job's by now.
    """
    begun: deque[Piece] = deque()
    ahead = Ahead(place.job.batch_size, place.workers, overlap=place.overlap)
    decode = partial(decode_entry, transform=place.transform, preprocessing=place.preprocessing)
    decoded = read_ahead(_open_in_turn(pieces, begun, place.source), decode, ahead)
    with pillow_silenced(), closing(decoded):
        for first in decoded:
            piece = begun.popleft()
            yield _embed_piece(
                piece.number, first, decoded, images=len(piece.entries), place=place, on_images=on_images
            )


def _open_in_turn(pieces: Iterable[Piece], begun: deque[Piece], source: Source) -> Iterator[Opened]:
    """Yield the entries of all pieces, opened; each piece is noted as it begins."""

    def entries() -> Iterator[Entry]:
        for piece in pieces:
            begun.append(piece)
            yield from piece.entries

    yield from source.opened(entries())


def _embed_piece(
    number: int,
    first: list[Decoded],
    decoded: Iterator[list[Decoded]],
    *,
    images: int,
    place: Place,
    on_images: Callable[[int], None],
) -> PartRecord:
    """Return the record of one part, made of the batches of its piece, of which the first is here."""
    files = partial_names(place.output, number, _suffixes(place.job))
    rows, unreadable, repeats, lost = 0, list[UnreadableImage](), Repeats(), Losses()
    writer: PartWriter | None = None
    try:
        writer = _open_writer(files, place)
        batch, done = first, 0
        while True:
            made, without = embed_batch(batch, place.engine, place.job)
            writer.add(made)
            repeats.add(made)
            lost = sum((image.lost for image in batch), lost)
            rows += len(made)
            unreadable += without
            done += len(batch)
            assert done <= images, "only the last piece may end within a batch"
            on_images(len(batch))
            if done == images:
                break
            batch = next(decoded)
        writer.close()
        record = PartRecord(
            number=number,
            images=images,
            rows=rows,
            unreadable=tuple(unreadable),
            files=(),
            lost=lost,
            repeated=repeats.count,
        )
        require_still(place.output, place.job)
        return finish_part(place.output, record, files)
    except BaseException:
        if writer is not None:
            writer.discard()
        for file in files.values():
            file.unlink(missing_ok=True)
        raise


def embed_batch(batch: list[Decoded], engine: Engine, job: Job) -> tuple[Rows, list[UnreadableImage]]:
    """Return the rows of one batch, and its images that have none; rule 2."""
    size = next((image.pixels.shape for image in batch if image.pixels is not None), None)
    why = [image.reason for image in batch]
    pixels = np.zeros((len(batch), *(size or (1, 1, 3))), np.uint8)
    for index, image in enumerate(batch):
        if image.pixels is not None:
            pixels[index] = image.pixels
    if size is None:
        return no_rows(job.rows, job.bundle.embedding_dim), _without_rows(batch, why)
    logits, embedding = engine.infer(pixels)
    written = finish_embedding(embedding, job.rows)
    not_finite = why_not_finite(embedding, written, logits)
    why = [reason or other for reason, other in zip(why, not_finite, strict=True)]
    kept = [index for index, reason in enumerate(why) if not reason]
    classes, scores = best_classes(logits[kept], job.rows.top_k)
    rows = Rows(
        keys=tuple(batch[index].key for index in kept),
        sha256=tuple(batch[index].sha256 for index in kept),
        embedding=written[kept],
        classes=classes,
        scores=scores,
    )
    return rows, _without_rows(batch, why)


def _without_rows(batch: list[Decoded], why: list[str]) -> list[UnreadableImage]:
    return [UnreadableImage(key=image.key, reason=reason) for image, reason in zip(batch, why, strict=True) if reason]


def _suffixes(job: Job) -> tuple[str, ...]:
    if job.rows.format == "npy":
        return npy_suffixes(job)
    return (PARQUET,) if job.rows.format == "parquet" else (LANCE,)


def _open_writer(files: dict[str, Path], place: Place) -> PartWriter:
    if place.job.rows.format == "parquet":
        return ParquetPart(files[PARQUET], place.job, place.labels)
    if place.job.rows.format == "lance":
        return LancePart(files[LANCE], place.job, place.labels)
    return NpyPart(files, place.job)
