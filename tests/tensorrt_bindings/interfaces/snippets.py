"""Right and wrong uses of TensorRT, as a reader of NVIDIA's documentation would tell them apart."""

from dataclasses import dataclass

# Every snippet begins with these lines.
PROLOGUE = "import tensorrt as trt\nfrom runtime.engines.trt.versions import Features\n\n"

ALWAYS, NEVER = (0, 0), (99, 0)


@dataclass(frozen=True)
class Wrong:
    """A wrong use.

    Attributes:
        text: Python.
        code: mypy's code of the error.
        since: First version, (major, minor), that it is wrong for.
        before: First version that it is right for again.
    """

    text: str
    code: str
    since: tuple[int, int] = ALWAYS
    before: tuple[int, int] = NEVER


RIGHT = {
    "build": """
def build(builder: trt.Builder, config: trt.IBuilderConfig, network: trt.INetworkDefinition) -> bytes:
    profile = builder.create_optimization_profile()
    tensor = network.get_input(0)
    profile.set_shape(tensor.name, (1, *tuple(tensor.shape)[1:]), [2, 3], trt.Dims([4, 3]))
    config.add_optimization_profile(profile)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    with trt.Runtime(trt.Logger(trt.Logger.WARNING)) as runtime:
        runtime.deserialize_cuda_engine(plan)
    return bytes(memoryview(plan))
""",
    "inference": """
def infer(context: trt.IExecutionContext, pointers: dict[str, int], stream: int) -> tuple[int, ...]:
    engine = context.engine
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            context.set_input_shape(name, (1, 3, 224, 224))
        context.set_tensor_address(name, pointers[name])
    context.execute_async_v3(stream_handle=stream)
    return tuple(context.get_tensor_shape("logits"))
""",
    "callback": """
class Log(trt.ILogger):
    def __init__(self) -> None:
        trt.ILogger.__init__(self)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        print(severity.name, int(severity), severity == trt.Logger.Severity.ERROR, msg)

trt.Builder(Log())
""",
    "guarded_member": """
def level(features: Features) -> trt.HardwareCompatibilityLevel:
    if features.HAS_SAME_COMPUTE_CAPABILITY:
        return trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    return trt.HardwareCompatibilityLevel.NONE
""",
    "guarded_class": """
def name_gpus(config: trt.IBuilderConfig, features: Features) -> None:
    if features.HAS_COMPUTE_CAPABILITIES:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM86, 0)
""",
}

WRONG = {
    # By the headers of NVIDIA/TensorRT.
    "unguarded_member": Wrong(
        "level = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY", "attr-defined", before=(10, 9)
    ),
    # By NVIDIA's list of what TensorRT 11 removed.
    "flag_of_10": Wrong("flag = trt.BuilderFlag.FP16", "attr-defined", since=(11, 0)),
    "method_of_10": Wrong(
        "def f(parser: trt.OnnxParser) -> None:\n    parser.supports_model(b'')", "attr-defined", since=(11, 0)
    ),
    "misspelt_member": Wrong("flag = trt.BuilderFlag.VERSION_COMPATIBEL", "attr-defined"),
    "misspelt_class": Wrong("def f(config: trt.IBuilderConfiguration) -> None: ...", "name-defined"),
    "misspelt_function": Wrong("version = trt.get_nv_onnx_parser_versions()", "attr-defined"),
    "misspelt_method": Wrong(
        "def f(builder: trt.Builder) -> None:\n    builder.create_builder_configuration()", "attr-defined"
    ),
    "wrong_keyword": Wrong(
        "def f(config: trt.IBuilderConfig) -> None:\n"
        "    config.set_memory_pool_limit(pool=trt.MemoryPoolType.WORKSPACE, size=1)",
        "call-arg",
    ),
    "keyword_for_a_nameless_argument": Wrong(
        "def f(network: trt.INetworkDefinition) -> None:\n    network.__getitem__(index=1)", "call-arg"
    ),
    "missing_argument": Wrong(
        "def f(profile: trt.IOptimizationProfile) -> None:\n    profile.set_shape('input', (1,), (2,))", "call-arg"
    ),
    "integer_for_an_enum": Wrong("def f(config: trt.IBuilderConfig) -> None:\n    config.set_flag(1)", "arg-type"),
    "integer_stored_for_an_enum": Wrong(
        "def f(config: trt.IBuilderConfig) -> None:\n    config.profiling_verbosity = 2", "assignment"
    ),
    "enum_for_another": Wrong(
        "def f(config: trt.IBuilderConfig) -> None:\n    config.set_flag(trt.MemoryPoolType.WORKSPACE)",
        "arg-type",
    ),
    "enum_compared_with_an_integer": Wrong(
        "def f(mode: trt.TensorIOMode) -> bool:\n    return mode == 1", "comparison-overlap"
    ),
    "enum_iterated_over": Wrong("names = [flag.name for flag in trt.BuilderFlag]", "attr-defined"),
    "read_only_property": Wrong("def f(engine: trt.ICudaEngine) -> None:\n    engine.num_io_tensors = 2", "misc"),
    "attribute_of_no_class": Wrong(
        "def f(config: trt.IBuilderConfig) -> None:\n    config.max_workspace_size = 1 << 30", "attr-defined"
    ),
    "result_that_may_be_none": Wrong(
        "def f(runtime: trt.Runtime, plan: bytes) -> str:\n    return runtime.deserialize_cuda_engine(plan).name",
        "union-attr",
    ),
    "path_for_a_buffer": Wrong(
        "def f(runtime: trt.Runtime) -> None:\n    runtime.deserialize_cuda_engine('model.plan')", "call-overload"
    ),
    "class_without_a_constructor": Wrong("config = trt.IBuilderConfig()", "call-arg"),
    "misspelt_callback": Wrong(
        """
class Monitor(trt.IProgressMonitor):
    def phase_begin(self, phase_name: str, parent_phase: str, num_steps: int) -> None: ...
    def step_complete(self, phase_name: str, step: int) -> bool: return True
    def phase_finish(self, phase_name: str) -> None: ...

monitor = Monitor()
""",
        "abstract",
    ),
    "callback_of_another_result": Wrong(
        """
class Monitor(trt.IProgressMonitor):
    def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None: ...
    def step_complete(self, phase_name: str, step: int) -> None: ...
    def phase_finish(self, phase_name: str) -> None: ...
""",
        "override",
    ),
    "object_without_a_type": Wrong(
        "from typing import Any\n\ndef f(engine: Any) -> None:\n    engine.create_execution_context()", "misc"
    ),
}
