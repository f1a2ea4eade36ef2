"""The stand-in of tensorrt is as strict as the interface files: names, arguments, enumerations."""

import json

import pytest

from tests.helpers.paths import ROOT
from tests.tensorrt_bindings.standin import VERSIONS
from tests.tensorrt_bindings.standin.scripts import conv_model, run_script, write_model


@pytest.mark.parametrize("version", VERSIONS)
def test_every_enumeration_has_the_values_of_its_version(version):
    expected = json.loads((ROOT / "tests/tensorrt_bindings/interfaces" / f"{version}.json").read_text())["enums"]
    printed = run_script(
        """
        enums = sys.argv[1].split(",")
        print(json.dumps({e: {n: int(m) for n, m in getattr(trt, e).__members__.items()} for e in enums}))
        """,
        version=version,
        args=[",".join(expected)],
    )
    assert json.loads(printed) == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_version_is_the_interface_file_s(version):
    expected = json.loads((ROOT / "tests/tensorrt_bindings/interfaces" / f"{version}.json").read_text())["version"]
    assert run_script("print(trt.__version__)", version=version).strip() == expected


def test_names_that_the_interface_lacks_do_not_exist():
    run_script(
        """
        raises(AttributeError, lambda: trt.Builder(log).build_engine)
        raises(AttributeError, lambda: trt.float32)
        raises(AttributeError, lambda: trt.BuilderFlag.NO_SUCH)
        config = trt.Builder(log).create_builder_config()
        raises(AttributeError, lambda: config.max_workspace_size)
        raises(AttributeError, lambda: setattr(config, "max_workspace_size", 1))
        raises(AttributeError, lambda: setattr(config, "num_optimization_profiles", 1))
        """
    )


def test_names_of_another_version_do_not_exist():
    script = "raises(AttributeError, lambda: trt.BuilderFlag.FP16)"
    run_script(script, version="11.4")
    run_script("trt.BuilderFlag.FP16", version="10.3")
    run_script("raises(AttributeError, lambda: trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY)", version="10.3")


def test_wrong_arguments_are_type_errors():
    run_script(
        """
        text = "incompatible function arguments"
        builder = trt.Builder(log)
        config = builder.create_builder_config()
        raises(TypeError, lambda: trt.Builder(), text)
        raises(TypeError, lambda: trt.Builder("log"), text)
        raises(TypeError, lambda: builder.create_network(flag=1), text)
        raises(TypeError, lambda: builder.create_network(1, 2), text)
        raises(TypeError, lambda: builder.create_network(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED), text)
        raises(TypeError, lambda: config.set_flag(13), text)
        raises(TypeError, lambda: config.set_memory_pool_limit(0, 1), text)
        raises(TypeError, lambda: config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1.5), text)
        raises(TypeError, lambda: setattr(config, "profiling_verbosity", 2), text)
        raises(TypeError, lambda: builder.create_optimization_profile().set_shape("x", 1, 2, 3), text)
        raises(TypeError, lambda: trt.Runtime(log).deserialize_cuda_engine("plan"), text)
        raises(TypeError, lambda: trt.IBuilderConfig(), "No constructor defined")
        """
    )


def test_an_enumeration_is_no_int():
    run_script(
        """
        assert trt.DataType.HALF != 1 and int(trt.DataType.HALF) == 1 and trt.DataType.HALF.name == "HALF"
        assert trt.DataType.HALF == trt.DataType(1) and trt.DataType.HALF != trt.BuilderFlag(1)
        raises(TypeError, lambda: trt.DataType.HALF + 1)
        raises(TypeError, lambda: trt.DataType["HALF"])
        """
    )


def test_what_is_listed_and_not_played_says_so():
    script = (
        'raises(NotImplementedError, lambda: trt.Builder(log).get_plugin_registry(), "Builder.get_plugin_registry")'
    )
    run_script(script)


def test_a_derived_class_must_call_its_base():
    run_script(
        """
        class Silent(trt.IProfiler):
            def __init__(self):
                pass
        raises(TypeError, Silent, "IProfiler.__init__() must be called")
        """
    )


def test_host_memory_is_a_buffer_and_nothing_else(tmp_path):
    run_script(
        """
        plan = build(open(sys.argv[1], "rb").read())
        assert bytes(plan)[:4] == b"ftrt" and len(memoryview(plan)) == plan.nbytes
        raises(TypeError, lambda: len(plan))
        raises(AttributeError, lambda: plan.hex())
        assert bytes(plan)[24:28] == bytes([10, 16, 1, 11])
        """,
        args=[write_model(tmp_path, conv_model())],
    )
