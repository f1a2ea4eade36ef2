"""A comparison of networks without a classifier: their embeddings, and the classes that nearest neighbours vote for.

1. The original and every engine embed the gallery and the queries. Each is judged with its own gallery, as it would be
   used: the original's queries vote among the original's embeddings, an engine's among that engine's.
2. Where no gallery is given, every image is a query and votes among all others (leave-one-out).
3. The votes (`runtime/neighbours/weighted_knn.py`) are scores of classes, and are counted and paired as logits are:
   top-1, top-5, McNemar's test, agreement. SQNR, and what is not finite, are those of the queries' embeddings.
4. All embeddings are held: 4 bytes for each of their numbers, of each image, for the original and each engine.
5. Neighbours kept are counted on at most `RECALL_IMAGES` queries, spread evenly, since every one is searched for among
   all others, by the rules of `runtime/neighbours/agreement.py`; the worse of its two questions is told, as by
   `run-ssl embed --check`.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from runtime.bundle.results.compare_json import EmbeddingScore, KeptNeighbours
from runtime.compare.tally import LabelledBatch, Tallies, Tally
from runtime.engines.contract import Engine
from runtime.errors import DataError, EngineError
from runtime.neighbours.agreement import cosines, neighbour_agreement
from runtime.neighbours.nearest import lengths
from runtime.neighbours.weighted_knn import Gallery
from runtime.support.arrays import Floats, Ints

# What `run-ssl embed --check` reports too: the first neighbour, and the ten that a page of results shows.
_KS = (1, 10)
RECALL_IMAGES = 4096
# 1 % of the images are further from the original than this.
_LOW_PERCENTILE = 1.0


@dataclass(frozen=True)
class EmbeddedImages:
    """The embeddings of some images in the original and all engines, batch by batch.

    Attributes:
        embeddings: One (N, D) float32 per batch, for the original and then for each engine.
        labels: Class indices, one (N,) int64 per batch.
    """

    embeddings: tuple[list[Floats], ...]
    labels: list[Ints] = field(default_factory=list)

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(map(len, self.labels))

    @property
    def all_labels(self) -> Ints:
        """Class indices of all images, (N,) int64."""
        return np.concatenate(self.labels)

    def of(self, network: int) -> Floats:
        """Return the embeddings of one network: 0 is the original."""
        return np.concatenate(self.embeddings[network])

    def merge(self, later: "EmbeddedImages") -> "EmbeddedImages":
        """Return these images and later ones, in the batches in which they ran."""
        pairs = zip(self.embeddings, later.embeddings, strict=True)
        return EmbeddedImages(tuple(one + another for one, another in pairs), self.labels + later.labels)


@dataclass(frozen=True)
class NeighbourTallies:
    """What was found out.

    Attributes:
        tallies: The counts.
        embeddings: How far each engine's embeddings are from the original's; None where one is not finite or of
            length 0.
        gallery_images: Images of the gallery; 0 where the queries vote among themselves.
    """

    tallies: Tallies
    embeddings: tuple[EmbeddingScore | None, ...]
    gallery_images: int


def tally_by_neighbours(
    batches: Iterable[LabelledBatch],
    *,
    original: Engine,
    engines: Sequence[Engine],
    gallery: Iterable[LabelledBatch] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> NeighbourTallies:
    """Embed the images in the original and the engines, and count what their neighbours vote for; rules 1 to 5.

    Args:
        batches: Queries with labels; read once, one batch held at a time.
        original: The PyTorch original, the reference of every difference.
        engines: Opened engines of the exported network. They stay open.
        gallery: Images with labels to vote; read first. None for the queries themselves.
        on_batch: Called after every batch of queries with the number of images done so far.

    Raises:
        DataError: There is no image, or one alone.
        UsageError: There are too few images to ask for ten neighbours.
        EngineError: An engine gave embeddings of another shape than the original's.
    """
    networks = (original, *engines)
    tallies = Tallies.of(original, engines)
    voters = None if gallery is None else embed_batches(gallery, networks)
    queries = embed_batches(batches, networks, tallies=tallies, warm=voters is not None, on_batch=on_batch)
    return count_neighbours(queries, voters, tallies)


def count_neighbours(queries: EmbeddedImages, voters: EmbeddedImages | None, tallies: Tallies) -> NeighbourTallies:
    """Count what the neighbours of images vote for; rules 1 to 3 and 5.

    Args:
        queries: The images.
        voters: The gallery; None where the queries vote among themselves.
        tallies: Tallies to add to, which hold the queries' time.

    Raises:
        DataError: There is no image, or one alone.
        UsageError: There are too few images to ask for ten neighbours.
    """
    if not queries.images or (voters is not None and not voters.images):
        raise DataError("the data gave 0 images, expected at least 1: check the data folder and --limit")
    if voters is None and queries.images == 1:
        raise DataError("the data gave 1 image, expected at least 2 that can be each other's neighbours: give more")
    _count(queries, voters, (tallies.original, *tallies.engines))
    reference = queries.of(0)
    return NeighbourTallies(
        tallies=tallies,
        embeddings=tuple(
            score_embeddings(reference, queries.of(number)) for number in range(1, 1 + len(tallies.engines))
        ),
        gallery_images=0 if voters is None else voters.images,
    )


def embed_batches(
    batches: Iterable[LabelledBatch],
    networks: Sequence[Engine],
    *,
    tallies: Tallies | None = None,
    warm: bool = False,
    on_batch: Callable[[int], None] | None = None,
) -> EmbeddedImages:
    """Return the embeddings of all images in all networks.

    Args:
        batches: Images with labels; read once, one batch held at a time.
        networks: The original, then the engines, opened.
        tallies: Tallies that the time is added to.
        warm: Whether all have run a batch before; else the first one counts as warm-up.
        on_batch: Called after every batch with the number of images done so far.

    Raises:
        EngineError: A network gave embeddings of another shape than the first one's.
    """
    found, images = EmbeddedImages(tuple([] for _ in networks)), 0
    timed = () if tallies is None else (tallies.original, *tallies.engines)
    for batch in batches:
        for number, engine in enumerate(networks):
            started = time.perf_counter()
            # Outputs may be the engine's own buffers, which the next batch overwrites.
            embedding = np.array(engine.infer(batch.pixels).embedding)
            seconds = time.perf_counter() - started
            expected = (len(batch.labels), *(found.embeddings[0][-1].shape[1:] if number else embedding.shape[1:2]))
            if embedding.shape != expected:
                raise EngineError(
                    f"{engine.name} gave embeddings shaped {embedding.shape}, expected {expected}: the bundle and the "
                    "original are not the same network; export it again from these weights"
                )
            found.embeddings[number].append(embedding)
            if timed:
                timed[number].clock(len(embedding), seconds, warm_up=not warm)
        found.labels.append(batch.labels)
        warm, images = True, images + len(batch.labels)
        if on_batch is not None:
            on_batch(images)
    return found


def _count(queries: EmbeddedImages, voters: EmbeddedImages | None, tallies: Sequence[Tally]) -> None:
    """Add what the neighbours vote for to the tallies, batch by batch."""
    gallery = voters or queries
    labels = gallery.all_labels
    classes = 1 + int(max(labels.max(), queries.all_labels.max()))
    galleries = [Gallery.of(gallery.of(number), labels) for number in range(len(tallies))]
    start = 0
    for position, of_batch in enumerate(queries.labels):
        own = np.arange(start, start + len(of_batch)) if voters is None else None
        verdicts = []
        for tally, voting, embeddings in zip(tallies, galleries, queries.embeddings, strict=True):
            embedding = embeddings[position]
            scores = voting.scores(embedding, classes=classes, own=own)
            verdicts.append(tally.judge(scores, of_batch, output=embedding))
        for tally, verdict in zip(tallies[1:], verdicts[1:], strict=True):
            tally.pair(verdicts[0], verdict)
        start += len(of_batch)


def score_embeddings(reference: Floats, found: Floats) -> EmbeddingScore | None:
    """Return how far embeddings are from the original's; None where one is not finite or of length 0.

    Args:
        reference: The original's, (N, D) float32.
        found: An engine's of the same images, (N, D) float32.

    Raises:
        UsageError: There are too few images to ask for ten neighbours.
    """
    if any(not np.isfinite(one).all() or not lengths(one).all() for one in (reference, found)):
        return None
    near = cosines(reference, found)
    sample = np.linspace(0, len(reference) - 1, min(len(reference), RECALL_IMAGES)).astype(np.int64)
    agreement = neighbour_agreement(reference[sample], found[sample], ks=_KS)
    pairs = zip(agreement.renewed.recalls, agreement.kept.recalls, strict=True)
    return EmbeddingScore(
        cosine_mean=float(near.mean()),
        cosine_p1=float(np.percentile(near, _LOW_PERCENTILE)),
        cosine_lowest=float(near.min()),
        kept=tuple(
            KeptNeighbours(k=one.k, recall=min(one.recall, other.recall), images=len(sample)) for one, other in pairs
        ),
    )
