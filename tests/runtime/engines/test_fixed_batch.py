"""Bundles whose graph takes three images: every engine takes any number of them, as of every other bundle."""

import json

import numpy as np
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from runtime.bundle.bundle import open_bundle
from runtime.commands.run_ssl import app
from runtime.engines.contract import run_batches, split_batches
from runtime.engines.open_engine import EngineOptions, load_engine
from tests.helpers.bundles import hand_made_manifest, tensors
from tests.helpers.exported import decibels

ENGINES = ["onnxruntime", "openvino", "pytorch"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("images", [1, 2, 3, 4, 7])
def test_any_number_of_images_gives_timm_s_outputs(exported, fixed_batch, reference, name, images):
    bundle = open_bundle(fixed_batch)
    with load_engine(bundle, name, EngineOptions(weights=exported.checkpoint)) as engine:
        logits, embedding = engine.infer(reference.pixels[:images])
    assert (logits.shape, embedding.shape) == ((images, 1000), (images, 512))
    required = bundle.manifest.precision.min_sqnr_db
    assert decibels(reference.logits[:images], logits) >= required
    assert decibels(reference.embedding[:images], embedding) >= required


def test_verify_passes_on_four_golden_images(fixed_batch):
    done = CliRunner().invoke(app, ["verify", str(fixed_batch), "--json"])
    assert done.exit_code == 0, done.stderr
    assert {one["images"] for one in json.loads(done.stdout)["engines"]} == {4}


def test_compare_scores_every_image_whatever_the_size_of_its_batches(exported, fixed_batch, class_folders):
    arguments = [str(fixed_batch), "--data", str(class_folders), "--weights", str(exported.checkpoint)]
    done = CliRunner().invoke(app, ["compare", *arguments, "--batch-size", "5", "--json"])
    assert done.exit_code == 0, done.stderr
    # The pictures are labelled by timm's own ranking: half with its first choice, a quarter with its second.
    assert {(one["top1"], one["top5"], one["agreement"]) for one in json.loads(done.stdout)["engines"]} == {
        (0.5, 0.75, 1.0)
    }


def test_the_last_batch_is_filled_up_with_zeros():
    images = np.arange(1, 6, dtype=np.uint8).reshape(5, 1)
    found = [(batch.tolist(), held) for batch, held in split_batches(images, 3)]
    assert found == [([[1], [2], [3]], 3), ([[4], [5], [0]], 2)]
    assert [batch.dtype for batch, _ in split_batches(images, 3)] == [np.uint8] * 2


@pytest.mark.parametrize(("batch", "sizes"), [(3, [3, 3, 3]), (7, [7]), (10, [10]), (None, [7])])
def test_outputs_of_the_batches_are_put_together_without_what_filled_them_up(batch, sizes):
    seen = []

    def run(images):
        seen.append(len(images))
        return images * 2, images.sum(axis=1, keepdims=True)

    images = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    twice, summed = run_batches(run, images, batch)
    assert seen == sizes
    np.testing.assert_array_equal(twice, images * 2)
    np.testing.assert_array_equal(summed, images.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("batch", [0, -1, "n"])
def test_a_manifest_of_an_impossible_batch_is_refused(batch):
    with pytest.raises(ValidationError, match="expected batch, or one number of at least 1"):
        hand_made_manifest(**tensors(batch))


def test_a_manifest_whose_tensors_have_different_batches_is_refused():
    with pytest.raises(ValidationError, match=r"the tensors have the batches \[2, 'batch', 'batch'\]"):
        hand_made_manifest(input=tensors(2)["input"])
