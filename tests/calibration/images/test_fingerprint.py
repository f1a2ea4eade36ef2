from collections.abc import Callable
from importlib import metadata

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from calibration.images.fingerprint import first_difference, make_fingerprint
from runtime.bundle.calibration_json import Fingerprint
from runtime.bundle.manifest import Preprocessing
from tests.helpers.resnet_graphs import basic_block

PREPROCESSING = Preprocessing(
    image_size=16, resize_size=18, crop_pct=0.875, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)
)
HASHES = {"a/1.png": "0" * 64, "b/2.png": "1" * 64}
OPTIONS = {"method": "auto", "seed": "0"}


def fingerprint(
    model: onnx.ModelProto | None = None,
    hashes: dict[str, str] | None = None,
    preprocessing: Preprocessing = PREPROCESSING,
    options: dict[str, str] | None = None,
) -> Fingerprint:
    return make_fingerprint(
        model or basic_block(), hashes or HASHES, preprocessing=preprocessing, options=options or OPTIONS
    )


def change_weight(model: onnx.ModelProto) -> None:
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight.flat[0] = np.nextafter(weight.flat[0], np.float32(np.inf))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, model.graph.initializer[0].name))


def change_attribute(model: onnx.ModelProto) -> None:
    pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
    pool.attribute.append(helper.make_attribute("ceil_mode", 1))


def change_operator(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Sigmoid"


def change_wiring(model: onnx.ModelProto) -> None:
    add = next(node for node in model.graph.node if node.op_type == "Add")
    first, second = add.input
    add.input[:] = [second, first]


def rename_node(model: onnx.ModelProto) -> None:
    # A cache holds weights by the names of layers.
    model.graph.node[0].name = "another"


def change_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 19


def change_input_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32


def test_the_same_things_have_the_same_fingerprint() -> None:
    assert fingerprint() == fingerprint()
    assert first_difference(fingerprint(), fingerprint()) is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (change_weight, "weights_sha256"),
        (change_attribute, "graph_sha256"),
        (change_operator, "graph_sha256"),
        (change_wiring, "graph_sha256"),
        (rename_node, "graph_sha256"),
        (change_opset, "graph_sha256"),
        (change_input_shape, "graph_sha256"),
    ],
)
def test_another_graph_or_weight_is_named(change: Callable[[onnx.ModelProto], None], field: str) -> None:
    changed = basic_block()
    change(changed)
    difference = first_difference(fingerprint(), fingerprint(changed))
    assert difference is not None
    assert difference.startswith(f"{field} is ")


@pytest.mark.parametrize(
    "hashes",
    [
        {"a/1.png": "0" * 64, "b/2.png": "2" * 64},
        {"b/2.png": "1" * 64, "a/1.png": "0" * 64},
        {"a/1.png": "0" * 64, "b/3.png": "1" * 64},
    ],
    ids=["content", "order", "name"],
)
def test_other_images_are_named(hashes: dict[str, str]) -> None:
    difference = first_difference(fingerprint(), fingerprint(hashes=hashes))
    assert difference is not None
    assert difference.startswith("images_sha256 is ")


def test_another_number_of_images_is_said_in_numbers() -> None:
    difference = first_difference(fingerprint(), fingerprint(hashes={"a/1.png": "0" * 64}))
    assert difference == "images is 2 now, 1 in the file"


def test_another_preprocessing_is_named_with_both_values() -> None:
    other = PREPROCESSING.model_copy(update={"interpolation": "bicubic"})
    difference = first_difference(fingerprint(), fingerprint(preprocessing=other))
    assert difference == "preprocessing: interpolation is bilinear now, bicubic in the file"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"method": "mse", "seed": "0"}, "options: method is auto now, mse in the file"),
        ({"method": "auto", "seed": "3"}, "options: seed is 0 now, 3 in the file"),
        ({"method": "auto", "seed": "0", "half": "True"}, "options: half is not there now, True in the file"),
    ],
)
def test_another_option_is_named_with_both_values(options: dict[str, str], expected: str) -> None:
    assert first_difference(fingerprint(), fingerprint(options=options)) == expected


def test_another_seed_is_named_and_not_the_images_that_it_draws() -> None:
    stored = fingerprint(hashes={"other/1.png": "1" * 64}, options={**OPTIONS, "seed": "1"})
    found = first_difference(fingerprint(options={**OPTIONS, "seed": "0"}), stored)
    assert found == "options: seed is 0 now, 1 in the file"


def test_another_version_of_a_package_is_named() -> None:
    assert fingerprint().versions["numpy"] == metadata.version("numpy") == np.__version__
    stored = fingerprint().model_copy(update={"versions": {**fingerprint().versions, "numpy": "0.1"}})
    assert first_difference(fingerprint(), stored) == f"versions: numpy is {np.__version__} now, 0.1 in the file"


def test_the_order_of_constants_and_options_does_not_matter() -> None:
    model = basic_block()
    constants = list(reversed(model.graph.initializer))
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    assert fingerprint(model) == fingerprint(options=dict(reversed(OPTIONS.items())))


def test_metadata_does_not_matter() -> None:
    model = basic_block()
    model.producer_name, model.doc_string, model.graph.name = "someone", "notes", "main"
    model.metadata_props.add(key="author", value="someone")
    model.graph.node[0].doc_string = "a convolution"
    assert fingerprint(model) == fingerprint()


def test_a_fingerprint_survives_json() -> None:
    stored = Fingerprint.model_validate_json(fingerprint().model_dump_json())
    assert first_difference(fingerprint(), stored) is None
