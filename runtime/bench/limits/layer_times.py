"""How long each layer of a bundle takes in an engine, with the work that it does."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import numpy as np

from runtime.bench.limits.counted import Counted
from runtime.bench.limits.node_names import NodeNames
from runtime.bench.limits.openvino_counters import count_openvino, openvino_config
from runtime.bench.limits.ort_profile import count_onnxruntime
from runtime.bundle.bundle import Bundle
from runtime.bundle.layers import Layer
from runtime.bundle.layout import PLAN_LAYERS_FILE
from runtime.bundle.plan_json import read_sidecar, rebuild_command
from runtime.engines.contract import ExecutionPrecision
from runtime.engines.open_engine import TENSORRT, parse_engine
from runtime.engines.openvino_engine import NAME as OPENVINO
from runtime.engines.openvino_engine import read_graph
from runtime.engines.openvino_package import import_openvino
from runtime.engines.ort_engine import NAME as ONNXRUNTIME
from runtime.engines.ort_session import fusion_on_cpu, import_onnxruntime
from runtime.errors import BundleError, EngineError, UsageError
from runtime.images.preprocessing import normalise
from runtime.plans.inspector import EngineLayer, Tensor, compute_type, read_layer_information
from runtime.support.arrays import Floats, Pixels
from runtime.support.files import read_plain
from runtime.support.words import first_few

# The first runs allocate, pack weights and wake threads.
WARM_UP = 5
_ELEMENT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class RawLayer:
    """One layer of a network in one engine, for a whole batch.

    Attributes:
        name: The ONNX nodes that it is made of, joined by ` + `; the engine's name for what the engine added.
        operator: The engine's layer type: `Convolution`, `QLinearConv`, `Reorder`, ...
        precision: What it computes in: `fp32`, `bf16`, `fp16`, `int8`, or another word of the engine's.
        ms: Median time, milliseconds.
        nodes: Names of the ONNX nodes in layers.json; empty for what the engine added.
        macs: Multiply-accumulates.
        weight_bytes: Trained constants that it reads, in the precision that it computes in.
        activation_bytes: Tensors between layers that it reads and writes, as the engine stores them. Tensors within
            a fused layer are not moved, so this is less than the sum over its nodes in layers.json.
        reads_image: Whether it is the first convolution, which has an image's few channels.
    """

    name: str
    operator: str
    precision: str
    ms: float
    nodes: tuple[str, ...]
    macs: int
    weight_bytes: int
    activation_bytes: int
    reads_image: bool = False

    @property
    def moved_bytes(self) -> int:
        """Bytes that it reads and writes."""
        return self.weight_bytes + self.activation_bytes


def layer_times(
    bundle: Bundle,
    engine: str,
    *,
    batch: int,
    threads: int | None,
    runs: int = 30,
) -> tuple[RawLayer, ...]:
    """Return the layers of a bundle in an engine, in execution order.

    The pixels are uniform noise: the engines' kernels take the same time for any values.

    Args:
        bundle: An opened bundle.
        engine: `openvino` (`openvino:bf16` runs in that precision), `onnxruntime`, or `tensorrt`, whose times the
            build measured.
        batch: Images per call.
        threads: Threads for one call; None leaves the engine's choice.
        runs: Calls whose median counts.

    Raises:
        UsageError: `batch` or `runs` is less than 1, or the engine has no layer times.
        EngineError: The engine is not installed, cannot run the bundle, or names layers that the bundle's
            layers.json does not have.
        BundleError: The bundle has no plan, for TensorRT.
    """
    if batch < 1 or runs < 1:
        raise UsageError(f"batch {batch} and {runs} runs, expected at least 1 of each")
    choice = parse_engine(engine)
    if choice.name == TENSORRT:
        return raw_layers(_tensorrt(bundle, batch), bundle.layers(), batch=batch, engine=engine)
    shape = bundle.manifest.preprocessing.pixels_shape
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *shape), np.uint8)
    feed = pixels if bundle.manifest.input.dtype == "uint8" else normalise(pixels, bundle.manifest.preprocessing)
    if choice.name == OPENVINO:
        counted = _openvino(bundle, feed, threads=threads, runs=runs, precision=choice.precision or "fp32")
    elif choice.name == ONNXRUNTIME and not choice.runs_on_gpu("cpu"):
        counted = _onnxruntime(bundle, feed, threads=threads, runs=runs)
    else:
        raise UsageError(
            f"engine {engine} gives no layer times: expected {OPENVINO}, {ONNXRUNTIME} on the CPU or {TENSORRT}"
        )
    return raw_layers(counted, bundle.layers(), batch=batch, engine=engine)


def raw_layers(
    counted: Iterable[Counted], layers: tuple[Layer, ...], *, batch: int, engine: str
) -> tuple[RawLayer, ...]:
    """Return an engine's layers with the work of the nodes that they are made of.

    Args:
        counted: The layers as the engine's profile has them.
        layers: The bundle's layers.json.
        batch: Images per call.
        engine: The engine's name, for an error.

    Raises:
        EngineError: Convolutions or matrix products of the bundle are in no layer of the engine.
    """
    names = NodeNames(layers)
    image = next((layer.name for layer in layers if layer.macs), "")
    found = [_raw_layer(one, names.find(one.made_of, one.operator), batch, image) for one in counted]
    missing = names.missing()
    if missing:
        raise EngineError(
            f"{engine} names no layer for {len(missing)} convolutions of the bundle ({first_few(missing)}): "
            "this version of run-ssl does not know how it names its layers; its latency can still be measured"
        )
    return tuple(found)


def _raw_layer(counted: Counted, nodes: tuple[Layer, ...], batch: int, image: str) -> RawLayer:
    names = tuple(node.name for node in nodes)
    products = [node for node in nodes if node.macs]
    element = _ELEMENT_BYTES.get(counted.precision, 4)
    return RawLayer(
        name=" + ".join(names) or counted.name,
        operator=counted.operator,
        precision=counted.precision,
        ms=median(counted.times_ms),
        nodes=names,
        macs=sum(node.macs for node in products) * batch,
        # Engines convert weights to what they compute in when they load them; constants of a layer without a
        # product are few, or the weights themselves on their way to another type.
        weight_bytes=sum(node.parameters for node in products) * element if products else counted.constant_bytes,
        activation_bytes=counted.activation_bytes,
        reads_image=image in names,
    )


def _openvino(
    bundle: Bundle, feed: Pixels | Floats, *, threads: int | None, runs: int, precision: ExecutionPrecision
) -> tuple[Counted, ...]:
    ov = import_openvino()
    try:
        core = ov.Core()
        compiled = core.compile_model(read_graph(core, bundle, "CPU"), "CPU", openvino_config(threads, precision))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise EngineError(f"OpenVINO {ov.__version__} cannot compile {bundle.model_path}: {reason}") from error
    return count_openvino(compiled, [feed], batch=len(feed), warm_up=WARM_UP, runs=runs)


def _onnxruntime(bundle: Bundle, feed: Pixels | Floats, *, threads: int | None, runs: int) -> tuple[Counted, ...]:
    ort = import_onnxruntime()
    try:
        return count_onnxruntime(
            bundle.model_path,
            [feed],
            # As the engine opens it.
            fusion=fusion_on_cpu(bundle.manifest.precision),
            threads=threads,
            warm_up=WARM_UP,
            runs=runs,
        )
    except ort.capi.onnxruntime_pybind11_state.OrtException as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"onnxruntime {ort.__version__} cannot run {bundle.model_path}: {reason}") from error


def _tensorrt(bundle: Bundle, batch: int) -> tuple[Counted, ...]:
    """Return the plan's layers with the times that its build measured.

    Raises:
        UsageError: The layers were measured at another batch.
        EngineError: The layers were not measured, or the plan's layer file is damaged.
        BundleError: There is no plan.
    """
    sidecar = read_sidecar(bundle.path)
    times, measured = sidecar.certificate.layer_times_ms, sidecar.options.profile.opt
    if batch != measured:
        raise UsageError(
            f"the layers of {bundle.path}'s plan were timed at batch {measured}, not {batch}: build another with "
            f"`run-ssl build {bundle.path} --profile {batch}`"
        )
    if not times:
        raise EngineError(f"the layers of {bundle.path}'s plan were not timed: {rebuild_command(bundle.path)}")
    try:
        text = read_plain(bundle.path / PLAN_LAYERS_FILE).decode()
    except OSError as error:
        raise BundleError(
            f"{bundle.path} has no readable {PLAN_LAYERS_FILE} ({error.strerror}): {rebuild_command(bundle.path)}"
        ) from error
    layers = read_layer_information(text).layers
    listed = [_planned(layer, times[layer.name], batch) for layer in layers if layer.name in times]
    # The profiler has names of its own for whole subgraphs of Myelin.
    names = {layer.name for layer in layers}
    return (*listed, *(_unlisted(name, ms) for name, ms in times.items() if name not in names))


def _planned(layer: EngineLayer, ms: float, batch: int) -> Counted:
    return Counted(
        name=layer.name,
        made_of=tuple(sorted(layer.nodes)),
        operator=layer.kind,
        precision=compute_type(layer),
        times_ms=(ms,),
        activation_bytes=sum(_tensor_bytes(tensor, batch) for tensor in (*layer.inputs, *layer.outputs)),
        constant_bytes=0,
    )


def _unlisted(name: str, ms: float) -> Counted:
    return Counted(
        name=name,
        made_of=(),
        operator="Myelin",
        precision="unknown",
        times_ms=(ms,),
        activation_bytes=0,
        constant_bytes=0,
    )


def _tensor_bytes(tensor: Tensor, batch: int) -> int:
    elements = math.prod(batch if size < 0 else size for size in tensor.shape)
    return elements * _ELEMENT_BYTES.get(tensor.datatype, 1 if tensor.datatype in ("uint8", "bool") else 4)
