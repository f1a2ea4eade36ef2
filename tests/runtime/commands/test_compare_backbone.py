"""`run-ssl compare` on bundles whose only output is the embedding."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from safetensors.torch import load_file
from sklearn.neighbors import KNeighborsClassifier
from timm.data import create_transform
from typer.testing import CliRunner

from runtime.bundle.layout import CHANGED_FILE, COMPARE_FILE, RESULTS_FOLDER
from runtime.commands.run_ssl import app
from tests.conftest import IMAGE_SIZE, MEAN, STD, crops
from tests.helpers.command_lines import refused
from tests.helpers.exported import copy_bundle

# Crops of one photograph are one class: six to be searched for, six to vote.
PHOTOGRAPHS, EACH = ("astronaut", "coffee", "rocket", "z"), 12


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return two class-folder trees of the same classes: queries and gallery."""
    root = tmp_path_factory.mktemp("photographs")
    for number, picture in enumerate(crops()):
        name = PHOTOGRAPHS[number // EACH]
        folder = root / ("queries" if number % 2 else "gallery") / name
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{number:02}.png")
    return root / "queries", root / "gallery"


@pytest.fixture(scope="module")
def features(backbone, folders):
    """Return timm's pooled features after its own transform, for queries and gallery, in the order of the folders."""
    network = timm.create_model("resnet18", num_classes=0).eval()
    network.load_state_dict(load_file(backbone.checkpoint))
    transform = create_transform(
        input_size=(3, IMAGE_SIZE, IMAGE_SIZE), crop_pct=0.875, interpolation="bilinear", mean=MEAN, std=STD
    )
    from PIL import Image

    found = []
    for folder in folders:
        files = sorted(folder.glob("*/*.png"))
        pictures = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
        with torch.no_grad():
            found.append((network(pictures).numpy(), np.array([file.parent.name for file in files])))
    return found


def expected_accuracy(features):
    (points, names), (voters, classes) = features
    classifier = KNeighborsClassifier(
        n_neighbors=20, metric="cosine", algorithm="brute", weights=lambda distances: np.exp((1 - distances) / 0.07)
    )
    return (classifier.fit(voters, classes).predict(points) == names).mean()


def test_accuracy_of_the_original_is_that_of_scikit_learns_neighbours_on_timms_features(backbone, folders, features):
    queries, gallery = folders
    result = run(backbone.fp32, backbone.int8, "--data", queries, "--gallery", gallery, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    voters = features[1][0]
    assert found["original"]["top1"] == pytest.approx(expected_accuracy(features))
    assert found["neighbour_vote"] == {
        "neighbours": 20,
        "temperature": 0.07,
        "gallery": str(gallery),
        "gallery_images": len(voters),
    }
    assert found["card"] is None
    for row in found["engines"]:
        assert {kept["k"] for kept in row["embedding"]["kept"]} == {1, 10}
        near = row["embedding"]
        assert near["cosine_lowest"] <= near["cosine_p1"] <= near["cosine_mean"] <= 1
    fp32, int8 = found["engines"][0], found["engines"][-1]
    assert (fp32["drop"], fp32["embedding"]["kept"][0]["recall"]) == (0, 1)
    assert fp32["sqnr_db"] > int8["sqnr_db"]


def write_table(folder, file):
    """Write a class-folder tree as a Parquet file whose columns have names that nobody would guess."""
    pictures = sorted(folder.glob("*/*.png"))
    labels = [PHOTOGRAPHS.index(picture.parent.name) for picture in pictures]
    pq.write_table(pa.table({"scan": [picture.read_bytes() for picture in pictures], "sort": labels}), file)
    return file


def test_the_columns_that_are_named_hold_for_a_gallery_in_parquet_too(backbone, folders, features, tmp_path):
    queries, gallery = (write_table(folder, tmp_path / f"{folder.name}.parquet") for folder in folders)
    columns = ["--image-column", "scan", "--label-column", "sort"]
    for data, voters, options in (
        (queries, gallery, columns),
        (queries, folders[1], columns),
        (folders[0], folders[1], []),
    ):
        result = run(backbone.fp32, "--data", data, "--gallery", voters, "--engines", "onnxruntime", "--json", *options)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["original"]["top1"] == pytest.approx(expected_accuracy(features))


def test_the_table_says_how_classes_are_found_and_a_saved_result_is_kept(backbone, folders, tmp_path):
    bundle = copy_bundle(backbone.fp32, tmp_path / "fp32")
    weights = ["--weights", backbone.checkpoint]
    result = run(bundle, "--data", folders[0], "--engines", "onnxruntime", "--save", *weights)
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "classes are those that the 20 nearest of all other images vote for, weighted by exp(cosine / 0.07)" in words
    assert "no drop in k-NN accuracy that is more than chance" in words
    assert "kept@10" in words
    assert "logits" not in words
    saved = json.loads((bundle / RESULTS_FOLDER / COMPARE_FILE).read_text())
    assert saved["neighbour_vote"]["gallery"] is None
    (changes,) = json.loads((bundle / RESULTS_FOLDER / CHANGED_FILE).read_text())["engines"]
    assert (changes["images"], changes["changed"]) == (saved["original"]["images"], 0)


def test_a_gallery_without_one_of_the_classes_and_one_beside_a_classifier_are_refused(
    backbone, exported, folders, class_folders, tmp_path
):
    queries, gallery = folders
    smaller = tmp_path / "smaller"
    smaller.mkdir()
    (smaller / PHOTOGRAPHS[0]).symlink_to(gallery / PHOTOGRAPHS[0])
    refused(
        run(backbone.fp32, "--data", queries, "--gallery", smaller),
        "3 of 4 classes of",
        "are not among the 1 of --gallery",
        "class folders of the same names in both",
    )
    result = run(exported.fp32, "--data", class_folders, "--gallery", class_folders)
    refused(result, "--gallery", "is for networks without a classifier", code=2)
