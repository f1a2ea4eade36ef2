import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from runtime.commands.run_ssl import app
from tests.conftest import PICTURES, timm_logits, timm_network
from tests.helpers.command_lines import refused
from tests.helpers.damaged_images import DAMAGES, write_damaged
from tests.helpers.exported import copy_bundle

GRAPH_ENGINES = ["openvino", "onnxruntime"]
# FIELD.md, section 1.
CARD_FLOPS = 2337073152
# FIELD.md's count at 224x224; 64 pixels are 2 / 7 of either side, which shrinks convolutions and not the classifier.
CLASSIFIER_MACS = 512 * 1000
MACS_AT_64 = (1814073344 - CLASSIFIER_MACS) * 4 // 49 + CLASSIFIER_MACS


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *(str(argument) for argument in arguments)])


def compared(*arguments):
    """Return the JSON of a comparison, which is all that stdout has."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def truth(exported, class_folders):
    """Return timm's logits and the labels, in the order of the folders."""
    lines = (exported.fp32 / "labels.txt").read_text(encoding="utf-8").splitlines()
    classes = {line.partition("\t")[0]: index for index, line in enumerate(lines)}
    files = sorted(class_folders.glob("*/*.png"))
    pictures = [Image.open(file).convert("RGB") for file in files]
    labels = np.array([classes[file.parent.name] for file in files])
    return timm_logits(timm_network(exported.checkpoint), pictures), labels


@pytest.fixture(scope="module")
def both(exported, class_folders):
    return compared(exported.fp32, exported.fp16, "--data", class_folders, "--batch-size", 7)


def test_keys_are_those_of_the_issue(both):
    assert {"original", "engines", "flops"} <= set(both)
    assert {"top1", "top5", "images"} <= set(both["original"])
    assert set(both["flops"]) == {"pytorch_macs", "onnx_macs", "card", "card_recomputed"}
    wanted = {"engine", "precision", "top1", "top5", "drop", "drop_ci95", "mcnemar_p", "agreement", "sqnr_db"}
    for row in both["engines"]:
        assert wanted | {"images_per_s"} <= set(row)


def test_original_scores_what_timm_scores_with_its_own_transform(both, truth):
    logits, labels = truth
    ranked = np.argsort(-logits, axis=1)
    top1 = (ranked[:, 0] == labels).mean()
    top5 = (ranked[:, :5] == labels[:, None]).any(axis=1).mean()
    # The folders were made so; an accuracy of 0 or 1 would prove little.
    assert (top1, top5) == (0.5, 0.75)
    assert both["original"]["images"] == PICTURES
    assert both["original"]["top1"] == top1
    assert both["original"]["top5"] == top5


def test_every_engine_runs_every_bundle_and_decides_as_the_original(both, exported):
    rows = [(row["bundle"], row["engine"]) for row in both["engines"]]
    assert rows == [(str(path), name) for path in (exported.fp32, exported.fp16) for name in GRAPH_ENGINES]
    for row in both["engines"]:
        assert row["agreement"] == 1.0
        assert (row["top1"], row["top5"], row["drop"], row["mcnemar_p"]) == (0.5, 0.75, 0.0, 1.0)
        low, high = row["drop_ci95"]
        assert low <= 0 <= high
        assert row["sqnr_db"] >= (99.0 if row["bundle"] == str(exported.fp32) else 50.0)
        assert row["images_per_s"] > 0


def test_counts_are_pytorchs_and_the_cards(both):
    assert both["flops"]["card"] == both["flops"]["card_recomputed"] == CARD_FLOPS
    assert both["flops"]["pytorch_macs"] == both["flops"]["onnx_macs"] == MACS_AT_64


def test_table_has_a_row_for_the_original_and_for_every_engine_and_bundle(exported, class_folders):
    result = run(exported.fp32, exported.fp16, "--data", class_folders)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Take ")
    rows = [line.split()[0] for line in result.stdout.splitlines() if line.split()[:1]]
    assert rows.count("pytorch") == 1
    assert [rows.count(name) for name in GRAPH_ENGINES] == [2, 2]
    assert "2,337,073,152" in result.stdout
    assert "72.62" in result.stdout
    assert "\x1b" not in result.stdout


def test_half_precision_of_pytorch_itself_is_one_row(exported, class_folders):
    found = compared(
        exported.fp32, exported.fp16, "--data", class_folders, "--engines", "pytorch:fp16,onnxruntime", "--limit", 4
    )
    assert [(row["engine"], row["precision"]) for row in found["engines"]][:2] == [
        ("pytorch", "fp16"),
        ("onnxruntime", "fp32"),
    ]
    assert [row["engine"] for row in found["engines"]].count("pytorch") == 1
    assert found["engines"][0]["bundle"] == ""
    assert 40 < found["engines"][0]["sqnr_db"] < 90


def test_limit_takes_so_many_images_and_the_same_ones_for_a_seed(exported, class_folders):
    arguments = (exported.fp32, "--data", class_folders, "--engines", "onnxruntime", "--limit", 5)
    first, again = compared(*arguments), compared(*arguments)
    assert first["original"]["images"] == first["data"]["images"] == 5
    assert [first["original"][key] for key in ("top1", "top5")] == [again["original"][key] for key in ("top1", "top5")]
    assert first["engines"][0]["sqnr_db"] == again["engines"][0]["sqnr_db"]


def test_bundles_of_different_weights_are_refused(exported, class_folders, tmp_path):
    other = copy_bundle(
        exported.fp16,
        tmp_path / "other",
        edit=lambda manifest: manifest["weights"].update(tensors_sha256="0" * 64),
    )
    result = run(exported.fp32, other, "--data", class_folders)
    refused(result, "differ in their weights", str(other), code=2)


def test_bundles_of_different_preprocessing_are_refused(exported, class_folders, tmp_path):
    other = copy_bundle(
        exported.fp16,
        tmp_path / "other",
        edit=lambda manifest: manifest["preprocessing"].update(interpolation="bicubic"),
    )
    refused(run(exported.fp32, other, "--data", class_folders), "differ in their preprocessing", code=2)


def test_another_checkpoint_is_refused(exported, class_folders, tmp_path):
    state = load_file(exported.checkpoint)
    state["conv1.weight"][0, 0, 0, 0] += 1e-3
    save_file(state, tmp_path / "changed.safetensors")
    result = run(exported.fp32, "--data", class_folders, "--weights", tmp_path / "changed.safetensors")
    refused(result, "changed.safetensors: its tensors have sha256", "--weights FILE")


@pytest.mark.parametrize("name", ["model.onnx", "labels.txt", "layers.json"])
def test_tampered_bundle_is_refused_and_the_file_is_named(exported, class_folders, tmp_path, name):
    bundle = copy_bundle(exported.fp32, tmp_path / "bundle")
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    refused(run(bundle, "--data", class_folders), name, "sha256")


def test_missing_folder_is_refused(exported, tmp_path):
    refused(run(exported.fp32, "--data", tmp_path / "no-such-folder"), "no-such-folder is not a folder")


def test_empty_folder_is_refused(exported, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(run(exported.fp32, "--data", tmp_path / "empty"), str(tmp_path / "empty"))


def test_class_folders_that_match_no_label_are_refused(exported, class_folders, tmp_path):
    shutil.copytree(next(class_folders.iterdir()), tmp_path / "data" / "not-a-class")
    refused(run(exported.fp32, "--data", tmp_path / "data"), "not-a-class", "1000 classes")


def test_missing_bundle_is_refused(class_folders, tmp_path):
    refused(run(tmp_path / "absent", "--data", class_folders), "absent is not a directory")


@pytest.fixture
def with_damage(class_folders, tmp_path):
    """Return a copy of the folders in which one picture is cut short."""
    folder = tmp_path / "damaged"
    shutil.copytree(class_folders, folder)
    broken = sorted(folder.glob("*/*.png"))[3]
    broken.write_bytes(broken.read_bytes()[:300])
    return folder, broken


def test_unreadable_image_is_named(exported, with_damage):
    folder, broken = with_damage
    refused(run(exported.fp32, "--data", folder), broken.name)


def test_unreadable_image_is_left_out_on_request_named_and_counted(exported, with_damage):
    folder, broken = with_damage
    found = compared(exported.fp32, "--data", folder, "--skip-unreadable", "--engines", "onnxruntime")
    assert found["original"]["images"] == PICTURES - 1
    assert len(found["data"]["unreadable"]) == 1
    assert broken.name in found["data"]["unreadable"][0]


def test_whatever_pillow_raises_for_damaged_images_they_are_left_out_on_request(exported, with_damage):
    folder, broken = with_damage
    others = sorted(folder.glob("*/*.png"))[4 : 4 + len(DAMAGES)]
    for path, kind in zip(others, DAMAGES, strict=True):
        write_damaged(path.with_suffix(".jpg"), kind)
        path.unlink()
    found = compared(exported.fp32, "--data", folder, "--skip-unreadable", "--engines", "onnxruntime")
    assert found["original"]["images"] == PICTURES - 1 - len(DAMAGES)
    named = [broken.name, *(path.with_suffix(".jpg").name for path in others)]
    assert all(name in line for name, line in zip(named, found["data"]["unreadable"], strict=True))


def test_flat_folder_is_scored_with_a_labels_file(exported, class_folders, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    lines = []
    for file in sorted(class_folders.glob("*/*.png")):
        shutil.copy(file, flat / file.name)
        lines.append(f"{file.name} {file.parent.name}")
    (tmp_path / "labels.txt").write_text("\n".join(lines), encoding="utf-8")
    found = compared(exported.fp32, "--data", flat, "--labels", tmp_path / "labels.txt", "--engines", "onnxruntime")
    assert (found["original"]["top1"], found["original"]["top5"]) == (0.5, 0.75)


@pytest.mark.parametrize("engines", ["tensorflow", "openvino:int3", "onnxruntime:bf16"])
def test_engine_that_is_not_there_is_a_usage_error(exported, class_folders, engines):
    refused(run(exported.fp32, "--data", class_folders, "--engines", engines), engines.partition(":")[0], code=2)
