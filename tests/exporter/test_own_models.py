"""Folders are written by timm's own `save_for_hf`; a repository lies in a cache, laid out as huggingface_hub does."""

import json
from pathlib import Path

import pytest
import timm
import torch
from timm.data import create_transform, resolve_data_config
from timm.models import save_for_hf

from exporter.models import default_labels, licence_of, resolve_model
from exporter.own_models import read_own_model
from exporter.preprocessing import resolve_preprocessing
from exporter.request import Recipe, WeightsChoice
from runtime.data.class_names import read_class_names
from runtime.errors import DataError, HubError, UnknownModelError, UsageError

NAMES = ["badger", "otter", "stoat"]
RECIPE = {"input_size": (3, 96, 96), "crop_pct": 0.9, "interpolation": "bilinear", "mean": (0.5, 0.4, 0.3)}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    network = timm.create_model("resnet18.fb_ssl_yfcc100m_ft_in1k", num_classes=3)
    path = tmp_path_factory.mktemp("saved") / "mustelids"
    described = {"label_names": NAMES, "label_descriptions": {"otter": "a river animal"}}
    save_for_hf(network, path, model_config=described, data_config=RECIPE, safe_serialization="both")
    return path


def changed(folder: Path, target: Path, **changes) -> Path:
    """A copy of a folder's config.json beside an empty checkpoint, with some keys changed."""
    target.mkdir()
    content = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**content, **changes}))
    (target / "model.safetensors").touch()
    return target


def test_a_folder_brings_architecture_labels_and_licence(folder):
    spec = resolve_model(f"local-dir:{folder}")
    assert (spec.name, spec.architecture, spec.classes, spec.timm_tag) == ("mustelids", "resnet18", 3, None)
    assert default_labels(3, spec) == ("badger", "otter\ta river animal", "stoat")
    # timm keeps the licence of the weights that the network began with.
    assert licence_of(spec, "file").spdx == "CC-BY-NC-4.0"
    assert spec.own is not None
    assert spec.own.weights == folder / "model.safetensors"


def test_a_folders_preprocessing_is_that_of_timms_own_transform(folder):
    preprocessing = resolve_preprocessing(resolve_model(f"local-dir:{folder}"))
    network = timm.create_model(f"local-dir:{folder}")
    resize, crop, _, normalise = create_transform(**resolve_data_config(model=network)).transforms
    assert (preprocessing.resize_size, preprocessing.image_size) == (resize.size, crop.size[0])
    assert preprocessing.interpolation == resize.interpolation.value
    assert preprocessing.mean == pytest.approx(normalise.mean.tolist())
    assert preprocessing.std == pytest.approx(normalise.std.tolist())


def test_a_pickled_checkpoint_is_taken_where_there_is_no_other(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes((folder / "pytorch_model.bin").read_bytes())
    assert read_own_model(f"local-dir:{tmp_path}").weights == tmp_path / "pytorch_model.bin"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_args": {"in_chans": 2}}, "in_chans=2"),
        ({"model_args": {"output_stride": 8}}, "output_stride=8"),
        ({"label_names": ["badger"]}, "1 label_names for 3 classes"),
        ({"pretrained_cfg": {"mean": "grey"}}, "pretrained_cfg.mean"),
        ({"pretrained_cfg": {"mean": []}}, "pretrained_cfg.mean"),
        ({"pretrained_cfg": {"mean": [0.5, float("nan"), 0.5]}}, "pretrained_cfg.mean.1"),
        ({"pretrained_cfg": {"std": [0.5, 0.5, 0]}}, "pretrained_cfg.std.2"),
        ({"pretrained_cfg": {"input_size": [3, 0, 0]}}, "pretrained_cfg.input_size.1"),
        ({"num_classes": 10**12, "label_names": {"0": "badger"}}, "num_classes"),
        ({"architecture": 3}, "architecture"),
    ],
)
def test_a_config_that_cannot_be_followed_is_refused(folder, tmp_path, changes, named):
    with pytest.raises(UsageError) as caught:
        resolve_model(f"local-dir:{changed(folder, tmp_path / 'other', **changes)}")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_filter_that_the_runtime_lacks_is_refused_until_another_is_stated(folder, tmp_path):
    spec = resolve_model(f"local-dir:{changed(folder, tmp_path / 'o', pretrained_cfg={'interpolation': 'lanczos'})}")
    with pytest.raises(UsageError, match=r"^o is resized with the filter 'lanczos': .* with --interpolation$"):
        resolve_preprocessing(spec)
    assert resolve_preprocessing(spec, Recipe(interpolation="bicubic")).interpolation == "bicubic"


def test_a_network_of_one_channel_is_taken(folder, tmp_path):
    grey = changed(folder, tmp_path / "grey", model_args={"in_chans": 1})
    assert read_own_model(f"local-dir:{grey}").channels == 1


def test_an_architecture_outside_the_family_is_refused(folder, tmp_path):
    with pytest.raises(UnknownModelError, match="vit_tiny"):
        resolve_model(f"local-dir:{changed(folder, tmp_path / 'vit', architecture='vit_tiny_patch16_224')}")


def test_labels_with_numbers_and_flat_files_of_old_versions_are_read(folder, tmp_path):
    numbered = changed(folder, tmp_path / "numbered", label_names={"0": "badger", "2": "stoat"})
    assert read_own_model(f"local-dir:{numbered}").labels == ("badger", "class_0001", "stoat")
    old = tmp_path / "old"
    old.mkdir()
    (old / "model.safetensors").touch()
    # As timm 0.6 wrote it.
    flat = {"architecture": "resnet18", "num_classes": 3, "labels": NAMES, "input_size": [3, 64, 64], "crop_pct": 1.0}
    (old / "config.json").write_text(json.dumps(flat))
    model = read_own_model(f"local-dir:{old}")
    assert (model.labels, model.config.input_size) == (tuple(NAMES), (3, 64, 64))


def test_a_folder_without_weights_or_of_transformers_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(UsageError, match=r"expected config\.json and one of model\.safetensors"):
        resolve_model(f"local-dir:{tmp_path}")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UsageError, match="cannot be read"):
        resolve_model(f"local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet", "depths": [2, 2, 2, 2]}))
    with pytest.raises(UsageError, match=rf"of transformers .*--weights {tmp_path}/model\.safetensors"):
        resolve_model(f"local-dir:{tmp_path}")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Hugging Face's cache, empty, and no network."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.mark.parametrize("prefix", ["hf-hub:", "hf_hub:"])
def test_a_repository_is_read_from_the_cache(folder, cache, prefix):
    repository = cache / "models--zoo--mustelids"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes((folder / "config.json").read_bytes())
    spec = resolve_model(f"{prefix}zoo/mustelids")
    assert (spec.name, spec.architecture, spec.classes) == ("mustelids", "resnet18", 3)
    assert spec.own.repository == "zoo/mustelids"
    at = resolve_model(f"{prefix}zoo/mustelids@{COMMIT}")
    assert (at.name, at.own.repository) == ("mustelids", f"zoo/mustelids@{COMMIT}")


@pytest.mark.usefixtures("cache")
def test_a_repository_that_cannot_be_had_is_said_in_one_line():
    with pytest.raises(HubError, match=r"config\.json of zoo/mustelids: not in the local cache") as caught:
        resolve_model("hf-hub:zoo/mustelids")
    assert "\n" not in str(caught.value)


def test_timms_own_repositories_are_its_names():
    assert read_own_model("hf-hub:timm/resnet18.a1_in1k") is None
    assert read_own_model("resnet18") is None


@pytest.mark.parametrize("text", ["hub", "random"])
@pytest.mark.parametrize(
    ("choice", "option"), [({"key": "model"}, "--weights-key"), ({"prefix": ""}, "--weights-prefix")]
)
def test_a_key_or_a_prefix_needs_a_file(text, choice, option):
    with pytest.raises(UsageError, match=option):
        WeightsChoice.parse(text, seed=0, **choice)


def test_the_classes_of_a_folder_are_torchvisions(tmp_path):
    from torchvision.datasets.folder import find_classes

    for name in ("n02", "Zebra", "apple", "10", "9"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes.txt").touch()
    assert read_class_names(tmp_path, 5) == tuple(find_classes(tmp_path)[0])
    with pytest.raises(DataError, match="has 5 class folders, but the network has 4 classes"):
        read_class_names(tmp_path, 4)


def test_timm_gives_the_same_network_from_the_folder(folder):
    from runtime.original.checkpoint import load_into, read_checkpoint
    from runtime.original.network import build_network

    network = build_network("resnet18", 3)
    load_into(network, read_checkpoint(read_own_model(f"local-dir:{folder}").weights))
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(network(image), timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(image))
