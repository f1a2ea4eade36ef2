"""A bundle's neighbour check on a small exported network, its sample, and its words."""

import hashlib
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from runtime.bundle.bundle import open_bundle
from runtime.bundle.results.neighbours_json import NeighbourCheck
from runtime.data.sources.sample import sample_keys
from runtime.embed.neighbours.agreement import neighbour_agreement
from runtime.embed.neighbours.check import check_neighbours, collect_embeddings
from runtime.embed.neighbours.explain import expected_lost, explain_neighbours
from runtime.embed.neighbours.result_table import render_check
from runtime.engines.contract import Outputs
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.errors import DataError, EngineError, UsageError
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


def drawn(images, dim=16, *, seed=0):
    return np.random.default_rng(seed).standard_normal((images, dim)).astype(np.float32)


def printed(check, width=80, **options):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    render_check(check, console, **options)
    return console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above


def checked(reference, candidate, **options):
    return NeighbourCheck(
        bundle="r18-int8",
        model="ssl_resnet18",
        engine="onnxruntime",
        precision="int8",
        agreement=neighbour_agreement(reference, candidate, **options),
    )


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
            noise = damage * clean.candidate.std(axis=0) * drawn(*clean.candidate.shape)
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


def test_the_recall_that_a_gate_asks_for_is_the_worse_of_both_questions():
    check = checked(drawn(300), drawn(300) + np.float32(0.3) * drawn(300, seed=1))
    agreement = check.agreement
    assert check.recall(10) == min(agreement.renewed.recalls[1].recall, agreement.kept.recalls[1].recall) < 1
    with pytest.raises(UsageError, match=r"^recall at 5 was not measured, expected one of 1, 10"):
        check.recall(5)


def test_json_has_every_figure_and_comes_back_the_same():
    check = checked(drawn(300), drawn(300) + np.float32(0.3) * drawn(300, seed=1))
    told = json.loads(check.model_dump_json())
    assert told["agreement"]["renewed"]["recalls"][1]["recall"] == check.agreement.renewed.recalls[1].recall
    assert told["agreement"]["images"] == 300
    assert NeighbourCheck.model_validate_json(check.model_dump_json()) == check


def test_json_of_a_bundle_without_noise_or_ratios_has_nulls():
    reference = np.repeat(drawn(20), 2, axis=0)
    told = json.loads(checked(reference, np.ones_like(reference), metric="euclidean").model_dump_json())
    assert told["agreement"]["renewed"]["noise"] is None
    assert told["agreement"]["renewed"]["farther_most"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_has_both_questions_in_percent_and_fits_the_terminal(width):
    check = checked(drawn(300), drawn(300) + np.float32(0.05) * drawn(300, seed=1))
    text = printed(check, width)
    for search in (check.agreement.renewed, check.agreement.kept):
        for recall in search.recalls:
            assert f"{100 * recall.recall:.2f}" in text
    assert "recall@10" in text
    assert max(map(len, text.splitlines())) <= width


def test_the_verdict_comes_first_and_the_whole_is_at_most_a_screen():
    check = checked(drawn(300), drawn(300) + np.float32(0.3) * drawn(300, seed=1))
    recall = check.recall(10)
    for least, start in ((0.01, "Passed: recall at 10 is "), (0.99, "FAILED: recall at 10 is ")):
        text = printed(check, least=least)
        assert text.startswith(start)
        assert f"{100 * recall:.2f}"[:4] in text.splitlines()[0]
        assert len(text.splitlines()) <= 24
    assert printed(check).startswith("Better than chance: of 10 nearest neighbours ")


def test_a_recall_just_below_the_least_does_not_look_like_it():
    check = checked(drawn(300), drawn(300))
    recall = check.agreement.renewed.recalls[1].model_copy(update={"recall": 0.97999})
    nearly = check.agreement.renewed.model_copy(update={"recalls": (recall,)})
    check = check.model_copy(update={"agreement": check.agreement.model_copy(update={"renewed": nearly})})
    words = "FAILED: recall at 10 is 97.99 % in the worse of two cases, and --min-recall asks for 98.00 %."
    assert " ".join(printed(check, least=0.98).split()).startswith(words)


def test_details_have_every_sentence_and_what_limits_the_recall_is_said_without():
    check = checked(drawn(300), drawn(300) + np.float32(0.05) * drawn(300, seed=1))
    told = " ".join(printed(check, details=True).split())
    assert all(sentence in told for sentence in explain_neighbours(check.agreement))
    brief = " ".join(printed(check).split())
    assert "This is the recall among 300 images." in brief
    assert "`--details`" in brief


def test_a_wholly_right_bundle_is_said_to_be_so():
    words = explain_neighbours(neighbour_agreement(drawn(300), drawn(300)))
    assert "all 10 nearest neighbours are kept, and every search returns the right first image." in words[0]
    assert not any("lost" in sentence for sentence in words)


def test_small_noise_is_called_near_ties_of_the_expected_number():
    agreement = neighbour_agreement(drawn(2000, 8), drawn(2000, 8) + np.float32(0.02) * drawn(2000, 8, seed=1))
    words = " ".join(explain_neighbours(agreement))
    assert f"{agreement.renewed.lost:,} lost first neighbours" in words
    assert "lost are expected" in words
    assert "fetch 10" in words
    share = agreement.renewed.lost / 2000
    # The range that the docstring of `expected_lost` tells.
    assert 0.6 < share / expected_lost(agreement.renewed.noise, agreement.step) < 1.6


def test_noise_as_large_as_the_step_is_called_so():
    agreement = neighbour_agreement(drawn(1000, 64), drawn(1000, 64) + np.float32(0.5) * drawn(1000, 64, seed=1))
    assert expected_lost(agreement.renewed.noise, agreement.step) is None
    assert any("more than the" in sentence and "nearly alike" in sentence for sentence in explain_neighbours(agreement))


def test_a_batch_in_the_wrong_order_is_not_put_down_to_noise():
    reference, candidate = drawn(1000, 8), drawn(1000, 8)
    candidate[100:200] = np.roll(candidate[100:200], 1, axis=0)
    assert any(
        "some images moved far more" in one for one in explain_neighbours(neighbour_agreement(reference, candidate))
    )


def test_unrelated_embeddings_fail_and_nothing_else_is_explained():
    check = checked(drawn(500, seed=1), drawn(500, seed=2))
    words = explain_neighbours(check.agreement)
    assert words[0].startswith("FAILED: Index built with the bundle")
    assert not any("near-ties" in sentence for sentence in words)
    assert "recall at 1 and 10 is no better than chance" in " ".join(printed(check).split())
    assert printed(check).startswith("FAILED: Index built with the bundle")


def test_chance_is_said_where_a_sample_is_too_small_to_tell():
    words = explain_neighbours(neighbour_agreement(drawn(11), drawn(11)))
    assert "Recall at 10 says little here: among 11 images chance finds 100.00 %; give more." in words
    assert not any(sentence.startswith("FAILED") for sentence in words)


def test_copies_in_the_sample_are_counted():
    reference = np.concatenate([drawn(100), drawn(100)[:7]])
    words = explain_neighbours(neighbour_agreement(reference, reference))
    assert any(sentence.startswith("14 images have a copy in the sample") for sentence in words)


def test_neighbours_kept_are_cut_not_rounded_up():
    agreement = neighbour_agreement(drawn(300), drawn(300))
    ten = agreement.renewed.recalls[1].model_copy(update={"recall": 0.9998})
    nearly = agreement.renewed.model_copy(update={"recalls": (ten,)})
    words = explain_neighbours(agreement.model_copy(update={"renewed": nearly}))
    assert words[0].startswith("Index built with the bundle: 9.99 of 10 nearest neighbours are kept on average")


def test_shuffled_input_gives_the_same_report():
    reference, candidate = drawn(200), drawn(200) + np.float32(0.1) * drawn(200, seed=1)
    order = np.random.default_rng(0).permutation(200)
    one, other = (neighbour_agreement(a, b) for a, b in ((reference, candidate), (reference[order], candidate[order])))
    assert [r.recall for r in one.renewed.recalls] == pytest.approx([r.recall for r in other.renewed.recalls])
    assert one.renewed.lost == other.renewed.lost
