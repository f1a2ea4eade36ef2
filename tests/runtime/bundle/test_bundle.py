import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle.bundle import open_bundle
from runtime.errors import BundleError
from tests.helpers.bundles import GRAPH, hand_made_golden, hand_made_manifest, write_hand_made
from tests.helpers.exported import copy_bundle


@pytest.fixture
def bundle(tmp_path):
    return write_hand_made(tmp_path / "tiny")


def _edit_manifest(bundle, edit):
    file = bundle / "bundle.json"
    raw = json.loads(file.read_text())
    edit(raw)
    file.write_text(json.dumps(raw))


def test_written_bundle_opens_and_gives_back_what_was_put_in(bundle):
    opened = open_bundle(bundle)
    assert opened.labels() == ("a", "b", "c")
    assert opened.layers()[0].macs == 5
    np.testing.assert_array_equal(opened.golden().pixels, hand_made_golden().pixels)
    assert opened.model_path.read_bytes() == GRAPH


def test_a_bundle_without_classes_has_no_labels_and_no_logits_and_needs_no_file_of_them(bundle, tmp_path):
    manifest = hand_made_manifest()
    alone = write_hand_made(
        tmp_path / "alone",
        model=manifest.model.model_copy(update={"classes": 0}),
        outputs=manifest.outputs[1:],
    )
    assert not (alone / "labels.txt").exists()
    assert not (alone / "golden/logits.npy").exists()
    opened = open_bundle(alone)
    assert opened.labels() == ()
    assert opened.golden().logits.shape == (2, 0)
    np.testing.assert_array_equal(opened.golden().judged, hand_made_golden().embedding)
    np.testing.assert_array_equal(open_bundle(bundle).golden().judged, hand_made_golden().logits)


def test_a_manifest_whose_outputs_are_not_those_of_its_classes_is_refused(bundle):
    _edit_manifest(bundle, lambda raw: raw["model"].update(classes=0))
    with pytest.raises(BundleError, match=r"outputs .* of a network with 0 classes: expected"):
        open_bundle(bundle)


def test_a_bundle_is_opened_by_a_string_as_by_a_path(bundle):
    assert open_bundle(str(bundle)) == open_bundle(bundle)
    with pytest.raises(BundleError, match="none is not a directory"):
        open_bundle(f"{bundle}-none")


def test_manifest_lists_every_file_with_its_sha256(bundle):
    entries = {entry.path: entry for entry in open_bundle(bundle).manifest.files}
    on_disk = {file.relative_to(bundle).as_posix() for file in bundle.rglob("*") if file.is_file()}
    assert set(entries) == on_disk - {"bundle.json"}
    for path, entry in entries.items():
        content = (bundle / path).read_bytes()
        assert entry.sha256 == hashlib.sha256(content).hexdigest()
        assert entry.size_bytes == len(content)


def test_same_content_gives_the_same_bytes(tmp_path):
    first, second = write_hand_made(tmp_path / "one"), write_hand_made(tmp_path / "two")
    for file in first.rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (second / file.relative_to(first)).read_bytes()


@pytest.mark.parametrize("name", ["model.onnx", "labels.txt", "golden/logits.npy", "layers.json"])
def test_changed_byte_is_named_with_both_hashes(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[-1] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} has sha256 .*, the manifest says"):
        open_bundle(bundle)


def test_truncated_file_is_named_with_its_size(bundle):
    (bundle / "model.onnx").write_bytes(GRAPH[:-3])
    with pytest.raises(BundleError, match=f"model.onnx has {len(GRAPH) - 3} bytes, the manifest says {len(GRAPH)}"):
        open_bundle(bundle)


def test_missing_file_is_named(bundle):
    (bundle / "labels.txt").unlink()
    with pytest.raises(BundleError, match=r"labels\.txt is missing"):
        open_bundle(bundle)


def test_newer_schema_is_refused_with_the_way_to_upgrade(bundle):
    _edit_manifest(bundle, lambda raw: raw.update(schema_version=2))
    with pytest.raises(BundleError, match="schema version 2, this run-ssl reads up to 1: upgrade"):
        open_bundle(bundle)


def test_manifest_with_an_unknown_key_is_refused(bundle):
    _edit_manifest(bundle, lambda raw: raw["precision"].update(nmae="fp32"))
    with pytest.raises(BundleError, match=r"precision\.nmae"):
        open_bundle(bundle)


def test_manifest_that_is_not_json_is_refused(bundle):
    (bundle / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="is not JSON"):
        open_bundle(bundle)


UNFIT = ["../outside", "/etc/passwd", "a/../../b", "c:\\x", "", "golden//x", "x" * 300, "x/" * 600 + "x", "two\nlines"]


@pytest.mark.parametrize("path", UNFIT)
def test_file_entry_that_leaves_the_bundle_or_is_no_name_is_refused(bundle, path):
    _edit_manifest(bundle, lambda raw: raw["files"][0].update(path=path))
    with pytest.raises(BundleError, match=r"files\.0\.path"):
        open_bundle(bundle)


def test_link_that_leads_out_of_the_bundle_is_refused(bundle, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes((bundle / "labels.txt").read_bytes())
    (bundle / "labels.txt").unlink()
    (bundle / "labels.txt").symlink_to(outside)
    with pytest.raises(BundleError, match="leads out of the bundle"):
        open_bundle(bundle)


def test_pickled_golden_array_is_refused_and_not_run(bundle):
    array = np.empty(1, object)
    array[0] = {"a": 1}
    np.save(bundle / "golden/logits.npy", array, allow_pickle=True)
    content = (bundle / "golden/logits.npy").read_bytes()

    def edit(raw):
        for entry in raw["files"]:
            if entry["path"] == "golden/logits.npy":
                entry.update(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))

    _edit_manifest(bundle, edit)
    with pytest.raises(BundleError, match=r"not a plain \.npy array"):
        open_bundle(bundle).golden()


@pytest.mark.parametrize("name", ["labels.txt", "LICENSE-WEIGHTS.txt", "golden/pixels.npy", "golden/embedding.npy"])
def test_a_needed_file_that_is_not_listed_is_refused_since_its_hash_would_not_be_checked(bundle, name):
    _edit_manifest(bundle, lambda raw: raw.update(files=[entry for entry in raw["files"] if entry["path"] != name]))
    with pytest.raises(BundleError, match=f"does not list {name}: export the bundle again"):
        open_bundle(bundle)


def test_labels_that_are_not_utf_8_are_one_line(bundle):
    opened = open_bundle(bundle)
    (bundle / "labels.txt").write_bytes("Kätzchen\n".encode("latin-1"))
    with pytest.raises(BundleError, match=r"labels\.txt is not UTF-8 .*: export the bundle again"):
        opened.labels()


@pytest.mark.parametrize("text", ["a\nb\n", "a\nb\nc\nd\n", "a\x0bb\x0bc\n", ""])
def test_names_that_are_not_as_many_as_the_classes_are_refused(tmp_path, bundle, text):
    other = copy_bundle(bundle, tmp_path / "other", files={"labels.txt": text.encode()})
    with pytest.raises(BundleError, match=r"labels\.txt has \d lines?, expected 3, one for each class"):
        open_bundle(other)


def test_a_name_may_hold_what_python_takes_for_the_end_of_a_line(tmp_path, bundle):
    other = copy_bundle(bundle, tmp_path / "other", files={"labels.txt": "a\u2028b\nc\x85\nd".encode()})
    assert open_bundle(other).labels() == ("a\u2028b", "c\x85", "d")


def test_golden_array_of_another_shape_is_refused(bundle):
    _edit_manifest(bundle, lambda raw: raw.update(golden=["only.jpg"]))
    with pytest.raises(BundleError, match=r"pixels.npy is \(2, 8, 8, 3\) uint8, expected \(1, 8, 8, 3\) uint8"):
        open_bundle(bundle).golden()


@pytest.mark.parametrize("name", ["absent", "a_file", "an_empty_folder"])
def test_what_is_no_bundle_is_refused(tmp_path, name):
    (tmp_path / "a_file").write_text("x")
    (tmp_path / "an_empty_folder").mkdir()
    with pytest.raises(BundleError, match="expected a bundle"):
        open_bundle(tmp_path / name)


def test_a_path_that_is_not_utf_8_is_refused(tmp_path, bundle):
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff"))
    shutil.copytree(bundle, strange)
    with pytest.raises(BundleError, match=r"the bundle's path .*/b\\xff is not UTF-8: expected one that is"):
        open_bundle(strange)
    with pytest.raises(BundleError, match="is not UTF-8"):
        write_hand_made(Path(f"{strange}-other"))
