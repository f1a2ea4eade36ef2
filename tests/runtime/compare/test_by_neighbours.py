"""Networks without a classifier are judged as scikit-learn's weighted neighbours judge them, pair by pair."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier

from runtime.compare.by_neighbours import score_embeddings
from runtime.compare.score import compare_by_neighbours
from runtime.engines.contract import Outputs
from runtime.errors import DataError, EngineError, UsageError
from tests.helpers.fake_engine import FakeEngine

CLASSES, SIDE = 4, 4


@dataclass(frozen=True)
class Batch:
    pixels: np.ndarray
    labels: np.ndarray


class Embedder(FakeEngine):
    """The flat pixels, which a test may bend."""

    def __init__(self, precision="fp32", *, bend=np.asarray):
        self.name, self.precision, self.bend = "fake", precision, bend

    def infer(self, pixels):
        flat = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
        return Outputs(logits=np.empty((len(pixels), 0), np.float32), embedding=self.bend(flat))


def coarse(flat):
    return (np.round(flat * 2) + 0.01).astype(np.float32)


def images(count, seed):
    """Return noisy pictures around a pattern for each class, and their classes."""
    patterns = np.random.default_rng(0).integers(80, 176, (CLASSES, SIDE, SIDE, 3))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    noise = rng.integers(-80, 80, (count, SIDE, SIDE, 3))
    return (patterns[labels] + noise).astype(np.uint8), labels


def batches(pixels, labels, size=32):
    return [Batch(pixels[at : at + size], labels[at : at + size]) for at in range(0, len(labels), size)]


def vote(gallery, labels, queries):
    """Return the classes that DINO's weighted neighbours vote for, by scikit-learn."""
    classifier = KNeighborsClassifier(
        n_neighbors=20, metric="cosine", algorithm="brute", weights=lambda distances: np.exp((1 - distances) / 0.07)
    )
    return classifier.fit(gallery, labels).predict(queries)


def embedded(pixels, bend=np.asarray):
    return Embedder(bend=bend).infer(pixels).embedding


def test_accuracies_and_pairs_are_scikit_learns_on_a_gallery():
    (gallery, classes), (queries, labels) = images(200, 1), images(150, 2)
    scores = compare_by_neighbours(
        batches(queries, labels),
        original=Embedder(),
        engines=[Embedder("coarse", bend=coarse)],
        gallery=batches(gallery, classes),
    )
    right = vote(embedded(gallery), classes, embedded(queries)) == labels
    found = vote(embedded(gallery, coarse), classes, embedded(queries, coarse)) == labels
    assert 0.4 < right.mean() < 1
    (score,) = scores.engines
    assert (scores.original.top1, score.top1) == (right.mean(), found.mean())
    assert score.only_original_right == np.count_nonzero(right & ~found) > 0
    assert score.only_engine_right == np.count_nonzero(found & ~right)
    assert scores.gallery_images == 200


def test_without_a_gallery_every_image_is_judged_by_all_others():
    pixels, labels = images(80, 3)
    scores = compare_by_neighbours(batches(pixels, labels), original=Embedder(), engines=[Embedder()])
    flat = embedded(pixels)
    hits = []
    for index in range(80):
        others = np.arange(80) != index
        hits.append(vote(flat[others], labels[others], flat[index : index + 1])[0] == labels[index])
    assert scores.original.top1 == np.mean(hits)
    (score,) = scores.engines
    assert (score.drop, score.mcnemar_p, score.agreement, score.identical) == (0, 1, 1, True)
    assert scores.gallery_images == 0


def test_sqnr_and_cosines_are_those_of_the_embeddings():
    pixels, labels = images(60, 4)
    (score,) = compare_by_neighbours(
        batches(pixels, labels), original=Embedder(), engines=[Embedder("coarse", bend=coarse)]
    ).engines
    exact, found = embedded(pixels).astype(np.float64), embedded(pixels, coarse).astype(np.float64)
    assert score.sqnr_db == pytest.approx(10 * np.log10((exact**2).sum() / ((exact - found) ** 2).sum()))
    cosines = np.diag(cosine_similarity(exact, found))
    assert score.embedding.cosine_mean == pytest.approx(cosines.mean())
    assert score.embedding.cosine_p1 == pytest.approx(np.percentile(cosines, 1))
    assert score.embedding.cosine_lowest == pytest.approx(cosines.min())


def test_neighbours_kept_are_those_that_a_sort_of_all_cosines_finds():
    pixels, _ = images(60, 5)
    exact, found = embedded(pixels), embedded(pixels, coarse)

    def ranked(queries, gallery):
        near = cosine_similarity(queries.astype(np.float64), gallery.astype(np.float64))
        np.fill_diagonal(near, -np.inf)
        return np.argsort(-near, axis=1)

    truth = ranked(exact, exact)
    for kept in score_embeddings(exact, found).kept:
        overlaps = [
            np.mean(
                [len({*one[: kept.k]} & {*other[: kept.k]}) / kept.k for one, other in zip(truth, those, strict=True)]
            )
            for those in (ranked(found, found), ranked(found, exact))
        ]
        assert kept.recall == pytest.approx(min(overlaps))
        assert kept.images == 60


def test_an_embedding_that_is_not_finite_counts_as_wrong_and_has_no_cosines():
    pixels, labels = images(40, 6)

    def poison(flat):
        flat = flat.copy()
        flat[0, 0] = np.nan
        return flat

    scores = compare_by_neighbours(
        batches(pixels, labels, size=20), original=Embedder(), engines=[Embedder("broken", bend=poison)]
    )
    (score,) = scores.engines
    assert (score.non_finite_logits, score.non_finite_images) == (2, 2)
    assert (score.embedding, score.sqnr_db) == (None, None)
    assert scores.original.non_finite_logits == 0


def test_an_engine_of_another_network_and_too_few_images_are_refused():
    pixels, labels = images(40, 7)
    with pytest.raises(EngineError, match=r"embeddings shaped \(32, 10\), expected \(32, 48\)"):
        compare_by_neighbours(
            batches(pixels, labels), original=Embedder(), engines=[Embedder(bend=lambda flat: flat[:, :10])]
        )
    with pytest.raises(DataError, match="gave 0 images"):
        compare_by_neighbours([], original=Embedder(), engines=[])
    with pytest.raises(DataError, match="gave 1 image, expected at least 2"):
        compare_by_neighbours(batches(pixels[:1], labels[:1]), original=Embedder(), engines=[Embedder()])
    with pytest.raises(UsageError, match="10 images, expected at least 11"):
        compare_by_neighbours(batches(pixels[:10], labels[:10]), original=Embedder(), engines=[Embedder()])
