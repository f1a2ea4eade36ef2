"""The onnxruntime engine."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.bundle import Bundle
from runtime.engine import EngineBase, Outputs, Pixels, describe_precision
from runtime.errors import EngineError
from runtime.installed import installed_versions

if TYPE_CHECKING:
    import onnxruntime

NAME = "onnxruntime"
_CPU = "CPUExecutionProvider"
# Names in onnxruntime's profile to ours.
_TYPES = {"float": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8", "bfloat16": "bf16"}


class OrtEngine(EngineBase):
    """A bundle in onnxruntime."""

    name = NAME

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, provider: str = _CPU, share_cores: bool = False
    ) -> None:
        """Open the bundle's graph.

        Args:
            bundle: An opened bundle.
            threads: Threads for one inference; None leaves onnxruntime's choice, the physical cores.
            provider: Execution provider. One that falls back to the CPU is an error.
            share_cores: Let threads sleep between inferences instead of spinning, for a process
                that runs other engines or decoders beside this one.

        Raises:
            EngineError: onnxruntime is not installed, or cannot load the graph.
        """
        super().__init__(bundle.manifest)
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        if share_cores:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if bundle.manifest.precision.name == "int8-fp16" and provider == _CPU:
            # Fused around FP16 scales, Q/DQ give another function: a ResNet-18 at 33 dB as written came out at
            # -1.5 dB (onnxruntime 1.32, x86). Left apart they are right, and slower.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        with tempfile.TemporaryDirectory(prefix="export-ssl-") as folder:
            # The profile of one inference says which kernels run; afterwards profiling is off.
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            self._session: onnxruntime.InferenceSession | None = _open(ort, bundle.model_path, options, provider)
            self._outputs = [spec.name for spec in bundle.manifest.outputs]
            size = bundle.manifest.preprocessing.image_size
            self.infer(np.zeros((1, size, size, 3), np.uint8))
            executed = executed_precision(Path(self._session.end_profiling()))
        self.precision = describe_precision(bundle.manifest.precision.name, executed)

    def infer(self, pixels: Pixels) -> Outputs:
        """Run one batch; see `runtime.engine.Engine.infer`."""
        if self._session is None:
            raise EngineError("the onnxruntime engine is closed: open it again with load_engine")
        feed = {self.manifest.input.name: self.network_input(pixels)}
        logits, embedding = self._session.run(self._outputs, feed)
        return Outputs(logits, embedding)

    def close(self) -> None:
        """Free the session."""
        self._session = None


def import_onnxruntime() -> Any:
    """Return the onnxruntime module.

    Raises:
        EngineError: It is not installed, or both of its variants are, which overwrite each other.
    """
    if len(installed_versions(("onnxruntime", "onnxruntime-gpu"))) > 1:
        raise EngineError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: "
            "pip uninstall both, then install the extra `cpu` or `gpu`, not both"
        )
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"onnxruntime cannot be imported ({error}): pip install 'export-ssl[cpu]'") from error
    return onnxruntime


def _open(ort: Any, path: Path, options: Any, provider: str) -> Any:
    available = ort.get_available_providers()
    if provider not in available:
        raise EngineError(f"onnxruntime has no {provider}: expected one of {available}")
    try:
        session = ort.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"onnxruntime {ort.__version__} cannot load {path}: {reason}") from error
    if session.get_providers()[0] != provider:
        raise EngineError(f"onnxruntime fell back from {provider} to {session.get_providers()[0]}: check its driver")
    return session


def executed_precision(profile: Path) -> str:
    """Return the type that most convolutions computed in, from onnxruntime's profile of one run.

    A kernel's type is its first input's: where onnxruntime has no FP16 kernel it casts to FP32, and drops
    most casts back to FP16 between two such kernels.
    """
    events = json.loads(profile.read_text(encoding="utf-8"))
    types: Counter[str] = Counter()
    for event in events:
        arguments = event.get("args", {})
        if "Conv" in arguments.get("op_name", "") and event.get("name", "").endswith("_kernel_time"):
            first = next(iter(arguments.get("input_type_shape", [{}])[0]), "unknown")
            types[_TYPES.get(first, first)] += 1
    if not types:
        return "unknown"
    return types.most_common(1)[0][0]
