"""A neighbour check from start to end: the original and one engine embed the same pixels."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from runtime.bundle.bundle import Bundle
from runtime.bundle.results.neighbours_json import Metric, NeighbourCheck
from runtime.engines.contract import Engine
from runtime.engines.open_engine import ORIGINAL, EngineChoice, EngineOptions, load_engine, parse_engine
from runtime.errors import DataError, EngineError
from runtime.neighbours.agreement import neighbour_agreement
from runtime.support.arrays import Floats, Pixels

# The first neighbour, and the ten that a page of results shows.
KS = (1, 10)


class Embeddings(NamedTuple):
    """Two embeddings of the same images.

    Attributes:
        reference: The original's, (N, D) float32.
        candidate: The engine's, (N, D) float32.
    """

    reference: Floats
    candidate: Floats


def check_neighbours(
    bundle: Bundle,
    batches: Iterable[Pixels],
    *,
    engine: str = "auto",
    options: EngineOptions | None = None,
    metric: Metric = "cosine",
    on_batch: Callable[[int], None] = lambda _images: None,
) -> NeighbourCheck:
    """Return whether searches over a bundle's embeddings find PyTorch's neighbours.

    Args:
        bundle: An opened bundle.
        batches: Pixels as the bundle's preprocessing makes them, each (N, H, W, C) uint8, N >= 1; read once. More
            images than `KS` asks for, at best some thousands.
        engine: `NAME`, `NAME:PRECISION` or `onnxruntime:PROVIDER`, as in `run-ssl compare`; `auto` for the fastest.
        options: Threads, device and weights, for the original too; precision and provider come from `engine`, and
            the engines share the cores.
        metric: `cosine` or `euclidean`: the one that the index uses.
        on_batch: Called after every batch with the number of images done so far.

    Raises:
        UsageError: There is no such engine, or there are too few images.
        DataError: There is no image.
        EngineError: An engine cannot run this bundle, or gave embeddings of another shape.
        CheckpointError: The original's weights are absent or others.
        VerificationError: Embeddings hold NaN or infinity, or under `cosine` have length 0.
    """
    choice = parse_engine(engine)
    given = replace(options or EngineOptions(), share_cores=True)
    shared, chosen = EngineChoice(ORIGINAL).applied_to(given), choice.applied_to(given)
    with load_engine(bundle, ORIGINAL, shared) as original, load_engine(bundle, choice.name, chosen) as candidate:
        embeddings = collect_embeddings(batches, original=original, candidate=candidate, on_batch=on_batch)
        name, precision = candidate.name, candidate.precision
    agreement = neighbour_agreement(embeddings.reference, embeddings.candidate, ks=KS, metric=metric)
    return NeighbourCheck(
        bundle=str(bundle.path),
        model=bundle.manifest.model.name,
        engine=name,
        precision=precision,
        agreement=agreement,
    )


def collect_embeddings(
    batches: Iterable[Pixels],
    *,
    original: Engine,
    candidate: Engine,
    on_batch: Callable[[int], None] = lambda _images: None,
) -> Embeddings:
    """Return the embeddings of all images in both engines, which stay open.

    Args:
        batches: Each (N, H, W, C) uint8, N >= 1; one is held at a time.
        original: The PyTorch original.
        candidate: The engine that is judged.
        on_batch: Called after every batch with the number of images done so far.

    Raises:
        DataError: There is no image.
        EngineError: An engine gave something else than one embedding per image, as long as the original's.
    """
    references: list[Floats] = []
    candidates: list[Floats] = []
    images = 0
    for pixels in batches:
        # Outputs may be the engine's own buffers, which the next batch overwrites.
        reference, other = (np.array(engine.infer(pixels).embedding) for engine in (original, candidate))
        if reference.shape != other.shape or len(other) != len(pixels):
            raise EngineError(
                f"{candidate.name} gave embeddings shaped {other.shape} of {len(pixels)} images, expected the"
                f" original's {reference.shape}: the bundle is not of this network; export it again from these weights"
            )
        references.append(reference)
        candidates.append(other)
        images += len(pixels)
        on_batch(images)
    if not images:
        raise DataError("the data gave 0 images, expected some to compare embeddings on: check the input")
    return Embeddings(np.concatenate(references), np.concatenate(candidates))
