"""The scores are those of scikit-learn's classifier with DINO's weights, and of sums by hand."""

import math

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from runtime.neighbours import weighted_knn
from runtime.neighbours.weighted_knn import Gallery

CLASSES, DIM = 5, 16
# float32 cosines, divided by 0.07 and exponentiated: 6e-8 / 0.07 relative, with room for the sum over D.
RELATIVE = 1e-4


@pytest.fixture
def embeddings():
    """Overlapping clusters of one class each, and the classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 300)
    centres = rng.normal(size=(CLASSES, DIM))
    return (centres[labels] + 1.5 * rng.normal(size=(300, DIM))).astype(np.float32), labels


def sklearn_shares(gallery, labels, queries):
    """Return the classes' shares of the votes, by scikit-learn: (N, classes)."""
    classifier = KNeighborsClassifier(
        n_neighbors=20, metric="cosine", algorithm="brute", weights=lambda distances: np.exp((1 - distances) / 0.07)
    )
    return classifier.fit(gallery, labels).predict_proba(queries)


@pytest.mark.parametrize("block_bytes", [1 << 26, 4 * 200 * 7])
def test_scores_are_scikit_learns_whatever_the_blocks(embeddings, monkeypatch, block_bytes):
    monkeypatch.setattr(weighted_knn, "_BLOCK_BYTES", block_bytes)
    points, labels = embeddings
    scores = Gallery.of(points[:200], labels[:200]).scores(points[200:], classes=CLASSES)
    shares = scores / scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, sklearn_shares(points[:200], labels[:200], points[200:]), rtol=RELATIVE)


def test_an_image_of_the_gallery_is_not_its_own_neighbour(embeddings):
    points, labels = embeddings[0][:60], embeddings[1][:60]
    scores = Gallery.of(points, labels).scores(points, classes=CLASSES, own=np.arange(60))
    for index in range(60):
        others = np.arange(60) != index
        shares = sklearn_shares(points[others], labels[others], points[index : index + 1])
        expected = np.zeros(CLASSES)
        expected[np.unique(labels[others])] = shares[0]
        np.testing.assert_allclose(scores[index] / scores[index].sum(), expected, rtol=RELATIVE, atol=1e-12)


def test_a_small_gallery_votes_as_a_whole_with_weights_by_hand():
    gallery = Gallery.of(np.array([[2, 0], [0, 3], [-1, 0]], np.float32), np.array([0, 1, 1]))
    (scores,) = gallery.scores(np.array([[5, 0]], np.float32), classes=3)
    assert scores == pytest.approx([math.exp(1 / 0.07), math.exp(0) + math.exp(-1 / 0.07), 0])


def test_what_is_not_finite_decides_nothing_and_is_nobodys_neighbour():
    gallery = Gallery.of(np.array([[1, 0], [np.nan, 0], [0, 1]], np.float32), np.array([0, 1, 2]))
    scores = gallery.scores(np.array([[1, 0], [np.inf, 0], [0, 0]], np.float32), classes=3)
    assert scores[0] == pytest.approx([math.exp(1 / 0.07), 0, 1])
    assert np.isnan(scores[1]).all()
    assert scores[2] == pytest.approx([1, 0, 1])
