"""Embedding jobs for tests: pictures, an engine whose sums can be done by hand, and outputs compared byte by byte."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

import runtime.embed.opening
import runtime.search.query
from runtime.embed.job import JobListener, JobResult, run_embedding
from runtime.embed.request import EmbedRequest
from runtime.engines.contract import EngineBase, Outputs
from runtime.support.arrays import Pixels
from tests.helpers.bundles import CLASSES, DIM, SIZE, hand_made_manifest, write_hand_made
from tests.helpers.image_folders import picture, write_picture
from tests.helpers.pillow.resample_reference import evaluation_pixels

# A power of two, so that sums divided by it are exact in float32.
SCALE = 1024
BROKEN = b"not a picture"
BROKEN_REASON = "not an image of a format that Pillow knows"


class SumEngine(EngineBase):
    """Sums pixels, as floats that are exact. The last number of an embedding is a sum over the whole batch, so that
    any change of what stands in a batch changes bytes, as the last bits of a real engine's floats may.
    """

    name, precision, runs_on_gpu = "sums", "exact", False

    def __init__(self, *, on_infer: Callable[[Pixels], None] = lambda _pixels: None) -> None:
        super().__init__(hand_made_manifest())
        self.batches: list[Pixels] = []
        self.on_infer = on_infer

    def infer(self, pixels: Pixels) -> Outputs:
        self.check_pixels(pixels)
        self.batches.append(pixels.copy())
        self.on_infer(pixels)
        sums = pixels.astype(np.int64).sum(axis=(1, 2))
        whole = np.full((len(pixels), 1), sums.sum())
        embedding = np.concatenate([sums, whole], axis=1) / SCALE
        return Outputs(logits=(sums / SCALE).astype(np.float32), embedding=embedding.astype(np.float32))

    def close(self) -> None:
        pass


def network_pixels(seed: int) -> Pixels:
    """Return what the network sees of `picture(seed)`, by the tests' own resampling."""
    return evaluation_pixels(picture(seed), resize=SIZE + 1, crop=SIZE, interpolation="bilinear")


def expected_embeddings(seeds: list[int | None], batch_size: int) -> np.ndarray:
    """Return what `SumEngine` gives for pictures in batches; None is an unreadable one, black, without a row."""
    rows = []
    for first in range(0, len(seeds), batch_size):
        batch = seeds[first : first + batch_size]
        sums = [network_pixels(seed).astype(int).sum(axis=(0, 1)) for seed in batch if seed is not None]
        rows += [[*one, np.sum(sums)] for one in sums]
    return (np.array(rows).reshape(-1, DIM) / SCALE).astype(np.float32)


def picture_folder(folder: Path, seeds: Iterable[int | None]) -> Path:
    """Write pictures in order of their names; None is a broken one."""
    folder.mkdir(exist_ok=True)
    for index, seed in enumerate(seeds):
        if seed is None:
            (folder / f"{index:04}.png").write_bytes(BROKEN)
        else:
            write_picture(folder / f"{index:04}.png", seed)
    return folder


def use_engine(monkeypatch: pytest.MonkeyPatch, engine: EngineBase) -> None:
    """Have jobs of this process run an engine of the tests."""
    monkeypatch.setattr(runtime.embed.opening, "load_engine", lambda *_arguments: engine)


def searchable_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seeds: Iterable[int | None], *, part_images: int
) -> EmbedRequest:
    """Return a job of pictures whose output can be searched.

    A batch is one picture, so that the gallery's numbers are those of the query: `SumEngine` adds up the whole batch.
    """
    use_engine(monkeypatch, SumEngine())
    monkeypatch.setattr(runtime.search.query, "load_engine", lambda *_arguments: SumEngine())
    return EmbedRequest(
        bundle=write_hand_made(folder / "bundle"),
        images=(picture_folder(folder / "pictures", seeds),),
        output=folder / "out",
        batch_size=1,
        part_images=part_images,
    )


def embed(request: EmbedRequest, listener: JobListener | None = None) -> JobResult:
    return run_embedding(request, listener)


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder, hidden ones too."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def assert_same_output(found: Path, wanted: Path) -> None:
    """Check that two outputs have the same files with the same bytes, and nothing beside them."""
    ours, theirs = files_below(found), files_below(wanted)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


assert CLASSES == 3, "SumEngine's logits are the three channels' sums"
