"""What NVIDIA's own Python bindings say, version by version, to our list of their interface and to our code."""

import ctypes.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.plan_json import BuildOptions
from runtime.plans.build_events import BuildRequest, Event, Failed, Logged, StageBegan, read_event
from tests.helpers.bundles import write_hand_made
from tests.tensorrt_bindings.real.environment import VERSIONS, Bindings, prepare, prepare_rtx
from tests.tensorrt_bindings.standin import SITE

Interface = dict[str, Any]
# Helpers of the module's Python file, and functions whose results TensorRT does not document for users.
UNLISTED_FUNCTIONS = {"_itemsize", "common_enter", "common_exit", "get_builder_plugin_registry", "get_plugin_registry"}
# These can be set but not read: the list has the type of the setter, or TensorRT's own.
UNREADABLE = {("Builder", "gpu_allocator"), ("Runtime", "gpu_allocator"), ("IExecutionContext", "device_memory")}


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bindings:
    return prepare(request.param, tmp_path_factory.mktemp("bindings"))


@pytest.fixture(scope="module", params=[*VERSIONS, "rtx"])
def described(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bindings:
    """Bindings that are only asked what they offer, TensorRT for RTX's too."""
    folder = tmp_path_factory.mktemp("described")
    return prepare_rtx(folder) if request.param == "rtx" else prepare(request.param, folder)


@pytest.fixture(scope="module")
def real(described: Bindings) -> Interface:
    done = described.run(str(Path(__file__).parent / "real" / "describe.py"))
    assert done.returncode == 0, done.stderr
    interface: Interface = json.loads(done.stdout)
    return interface


@pytest.fixture(scope="module")
def listed(described: Bindings) -> Interface:
    interface: Interface = json.loads(described.interface.read_text(encoding="utf-8"))
    return interface


def is_public(name: str) -> bool:
    return not name.startswith("_")


def is_listed_method(owner: str, name: str) -> bool:
    """True for what the list holds of a class: all public methods, but not the layers that a network can be given."""
    return is_public(name) and not (owner == "INetworkDefinition" and name.startswith("add_"))


def test_the_list_is_of_this_very_version(real: Interface, listed: Interface, described: Bindings) -> None:
    assert real["version"] == listed["version"] == described.version


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
            assert found[name]["type"] == (None if (owner, name) in UNREADABLE else stated["type"]), (owner, name)
            assert found[name]["set_type"] == setter, (owner, name)


def test_every_function_has_the_listed_signature(real: Interface, listed: Interface) -> None:
    assert {name: real["functions"][name] for name in listed["functions"]} == listed["functions"]


def answer(bindings: Bindings, script: str) -> Any:
    """Return what a script of tests/tensorrt_bindings/real prints, as JSON."""
    done = bindings.run("-m", f"tests.tensorrt_bindings.real.{script}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_our_look_ups_find_version_feature_and_flag(bindings: Bindings) -> None:
    said = answer(bindings, "use_names")
    assert said["version"].startswith(bindings.version)
    ours, theirs = said["HAS_SAME_COMPUTE_CAPABILITY"]
    assert ours == theirs
    # Bit 1 in 10.x, where bit 0 was EXPLICIT_BATCH; bit 0 in 11. Source: NvInfer.h of both.
    assert said["flags"] == (1 << 1 if bindings.version.startswith("10.") else 1 << 0)


def test_log_progress_and_layer_times_come_through_the_bindings_as_they_were_sent(bindings: Bindings) -> None:
    loud = [
        ["CRITICAL", "INTERNAL_ERROR Größe"],
        ["ERROR", "ERROR Größe"],
        ["WARNING", "WARNING Größe"],
        ["INFO", "INFO Größe"],
    ]
    assert answer(bindings, "use_callbacks") == [
        *loud,
        *loud,
        ["DEBUG", "VERBOSE Größe"],
        ["phase_started", "Building Engine", "", 3],
        ["phase_started", "Timing", "Building Engine", 1],
        ["step_done", "Timing", 0],
        [True],
        ["step_done", "Timing", 1],
        [True],
        ["step_done", "Timing", 2],
        [False],
        ["phase_finished", "Timing"],
        ["layer1.0.conv1 + layer1.0.act1", 0.25],
    ]


def test_what_a_sink_raises_ends_in_the_bindings_and_a_step_is_then_answered_with_stop(bindings: Bindings) -> None:
    done = bindings.run("-m", "tests.tensorrt_bindings.real.use_callbacks", "broken")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [False]
    # The bindings print it, so nobody can catch it: a sink has to keep what it wants to tell.
    for function, raised in (("log()", "ERROR in the log"), ("step_complete()", "Timing 0")):
        assert f"[ERROR] Exception caught in {function}: KeyboardInterrupt: {raised}" in done.stdout + done.stderr


def test_a_builder_that_cannot_start_is_one_line_and_its_log_reaches_our_logger(bindings: Bindings) -> None:
    said = answer(bindings, "use_build")
    assert "factory function returned nullptr" in said["error"]
    assert "\n" not in said["error"]
    # The stub says it through C++, where TensorRT does.
    assert said["logged"] == ["ERROR CUDA initialization failure with error: 35"]


def events_of_a_build(bindings: Bindings, folder: Path) -> list[Event]:
    """Return what the building process says, on these bindings and the stand-in's CUDA."""
    bundle = write_hand_made(folder / "tiny")
    request = BuildRequest(bundle=bundle, plan=bundle / "model.plan.partial", options=BuildOptions())
    # The front package comes before the stand-in's `tensorrt`; only `cuda` is the stand-in's.
    process = replace(bindings, paths=(*bindings.paths, SITE))
    done = process.run("-m", "runtime.plans.build_worker", stdin=f"{request.model_dump_json()}\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [read_event(line) for line in done.stdout.splitlines()]


def test_the_building_process_says_in_one_line_that_tensorrt_cannot_start(bindings: Bindings, tmp_path: Path) -> None:
    stage, log, failed = events_of_a_build(bindings, tmp_path)
    assert stage == StageBegan(name="parse")
    assert log == Logged(level="ERROR", message="CUDA initialization failure with error: 35")
    assert isinstance(failed, Failed)
    assert failed.kind == "EngineError"
    assert f"TensorRT {bindings.version}" in failed.message
    assert "\n" not in failed.message
    assert "Traceback" not in failed.message


def test_without_a_driver_the_building_process_stops_before_it_asks_tensorrt(
    bindings: Bindings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_GPU", "nodriver")
    (failed,) = events_of_a_build(bindings, tmp_path)
    assert isinstance(failed, Failed)
    assert failed.kind == "EngineError"
    assert "driver" in failed.message


def test_bindings_without_the_libraries_behind_them_are_one_sentence(bindings: Bindings) -> None:
    if ctypes.util.find_library("nvinfer"):
        pytest.skip("TensorRT's libraries are installed on this machine, so the bindings find them")
    alone = replace(bindings, libraries=None)
    done = alone.run("-c", "from runtime.engines.trt.versions import find_tensorrt; print(find_tensorrt())")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(None, ")
    assert "cannot open shared object file" in done.stdout
    assert "\\n" not in done.stdout
