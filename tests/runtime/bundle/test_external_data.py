"""A network with weights in other files is found wherever ONNX lets a tensor stand; onnx itself writes the files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from runtime.bundle.bundle import open_bundle
from runtime.bundle.external_data import _WITHIN, has_external_data
from runtime.errors import BundleError
from tests.helpers.bundles import write_hand_made
from tests.helpers.external_data import PLACES, VALUES, constant, external, graph_of, model_of, plain


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("place", PLACES)
def test_it_is_found_in(tmp_path: Path, place: str) -> None:
    make = PLACES[place]
    assert has_external_data(write(tmp_path / "model.onnx", make(external())))
    assert has_external_data(write(tmp_path / "model.onnx", make(external(located=False))))
    assert not has_external_data(write(tmp_path / "model.onnx", make(plain())))


def test_a_location_without_a_file_and_a_node_called_location_are_two_things(tmp_path: Path) -> None:
    assert has_external_data(write(tmp_path / "a", model_of(graph_of(initializer=[external(named=False)]))))
    assert not has_external_data(write(tmp_path / "b", model_of(graph_of(constant(plain(), name="location")))))


def test_what_onnx_moves_into_another_file_is_found(tmp_path: Path) -> None:
    model = model_of(graph_of(initializer=[numpy_helper.from_array(np.ones(1024, np.float32), "w")]))
    onnx.save(model, str(tmp_path / "plain.onnx"))
    onnx.save(model, str(tmp_path / "split.onnx"), save_as_external_data=True, location="split.bin")
    assert (tmp_path / "split.bin").stat().st_size == 4096
    assert not has_external_data(tmp_path / "plain.onnx")
    assert has_external_data(tmp_path / "split.onnx")


def test_graphs_in_two_pieces_and_old_groups_are_read_as_protobuf_reads_them(tmp_path: Path) -> None:
    pieces = [model_of(graph_of(initializer=[tensor])).SerializeToString() for tensor in (plain(), external())]
    # Field 200, of no message of ONNX's: a group that holds field 1, a number.
    group = b"\xc3\x0c\x08\x01\xc4\x0c"
    (tmp_path / "model.onnx").write_bytes(group.join(pieces))
    merged = onnx.load(str(tmp_path / "model.onnx"), load_external_data=False)
    assert [tensor.data_location for tensor in merged.graph.initializer] == [TensorProto.DEFAULT, TensorProto.EXTERNAL]
    assert has_external_data(tmp_path / "model.onnx")


@pytest.mark.parametrize("contents", [b"", b"not a real network", b"\x3a\xff\xff\xff\xff\x7f", b"\xff" * 40, b"\x3a"])
def test_what_is_no_protobuf_is_left_to_the_engines(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(contents)
    assert not has_external_data(tmp_path / "model.onnx")


def field(number: int, contents: bytes) -> bytes:
    """Return a field of bytes, its length in three bytes of 7 bits."""
    length = len(contents)
    return bytes([number << 3 | 2, length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + contents


@pytest.mark.parametrize(("levels", "found"), [(30, True), (60, False)])
def test_graphs_within_graphs_are_followed_as_deep_as_protobuf_reads_them(
    tmp_path: Path, levels: int, found: bool
) -> None:
    graph = graph_of(initializer=[external()]).SerializeToString()
    for _ in range(levels):
        # GraphProto.node, NodeProto.attribute, AttributeProto.g.
        graph = field(1, field(5, field(6, graph)))
    (tmp_path / "model.onnx").write_bytes(field(7, graph))
    assert has_external_data(tmp_path / "model.onnx") == found
    if not found:
        with pytest.raises(Exception, match="Error parsing message"):
            onnx.load(str(tmp_path / "model.onnx"), load_external_data=False)


def test_every_field_of_onnx_that_leads_to_a_tensor_is_walked() -> None:
    fields: dict[str, dict[int, str]] = {}

    def describe(message: Any) -> None:
        if message.name not in fields:
            inside = {one.number: one.message_type for one in message.fields if one.message_type is not None}
            fields[message.name] = {number: one.name for number, one in inside.items()}
            for one in inside.values():
                describe(one)

    describe(onnx.ModelProto.DESCRIPTOR)
    leads = {"TensorProto"}
    while grown := {name for name, inside in fields.items() if name not in leads and leads & set(inside.values())}:
        leads |= grown
    short = {"TrainingInfoProto": "Training", "SparseTensorProto": "Sparse"}

    def named(message: str) -> str:
        return short.get(message, message.removesuffix("Proto"))

    expected = {
        named(message): {number: named(one) for number, one in fields[message].items() if one in leads}
        for message in leads
    }
    assert expected == _WITHIN


def test_a_bundle_with_such_a_network_is_refused_in_one_line(tmp_path: Path) -> None:
    bundle = write_hand_made(tmp_path / "bundle")
    model = write(bundle / "model.onnx", PLACES["an initializer"](external())).read_bytes()
    (bundle / "weights.bin").write_bytes(VALUES.tobytes())
    manifest = json.loads((bundle / "bundle.json").read_text())
    entry = next(file for file in manifest["files"] if file["path"] == "model.onnx")
    entry.update(sha256=hashlib.sha256(model).hexdigest(), size_bytes=len(model))
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"model.onnx has weights in other files, .*: expected all of them") as caught:
        open_bundle(bundle)
    assert "\n" not in str(caught.value)
