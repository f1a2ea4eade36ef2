"""What images lost is said once a run: by embed, compare, the export's golden images and the calibration's."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image
from typer.testing import CliRunner

from calibration.images.lint import PixelLint
from exporter.cli import app as export_app
from runtime.bundle.bundle import open_bundle
from runtime.commands.run_ssl import app
from runtime.data.batches import load_batches
from runtime.data.dataset import Dataset, LabelledImage
from runtime.images.losses import Losses
from tests.helpers.command_lines import refused

IMAGES = 8


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def deep_image(path, seed):
    """Write a 16-bit picture whose values are all above 255."""
    values = np.random.default_rng(seed).integers(0, 256, (70, 80)).astype(np.uint16) * 16 + 300
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep")
    for seed in range(IMAGES):
        deep_image(folder / f"{seed}.png", seed)
    return folder


def embed(bundle, images, output, *more):
    return run("embed", bundle, images, "--output", output, "--engine", "onnxruntime", "--batch-size", 4, *more)


def distinct_rows(output):
    rows = pq.read_table(output, columns=["embedding"]).column("embedding").to_pylist()
    return len({tuple(row) for row in rows})


def test_16_bit_images_are_one_embedding_with_a_warning_and_many_when_they_are_scaled(exported, deep, tmp_path):
    clipped = embed(exported.fp32, deep, tmp_path / "clipped")
    assert clipped.exit_code == 0, clipped.output
    assert distinct_rows(tmp_path / "clipped") == 1
    said = " ".join(clipped.stdout.split())
    assert "warning: 8 images have values below 0 or above 255" in said
    assert "warning: 7 of 8 images have the same embedding as another image" in said
    scaled = embed(exported.fp32, deep, tmp_path / "scaled", "--depth16", "scale")
    assert distinct_rows(tmp_path / "scaled") == IMAGES
    assert "warning" not in scaled.stdout


def test_a_resumed_job_says_what_the_whole_job_lost_and_keeps_to_its_choices(exported, deep, tmp_path):
    output = tmp_path / "out"
    first = json.loads(embed(exported.fp32, deep, output, "--json", "--part-images", 4).stdout)
    (output / "_parts" / "part-000001.json").unlink()
    again = json.loads(embed(exported.fp32, deep, output, "--json", "--part-images", 4).stdout)
    assert first["lost"] == again["lost"]
    assert {kind: count for kind, count in first["lost"].items() if count} == {"clipped": 8}
    # Within each part of 4.
    assert first["repeated"] == again["repeated"] == 6
    other = embed(exported.fp32, deep, output, "--part-images", 4, "--depth16", "scale")
    refused(other, "its reading.depth16 is clip, this one's is scale")
    other = embed(exported.fp32, deep, output, "--part-images", 4, "--exif-rotate")
    refused(other, "its reading.exif_rotate is False, this one's is True")


def test_copies_of_one_file_are_no_repeats(exported, tmp_path):
    deep_image(tmp_path / "in" / "0.png", 0)
    for number in range(1, IMAGES):
        shutil.copy(tmp_path / "in" / "0.png", tmp_path / "in" / f"{number}.png")
    done = json.loads(embed(exported.fp32, tmp_path / "in", tmp_path / "out", "--json").stdout)
    assert done["repeated"] == 0


def turned_copy(folders, target, orientation):
    """Copy class folders with every picture stored turned, and EXIF to say how it is upright."""
    stored = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for file in sorted(folders.glob("*/*.png")):
        copy = target / file.parent.name / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as image:
            image.convert("RGB").transpose(stored).save(copy, exif=exif)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_pictures_are_told_of_and_score_as_upright_ones_with_the_option(
    exported, class_folders, tmp_path, orientation
):
    folder = turned_copy(class_folders, tmp_path / "turned", orientation)
    arguments = ("--engines", "onnxruntime", "--json")
    stored = json.loads(run("compare", exported.fp32, "--data", folder, *arguments).stdout)
    count = stored["data"]["images"]
    assert any(note.startswith(f"{count} images have an EXIF orientation") for note in stored["data"]["notes"])
    upright = json.loads(run("compare", exported.fp32, "--data", class_folders, *arguments).stdout)
    turned = json.loads(run("compare", exported.fp32, "--data", folder, *arguments, "--exif-rotate").stdout)
    assert turned["original"]["top1"] == upright["original"]["top1"] == 0.5
    assert turned["data"]["notes"] == upright["data"]["notes"]


def test_folders_that_name_other_classes_are_told_of_in_words(exported, class_folders, tmp_path):
    names = sorted(folder.name for folder in class_folders.iterdir() if folder.is_dir())
    # Classes that the network decides for on none of these pictures.
    others = [line.partition("\t")[0] for line in open_bundle(exported.fp32).labels()[-len(names) :]]
    for name, other in zip(names, others, strict=True):
        shutil.copytree(class_folders / name, tmp_path / other)
    done = run("compare", exported.fp32, "--data", tmp_path, "--engines", "onnxruntime")
    assert "no better than guessing among 1,000 classes" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_golden_images_that_lose_something_are_told_of_by_the_export(deep, tmp_path):
    arguments = [
        *("--model", "resnet18", "--weights", "random", "--num-classes", "4", "--img-size", "32", "--json"),
        *("--golden", str(deep), "--output", str(tmp_path / "out")),
    ]
    done = CliRunner().invoke(export_app, arguments)
    assert "warning: of the golden images, 8 images have values below 0 or above 255" in done.stderr
    arguments[-1] = str(tmp_path / "scaled")
    scaled = CliRunner().invoke(export_app, [*arguments, "--depth16", "scale"])
    assert "golden images" not in scaled.stderr
    assert ", 16 bits scaled;" in scaled.stderr
    manifest = open_bundle(tmp_path / "scaled").manifest
    assert manifest.preprocessing.depth16 == "scale"


def test_calibration_images_that_lose_something_say_why_they_are_flat(exported, deep):
    contract = open_bundle(exported.fp32).manifest.preprocessing
    images = tuple(LabelledImage(file.name, 0, file) for file in sorted(deep.iterdir()))
    lint = PixelLint()
    with load_batches(Dataset(images), contract, batch_size=3) as loader:
        for batch in loader:
            lint.add(batch.pixels)
        lint.lost += loader.lost
    assert loader.lost == Losses(clipped=IMAGES)
    warning, refusal = lint.finish()
    assert warning.text.startswith("of the calibration images, 8 images have values below 0 or above 255")
    assert refusal.severity == "refusal"
    assert "are one flat colour (8 images have values below 0 or above 255" in refusal.text
    assert "--depth16 scale" in refusal.text
