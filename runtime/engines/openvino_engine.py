"""The OpenVINO engine.

OpenVINO chooses its own execution precision: on a CPU with AMX it runs an FP32 model in bf16 unless
it is told not to. The hint is therefore always set, and what was chosen is read back from the
compiled graph.

Any number of threads may call one engine: an infer request of OpenVINO's serves one call at a time, so each call takes
one of its own, and requests are kept for the next call. They share the compiled graph and its one stream.
"""

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from runtime.bundle.bundle import Bundle
from runtime.engines.contract import EngineBase, ExecutionPrecision, Outputs, describe_precision
from runtime.engines.graph_tensors import GraphTensor, check_tensors
from runtime.engines.openvino_floats import compute_in_floats, int8_kernels_differ
from runtime.engines.openvino_package import import_openvino
from runtime.engines.openvino_unsigned import make_unsigned
from runtime.engines.precisions import OPENVINO, OPENVINO_HINTS, compute_type
from runtime.errors import EngineError
from runtime.support.arrays import Feed, Floats, Pixels

if TYPE_CHECKING:
    import openvino

NAME = "openvino"
# OpenVINO's names of the types that a manifest may have.
_TYPES = {"u8": "uint8", "f32": "float32"}
_COUNTED = frozenset({"Convolution", "FullyConnected", "MatMul"})


class OpenVinoEngine(EngineBase):
    """A bundle in OpenVINO."""

    name = NAME

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, device: str = "CPU", precision: ExecutionPrecision = "fp32"
    ) -> None:
        """Compile the bundle's graph.

        Args:
            bundle: An opened bundle.
            threads: Threads for one inference; None leaves OpenVINO's choice.
            device: OpenVINO device.
            precision: Inference precision hint. FP32 means FP32; `bf16` is a choice.

        Raises:
            EngineError: OpenVINO is not installed, or cannot compile the graph.
            BundleError: The graph has other tensors than the manifest says.
        """
        super().__init__(bundle.manifest)
        self.runs_on_gpu = device.startswith("GPU")
        ov = import_openvino()
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": OPENVINO_HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            core = ov.Core()
            model = read_graph(core, bundle, device)
            check_tensors(bundle, [_tensor(port) for port in model.inputs], [_tensor(port) for port in model.outputs])
            compiled = core.compile_model(model, device, config)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(f"OpenVINO {ov.__version__} cannot compile {bundle.model_path}: {reason}") from error
        self._compiled: openvino.CompiledModel | None = compiled
        self._lock = threading.Lock()
        # The first one is made here: what it needs may be missing, and that should show now.
        self._idle: list[openvino.InferRequest] = [compiled.create_infer_request()]
        self._outputs = [compiled.output(spec.name) for spec in bundle.manifest.outputs]
        self.precision = describe_precision(bundle.manifest.precision.name, executed_precision(compiled))

    def infer(self, pixels: Pixels) -> Outputs:
        """Run one batch; see `runtime.engines.contract.Engine.infer`."""
        request = self._take_request()
        try:
            return self.run_graph(lambda feed: self._run(request, feed), pixels)
        finally:
            with self._lock:
                if self._compiled is not None:
                    self._idle.append(request)

    def _run(self, request: "openvino.InferRequest", feed: Feed) -> list[Floats]:
        # Without shared outputs, OpenVINO copies them: the arrays are the caller's, whatever the request does next.
        results = request.infer([feed], share_inputs=True)
        return [results[output] for output in self._outputs]

    def close(self) -> None:
        """Free the compiled graph."""
        with self._lock:
            self._compiled = None
            self._idle = []

    def _take_request(self) -> "openvino.InferRequest":
        """Return a request that no other call uses, made now if there is none."""
        with self._lock:
            if self._compiled is None:
                raise EngineError("the OpenVINO engine is closed: open it again with load_engine")
            return self._idle.pop() if self._idle else self._compiled.create_infer_request()


def read_graph(core: Any, bundle: Bundle, device: str) -> Any:
    """Return a bundle's graph as it is compiled for a device.

    On a CPU an INT8 graph gets unsigned integers where no value is negative (`runtime/engines/openvino_unsigned.py`),
    and on one whose INT8 kernels are another function it is rounded in floats (`runtime/engines/openvino_floats.py`).

    Args:
        core: OpenVINO's `Core`.
        bundle: An opened bundle.
        device: OpenVINO device.
    """
    model = core.read_model(bundle.model_path)
    if device != "CPU" or bundle.manifest.precision.int8 is None:
        return model
    return compute_in_floats(model) if int8_kernels_differ() else make_unsigned(model)


def _tensor(port: Any) -> GraphTensor:
    """Return one input or output of a graph. OpenVINO keeps no order of several names; the exported graph has one."""
    known = port.get_partial_shape()
    rank = None if known.rank.is_dynamic else tuple(None if size.is_dynamic else size.get_length() for size in known)
    kind = port.get_element_type().get_type_name()
    return GraphTensor(" or ".join(sorted(port.get_names())), _TYPES.get(kind, kind), rank)


def executed_precision(compiled: Any) -> str:
    """Return the type that most convolutions of the compiled graph compute in."""
    types: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) in _COUNTED:
            types[compute_type(OPENVINO, info["runtimePrecision"].astype(str))] += 1
    if not types:
        return "unknown"
    return types.most_common(1)[0][0]
