"""Libraries on a bundle's network, called as their own documentation does: what the engines here are compared with.

Each takes its input in place (`network_input` makes it, outside of any timer) and returns the package's own outputs,
logits and embedding, or the embedding alone, untouched. The settings that decide the result are the engines' own:
threads, FP32 arithmetic, one stream.
"""

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from typing_extensions import Self

from runtime.bundle.bundle import Bundle
from runtime.engines.contract import EngineBase, describe_precision
from runtime.engines.openvino_package import import_openvino
from runtime.errors import EngineError
from runtime.support.arrays import Pixels
from runtime.support.temporary import temporary_folder

AutocastPrecision = Literal["fp32", "bf16", "fp16"]
_TORCH_DEVICES = {"cpu": "cpu", "gpu": "cuda"}


class PeerEngine(Protocol):
    """A network opened in another library, a context manager.

    Attributes:
        precision: What it really executes, in words, as `runtime.engines.contract.Engine.precision`.
    """

    precision: str

    def network_input(self, pixels: Pixels) -> Any:
        """Return what `call` takes, from pixels (N, H, W, C) uint8."""
        ...

    def call(self, batch_input: Any) -> Any:
        """Run one batch to its end and return the package's own logits and embedding."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: Any) -> None: ...


class RawOnnxRuntime(EngineBase):
    """`onnxruntime.InferenceSession.run` on the bundle's graph, on the CPU."""

    name = "raw-onnxruntime"

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        """Open a session with the settings of `runtime.engines.ort_engine`.

        Args:
            bundle: An opened bundle.
            threads: Threads for one inference; None leaves onnxruntime's choice.

        Raises:
            EngineError: onnxruntime is not installed, or cannot load the graph.
        """
        super().__init__(bundle.manifest)
        from runtime.engines.ort_session import import_onnxruntime, profiled_precision

        ort = import_onnxruntime()
        # Typed out, and not by `open_session`: this is onnxruntime as anyone calls it.
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        stored = bundle.manifest.precision.name
        if bundle.manifest.precision.needs_unfused_qdq:
            # As `fusion="float"` in runtime.engines.ort_session, which says why.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        with temporary_folder() as folder:
            # One inference says which kernels run; afterwards profiling is off, and costs nothing.
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / "profile")
            try:
                session = ort.InferenceSession(str(bundle.model_path), options, providers=["CPUExecutionProvider"])
            except Exception as error:
                raise EngineError(_refusal(f"onnxruntime {ort.__version__}", bundle, error)) from error
            self._session: Any = session
            self._input = bundle.manifest.input.name
            self._outputs = [spec.name for spec in bundle.manifest.outputs]
            first = (bundle.manifest.fixed_batch or 1, *bundle.manifest.preprocessing.pixels_shape)
            self.call(self.network_input(np.zeros(first, np.uint8)))
            self.precision = describe_precision(stored, profiled_precision(Path(session.end_profiling())))

    def call(self, batch_input: Any) -> Any:
        """Return [logits, embedding], NumPy arrays (N, classes) and (N, D) float32."""
        return self._session.run(self._outputs, {self._input: batch_input})

    def close(self) -> None:
        """Free the session."""
        self._session = None


class RawOpenVino(EngineBase):
    """`InferRequest.infer` on the bundle's compiled graph, on the CPU."""

    name = "raw-openvino"

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        """Compile the graph with the settings of `runtime.engines.openvino_engine` in FP32.

        Args:
            bundle: An opened bundle.
            threads: Threads for one inference; None leaves OpenVINO's choice.

        Raises:
            EngineError: OpenVINO is not installed, or cannot compile the graph.
        """
        super().__init__(bundle.manifest)
        from runtime.engines.openvino_engine import executed_precision

        ov = import_openvino()
        config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            compiled = ov.Core().compile_model(str(bundle.model_path), "CPU", config)
        except RuntimeError as error:
            raise EngineError(_refusal(f"OpenVINO {ov.__version__}", bundle, error)) from error
        # OpenVINO's own advice where speed matters, instead of calling the compiled model.
        self._request: Any = compiled.create_infer_request()
        self.precision = describe_precision(bundle.manifest.precision.name, executed_precision(compiled))

    def call(self, batch_input: Any) -> Any:
        """Return OpenVINO's dictionary of outputs, logits under 0 and embedding under 1, float32 arrays."""
        return self._request.infer([batch_input], share_inputs=True)

    def close(self) -> None:
        """Free the compiled graph."""
        self._request = None


class PyTorchPeer(EngineBase):
    """The original network in PyTorch, eager or compiled, in FP32 or under autocast."""

    name = "pytorch"

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        weights: Path | None = None,
        precision: AutocastPrecision = "fp32",
        compiled: bool = False,
        device: str = "cpu",
    ) -> None:
        """Load the original. A compiled one is compiled by its first call, for that batch size.

        Args:
            bundle: An opened bundle.
            threads: Threads for one inference, for the whole process; None leaves PyTorch's choice.
            weights: Checkpoint of the original; None looks for the one that the manifest names.
            precision: `bf16` and `fp16` are autocast.
            compiled: Whether through `torch.compile`, with weights and activations in channels_last.
            device: `cpu`, or `gpu`, whose work is waited for at the end of every call.

        Raises:
            EngineError: PyTorch or timm is not installed, or there is no such device.
            CheckpointError: The checkpoint is absent or not the one named in the manifest.
        """
        super().__init__(bundle.manifest)
        torch = _import_torch()
        from runtime.original.load_original import load_original
        from runtime.original.network import wrap

        if threads is not None:
            torch.set_num_threads(threads)
        network = load_original(bundle, weights=weights)
        module = wrap(network, bundle.manifest.preprocessing, input_kind=bundle.manifest.input.dtype)
        self._device = _TORCH_DEVICES[device]
        try:
            module = module.to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise EngineError(f"PyTorch cannot use a {device}: {_first_line(error)}; pass --device cpu") from error
        if compiled:
            # Code for one batch size: for any size it is slower, and a benchmark asks for few.
            module = torch.compile(module.to(memory_format=torch.channels_last), dynamic=False)
        self._module: Any = module
        self._torch = torch
        self._autocast = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._compiled = compiled
        self.precision = precision

    def network_input(self, pixels: Pixels) -> Any:
        """Return the tensor on the device: (N, H, W, C) uint8, or (N, C, H, W) float32 where the bundle's input is."""
        # A copy: PyTorch warns of memory that it may not write to.
        tensor = self._torch.from_numpy(super().network_input(pixels).copy()).to(self._device)
        if self._compiled and tensor.is_floating_point():
            # Pixels in NHWC are channels_last as they are.
            tensor = tensor.contiguous(memory_format=self._torch.channels_last)
        return tensor

    def call(self, batch_input: Any) -> Any:
        """Return (logits, embedding), tensors (N, classes) and (N, D) on the device, in autocast's type or float32."""
        torch, kind = self._torch, self._autocast
        with torch.inference_mode(), torch.autocast(self._device, kind, enabled=kind is not None):
            outputs = self._module(batch_input)
        if self._device == "cuda":
            torch.cuda.synchronize()
        return outputs

    def close(self) -> None:
        """Free the network."""
        self._module = None


def _import_torch() -> Any:
    try:
        import timm  # noqa: F401 - the network is built by timm; say so before half the work is done
        import torch
    except ImportError as error:
        raise EngineError(
            f"the PyTorch peers need torch and timm ({error}): pip install 'export-ssl[export]'"
        ) from error
    return torch


def _refusal(package: str, bundle: Bundle, error: Exception) -> str:
    return f"{package} cannot load {bundle.model_path}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
