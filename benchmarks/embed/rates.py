"""Rates and sizes of `run-ssl embed` beside those of its rounds.

The costs in `docs/explanation/scale.md` are reckoned from them:

decoding_one_worker    images/s of decoding in one thread, to be held against all of them
decoding_native        images/s of decoding on all cores with the C library's preprocessing
inference ENGINE       images/s of the other engines on all cores
listing_entries_per_s  of a folder's files, found and their keys hashed, in one thread, from the kernel's memory
sha256_mb_per_s        of an image's bytes, in one thread
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.shared.throughput_rounds import INFERENCE, Round, measure_rounds
from runtime.bundle.bundle import Bundle
from runtime.data.sources.entries import Source, list_entries
from runtime.data.sources.image_files import FolderSource
from runtime.embed.decode import decode_entry
from runtime.embed.job import run_embedding
from runtime.embed.request import DEFAULT_BATCH_SIZE, EmbedRequest, OutputChoice
from runtime.engines.contract import Engine
from runtime.images.native import NativePreprocessor
from runtime.images.preprocessing import preprocess
from runtime.images.reading import pillow_silenced
from runtime.support.arrays import Pixels
from runtime.support.cpu import usable_cores
from runtime.support.read_ahead import Ahead, read_ahead

Transform = Callable[[Image.Image], Pixels]
# Files that are listed, and how many to a folder.
LISTED, PER_FOLDER = 50_000, 1_000
HASHED_BYTES = 200_000_000
# A second or two.
ONE_WORKER_IMAGES = 1024
TOP_K = 5


def decoding_rate(source: Source, transform: Transform, *, workers: int, images: int | None = None) -> float:
    """Return images/s of reading, hashing, decoding and preprocessing alone.

    A job's own functions; results are taken as soon as they are there, so that the threads never wait.

    Args:
        source: The images.
        transform: Function from an RGB picture to the network's pixels.
        workers: Threads.
        images: How many of the images; None for all.
    """
    began, done = time.perf_counter(), 0
    opened = source.opened(islice(source.entries(), images))
    ahead = Ahead(DEFAULT_BATCH_SIZE, workers, overlap=True)
    decoded = read_ahead(opened, partial(decode_entry, transform=transform), ahead)
    with pillow_silenced(), closing(decoded):
        for batch in decoded:
            assert all(image.pixels is not None for image in batch), "the pictures are made here"
            done += len(batch)
    return done / (time.perf_counter() - began)


def decode_batches(source: Source, transform: Transform, images: int) -> list[Pixels]:
    """Return the first images, decoded, in whole batches of (B, H, W, 3)."""
    entries = islice(source.opened(source.entries()), images)
    decoded = [decode_entry(opened, transform).pixels for opened in entries]
    pixels = [one for one in decoded if one is not None]
    assert len(pixels) == len(decoded), "the pictures are made here"
    whole = len(pixels) - len(pixels) % DEFAULT_BATCH_SIZE
    return [np.stack(pixels[start : start + DEFAULT_BATCH_SIZE]) for start in range(0, whole, DEFAULT_BATCH_SIZE)]


def inference_rate(engine: Engine, batches: Sequence[Pixels], images: int) -> float:
    """Return images/s of `infer` alone, over at least so many images: the batches, again and again."""
    began, done = time.perf_counter(), 0
    for batch in cycle(batches):
        engine.infer(batch)
        done += len(batch)
        if done >= images:
            break
    return done / (time.perf_counter() - began)


def measure_rates(
    bundle: Bundle,
    images: Path,
    *,
    engines: Sequence[Engine],
    batches: Sequence[Pixels],
    native: Path | None,
    rounds: int,
) -> list[Round]:
    """Return rounds of the rates in the module's docstring.

    Args:
        bundle: Bundle whose preprocessing is used.
        images: A folder.
        engines: Opened.
        batches: Decoded images, of which the engines get all.
        native: The C library; None leaves its decoding out.
        rounds: How many quiet ones are wanted.
    """
    source = FolderSource(str(images))
    contents = next(images.rglob("*.jpg")).read_bytes()
    kept = sum(map(len, batches))
    figures = {
        "decoding_one_worker": lambda: decoding_rate(source, pillow(bundle), workers=1, images=ONE_WORKER_IMAGES),
        "sha256_mb_per_s": lambda: sha256_rate(contents),
    }
    if native is not None:
        transform = NativePreprocessor(native, bundle.manifest.preprocessing)
        figures["decoding_native"] = lambda: decoding_rate(source, transform, workers=usable_cores())
    for engine in engines:
        inference_rate(engine, batches[:1], 1)
        name = f"{INFERENCE} {engine.name} ({engine.precision})"
        figures[name] = partial(inference_rate, engine, batches, kept)
    with tempfile.TemporaryDirectory() as temporary:
        listed = write_empty_files(Path(temporary))
        figures["listing_entries_per_s"] = lambda: listing_rate(listed)
        return measure_rounds(figures, rounds=rounds, reverse=True)


def pillow(bundle: Bundle) -> Transform:
    """Return the preprocessing that a job uses where nothing else is said."""
    return partial(preprocess, preprocessing=bundle.manifest.preprocessing)


def write_empty_files(folder: Path) -> Path:
    """Return a folder with `LISTED` files that are named as images."""
    for number in range(LISTED):
        if number % PER_FOLDER == 0:
            (folder / f"{number:06d}").mkdir(parents=True)
        (folder / f"{number - number % PER_FOLDER:06d}" / f"{number:06d}.jpg").touch()
    return folder


def listing_rate(folder: Path) -> float:
    """Return entries/s of a job's own listing."""
    began = time.perf_counter()
    listed = list_entries(FolderSource(str(folder)))
    return listed.images / (time.perf_counter() - began)


def sha256_rate(contents: bytes) -> float:
    """Return MB/s of hashing an image's bytes, again and again."""
    times = max(1, HASHED_BYTES // len(contents))
    began = time.perf_counter()
    for _ in range(times):
        hashlib.sha256(contents).hexdigest()
    return times * len(contents) / 1e6 / (time.perf_counter() - began)


def row_bytes(bundle: Path, images: Path, *, engine: str, scratch: Path) -> dict[str, float]:
    """Return bytes of a row in Parquet on the disk, by what is written: the parts' files over their rows."""
    found = {}
    for dtype in ("float32", "float16"):
        for top_k in (0, TOP_K):
            with tempfile.TemporaryDirectory(dir=scratch) as output:
                writing = OutputChoice("parquet", dtype, top_k=top_k)
                target = Path(output, "out")
                done = run_embedding(EmbedRequest(bundle, (images,), target, writing=writing, engine=engine))
                size = sum(file.stat().st_size for file in target.glob("data/part-*.parquet"))
            name = f"{dtype}, top-{top_k}" if top_k else dtype
            found[name] = size / done.rows
            print(f"{name}: {found[name]:,.0f} bytes per row", file=sys.stderr)
    return found
