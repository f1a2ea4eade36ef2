"""A bundle's neighbour check on a small exported network, and its sample."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle.bundle import open_bundle
from runtime.data.sources.sample import sample_keys
from runtime.embed.neighbours.check import check_neighbours, collect_embeddings
from runtime.engines.contract import Outputs
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.errors import DataError, EngineError, UsageError
from runtime.neighbours.agreement import neighbour_agreement
from tests.conftest import IMAGE_SIZE, crops
from tests.helpers.fake_engine import FakeEngine

KEYS = st.lists(st.text(), unique=True, min_size=1, max_size=40)


@pytest.fixture(scope="module")
def pixels():
    pictures = [np.asarray(picture.resize((IMAGE_SIZE, IMAGE_SIZE))) for picture in crops()]
    return np.stack(pictures)


def in_batches(pixels, size=16):
    return [pixels[start : start + size] for start in range(0, len(pixels), size)]


class Scripted(FakeEngine):
    """An engine whose embedding of an image is a function of its pixels."""

    name = "scripted"
    precision = "fp32"

    def __init__(self, embed):
        self.embed = embed
        self.buffer = None

    def infer(self, pixels):
        embedding = self.embed(pixels).astype(np.float32)
        # One buffer for all batches, as an engine may have.
        if self.buffer is None or self.buffer.shape != embedding.shape:
            self.buffer = np.empty_like(embedding)
        self.buffer[:] = embedding
        return Outputs(embedding, self.buffer)


def corner(pixels):
    return pixels[:, :2, :2, 0].reshape(len(pixels), -1).astype(np.float32)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_fp32_bundle_finds_every_neighbour_of_pytorch(exported, pixels, engine):
    done: list[int] = []
    check = check_neighbours(open_bundle(exported.fp32), in_batches(pixels), engine=engine, on_batch=done.append)
    assert (check.engine, check.precision, check.model) == (engine, "fp32", "ssl_resnet18")
    assert done[-1] == check.agreement.images == len(pixels)
    assert (check.recall(1), check.recall(10)) == (1, 1)
    assert check.agreement.cosine_lowest > 1 - 1e-6


def test_weights_threads_and_precision_reach_the_engines(exported, pixels):
    options = EngineOptions(weights=exported.checkpoint, threads=1)
    check = check_neighbours(
        open_bundle(exported.fp32), in_batches(pixels[:12]), engine="pytorch:fp16", options=options
    )
    assert (check.engine, check.precision) == ("pytorch", "fp16")
    assert check.agreement.cosine_lowest < 1


def test_a_damaged_engine_finds_fewer_the_more_it_is_damaged(exported, pixels):
    bundle = open_bundle(exported.fp32)
    found = []
    with load_engine(bundle, "pytorch") as original, load_engine(bundle, "onnxruntime") as engine:
        clean = collect_embeddings(in_batches(pixels), original=original, candidate=engine)
        for damage in (0.0, 0.01, 0.1, 1.0):
            noise = (
                damage
                * clean.candidate.std(axis=0)
                * np.random.default_rng(0).standard_normal(clean.candidate.shape).astype(np.float32)
            )
            found.append(neighbour_agreement(clean.reference, clean.candidate + noise, metric="euclidean"))
    for question in ("renewed", "kept"):
        tens = [getattr(agreement, question).recalls[1].recall for agreement in found]
        assert tens == sorted(tens, reverse=True)
        assert tens[0] == 1 > tens[2] > tens[3]


def test_embeddings_are_kept_though_the_engine_reuses_its_buffer(pixels):
    embeddings = collect_embeddings(
        in_batches(pixels, 8), original=Scripted(corner), candidate=Scripted(lambda images: 2 * corner(images))
    )
    np.testing.assert_array_equal(embeddings.reference, corner(pixels))
    np.testing.assert_array_equal(embeddings.candidate, 2 * corner(pixels))


def test_batches_may_come_from_a_generator_and_differ_in_size(pixels):
    batches = (pixels[start:end] for start, end in ((0, 5), (5, 6), (6, 30)))
    embeddings = collect_embeddings(batches, original=Scripted(corner), candidate=Scripted(corner))
    np.testing.assert_array_equal(embeddings.candidate, corner(pixels[:30]))


def test_no_image_is_an_error():
    with pytest.raises(DataError, match=r"^the data gave 0 images, expected some"):
        collect_embeddings([], original=Scripted(corner), candidate=Scripted(corner))


def test_an_engine_of_another_network_is_refused(pixels):
    longer = Scripted(lambda images: np.ones((len(images), 7)))
    with pytest.raises(EngineError, match=r"gave embeddings shaped \(8, 7\) of 8 images, expected the .* \(8, 4\)"):
        collect_embeddings([pixels[:8]], original=Scripted(corner), candidate=longer)


def test_too_few_images_are_a_usage_error(exported, pixels):
    with pytest.raises(UsageError, match=r"^10 images, expected at least 11"):
        check_neighbours(open_bundle(exported.fp32), [pixels[:10]], engine="onnxruntime")


@given(KEYS, st.integers(1, 50), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_sample_does_not_depend_on_the_order(keys, size, seed, order):
    shuffled = order.sample(keys, len(keys))
    chosen = {keys[position] for position in sample_keys(keys, size=size, seed=seed)}
    assert {shuffled[position] for position in sample_keys(iter(shuffled), size=size, seed=seed)} == chosen
    assert len(chosen) == min(size, len(keys))


@given(KEYS, st.integers(1, 20), st.integers(0, 20), st.integers(0, 5))
def test_a_larger_sample_contains_the_smaller(keys, size, more, seed):
    larger = sample_keys(keys, size=size + more, seed=seed)
    assert set(sample_keys(keys, size=size, seed=seed)) <= set(larger)
    assert list(larger) == sorted(set(larger))


def test_the_sample_is_the_smallest_hashes_of_seed_and_key():
    keys = [f"class/{number:03}.jpg" for number in range(300)]
    ranks = {key: hashlib.sha256(b"7/" + key.encode()).hexdigest() for key in keys}
    expected = sorted(keys, key=ranks.__getitem__)[:5]
    assert {keys[position] for position in sample_keys(keys, size=5, seed=7)} == set(expected)
    assert sample_keys(keys, size=5, seed=8) != sample_keys(keys, size=5, seed=7)


def test_every_key_is_drawn_about_equally_often():
    counts = np.zeros(20)
    for seed in range(1000):
        counts[list(sample_keys([f"{key}.png" for key in range(20)], size=5, seed=seed))] += 1
    # 250 expected, standard deviation 13.7; 5 of these leave less than 1e-5 to chance over 20 keys.
    assert abs(counts - 250).max() < 5 * 13.7


def test_names_that_are_not_utf8_can_be_sampled_and_copies_count_once_each():
    assert sample_keys(["a\udcff", "a\udcff", "b"], size=3, seed=0) == (0, 1, 2)


def test_a_sample_of_no_image_is_a_usage_error():
    with pytest.raises(UsageError, match=r"^a sample of 0 images: expected at least 1"):
        sample_keys(["a"], size=0, seed=0)
