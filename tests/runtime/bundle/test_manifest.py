"""The limits of the manifest's fields at their edges, and its rules between fields, worked out by hand."""

import hashlib
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from runtime.bundle.manifest import (
    FileEntry,
    Fp16Sums,
    Int8,
    Manifest,
    Model,
    Precision,
    Preprocessing,
    TensorSpec,
    Weights,
    output_names,
    sides,
    with_choices,
)
from tests.helpers.bundles import hand_made_manifest, tensors

NAN, INFINITY = float("nan"), float("inf")
SHA256 = hashlib.sha256(b"x").hexdigest()
PREPROCESSING = {
    "image_size": 8,
    "resize_size": 9,
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "mean": (0.5,) * 3,
    "std": (0.5,) * 3,
}
MODEL = {
    "name": "m",
    "architecture": "resnet18",
    "timm_tag": None,
    "classes": 3,
    "embedding_dim": 4,
    "parameters": 10,
    "macs": 5,
    "flops": 10,
}
INT8 = {
    "target": "cpu",
    "method": "mse",
    "techniques": (),
    "images": 2,
    "held_out": 1,
    "held_out_sqnr_db": 30.0,
}
FILE = {"path": "golden/x.npy", "sha256": SHA256, "size_bytes": 1}
WEIGHTS = {"source": "file", "name": "w.pth", "file_sha256": SHA256, "tensors_sha256": SHA256}
FP16_SUMS = {"images": 1, "expected_db": None, "min_sqnr_db": None, "losing_most": {}}


def accepted(kind: type[BaseModel], values: dict[str, Any]) -> bool:
    try:
        kind.model_validate(values)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "values", "field", "within", "beyond"),
    [
        (Preprocessing, {**PREPROCESSING, "resize_size": 16384}, "image_size", (1, 8192), (0, 8193)),
        (Preprocessing, {**PREPROCESSING, "image_size": 1}, "resize_size", (1, 16384), (0, 16385)),
        (Preprocessing, PREPROCESSING, "crop_pct", (1e-9, 1.0), (0.0, 1.0001)),
        (Preprocessing, PREPROCESSING, "interpolation", ("bilinear", "bicubic"), ("nearest",)),
        (Preprocessing, PREPROCESSING, "mean", ((-1e6, 0.0, 1e6),), ((0, 0, 1.1e6), (0, 0, -1.1e6), (0, 0, NAN))),
        (Preprocessing, PREPROCESSING, "std", ((1e-6, 1.0, 1e6),), ((1, 1, 0), (1, 1, -1), (1, 1, 1.1e6), (1, 1, NAN))),
        (Model, MODEL, "classes", (0, 1, 1 << 24), (-1, (1 << 24) + 1)),
        (Model, MODEL, "embedding_dim", (1, 1 << 24), (0, (1 << 24) + 1)),
        (Model, MODEL, "parameters", (1, 1 << 62), (0, 10**400)),
        (Model, MODEL, "macs", (1, 1 << 62), (0, 10**400)),
        (Model, MODEL, "flops", (2, 1 << 62), (1, 10**400)),
        (Precision, {"name": "fp32"}, "min_sqnr_db", (-300.0, 300.0), (NAN, INFINITY, -INFINITY)),
        (Int8, INT8, "images", (1,), (0,)),
        (Int8, INT8, "held_out", (1,), (0,)),
        (Fp16Sums, FP16_SUMS, "images", (1,), (0,)),
        (FileEntry, FILE, "size_bytes", (0,), (-1,)),
        (FileEntry, FILE, "sha256", (SHA256,), (SHA256[1:], SHA256 + "0", SHA256.upper(), f"{SHA256}\n")),
        (Weights, WEIGHTS, "tensors_sha256", (SHA256,), ("", SHA256.replace(SHA256[0], "g"))),
    ],
)
def test_a_field_takes_its_limits_and_nothing_beyond(
    kind: type[BaseModel], values: dict[str, Any], field: str, within: tuple[Any, ...], beyond: tuple[Any, ...]
) -> None:
    assert [value for value in within if not accepted(kind, {**values, field: value})] == []
    assert [value for value in beyond if accepted(kind, {**values, field: value})] == []


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("model.onnx", True),
        ("golden/x.npy", True),
        ("..x/y", True),
        ("a/..", False),
        ("./a", False),
        ("a/", False),
        ("a:b", False),
        ("a\\b", False),
        ("/a", False),
    ],
)
def test_a_path_stays_inside_and_is_plain(path: str, inside: bool) -> None:
    assert accepted(FileEntry, {**FILE, "path": path}) == inside


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"resize_size": 8}, True),
        ({"resize_size": 7}, False),
        ({"resize_size": (9, 9)}, False),
        ({"resize_mode": "squash"}, False),
        ({"resize_mode": "cover", "resize_size": (8, 8)}, True),
        ({"resize_mode": "cover", "resize_size": (7, 9)}, False),
        ({"resize_mode": "squash", "resize_size": (9, 7)}, False),
        ({"image_size": (4, 9)}, True),
        ({"image_size": (4, 10)}, False),
        ({"mean": (0.5,) * 2}, False),
        ({"std": (0.5,) * 4}, False),
        ({"colour": "L"}, False),
        ({"colour": "L", "mean": (0.5,), "std": (0.5,)}, True),
        ({"colour": "RGBA", "mean": (0.5,) * 4, "std": (0.5,) * 4}, True),
    ],
)
def test_crop_resize_and_channels_have_to_fit(changes: dict[str, Any], fits: bool) -> None:
    assert accepted(Preprocessing, {**PREPROCESSING, **changes}) == fits


def test_height_stands_before_width() -> None:
    assert sides(5) == (5, 5)
    assert sides((4, 9)) == (4, 9)
    wide = Preprocessing.model_validate(
        {**PREPROCESSING, "image_size": (4, 9), "colour": "L"} | {"mean": (0,), "std": (1,)}
    )
    assert (wide.height, wide.width, wide.pixels_shape) == (4, 9, (4, 9, 1))


@pytest.mark.parametrize(
    ("stored", "chosen", "expected"),
    [
        ((False, "clip"), (False, None), (False, "clip")),
        ((False, "clip"), (True, "scale"), (True, "scale")),
        ((True, "scale"), (False, None), (True, "scale")),
        ((True, "scale"), (False, "clip"), (True, "clip")),
    ],
)
def test_a_run_chooses_over_the_bundle(stored: tuple[bool, str], chosen: tuple[bool, Any], expected: Any) -> None:
    bundles = Preprocessing.model_validate({**PREPROCESSING, "exif_rotate": stored[0], "depth16": stored[1]})
    found = with_choices(bundles, exif_rotate=chosen[0], depth16=chosen[1])
    assert (found.exif_rotate, found.depth16) == expected
    assert found.model_copy(update={"exif_rotate": stored[0], "depth16": stored[1]}) == bundles


def test_int8_is_described_where_the_precision_has_it_and_nowhere_else() -> None:
    described = Int8.model_validate(INT8)
    for name in ("int8", "int8-fp16"):
        assert Precision(name=name, min_sqnr_db=20.0, int8=described).needs_unfused_qdq == (name == "int8-fp16")
        assert not accepted(Precision, {"name": name, "min_sqnr_db": 20.0})
    for name in ("fp32", "fp16"):
        assert not Precision(name=name, min_sqnr_db=20.0).needs_unfused_qdq
        assert not accepted(Precision, {"name": name, "min_sqnr_db": 20.0, "int8": INT8})


@pytest.mark.parametrize(
    ("layout", "shape", "fits"),
    [
        ("NHWC", ("batch", 8, 8, 3), True),
        ("NCHW", (1, 3, 8, 1), True),
        ("NC", ("batch", 5), True),
        ("NC", (), False),
        ("NC", ("batch",), False),
        ("NC", ("batch", 5, 1), False),
        ("NHWC", ("batch", 8, 8), False),
        ("NHWC", ("batch", "height", 8, 3), False),
        ("NHWC", ("batch", 8, 0, 3), False),
        ("NC", ("batch", -1), False),
    ],
)
def test_a_shape_has_a_number_for_every_dimension_behind_the_batch(layout: str, shape: Any, fits: bool) -> None:
    values = {"name": "x", "dtype": "float32", "shape": shape, "layout": layout, "meaning": ""}
    assert accepted(TensorSpec, values) is fits


def test_outputs_are_those_of_the_classes() -> None:
    assert output_names(3) == ("logits", "embedding")
    assert output_names(1) == ("logits", "embedding")
    assert output_names(0) == ("embedding",)


@pytest.mark.parametrize("batch", ["batch", 1, 2])
def test_all_tensors_have_one_batch_a_name_or_a_number(batch: int | str) -> None:
    manifest = hand_made_manifest(**tensors(batch))
    assert manifest.fixed_batch == (None if batch == "batch" else batch)
    assert manifest.input.fixed_batch == manifest.fixed_batch


@pytest.mark.parametrize("batch", [0, -1, "n"])
def test_a_batch_of_no_image_or_of_another_name_is_refused(batch: int | str) -> None:
    with pytest.raises(ValidationError, match="the tensors have the batches"):
        hand_made_manifest(**tensors(batch))


def test_tensors_of_two_batches_are_refused() -> None:
    mixed = {**tensors(1), "outputs": tensors(2)["outputs"]}
    with pytest.raises(ValidationError, match=r"the tensors have the batches \[1, 2, 2\]"):
        hand_made_manifest(**mixed)


def test_parts_are_frozen_and_take_no_unknown_key() -> None:
    manifest = hand_made_manifest()
    for part, field in ((manifest, "opset"), (manifest.model, "name"), (manifest.preprocessing, "colour")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, field, "x")
    assert not accepted(Model, {**MODEL, "unknown": 1})
    assert not accepted(Manifest, {**manifest.model_dump(), "schema_version": 2})
    assert not accepted(TensorSpec, {**manifest.input.model_dump(), "layout": "HWC"})


def test_what_is_not_stated_has_these_values() -> None:
    stated = Preprocessing.model_validate(PREPROCESSING)
    assert (stated.colour, stated.resize_mode, stated.exif_rotate, stated.depth16) == ("RGB", "short", False, "clip")
    assert Precision(name="fp32", min_sqnr_db=1.0).weights_flushed == 0.0
    assert Manifest.model_fields["schema_version"].default == 1


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("input", {"shape": ["batch", 9, 8, 3]}),
        ("input", {"shape": ["batch", 8, 8, 1]}),
        ("input", {"layout": "NCHW"}),
        ("input", {"dtype": "float32"}),
        ("outputs.0", {"shape": ["batch", 4]}),
        ("outputs.0", {"dtype": "uint8"}),
        ("outputs.1", {"shape": ["batch", 3]}),
    ],
)
def test_tensors_fit_the_images_the_classes_and_the_embedding(part: str, changes: dict[str, Any]) -> None:
    content = hand_made_manifest().model_dump(mode="json")
    place: Any = content
    for step in part.split("."):
        place = place[int(step)] if step.isdecimal() else place[step]
    place.update(changes)
    assert accepted(Manifest, hand_made_manifest().model_dump(mode="json"))
    assert not accepted(Manifest, content)


def test_floats_of_a_float_input_are_planes() -> None:
    content = hand_made_manifest().model_dump(mode="json")
    content["input"].update(dtype="float32", layout="NCHW", shape=["batch", 3, 8, 8])
    assert accepted(Manifest, content)
