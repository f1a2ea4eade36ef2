"""The onnxruntime engine."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.bundle.bundle import Bundle
from runtime.engines.contract import EngineBase, Outputs, Pixels, Provider, describe_precision
from runtime.engines.ort_session import executed_precision, find_strays, import_onnxruntime, open_session
from runtime.errors import EngineError

if TYPE_CHECKING:
    import onnxruntime

NAME = "onnxruntime"
# Our words to onnxruntime's. Each provider falls back to the next, and none of them may.
_PROVIDERS: dict[Provider, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}


class OrtEngine(EngineBase):
    """A bundle in onnxruntime."""

    name = NAME

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, provider: Provider = "cpu", share_cores: bool = False
    ) -> None:
        """Open the bundle's graph.

        Args:
            bundle: An opened bundle.
            threads: Threads for one inference; None leaves onnxruntime's choice, the physical cores.
            provider: Execution provider: `cpu`, `cuda`, or `tensorrt`, which builds an engine of its own every time
                it is opened. One that falls back is an error, for the whole graph and for single layers.
            share_cores: Let threads sleep between inferences instead of spinning, for a process
                that runs other engines or decoders beside this one.

        Raises:
            EngineError: onnxruntime is not installed, cannot load the graph, or does not run it in that provider.
        """
        super().__init__(bundle.manifest)
        _require_available(provider)
        with tempfile.TemporaryDirectory(prefix="export-ssl-") as folder:
            # The profile of one inference says which kernels run; afterwards profiling is off.
            self._session: onnxruntime.InferenceSession | None = open_session(
                bundle.model_path,
                fusion="float" if bundle.manifest.precision.needs_unfused_qdq and provider == "cpu" else "all",
                threads=threads,
                spin=not share_cores,
                profile=Path(folder) / "profile",
                providers=_with_options(_PROVIDERS[provider], bundle),
            )
            _require_used(self._session, provider)
            self._outputs = [spec.name for spec in bundle.manifest.outputs]
            size = bundle.manifest.preprocessing.image_size
            self.infer(np.zeros((1, size, size, 3), np.uint8))
            profile = Path(self._session.end_profiling())
            strays = find_strays(profile, _PROVIDERS[provider][0])
            executed = executed_precision(profile)
        stored = bundle.manifest.precision.name
        if strays:
            self.close()
            raise EngineError(
                f"onnxruntime fell back: {strays} although {_PROVIDERS[provider][0]} was asked for; its log says why, "
                "and `run-ssl doctor` what is missing"
            )
        # In TensorRT's provider the graph is one node: its layers have the precision that the graph gives them.
        self.precision = stored if provider == "tensorrt" else describe_precision(stored, executed)
        if provider != "cpu":
            self.precision += f" ({provider})"

    def infer(self, pixels: Pixels) -> Outputs:
        """Run one batch; see `runtime.engines.contract.Engine.infer`."""
        if self._session is None:
            raise EngineError("the onnxruntime engine is closed: open it again with load_engine")
        feed = {self.manifest.input.name: self.network_input(pixels)}
        logits, embedding = self._session.run(self._outputs, feed)
        return Outputs(logits, embedding)

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _require_available(provider: Provider) -> None:
    """Refuse a provider that this onnxruntime was built without.

    Raises:
        EngineError: It was, or onnxruntime is not installed.
    """
    wanted, available = _PROVIDERS[provider][0], import_onnxruntime().get_available_providers()
    if wanted not in available:
        raise EngineError(
            f"onnxruntime has no {wanted}: it has {', '.join(available)}; pip install 'export-ssl[gpu]' in an "
            "environment without the extra `cpu`"
        )


def _require_used(session: "onnxruntime.InferenceSession", provider: Provider) -> None:
    """Refuse a session that fell back, of which onnxruntime only warns.

    Raises:
        EngineError: It did.
    """
    wanted, used = _PROVIDERS[provider][0], session.get_providers()[0]
    if used != wanted:
        raise EngineError(
            f"onnxruntime fell back from {wanted} to {used}: its CUDA libraries or the driver "
            "are missing or too old; `run-ssl doctor` says which"
        )


def _with_options(providers: tuple[str, ...], bundle: Bundle) -> list[Any]:
    """Return the providers with what TensorRT's needs to know: in its networks FP16 and INT8 are allowed by flags."""
    precision = bundle.manifest.precision.name
    flags = {"trt_fp16_enable": str("fp16" in precision), "trt_int8_enable": str("int8" in precision)}
    return [(name, flags) if name.startswith("Tensorrt") else name for name in providers]
