"""The onnxruntime engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.bundle.bundle import Bundle
from runtime.engines.contract import EngineBase, Outputs, describe_precision
from runtime.engines.graph_tensors import GraphTensor, check_tensors
from runtime.engines.ort_floats import compute_in_floats
from runtime.engines.ort_session import find_strays, fusion_on_cpu, import_onnxruntime, open_session, profiled_precision
from runtime.errors import EngineError, UsageError
from runtime.support.arrays import Pixels
from runtime.support.ort_providers import PROVIDERS, Provider
from runtime.support.temporary import temporary_folder

if TYPE_CHECKING:
    import onnxruntime

NAME = "onnxruntime"
# onnxruntime's names of the types that a manifest may have.
_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OrtEngine(EngineBase):
    """A bundle in onnxruntime."""

    name = NAME

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        provider: str = "cpu",
        share_cores: bool = False,
        in_floats: bool = False,
    ) -> None:
        """Open the bundle's graph.

        Args:
            bundle: An opened bundle.
            threads: Threads for one inference; None leaves onnxruntime's choice, the physical cores.
            provider: Execution provider, a name of `PROVIDERS`; `tensorrt` builds an engine of its own every time it
                is opened. One that falls back is an error, for the whole graph and for single layers.
            share_cores: Let threads sleep between inferences instead of spinning, for a process
                that runs other engines or decoders beside this one.
            in_floats: Compute an FP16 graph in FP32, where onnxruntime would add up in FP16
                (`runtime/engines/ort_floats.py`).

        Raises:
            UsageError: There is no such provider.
            EngineError: onnxruntime is not installed, cannot load the graph, or does not run it in that provider.
            BundleError: The graph has other tensors than the manifest says.
        """
        super().__init__(bundle.manifest)
        if provider not in PROVIDERS:
            raise UsageError(f"onnxruntime has no provider {provider} here: expected one of {', '.join(PROVIDERS)}")
        asked = PROVIDERS[provider]
        self.runs_on_gpu = asked.gpu
        _require_available(asked)
        with temporary_folder() as folder:
            # The profile of one inference says which kernels run; afterwards profiling is off.
            self._session: onnxruntime.InferenceSession | None = open_session(
                compute_in_floats(bundle.model_path) if in_floats else bundle.model_path,
                fusion="all" if asked.gpu else fusion_on_cpu(bundle.manifest.precision),
                threads=threads,
                spin=not share_cores,
                profile=folder / "profile",
                providers=_with_options(asked, bundle),
            )
            _require_used(self._session, asked)
            check_tensors(bundle, *_tensors(self._session))
            self._outputs = [spec.name for spec in bundle.manifest.outputs]
            self.infer(np.zeros((1, *bundle.manifest.preprocessing.pixels_shape), np.uint8))
            profile = Path(self._session.end_profiling())
            strays = find_strays(profile, asked.chain[0])
            executed = profiled_precision(profile)
        stored = bundle.manifest.precision.name
        if strays:
            self.close()
            raise EngineError(
                f"onnxruntime fell back: {strays} although {asked.chain[0]} was requested; its log says why, and "
                "`run-ssl doctor` shows what is missing"
            )
        # Where the graph is one node, its layers have the precision that the graph gives them.
        self.precision = stored if asked.subgraph else describe_precision(stored, executed)
        if asked.gpu:
            self.precision += f" ({provider})"

    def infer(self, pixels: Pixels) -> Outputs:
        """Run one batch; see `runtime.engines.contract.Engine.infer`."""
        # Taken once: another thread may close the engine meanwhile.
        session = self._session
        if session is None:
            raise EngineError("the onnxruntime engine is closed: open it again with load_engine")
        return self.run_graph(lambda feed: session.run(self._outputs, {self.manifest.input.name: feed}), pixels)

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _tensors(session: "onnxruntime.InferenceSession") -> tuple[list[GraphTensor], list[GraphTensor]]:
    """Return the inputs and the outputs of a session's graph."""

    def read(node: Any) -> GraphTensor:
        shape = tuple(size if isinstance(size, int) else None for size in node.shape)
        return GraphTensor(node.name, _TYPES.get(node.type, node.type), shape)

    return [read(node) for node in session.get_inputs()], [read(node) for node in session.get_outputs()]


def _require_available(provider: Provider) -> None:
    """Refuse a provider that this onnxruntime was built without.

    Raises:
        EngineError: onnxruntime was built without the provider, or is not installed.
    """
    wanted, available = provider.chain[0], import_onnxruntime().get_available_providers()
    if wanted not in available:
        raise EngineError(
            f"onnxruntime has no {wanted}: it has {', '.join(available)}; pip install 'export-ssl[gpu]' in an "
            "environment without the extra `cpu`"
        )


def _require_used(session: "onnxruntime.InferenceSession", provider: Provider) -> None:
    """Refuse a session that fell back, of which onnxruntime only warns.

    Raises:
        EngineError: The session fell back.
    """
    wanted, used = provider.chain[0], session.get_providers()[0]
    if used != wanted:
        raise EngineError(
            f"onnxruntime fell back from {wanted} to {used}: its CUDA libraries or the driver "
            "are missing or too old; `run-ssl doctor` says which"
        )


def _with_options(provider: Provider, bundle: Bundle) -> list[Any]:
    """Return onnxruntime's names of the providers, the first with what it needs to know of the bundle's precision."""
    first, *others = provider.chain
    stored = bundle.manifest.precision.name
    return [(first, {option: str(word in stored) for option, word in provider.switches}), *others]
