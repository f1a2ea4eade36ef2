"""The stand-in of tensorrt is as strict as the interface files: names, arguments, enumerations."""

import json
import subprocess
import sys
import textwrap

import pytest

from tests.helpers.paths import ROOT
from tests.tensorrt_bindings.standin import RTX, VERSIONS, standin_environment
from tests.tensorrt_bindings.standin.scripts import conv_model, run_script, write_model


@pytest.mark.parametrize("version", [*VERSIONS, RTX])
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


@pytest.mark.parametrize("version", [*VERSIONS, RTX])
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


def test_rtx_builds_and_loads_nothing_without_a_gpu_as_nvidias_own_does(tmp_path):
    run_script(
        """
        plan = build(open(sys.argv[1], "rb").read())
        assert bytes(plan)[:4] == b"vtrt" and bytes(plan)[24:28] == bytes([1, 7, 1, 116])
        runtime = trt.Runtime(log)
        assert runtime.get_engine_validity(plan) == (trt.EngineValidity.INVALID, 0)
        assert runtime.get_engine_validity(b"ftrt" + bytes(plan)[4:])[1] == 32
        assert runtime.deserialize_cuda_engine(plan) is None and "cudaError 35" in log.errors()[-1]
        """,
        version=RTX,
        args=[write_model(tmp_path, conv_model())],
        STANDIN_GPU="nodriver",
    )


def test_rtx_keeps_kernels_for_the_same_machine_alone(tmp_path):
    path = write_model(tmp_path, conv_model())
    load = """
        engine = trt.Runtime(log).deserialize_cuda_engine(build(open(sys.argv[1], "rb").read()))
        config = engine.create_runtime_config()
        cache = config.create_runtime_cache()
        kept = Path(sys.argv[2])
        print(cache.deserialize(kept.read_bytes()) if kept.exists() else None, cache.deserialize(b"none"))
        config.set_runtime_cache(cache)
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        raises(TypeError, lambda: setattr(config, "cuda_graph_strategy", 1), "incompatible function arguments")
        assert engine.create_execution_context(config) is not None
        kept.write_bytes(cache.serialize())
        """
    load = "from pathlib import Path\n" + textwrap.dedent(load)
    printed = [
        run_script(load, version=RTX, args=[path, tmp_path / "kernels"], **env).strip()
        for env in ({}, {}, {"STANDIN_GPU": json.dumps({"driver": 13010})})
    ]
    assert printed == ["None False", "True False", "False False"]


def test_there_is_one_library_in_a_process():
    done = subprocess.run(
        [sys.executable, "-c", "import tensorrt"], env=standin_environment(RTX), capture_output=True, check=False
    )
    assert b"No module named 'tensorrt'" in done.stderr
