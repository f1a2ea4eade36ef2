"""Damaged bundles and wrong arguments: a status and one line from the C library, never a crash."""

import copy
import hashlib
import json
import shutil
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.bundles import CLASSES, SIZE
from tests.helpers.cpp.build import build_library, require_tools
from tests.helpers.cpp.fuzz import SIDECAR
from tests.helpers.cpp.library import Engine, LibraryError, Params, Status
from tests.helpers.cpp.mutations import Opener
from tests.helpers.exported import copy_bundle
from tests.helpers.external_data import PLACES, external, plain
from tests.helpers.linear_graph import bundle_with, graph, of_the_pixels

MUTATIONS = 300
# Deeper than any stack would hold if a reader called itself per level.
DEEP = 1_000_000
# Keys of the manifest that running a network needs; "/" steps into an object, a number into a list.
NEEDED = [
    "model", "model/name", "model/classes", "model/embedding_dim", "licence", "licence/spdx", "precision",
    "precision/name", "precision/min_sqnr_db", "golden", "preprocessing", "preprocessing/image_size",
    "preprocessing/resize_size", "preprocessing/interpolation", "preprocessing/mean", "preprocessing/std",
    "preprocessing/resampling", "preprocessing/colour", "input", "input/name", "input/dtype", "outputs",
    "outputs/0/name", "outputs/1/name", "files", "files/0/path",
]  # fmt: skip
OTHER_TYPES: list[Any] = [None, True, -1.5, "", "x", [], [[]], {}]
ANY_TEXT, ANY_NUMBER = {"model/name", "licence/spdx"}, {"precision/min_sqnr_db"}
SIZES = ["model/classes", "model/embedding_dim", "preprocessing/image_size", "preprocessing/resize_size"]
NO_SIZES = [0, -1, -(2**63), 2**63, 2**64 - 1, 2**64, 1e300, -1e300, 0.5, 64.5, True, None, "64", [64], {"a": 64}]


@pytest.fixture(scope="module")
def opener():
    require_tools()
    opened = Opener(build_library() / "lib/libresnet_engine.so")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def manifest(exported):
    return json.loads((exported.fp32 / "bundle.json").read_text(encoding="utf-8"))


def changed(manifest, path, change):
    """A copy of the manifest with `change(container, key)` applied at a path."""
    found = copy.deepcopy(manifest)
    *steps, last = path.split("/")
    at = found
    for step in steps:
        at = at[int(step) if isinstance(at, list) else step]
    change(at, int(last) if isinstance(at, list) else last)
    return json.dumps(found).encode()


def put(value):
    return lambda container, key: container.__setitem__(key, value)


def refused(answer, *words, status=Status.BUNDLE):
    """Check that a bundle was refused in one line that says what to do."""
    found, message = answer
    assert found == status, message
    assert message
    assert all(character.isprintable() for character in message), message
    for word in words:
        assert word in message


def refused_folder(path, *words, status=Status.BUNDLE, **params):
    require_tools()
    with pytest.raises(LibraryError) as caught:
        Engine(path, **params)
    refused((caught.value.status, caught.value.message), *words, status=status)


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b"3", b"\xff\xfe{}", b'{"a": 1e999}', b"{}" * 2, b"\0"])
def test_text_that_is_no_manifest_is_refused(opener, text):
    # A pointer to nothing is still a manifest of no bytes.
    refused(opener.open(manifest=text, model=b"x"), "bundle.json", "export-ssl")


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")])
def test_deeply_nested_text_does_not_exhaust_the_stack(opener, opening, closing):
    deep = opening * DEEP + (b"0" if opening != b"[" else b"") + closing * DEEP
    refused(opener.open(manifest=deep, model=b"x"), "bundle.json")
    refused(opener.open(manifest=b'{"schema_version": ' + deep + b"}", model=b"x"), "bundle.json")
    refused(opener.open(manifest=b'{"model": ' + deep + b"}", model=b"x"), "bundle.json")


@pytest.mark.parametrize("path", NEEDED)
def test_a_missing_key_is_refused(opener, manifest, path):
    refused(opener.open(manifest=changed(manifest, path, lambda at, key: at.pop(key)), model=b"x"), "bundle.json")


@pytest.mark.parametrize("path", NEEDED)
def test_a_value_of_another_type_is_refused(opener, manifest, path):
    for value in OTHER_TYPES:
        if path in (ANY_TEXT if isinstance(value, str) else ANY_NUMBER if isinstance(value, float) else ()):
            continue
        # What the manifest leaves open is found by the model's hash, or by its absence from the list.
        refused(opener.open(manifest=changed(manifest, path, put(value)), model=b"x"))


@pytest.mark.parametrize("path", SIZES)
def test_an_impossible_size_is_refused(opener, manifest, path):
    for value in NO_SIZES:
        refused(opener.open(manifest=changed(manifest, path, put(value)), model=b"x"), "bundle.json")


def test_another_schema_version_is_refused(opener, manifest):
    versions: list[Any] = [2, 2**63, 2**64 - 1, 1e300, "1", "2", None, 1.5, 0, -1, True, []]
    for version in versions:
        text = changed(manifest, "schema_version", put(version))
        refused(opener.open(manifest=text, model=b"x"), "schema", "build a newer" if version in (2, 2**63) else "")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("preprocessing/std", [0.2, 0.0, 0.2]),
        ("preprocessing/std", [0.2, -0.2, 0.2]),
        ("preprocessing/std", [0.2, 1e300, 0.2]),
        ("preprocessing/std", [0.2, 1e-60, 0.2]),
        ("preprocessing/mean", [0.2, 1e300, 0.2]),
        ("preprocessing/mean", [0.2, 0.2]),
        ("preprocessing/mean", [0.2, 0.2, 0.2, 0.2]),
        ("preprocessing/mean", [0.2, "0.2", 0.2]),
        ("preprocessing/mean", [0.2, True, 0.2]),
        ("preprocessing/resize_size", 63),
        ("preprocessing/interpolation", "lanczos"),
        ("preprocessing/resampling", "another"),
        ("preprocessing/colour", "BGR"),
        ("input/dtype", "int8"),
        ("golden", "abcd"),
        ("golden", {"a": 1}),
        ("outputs", []),
    ],
)
def test_values_that_no_bundle_has_are_refused(opener, manifest, path, value):
    refused(opener.open(manifest=changed(manifest, path, put(value)), model=b"x"), "bundle.json")


@pytest.mark.parametrize("path", ["plan_bytes", "options/profile/min", "options/profile/max"])
def test_an_impossible_size_in_a_sidecar_is_refused(opener, manifest, path):
    for value in NO_SIZES:
        sidecar = changed(json.loads(SIDECAR), path, put(value))
        parts = {"manifest": json.dumps(manifest).encode(), "model": b"x", "sidecar": sidecar}
        refused(opener.open({"check_hashes": 0}, **parts), "model.plan.json", "run-ssl build")


def test_a_changed_model_is_refused_unless_hashes_are_off(opener, exported, manifest):
    model = bytearray((exported.fp32 / "model.onnx").read_bytes())
    text = json.dumps(manifest).encode()
    model[len(model) // 2] ^= 1
    refused(opener.open(manifest=text, model=bytes(model)), "sha256", "export the bundle again")
    # A bit of a weight: the graph is a graph still.
    assert opener.open({"check_hashes": 0}, manifest=text, model=bytes(model)) == (Status.OK, "")
    refused(opener.open(manifest=text, model=bytes(model[:1000])), "sha256")
    refused(
        opener.open({"check_hashes": 0}, manifest=text, model=bytes(model[:1000])), "OpenVINO", status=Status.BACKEND
    )
    refused(opener.open({"check_hashes": 0}, manifest=text, model=b""), status=Status.UNSUPPORTED)


@pytest.mark.parametrize("check_hashes", [0, 1])
@pytest.mark.parametrize("place", PLACES)
def test_weights_in_other_files_are_refused_wherever_they_stand(opener, manifest, place, check_hashes):
    for tensor, external_data in ((external(), True), (external(located=False), True), (plain(), False)):
        model = PLACES[place](tensor).SerializeToString()
        stated = copy.deepcopy(manifest)
        next(file for file in stated["files"] if file["path"] == "model.onnx")["sha256"] = hashlib.sha256(
            model
        ).hexdigest()
        answer = opener.open({"check_hashes": check_hashes}, manifest=json.dumps(stated).encode(), model=model)
        if external_data:
            refused(answer, "has weights in other files", "export the bundle again")
        else:
            assert "in other files" not in answer[1]


def test_a_folder_with_weights_in_other_files_is_refused(exported, tmp_path):
    model = PLACES["an initializer"](external()).SerializeToString()
    folder = copy_bundle(exported.fp32, tmp_path / "bundle", files={"model.onnx": model})
    (folder / "weights.bin").write_bytes(b"\0" * 16)
    refused_folder(folder, "model.onnx has weights in other files")


@settings(max_examples=MUTATIONS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutated_manifest_crashes(opener, manifest, data):
    values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**65), 2**65)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8)
        | st.sampled_from(["embedding", "logits", "model.onnx", "uint8", "float32", "bicubic", "../x"]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=6,
    )
    mutated = copy.deepcopy(manifest)
    for _ in range(data.draw(st.integers(1, 4))):
        _mutate(mutated, data, values)
    text = json.dumps(mutated).encode()
    if data.draw(st.booleans()):
        text = _damage(text, data)
    # The model is no graph, so that nothing is compiled even where the manifest is a good one.
    status, message = opener.open({"check_hashes": data.draw(st.integers(0, 1))}, manifest=text, model=b"x")
    assert status in (Status.BUNDLE, Status.BACKEND)
    assert all(unicodedata.category(character) != "Cc" for character in message), message


def _mutate(at, data, values):
    """Replace, remove or add a value somewhere in a tree of JSON."""
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and data.draw(st.integers(0, 3)):
            at = at[key]
            continue
        if data.draw(st.integers(0, 3)):
            at[key] = data.draw(values)
        else:
            del at[key]
        break


def _damage(text, data):
    """Change, cut or double some bytes."""
    begin = data.draw(st.integers(0, len(text)))
    end = min(len(text), begin + data.draw(st.integers(0, 40)))
    return text[:begin] + data.draw(st.binary(max_size=12) | st.just(text[begin:end] * 2)) + text[end:]


def test_a_folder_that_is_none_is_refused(tmp_path):
    refused_folder(tmp_path / "absent", "is not a directory", "export-ssl")
    (tmp_path / "file").write_bytes(b"x")
    refused_folder(tmp_path / "file", "is not a directory")
    (tmp_path / "empty").mkdir()
    refused_folder(tmp_path / "empty", "bundle.json", "export-ssl")
    refused_folder(tmp_path / ("x" * 5000))
    refused_folder(tmp_path / "new\nline", "new line")


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "golden/logits.npy", "LICENSE-WEIGHTS.txt"])
def test_an_absent_or_changed_file_is_refused(exported, tmp_path, name):
    shutil.copytree(exported.fp32, tmp_path / "bundle")
    file = tmp_path / "bundle" / name
    content = file.read_bytes()
    file.unlink()
    refused_folder(tmp_path / "bundle", name)
    file.mkdir()
    refused_folder(tmp_path / "bundle", name)
    file.rmdir()
    file.write_bytes(content[:-2])
    refused_folder(tmp_path / "bundle")
    file.write_bytes(content)
    Engine(tmp_path / "bundle").close()


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "", ".", "golden/../../outside", "link", "a\0b"])
def test_a_listed_file_outside_the_bundle_is_refused(exported, tmp_path, name):
    content = b"outside"
    (tmp_path / "outside").write_bytes(content)
    entry = {"path": name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    copy_bundle(exported.fp32, tmp_path / "bundle", edit=lambda manifest: manifest["files"].append(entry))
    (tmp_path / "bundle/link").symlink_to(tmp_path / "outside")
    refused_folder(tmp_path / "bundle")


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "labels.txt", "golden/pixels.npy", "golden"])
def test_a_link_out_of_the_bundle_is_refused(exported, tmp_path, name):
    shutil.copytree(exported.fp32, tmp_path / "bundle")
    (tmp_path / "bundle" / name).rename(tmp_path / "moved")
    (tmp_path / "bundle" / name).symlink_to(tmp_path / "moved")
    refused_folder(tmp_path / "bundle", "leads out of the bundle")


@pytest.mark.parametrize("value", [None, 3, [], {}, "", "x" * 64])
@pytest.mark.parametrize("key", ["path", "sha256"])
def test_a_file_entry_of_another_type_is_refused(exported, tmp_path, key, value):
    def edit(manifest):
        manifest["files"][-1][key] = value

    refused_folder(copy_bundle(exported.fp32, tmp_path / "bundle", edit=edit))


# How a real golden/logits.npy is damaged.
DAMAGES = {
    "empty": lambda content: content[:0],
    "cut": lambda content: content[:-4],
    "longer": lambda content: content + b"\0",
    "header alone": lambda content: content[:9],
    "another magic": lambda content: b"\x93NUMPX" + content[6:],
    "version 9": lambda content: content[:6] + b"\x09" + content[7:],
    "header length": lambda content: content[:8] + b"\xff\xff" + content[10:],
    "another shape": lambda content: content.replace(b"(4, 1000)", b"(4, 1001)"),
    "another type": lambda content: content.replace(b"<f4", b"<f8"),
    "fortran": lambda content: content.replace(b"False", b"True "),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_golden_files_are_refused_by_the_self_check(exported, tmp_path, kind):
    require_tools()
    content = DAMAGES[kind]((exported.fp32 / "golden/logits.npy").read_bytes())
    folder = copy_bundle(exported.fp32, tmp_path / "bundle", files={"golden/logits.npy": content})
    with Engine(folder) as engine, pytest.raises(LibraryError) as caught:
        engine.self_check()
    refused((caught.value.status, caught.value.message), "logits.npy", "export the bundle again")


def test_a_bundle_without_golden_images_is_not_called_good(exported, tmp_path):
    require_tools()
    folder = copy_bundle(exported.fp32, tmp_path / "bundle", edit=lambda manifest: manifest.update(golden=[]))
    with pytest.raises(LibraryError, match="golden"), Engine(folder) as engine:
        engine.self_check()


def test_golden_outputs_of_another_network_fail_the_self_check(exported, tmp_path):
    require_tools()
    values = np.load(exported.fp32 / "golden/logits.npy")
    np.save(tmp_path / "other.npy", values[:, ::-1].copy())
    files = {"golden/logits.npy": (tmp_path / "other.npy").read_bytes()}
    folder = copy_bundle(exported.fp32, tmp_path / "bundle", files=files)
    with Engine(folder) as engine, pytest.raises(LibraryError) as caught:
        engine.self_check()
    refused((caught.value.status, caught.value.message), "dB", "run-ssl verify", status=Status.VERIFICATION)


@pytest.mark.parametrize(
    ("path", "value"), [("model/classes", 999), ("model/embedding_dim", 511), ("preprocessing/image_size", 32),
                        ("input/dtype", "float32"), ("outputs/0/name", "scores")],
)  # fmt: skip
def test_a_manifest_that_does_not_fit_its_model_is_refused(exported, tmp_path, path, value):
    require_tools()

    def edit(manifest):
        manifest.update(json.loads(changed(manifest, path, put(value))))

    folder = copy_bundle(exported.fp32, tmp_path / "bundle", edit=edit)
    with pytest.raises(LibraryError) as caught, Engine(folder) as engine:
        engine.infer(np.zeros((1, engine.info.image_height, engine.info.image_width, 3), np.uint8))
    refused((caught.value.status, caught.value.message), status=caught.value.status)
    assert caught.value.status in (Status.BUNDLE, Status.BACKEND)


@pytest.mark.parametrize("size", [0, 1, 8, 12, 15, 25, 28, 44, Params.tensorrt_library.offset + 4, 65, 2**63])
def test_parameters_of_another_size_are_refused(exported, size):
    refused_folder(exported.fp32, "rne_default_params()", status=Status.INVALID_ARGUMENT, struct_bytes=size)


def test_parameters_of_an_older_header_are_taken(exported):
    require_tools()
    # Up to and with check_hashes: what follows has its defaults.
    with Engine(exported.fp32, struct_bytes=Params.precision.offset, max_batch=2, precision=b"nonsense") as engine:
        assert engine.info.max_batch == 2


@pytest.mark.parametrize(
    ("params", "word"),
    [({"max_batch": 0}, "max_batch"), ({"max_batch": -1}, "max_batch"), ({"threads": -1}, "threads"),
     ({"backend": 4}, "backend"), ({"backend": -1}, "backend"), ({"backend": 2**31 - 1}, "backend")],
)  # fmt: skip
def test_impossible_parameters_are_refused(exported, params, word):
    refused_folder(exported.fp32, word, status=Status.INVALID_ARGUMENT, **params)


def test_a_batch_that_no_memory_holds_is_refused(exported):
    refused_folder(exported.fp32, status=Status.OUT_OF_MEMORY, max_batch=2**31 - 1)


@pytest.mark.parametrize("classes", [CLASSES - 1, CLASSES + 1])
def test_a_graph_that_gives_another_number_of_classes_than_its_manifest_is_refused(tmp_path, classes):
    refused_folder(bundle_with(tmp_path, graph(classes=classes)), "logits", f"(batch, {CLASSES})", "export")


def test_outputs_that_turn_out_narrower_are_refused_whenever_they_do(tmp_path):
    require_tools()
    network = graph(classes="classes", tail=lambda nodes: of_the_pixels(nodes, "Slice", 0, CLASSES - 1))
    pixels = np.ones((1, SIZE, SIZE, 3), np.uint8)
    with Engine(bundle_with(tmp_path, network)) as engine:
        assert np.isfinite(engine.infer(pixels)[0]).all()
        # The same memory, whose content alone is another.
        pixels[:] = 0
        for _again in range(2):
            with pytest.raises(LibraryError) as caught:
                engine.infer(pixels)
            refused((caught.value.status, caught.value.message), "logits", f"(batch, {CLASSES})")
        pixels[:] = 1
        assert np.isfinite(engine.infer(pixels)[0]).all()
