"""`run-ssl compare --save`: the comparison and the changed images, kept for the report."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from runtime.bundle.results.changed_json import read_changes
from runtime.commands.run_ssl import app
from tests.conftest import PICTURES, timm_logits, timm_network
from tests.helpers.bundle_files import described_files
from tests.helpers.exported import change_weights, copy_bundle


def compared(*arguments):
    result = CliRunner().invoke(app, ["compare", *(str(argument) for argument in arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def saved(exported, class_folders, tmp_path_factory):
    """Return a good bundle, one with a spoiled classifier, and the comparison of both."""
    folder = tmp_path_factory.mktemp("saved")
    good = copy_bundle(exported.fp32, folder / "good")

    def spoil(_name, array):
        if array.shape in ((1000, 512), (512, 1000)):
            generator = np.random.default_rng(0)
            return array + generator.normal(scale=array.std(), size=array.shape)
        return array

    graph = change_weights((good / "model.onnx").read_bytes(), spoil)
    bad = copy_bundle(exported.fp32, folder / "bad", files={"model.onnx": graph})
    return (
        good,
        bad,
        compared(
            good,
            bad,
            "--data",
            class_folders,
            "--engines",
            "onnxruntime",
            "--save",
            *("--weights", exported.checkpoint),
        ),
    )


def test_every_bundle_keeps_the_comparison_that_was_printed(saved):
    good, bad, content = saved
    for bundle in (good, bad):
        assert described_files(bundle) >= {"results/compare.json", "results/changed.json"}
        assert json.loads((bundle / "results/compare.json").read_text(encoding="utf-8")) == content


def test_as_many_images_are_changed_as_do_not_agree(saved):
    good, bad, content = saved
    changes = read_changes(good / "results/changed.json")
    assert (good / "results/changed.json").read_bytes() == (bad / "results/changed.json").read_bytes()
    assert [one.bundle for one in changes.engines] == [str(good), str(bad)]
    for one, row in zip(changes.engines, content["engines"], strict=True):
        assert (one.engine, one.precision, one.images) == (row["engine"], row["precision"], PICTURES)
        assert one.changed == round(PICTURES * (1 - row["agreement"]))
        assert len(one.kept) == one.changed
    assert changes.engines[0].changed == 0
    # A spoiled classifier decides otherwise, or nothing here was tested.
    assert changes.engines[1].changed > 0


def test_a_changed_image_is_named_as_its_file_with_the_classes_of_timm(saved, exported, class_folders):
    good, _, _ = saved
    lines = (good / "labels.txt").read_text(encoding="utf-8").splitlines()
    names = dict(line.split("\t", 1) for line in lines)
    files = sorted(class_folders.glob("*/*.png"))
    logits = timm_logits(timm_network(exported.checkpoint), [Image.open(file).convert("RGB") for file in files])
    expected = {
        file.name: (names[file.parent.name], lines[row.argmax()].split("\t")[1], np.sort(row)[-1] - np.sort(row)[-2])
        for file, row in zip(files, logits, strict=True)
    }
    kept = read_changes(good / "results/changed.json").engines[1].kept
    for image in kept:
        label, original, margin = expected[image.name.rpartition("/")[2]]
        assert (image.label, image.original) == (label, original)
        assert image.found != image.original
        assert image.margins[0] == pytest.approx(margin, abs=2e-3)
    margins = [image.margins[0] for image in kept]
    assert margins == sorted(margins, reverse=True)


def test_the_thumbnails_show_what_the_network_saw(saved):
    good, _, _ = saved
    for image in read_changes(good / "results/changed.json").engines[1].kept:
        with Image.open(io.BytesIO(base64.b64decode(image.thumbnail_jpeg_base64, validate=True))) as thumbnail:
            assert (thumbnail.format, thumbnail.size) == ("JPEG", (64, 64))
            thumbnail.load()


def test_without_save_nothing_is_written(exported, class_folders, tmp_path):
    bundle = copy_bundle(exported.fp32, tmp_path / "bundle")
    compared(
        bundle, "--data", class_folders, "--engines", "onnxruntime", "--limit", 4, "--weights", exported.checkpoint
    )
    assert not (bundle / "results").exists()
