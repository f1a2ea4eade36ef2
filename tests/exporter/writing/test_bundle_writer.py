"""A bundle's directory as it is written: what every part says of the licence, and what a failure leaves."""

import hashlib
import json

import onnx
import pytest
from onnx import TensorProto, helper

import exporter.writing.bundle_writer
from exporter.writing.bundle_writer import add_metadata
from tests.helpers.bundles import hand_made_manifest, write_hand_made


def test_every_file_but_the_manifest_is_listed_with_its_size_and_hash(tmp_path):
    bundle = write_hand_made(tmp_path / "bundle")
    listed = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["files"]
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {entry["path"] for entry in listed} == there - {"bundle.json"}
    for entry in listed:
        content = (bundle / entry["path"]).read_bytes()
        assert (entry["sha256"], entry["size_bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_write_that_fails_leaves_neither_a_bundle_nor_a_part_of_one(tmp_path, monkeypatch):
    def full(*_arguments, **_named):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter.writing.bundle_writer, "list_files", full)
    with pytest.raises(KeyboardInterrupt):
        write_hand_made(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_the_graph_alone_still_says_its_licence_and_what_it_is():
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [info], [info]))
    manifest = hand_made_manifest()
    add_metadata(model, manifest)
    written = onnx.load_from_string(model.SerializeToString())
    facts = {entry.key: entry.value for entry in written.metadata_props}
    assert facts["export_ssl.licence"] == manifest.licence.spdx
    assert facts["export_ssl.precision"] == "fp32"
    assert manifest.licence.spdx in written.doc_string
