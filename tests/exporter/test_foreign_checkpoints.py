"""Checkpoints of other frameworks become bundles, and a bundle finds its tensors in their file again."""

import pytest
import timm
import torch
from timm.models import save_for_hf
from typer.testing import CliRunner

from exporter.cli import app
from runtime.bundle.bundle import open_bundle
from runtime.original.load_original import load_original
from runtime.original.network import build_network
from runtime.original.random_weights import randomise
from tests.helpers.checkpoints.layouts import LAYOUTS, body

SIZE = "64"


def export(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments), "--img-size", SIZE])
    assert done.exit_code == 0, done.output
    return done


def drawn(seed):
    network = build_network("resnet18", 5)
    randomise(network, seed)
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def moco(tmp_path_factory):
    """A file of MoCo v2 without an ending, and the tensors of its two encoders."""
    query, key = drawn(1), drawn(2)
    path = tmp_path_factory.mktemp("moco") / "checkpoint_0199"
    torch.save(LAYOUTS["moco-v2"](query, key).content, path)
    return path, body(query), body(key)


def same(network, expected) -> bool:
    state = network.state_dict()
    return state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_file_of_moco_gives_a_bundle_of_its_query_encoder_and_says_what_was_left(moco, tmp_path):
    path, query, _ = moco
    done = export("--model", "resnet18", "--weights", path, "--output", tmp_path / "bundle")
    said = " ".join(done.stderr.split())
    assert "checkpoint_0199: taken: key state_dict, prefix module.encoder_q., MoCo's query encoder" in said
    assert "left: fc (4 tensors), encoder_k (124 tensors), queue, queue_ptr" in said
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest.model.classes == 0
    assert same(load_original(bundle, weights=path), query)


def test_a_bundle_of_a_named_prefix_finds_its_tensors_again(moco, tmp_path):
    path, _, key = moco
    target = tmp_path / "bundle"
    options = ("--weights-key", "state_dict", "--weights-prefix", "module.encoder_k")
    export("--model", "resnet18", "--weights", path, *options, "--output", target)
    bundle = open_bundle(target)
    assert (bundle.manifest.weights.key, bundle.manifest.weights.prefix) == ("state_dict", "module.encoder_k")
    assert same(load_original(bundle, weights=path), key)


def test_a_folder_of_timm_gives_a_bundle_with_its_labels(tmp_path):
    network = timm.create_model("resnet18", num_classes=5)
    randomise(network, 3)
    names = ["ash", "beech", "elm", "fir", "oak"]
    save_for_hf(network, tmp_path / "trees", model_config={"label_names": names}, safe_serialization=True)
    export("--model", f"local-dir:{tmp_path / 'trees'}", "--output", tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    assert (bundle.manifest.model.name, bundle.manifest.weights.name) == ("trees", "model.safetensors")
    assert (tmp_path / "bundle/labels.txt").read_text().split() == names
    again = load_original(bundle, weights=tmp_path / "trees/model.safetensors")
    assert same(again, network.state_dict())
