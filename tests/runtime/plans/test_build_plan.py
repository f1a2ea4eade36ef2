"""The stand-in's parser, builder, timing cache and inspector."""

import json
import signal

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.tensorrt_bindings.standin import VERSIONS
from tests.tensorrt_bindings.standin.scripts import conv_model, make_model, run_script, write_model


def test_every_fault_of_a_graph_is_told(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "early"),
        helper.make_node("Cast", ["x"], ["f"], "cast", to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"], "shifted"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "unshifted"),
        helper.make_node("LpNormalization", ["d"], ["logits"], "strange"),
    ]
    model = make_model(nodes, {"s": np.float32(1), "z": np.int8(3)})
    printed = run_script(
        """
        _, _, parser, parsed = parse(open(sys.argv[1], "rb").read())
        assert not parsed and len(log.errors()) == parser.num_errors
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        print(json.dumps([(e.node(), e.node_name(), e.node_operator(), e.code().name) for e in errors]))
        """,
        args=[write_model(tmp_path, model)],
    )
    assert {tuple(fault) for fault in json.loads(printed)} == {
        (0, "early", "Relu", "UNSUPPORTED_NODE_DATATYPE"),
        (2, "shifted", "QuantizeLinear", "INVALID_NODE"),
        (3, "unshifted", "DequantizeLinear", "INVALID_NODE"),
        (4, "strange", "LpNormalization", "UNSUPPORTED_NODE"),
    }


def test_a_timing_cache_grows_and_belongs_to_a_version_and_gpu(tmp_path):
    script = """
        def change(config):
            global kept
            kept = config
            data = open(sys.argv[2], "rb").read() if os.path.exists(sys.argv[2]) else b""
            cache = config.create_timing_cache(data)
            print("none" if cache is None else config.set_timing_cache(cache, ignore_mismatch=False))
            if len(data) and cache is None:
                config.set_timing_cache(config.create_timing_cache(b""), False)
        build(open(sys.argv[1], "rb").read(), change=change)
        if kept.get_timing_cache():
            open(sys.argv[2], "wb").write(kept.get_timing_cache().serialize())
        """
    path, cache = write_model(tmp_path, conv_model()), tmp_path / "cache"
    assert run_script(script, args=[path, cache]).strip() == "True"
    grown = cache.read_bytes()
    assert b"version" in grown
    assert run_script(script, args=[path, cache]).strip() == "True"
    assert cache.read_bytes() == grown
    assert run_script(script, version="11.4", args=[path, cache]).strip() == "False"
    cache.write_bytes(b"garbage")
    assert run_script(script, args=[path, cache]).strip() == "none"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_inspector_tells_int8_convolutions_in_its_version_s_words(tmp_path, version):
    script = "print(inspect(build(open(sys.argv[1], 'rb').read())))"
    found = json.loads(run_script(script, version=version, args=[write_model(tmp_path, conv_model(quantized=True))]))
    layers = {layer["Name"]: layer for layer in found["Layers"]}
    # By hand: cast and first Q are one kernel; each Conv takes its Relu and Add; the last Relu's output stays float.
    assert [*layers][1:] == ["conv1 + act1", "conv2 + add + act2"]
    first, second = layers["conv1 + act1"], layers["conv2 + add + act2"]
    assert first["Weights"]["Type"] == "Int8"
    assert [tensor["Name"] for tensor in second["Inputs"]] == ["aq", "aq"]
    tensors = (first["Inputs"][0], first["Outputs"][0], second["Outputs"][0])
    if version == "11.4":
        assert [tensor["Datatype"] for tensor in tensors] == ["Int8", "Int8", "FP32"]
        assert found["I/O Tensors"] == [{"Name": "x"}, {"Name": "logits"}]
    else:
        layout = "Thirty-two wide channel vectorized row major Int8 format"
        assert [tensor["Format/Datatype"] for tensor in tensors] == [layout, layout, "Row major linear FP32"]
        assert found["Bindings"] == ["x", "logits"]
    assert ("Metadata" in first) == (version != "10.3")


def test_the_branch_without_qdq_takes_the_add_and_runs_last(tmp_path):
    kernel = np.ones((3, 3, 1, 1), np.int8)
    constants = {"w8": kernel, "sw": np.ones(3, np.float32), "zw": np.zeros(3, np.int8)}
    constants |= {"s": np.float32(1), "z": np.int8(0)}
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], "cast", to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"], "x.quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "x.dequantize"),
        helper.make_node("DequantizeLinear", ["w8", "sw", "zw"], ["w"], "w.dequantize", axis=0),
        helper.make_node("Conv", ["d", "w"], ["main"], "conv"),
        helper.make_node("Conv", ["d", "w"], ["skip"], "downsample"),
        helper.make_node("QuantizeLinear", ["skip", "s", "z"], ["skipq"], "skip.quantize"),
        helper.make_node("DequantizeLinear", ["skipq", "s", "z"], ["skipd"], "skip.dequantize"),
        helper.make_node("Add", ["main", "skipd"], ["logits"], "add"),
    ]
    found = json.loads(
        run_script(
            "print(inspect(build(open(sys.argv[1], 'rb').read())))",
            args=[write_model(tmp_path, make_model(nodes, constants))],
        )
    )
    # As NVIDIA's qat-residual engine has it: downsample first, INT8 out; then the main branch with the Add.
    assert [layer["Name"] for layer in found["Layers"]][1:] == ["downsample", "conv + add"]
    assert [tensor["Name"] for tensor in found["Layers"][2]["Inputs"]] == ["q", "skipq"]


def test_the_inspector_gives_names_alone_without_details(tmp_path):
    script = """
        def change(config):
            config.profiling_verbosity = trt.ProfilingVerbosity.LAYER_NAMES_ONLY
        print(inspect(build(open(sys.argv[1], "rb").read(), change=change)))
        """
    assert json.loads(run_script(script, args=[write_model(tmp_path, conv_model())]))["Layers"] == [
        "__myl_Cast_myl0_0",
        "conv1 + act1",
    ]


def test_a_build_reports_nested_phases_and_stops_when_it_is_told(tmp_path):
    run_script(
        """
        class Monitor(trt.IProgressMonitor):
            def __init__(self, steps):
                super().__init__()
                self.steps, self.open, self.seen = steps, [], []
            def phase_start(self, phase_name, parent_phase, num_steps):
                assert (self.open[-1] if self.open else None) == parent_phase
                self.open.append(phase_name)
                self.seen.append(phase_name)
            def step_complete(self, phase_name, step):
                assert phase_name == self.open[-1]
                self.steps -= 1
                return self.steps > 0
            def phase_finish(self, phase_name):
                assert self.open.pop() == phase_name
        for steps, built in ((1000, True), (2, False)):
            monitor = Monitor(steps)
            plan = build(open(sys.argv[1], "rb").read(), change=lambda c: setattr(c, "progress_monitor", monitor))
            assert (plan is not None) == built and not monitor.open and monitor.seen[0] == "Building Engine"
        """,
        args=[write_model(tmp_path, conv_model())],
    )


def test_without_a_gpu_the_builder_is_null_and_the_runtime_crashes():
    for gpu, status in (("none", 100), ("nodriver", 35)):
        run_script(f"assert c.cudaGetDeviceCount() == (E({status}), None)", STANDIN_GPU=gpu)
        run_script('raises(TypeError, lambda: trt.Builder(log), "factory function returned nullptr")', STANDIN_GPU=gpu)
        run_script("trt.Runtime(log).deserialize_cuda_engine(b'')", STANDIN_GPU=gpu, code=-signal.SIGSEGV)
    run_script("assert c.cudaDriverGetVersion() == (E.cudaSuccess, 0)", STANDIN_GPU="nodriver")


def test_faults_happen_when_they_are_asked_for(tmp_path):
    path = write_model(tmp_path, conv_model(quantized=True))
    make = "plan = build(open(sys.argv[1], 'rb').read())\n"
    run_script(make, args=[path], code=-signal.SIGSEGV, STANDIN_FAULT="crash-build")
    run_script(make, args=[path], code=-signal.SIGKILL, STANDIN_FAULT="oom-build")
    refused = 'assert plan is None and "Could not find any implementation for node" in log.errors()[-1]'
    run_script(make + refused, args=[path], STANDIN_FAULT="no-implementation")
    run_script("assert c.cudaMalloc(1) == (E.cudaErrorMemoryAllocation, None)", STANDIN_FAULT="cuda-alloc")
    assert (
        run_script(make + "print(inspect(plan))", args=[path], STANDIN_FAULT="garbage-inspector").strip() == "not json"
    )
    island = json.loads(
        run_script(make + "print(inspect(plan))", args=[path], STANDIN_FAULT="fp32-island,unknown-layer")
    )
    assert [layer["LayerType"] for layer in island["Layers"]] == ["kgen", "CaskConvolution", "Zebra"]
    assert island["Layers"][2]["Weights"]["Type"] == "Float"


def test_the_workspace_limit_bounds_the_scratch_memory(tmp_path):
    run_script(
        """
        def change(config):
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 20)
            config.builder_optimization_level = 6
        plan = build(open(sys.argv[1], "rb").read(), change=change)
        assert "OptimizationLevel" in log.errors()[-1]
        assert trt.Runtime(log).deserialize_cuda_engine(plan).device_memory_size_v2 == 1 << 20
        """,
        args=[write_model(tmp_path, conv_model())],
    )


def test_a_dynamic_batch_needs_a_valid_profile_and_a_network_strong_types(tmp_path):
    run_script(
        """
        builder, network, parser, _ = parse(open(sys.argv[1], "rb").read())
        config = builder.create_builder_config()
        assert builder.build_serialized_network(network, config) is None
        assert "no optimization profile" in log.errors()[-1]
        profile = builder.create_optimization_profile()
        profile.set_shape("x", (2, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))
        assert not profile and config.add_optimization_profile(profile) == -1
        raises(RuntimeError, lambda: profile.set_shape("x", (2, 3), (1, 3, 8, 8), (4, 3, 8, 8)), "inconsistent")
        weak = builder.create_network(0)
        assert trt.OnnxParser(weak, log).parse(open(sys.argv[1], "rb").read())
        assert builder.build_serialized_network(weak, config) is None and "strongly typed" in log.errors()[-1]
        """,
        args=[write_model(tmp_path, conv_model())],
    )
