"""Neighbour agreement against hand-worked cases, scikit-learn and what must hold for any embeddings."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, iqr, special_ortho_group
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from runtime.errors import UsageError, VerificationError
from runtime.neighbours import nearest
from runtime.neighbours.agreement import neighbour_agreement
from runtime.neighbours.nearest import nearest_others, pair_distances
from runtime.neighbours.recall_interval import recall_ci95

METRICS = ("cosine", "euclidean")
# scikit-learn takes 1 - cos; both are of float64, and neither is more exact than a few roundings of it.
CLOSE = 1e-9
# A rotation in float32 moves distances by a few roundings, which now and then is more than a gap between neighbours.
ROTATED = 0.995

metrics = pytest.mark.parametrize("metric", METRICS)


def drawn(images, dim=16, *, seed=0):
    return np.random.default_rng(seed).standard_normal((images, dim)).astype(np.float32)


def line(*positions):
    """Images on a line, as embeddings (N, 2): neighbours and distances can be read off."""
    return np.array([(position, 0.0) for position in positions], np.float32)


def on_circle(*degrees):
    """Images on the unit circle: the angle orders cosines."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def recalls(search):
    return [recall.recall for recall in search.recalls]


def sklearn_neighbours(queries, gallery, *, k, metric):
    """The k nearest other images by scikit-learn, which finds the image itself too; (N, k) indices, and distances."""
    found = NearestNeighbors(n_neighbors=len(gallery), metric=metric, algorithm="brute").fit(gallery.astype(float))
    distances, indices = found.kneighbors(queries.astype(float))
    other = indices != np.arange(len(queries))[:, np.newaxis]
    shape = (len(queries), len(gallery) - 1)
    return indices[other].reshape(shape)[:, :k], distances[other].reshape(shape)[:, :k]


@metrics
def test_nearest_others_and_their_distances_are_those_of_scikit_learn(metric):
    queries, gallery = drawn(70, seed=1), drawn(70, seed=2)
    expected, distances = sklearn_neighbours(queries, gallery, k=10, metric=metric)
    found = nearest_others(queries, gallery, k=10, metric=metric)
    np.testing.assert_array_equal(found, expected)
    if metric == "cosine":
        distances = np.sqrt(2 * distances)
    np.testing.assert_allclose(pair_distances(queries, gallery, found, metric=metric), distances, atol=CLOSE)


@metrics
def test_small_blocks_find_the_same(metric, monkeypatch):
    queries, gallery = drawn(70, seed=1), drawn(70, seed=2)
    found = nearest_others(queries, gallery, k=7, metric=metric)
    monkeypatch.setattr(nearest, "_BLOCK_BYTES", 8 * 70 * 3)  # 3 queries at a time
    monkeypatch.setattr(nearest, "_GALLERY_ROWS", 11)
    np.testing.assert_array_equal(nearest_others(queries, gallery, k=7, metric=metric), found)


def test_close_pairs_far_from_the_origin_keep_their_order():
    # Squared distances of 4 to 25 between squared lengths of 1e8: in float32 the products would lose them.
    found = nearest_others(*2 * (line(10_000, 10_002, 10_005),), k=2, metric="euclidean")
    np.testing.assert_array_equal(found, [[1, 2], [0, 2], [1, 0]])


@metrics
def test_recall_is_the_share_of_scikit_learns_neighbours_that_are_found(metric):
    reference = drawn(120)
    candidate = reference + np.float32(0.3) * drawn(120, seed=1)
    agreement = neighbour_agreement(reference, candidate, metric=metric)
    for search, gallery in ((agreement.renewed, candidate), (agreement.kept, reference)):
        for recall in search.recalls:
            truth, _ = sklearn_neighbours(reference, reference, k=recall.k, metric=metric)
            found, _ = sklearn_neighbours(candidate, gallery, k=recall.k, metric=metric)
            shared = [len(set(a) & set(b)) / recall.k for a, b in zip(truth, found, strict=True)]
            assert recall.recall == pytest.approx(np.mean(shared))
            assert 0.2 < recall.recall < 1


def test_two_questions_of_a_hand_worked_line():
    # The first two neighbours are in truth 1 3, 0 3, 1 0, 3 1 (named by where the images lie). The bundle moves the
    # first image from 0 to 5.1; made anew, its index gives 7 3, 3 0, 1 0, 0 3, where 0 now lies at 5.1.
    reference, candidate = line(0, 1, 3, 7), line(5.1, 1, 3, 7)
    agreement = neighbour_agreement(reference, candidate, ks=(1, 2), metric="euclidean")
    assert recalls(agreement.renewed) == [1 / 4, (1 / 2 + 1 + 1 + 1 / 2) / 4]
    # In the index that is kept, 5.1 finds 7 and 3; the other queries are PyTorch's.
    assert recalls(agreement.kept) == [3 / 4, (1 / 2 + 3) / 4]
    assert (agreement.kept.lost, agreement.renewed.lost) == (1, 3)
    # Steps: 3 over 1, 2 over 1, 3 over 2, 6 over 4, less 1: 2, 1, 0.5, 0.5. What the lost query finds is at 7 where 1
    # was true, 6 times farther, and the true one is not among its two.
    assert agreement.step == pytest.approx(0.75)
    assert (agreement.kept.near_ties, agreement.kept.farther_median, agreement.kept.farther_most) == (0, 6, 6)
    assert agreement.kept.first_listed == 3 / 4
    assert [recall.chance for recall in agreement.kept.recalls] == [1 / 3, 2 / 3]


def test_a_lost_first_neighbour_that_is_hardly_farther_is_a_near_tie():
    # The first query's neighbours lie at 10 and 10.1, and the bundle swaps them. The first distances are 10, 10, 10.1
    # and 20, the second ones 10.1, 20, 20.1 and 30.
    reference, candidate = line(0, 10, -10.1, 30), line(0, 10.2, -10.1, 30)
    agreement = neighbour_agreement(reference, candidate, ks=(1,), metric="euclidean")
    assert agreement.step == pytest.approx(np.median([0.01, 1, 20.1 / 10.1 - 1, 0.5]), rel=1e-4)
    assert (agreement.renewed.lost, agreement.renewed.near_ties) == (1, 1)
    assert agreement.renewed.farther_median == pytest.approx(0.01, rel=1e-4)
    assert agreement.renewed.first_listed == 1


def test_cosine_forgets_lengths_and_euclidean_does_not():
    # Pairs by angle are 0 and 1, 2 and 3. Image 1 ten times as long is 9 from image 0, and image 2 only 1.
    circle = on_circle(0, 10, 60, 90)
    longer = circle * np.array([[1], [10], [1], [1]], np.float32)
    assert recalls(neighbour_agreement(circle, longer, ks=(1, 2), metric="cosine").renewed) == [1, 1]
    assert recalls(neighbour_agreement(circle, longer, ks=(1,), metric="euclidean").renewed) == [3 / 4]


def test_any_of_several_copies_is_right():
    # Five copies of one image: which of the four others comes first is arbitrary, and no search can be wrong.
    reference = np.concatenate([np.repeat(line(1), 5, axis=0), line(3, 4, 6)])
    moved = np.random.default_rng(0).uniform(-0.1, 0.1, reference.shape).astype(np.float32)
    agreement = neighbour_agreement(reference, reference + moved, ks=(1, 4), metric="euclidean")
    assert agreement.copies == 5
    assert recalls(agreement.renewed)[0] == recalls(agreement.kept)[0] == 1


def test_rounding_between_batches_makes_no_copy_a_wrong_one():
    # PyTorch gives copies embeddings that differ by some 3e-7 of their length, one nearer than another by chance.
    copies = np.repeat(drawn(1, 512), 12, axis=0)
    rounding = 1 + np.random.default_rng(1).uniform(-3e-7, 3e-7, (2, *copies.shape))
    agreement = neighbour_agreement(*(copies * rounding).astype(np.float32), metric="euclidean")
    assert recalls(agreement.renewed) == recalls(agreement.kept) == [1, 1]
    assert (agreement.copies, agreement.step, agreement.renewed.noise) == (12, 0, 0)


def test_a_difference_above_rounding_is_not_forgiven():
    # The neighbours of 0 lie at 1 and 1.001, which the bundle swaps: ann-benchmarks' 1e-3 would forgive that.
    agreement = neighbour_agreement(line(0, 1, -1.001), line(0, 1.001, -1), ks=(1,), metric="euclidean")
    assert agreement.renewed.lost == 1


def test_a_copy_that_is_lost_has_no_ratio():
    reference, candidate = line(1, 1, 2, 4), line(1, 9, 2, 4)
    search = neighbour_agreement(reference, candidate, ks=(1,), metric="euclidean").renewed
    assert (search.farther_median, search.farther_most) == (None, None)
    assert (search.lost, search.near_ties) == (2, 0)


def test_a_bundle_that_gives_one_embedding_to_all_images_finds_about_chance_and_has_no_noise():
    reference = drawn(400)
    agreement = neighbour_agreement(reference, np.ones_like(reference), metric="euclidean")
    low, high = binomtest(round(400 * agreement.renewed.recalls[1].recall * 10), 4000).proportion_ci(0.999)
    assert low < 10 / 399 < high
    assert agreement.renewed.noise is None


def test_noise_is_the_interquartile_range_of_what_distances_are_multiplied_by():
    reference = drawn(80)
    candidate = 3 * reference + np.float32(0.2) * drawn(80, seed=1)
    agreement = neighbour_agreement(reference, candidate, metric="euclidean")
    indices, distances = sklearn_neighbours(reference, reference, k=10, metric="euclidean")
    for search, gallery in ((agreement.renewed, candidate), (agreement.kept, reference)):
        moved = np.take_along_axis(pairwise_distances(candidate, gallery), indices, axis=1)
        ratios = (moved / distances).ravel()
        assert search.noise == pytest.approx(iqr(ratios, scale="normal") / np.median(ratios), rel=1e-4)


def test_noise_of_a_normal_factor_is_its_standard_deviation():
    # Pairs far from each other, in two directions: the third of a triple has a distance that nothing multiplies.
    factors = np.random.default_rng(0).normal(1.5, 0.06, (2000, 1))
    away = 1000.0 * np.arange(2000)[:, np.newaxis]
    flat = np.zeros_like(away)
    reference = np.concatenate([np.hstack([away, flat + side]) for side in (-1, 0, 1)])
    candidate = np.concatenate([np.hstack([away, flat + side * factors]) for side in (-1, 0, 1)])
    # Within a triple all distances carry one factor; 2,000 of them give its deviation to 4 %.
    noise = neighbour_agreement(reference, candidate, ks=(1,), metric="euclidean").renewed.noise
    assert noise == pytest.approx(0.06 / 1.5, rel=0.1)


@metrics
def test_a_common_scale_is_no_noise_and_loses_nothing_made_anew(metric):
    reference = drawn(60)
    agreement = neighbour_agreement(reference, 4 * reference, metric=metric)
    assert recalls(agreement.renewed) == [1, 1]
    assert agreement.renewed.noise == pytest.approx(0, abs=1e-7)
    assert agreement.cosine_lowest == pytest.approx(1)


@given(st.integers(12, 60), st.integers(1, 8), st.integers(0, 2**32 - 1), st.sampled_from(METRICS))
@settings(max_examples=40, deadline=None)
def test_an_embedding_agrees_with_itself_wholly(images, dim, seed, metric):
    reference = drawn(images, dim, seed=seed)
    agreement = neighbour_agreement(reference, reference.copy(), metric=metric)
    assert recalls(agreement.renewed) == recalls(agreement.kept) == [1, 1]
    assert (agreement.renewed.lost, agreement.renewed.first_listed) == (0, 1)


@given(st.integers(2, 12), st.floats(0.01, 100), st.integers(0, 2**32 - 1), st.sampled_from(METRICS))
@settings(max_examples=40, deadline=None)
def test_rotating_and_scaling_all_vectors_keeps_all_neighbours(dim, scale, seed, metric):
    reference = drawn(50, dim, seed=seed)
    rotation = special_ortho_group.rvs(dim, random_state=seed)
    agreement = neighbour_agreement(reference, (scale * reference @ rotation).astype(np.float32), metric=metric)
    assert min(recalls(agreement.renewed)) >= ROTATED


@given(st.integers(12, 60), st.floats(0, 10), st.integers(0, 2**32 - 1), st.sampled_from(METRICS))
@settings(max_examples=40, deadline=None)
def test_every_figure_lies_where_it_must(images, noise, seed, metric):
    reference = drawn(images, 4, seed=seed)
    candidate = reference + np.float32(noise) * drawn(images, 4, seed=seed + 1)
    agreement = neighbour_agreement(reference, candidate, metric=metric)
    for search in (agreement.renewed, agreement.kept):
        assert 0 <= search.near_ties <= search.lost <= images
        assert 1 - search.recalls[0].recall == pytest.approx(search.lost / images)
        assert search.recalls[0].recall <= search.first_listed <= 1
        assert all(0 <= one.ci95[0] <= one.recall <= one.ci95[1] <= 1 for one in search.recalls)
    assert -1 <= agreement.cosine_lowest <= agreement.cosine_mean <= 1


@metrics
def test_unrelated_embeddings_agree_by_chance(metric):
    agreement = neighbour_agreement(drawn(500, seed=1), drawn(500, seed=2), metric=metric)
    # In an index that is kept, the images nearest to the middle are near all queries, under `euclidean`.
    for search in (agreement.renewed, agreement.kept)[: 2 if metric == "cosine" else 1]:
        low, high = binomtest(round(5000 * search.recalls[1].recall), 5000).proportion_ci(0.999)
        assert low < 10 / 499 < high
        assert search.recalls[1].chance == 10 / 499


@metrics
def test_more_noise_loses_more_and_moves_distances_more(metric):
    reference, noise = drawn(300), drawn(300, seed=1)
    found = [neighbour_agreement(reference, reference + np.float32(s) * noise, metric=metric) for s in (0.01, 0.1, 1)]
    for k in (0, 1):
        assert recalls(found[0].renewed)[k] > recalls(found[1].renewed)[k] > recalls(found[2].renewed)[k]
        assert recalls(found[0].kept)[k] > recalls(found[1].kept)[k] > recalls(found[2].kept)[k]
    assert found[0].renewed.noise < found[1].renewed.noise < found[2].renewed.noise
    assert found[0].cosine_mean > found[1].cosine_mean > found[2].cosine_mean


def test_cosines_of_one_image_are_those_of_its_two_embeddings():
    agreement = neighbour_agreement(on_circle(0, 30, 60), on_circle(10, 30, 80), ks=(1,))
    expected = [math.cos(math.radians(angle)) for angle in (10, 0, 20)]
    assert agreement.cosine_mean == pytest.approx(np.mean(expected))
    assert agreement.cosine_lowest == pytest.approx(expected[2])


def test_zero_embeddings_are_points_for_distances_and_directions_for_none():
    reference, candidate = line(0, 1, 3, 7), line(0, 1, 0, 7)
    agreement = neighbour_agreement(reference, candidate, ks=(1,), metric="euclidean")
    # Cosines 1 (both zero), 1, 0 (one zero), 1.
    assert (agreement.cosine_mean, agreement.cosine_lowest) == (3 / 4, 0)
    with pytest.raises(
        VerificationError, match=r"^the bundle's embeddings of 2 of 4 images have length 0, first of image 0"
    ):
        neighbour_agreement(line(1, 1, 3, 7), candidate, ks=(1,))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@metrics
def test_an_embedding_that_is_not_finite_is_refused_by_its_image(value, metric):
    good, broken = drawn(12), drawn(12)
    broken[7, 3] = value
    for pair, whose in (((broken, good), "PyTorch's"), ((good, broken), "the bundle's")):
        with pytest.raises(VerificationError, match=f"^{whose} embeddings of 1 of 12 images .* first of image 7"):
            neighbour_agreement(*pair, metric=metric)


def test_ten_neighbours_need_eleven_images():
    neighbour_agreement(drawn(11), drawn(11))
    with pytest.raises(UsageError, match=r"^10 images, expected at least 11 to ask for 10 neighbours: give more"):
        neighbour_agreement(drawn(10), drawn(10))
    with pytest.raises(UsageError, match=r"^0 images, expected at least 11"):
        neighbour_agreement(drawn(0), drawn(0))


def test_embeddings_of_another_shape_are_refused():
    with pytest.raises(VerificationError, match=r"shaped \(20, 8\), expected PyTorch's \(20, 16\)"):
        neighbour_agreement(drawn(20), drawn(20, 8))


@pytest.mark.parametrize(("right", "queries"), [(0, 5), (3, 10), (49, 50), (360, 360), (1796, 1797)])
def test_the_interval_at_one_is_wilsons(right, queries):
    per_query = (np.arange(queries) < right).astype(float)
    expected = binomtest(right, queries).proportion_ci(0.95, method="wilson")
    assert recall_ci95(per_query, k=1) == pytest.approx((expected.low, expected.high))


def test_the_interval_at_ten_is_wilsons_with_as_many_queries_as_the_spread_allows():
    # Half of 40 queries keep 8 of 10 and half 10: p = 0.9, variance 0.01, so 40 * 0.09 / 0.01 = 360 queries.
    per_query = np.tile([0.8, 1.0], 20)
    expected = binomtest(324, 360).proportion_ci(0.95, method="wilson")
    assert recall_ci95(per_query, k=10) == pytest.approx((expected.low, expected.high))


def test_the_interval_at_ten_holds_no_more_than_ten_searches_of_each_query():
    # Every query keeps 9 of 10, as 360 of 400 searches.
    expected = binomtest(360, 400).proportion_ci(0.95, method="wilson")
    assert recall_ci95(np.full(40, 0.9), k=10) == pytest.approx((expected.low, expected.high))


def test_the_interval_holds_the_mean_recall_in_most_draws():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        reference = rng.standard_normal((100, 8))
        candidate = reference + 0.1 * rng.standard_normal(reference.shape)
        held.append(neighbour_agreement(reference, candidate, metric="euclidean").renewed.recalls)
    for k in (0, 1):
        mean = np.mean([recalls[k].recall for recalls in held])
        inside = np.mean([recalls[k].ci95[0] <= mean <= recalls[k].ci95[1] for recalls in held])
        # The worst of 40 measured cases held it in 89 %; 200 draws leave 3 % to chance.
        assert inside > 0.86
