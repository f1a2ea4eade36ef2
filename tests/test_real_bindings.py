"""What NVIDIA's own Python bindings say, version by version, to our list of their interface and to our code."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.real_bindings.environment import VERSIONS, Bindings, prepare

Interface = dict[str, Any]
# Helpers of the module's Python file, and functions whose results TensorRT does not document for users.
UNLISTED_FUNCTIONS = {"_itemsize", "common_enter", "common_exit", "get_builder_plugin_registry", "get_plugin_registry"}
# Getters without a return type in their docstring: memory allocators can only be set.
UNSTATED_TYPES = {("Builder", "gpu_allocator"), ("Runtime", "gpu_allocator"), ("IExecutionContext", "device_memory")}


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bindings:
    return prepare(request.param, tmp_path_factory.mktemp("bindings"))


@pytest.fixture(scope="module")
def real(bindings: Bindings) -> Interface:
    done = bindings.run(str(Path(__file__).parent / "real_bindings" / "describe.py"))
    assert done.returncode == 0, done.stderr
    interface: Interface = json.loads(done.stdout)
    return interface


@pytest.fixture(scope="module")
def listed(bindings: Bindings) -> Interface:
    interface: Interface = json.loads(bindings.interface.read_text(encoding="utf-8"))
    return interface


def is_public(name: str) -> bool:
    return not name.startswith("_")


def is_listed_method(owner: str, name: str) -> bool:
    """True for what the list holds of a class: all public methods, but not the layers that a network can be given."""
    return is_public(name) and not (owner == "INetworkDefinition" and name.startswith("add_"))


def test_the_list_is_of_this_very_version(real: Interface, listed: Interface, bindings: Bindings) -> None:
    assert real["version"] == listed["version"] == bindings.version


def test_every_enum_has_the_listed_members_and_values_and_no_others(real: Interface, listed: Interface) -> None:
    assert real["enums"] == listed["enums"]


def test_the_listed_classes_and_functions_are_all_there_are(real: Interface, listed: Interface) -> None:
    assert set(real["classes"]) == set(listed["classes"]) | set(listed["other_classes"])
    assert set(real["functions"]) == set(listed["functions"]) | UNLISTED_FUNCTIONS


def test_every_class_has_the_listed_bases_nested_enums_and_constants(real: Interface, listed: Interface) -> None:
    for name, expected in listed["classes"].items():
        found = real["classes"][name]
        assert found["bases"] == expected["bases"], name
        assert found["enums"] == expected.get("enums", {}), name
        assert found["constants"] == expected.get("constants", {}), name


def test_every_class_has_the_listed_methods_with_their_signatures_and_no_others(
    real: Interface, listed: Interface
) -> None:
    for owner, expected in listed["classes"].items():
        found = real["classes"][owner]["methods"]
        assert {name for name in found if is_listed_method(owner, name)} == {
            name for name in expected["methods"] if is_public(name)
        }, owner
        assert {name: found[name] for name in expected["methods"]} == expected["methods"], owner


def test_every_class_has_the_listed_properties_with_their_types_and_no_others(
    real: Interface, listed: Interface
) -> None:
    for owner, expected in listed["classes"].items():
        found = real["classes"][owner]["properties"]
        assert set(found) == set(expected["properties"]), owner
        for name, stated in expected["properties"].items():
            setter = stated.get("set_type", stated["type"]) if stated["writable"] else None
            assert found[name]["writable"] == stated["writable"], (owner, name)
            assert found[name]["type"] == (None if (owner, name) in UNSTATED_TYPES else stated["type"]), (owner, name)
            assert found[name]["set_type"] == setter, (owner, name)


def test_every_function_has_the_listed_signature(real: Interface, listed: Interface) -> None:
    assert {name: real["functions"][name] for name in listed["functions"]} == listed["functions"]
