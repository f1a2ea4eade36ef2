"""Top-1 of a graph against the original's on the same labelled images, streamed.

The original runs once: of every image one flag is kept, whether it was right. Every graph that is judged
decodes the images again, so memory does not grow with them. Only where the network has no classifier the embeddings
are held, 8 kB for an image of a ResNet-50: each image then gets the class that its nearest others vote for
(`runtime/neighbours/weighted_knn.py`).
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx

from calibration.graph.run import logits_name, open_session
from calibration.graph.without_weights import NO_WEIGHTS, Weights
from runtime.bundle.sensitivity_json import PairedCounts
from runtime.data.batches import Batch
from runtime.errors import DataError
from runtime.neighbours.weighted_knn import Gallery
from runtime.support.arrays import AnyFloats, Flags, Ints, Pixels
from runtime.support.paired_statistics import label_ranks
from runtime.support.words import counted

# Pixels (N, H, W, C) uint8 to logits (N, classes), or without a classifier to embeddings (N, D).
Infer = Callable[[Pixels], AnyFloats]
# Opens the images again, from the first on: `lambda: load_batches(dataset, preprocessing, batch_size=8)`.
Load = Callable[[], AbstractContextManager[Iterable[Batch]]]
_FEWEST_NEIGHBOURS = 2


@dataclass(frozen=True)
class Top1Hits:
    """Which images a network gets right.

    Attributes:
        indices: Positions in the data set, (N,) int64; images left out as unreadable are missing.
        hits: Whether the label comes first, (N,) bool.
    """

    indices: Ints
    hits: Flags


class FindHits(Protocol):
    """How a network's right images are found: `top1_hits` or `neighbour_hits`."""

    def __call__(self, infer: Infer, load: Load, *, on_images: Callable[[int], None] | None = None) -> Top1Hits:
        """Return which images a network gets right."""
        ...


def graph_infer(
    model: onnx.ModelProto,
    feed: Callable[[Pixels], npt.NDArray[np.generic]],
    *,
    weights: Weights = NO_WEIGHTS,
    threads: int | None = None,
) -> Infer:
    """Return a graph as a function from pixels to what is judged, Q/DQ as ONNX defines them.

    Args:
        model: The graph.
        feed: Function from pixels, (N, H, W, C) uint8, to what the graph takes.
        weights: Large constants that stand outside the graph, by name.
        threads: Threads of onnxruntime; None leaves its choice.
    """
    session = open_session(model, weights=weights, threads=threads)
    name, source = logits_name(model), session.get_inputs()[0].name

    def infer(pixels: Pixels) -> AnyFloats:
        judged: AnyFloats = session.run([name], {source: feed(pixels)})[0]
        return judged

    return infer


def top1_hits(infer: Infer, load: Load, *, on_images: Callable[[int], None] | None = None) -> Top1Hits:
    """Return which images a network gets right.

    Args:
        infer: The network; of equal logits the lower class wins, and a row with NaN is wrong.
        load: Opens the images, with labels.
        on_images: Called with the number of images done since the last call.

    Raises:
        DataError: There is no image, or a label is not a class of the network.
    """
    indices, hits = [], []
    with load() as batches:
        for batch in batches:
            hits.append(label_ranks(infer(batch.pixels), batch.labels) == 0)
            indices.append(batch.indices)
            if on_images is not None:
                on_images(len(batch.labels))
    if not indices:
        raise DataError("the data gave 0 images, expected at least 1: check the folder")
    return Top1Hits(np.concatenate(indices), np.concatenate(hits))


def neighbour_hits(infer: Infer, load: Load, *, on_images: Callable[[int], None] | None = None) -> Top1Hits:
    """Return of which images a network's nearest neighbours, all others voting, find the class.

    Args:
        infer: The network, to embeddings; a row with NaN is wrong.
        load: Opens the images, with labels.
        on_images: Called with the number of images done since the last call.

    Raises:
        DataError: There are fewer than two images.
    """
    indices, labels, embeddings = [], [], []
    with load() as batches:
        for batch in batches:
            embeddings.append(infer(batch.pixels))
            labels.append(batch.labels)
            indices.append(batch.indices)
            if on_images is not None:
                on_images(len(batch.labels))
    images = sum(map(len, labels))
    if images < _FEWEST_NEIGHBOURS:
        raise DataError(
            f"the data gave {counted(images, 'image')}, expected at least {_FEWEST_NEIGHBOURS} that can be each "
            "other's neighbours: give more"
        )
    every, classes = np.concatenate(embeddings), np.concatenate(labels)
    votes = Gallery.of(every, classes).scores(every, classes=int(classes.max()) + 1, own=np.arange(images))
    return Top1Hits(np.concatenate(indices), label_ranks(votes, classes) == 0)


def count_paired(
    infer: Infer,
    load: Load,
    *,
    original: Top1Hits,
    find_hits: FindHits = top1_hits,
    on_images: Callable[[int], None] | None = None,
) -> PairedCounts:
    """Return how often exactly one of the original and a graph is right.

    Args:
        infer: The graph.
        load: Opens the images that `original` was measured on.
        original: Which of them the original gets right.
        find_hits: How it was found out: `top1_hits` or `neighbour_hits`.
        on_images: Called with the number of images done since the last call.

    Raises:
        DataError: The images are not those of `original`, or a label is not a class of the network.
    """
    found = find_hits(infer, load, on_images=on_images)
    if not np.array_equal(found.indices, original.indices):
        raise DataError(
            f"{len(found.indices)} images were read, expected the {len(original.indices)} that the original was "
            "measured on: leave the folder alone while it is in use, and start again"
        )
    return PairedCounts(
        lost=int(np.count_nonzero(original.hits & ~found.hits)),
        gained=int(np.count_nonzero(found.hits & ~original.hits)),
        images=len(found.hits),
    )
