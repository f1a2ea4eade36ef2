"""The onnxruntime engine."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.bundle.bundle import Bundle
from runtime.engines.contract import EngineBase, Outputs, Provider, describe_precision
from runtime.errors import EngineError
from runtime.support.arrays import Pixels
from runtime.support.installed import installed_versions

if TYPE_CHECKING:
    import onnxruntime

NAME = "onnxruntime"
# Our words to onnxruntime's. Each provider falls back to the next, and none of them may.
_PROVIDERS: dict[Provider, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
# What a network's work is in: where one of these runs, the network runs.
_WORK = ("Conv", "Gemm", "MatMul")
# Names in onnxruntime's profile to ours.
_TYPES = {"float": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8", "bfloat16": "bf16"}


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
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        if share_cores:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if bundle.manifest.precision.name == "int8-fp16" and provider == "cpu":
            # Fused around FP16 scales, Q/DQ give another function: a ResNet-18 at 33 dB as written came out at
            # -1.5 dB (onnxruntime 1.32, x86). Left apart they are right, and slower.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        with tempfile.TemporaryDirectory(prefix="export-ssl-") as folder:
            # The profile of one inference says which kernels run; afterwards profiling is off.
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            self._session: onnxruntime.InferenceSession | None = _open(ort, bundle, options, provider)
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


def _open(ort: Any, bundle: Bundle, options: Any, provider: Provider) -> Any:
    wanted, path, available = _PROVIDERS[provider], bundle.model_path, ort.get_available_providers()
    if wanted[0] not in available:
        raise EngineError(
            f"onnxruntime has no {wanted[0]}: it has {', '.join(available)}; pip install 'export-ssl[gpu]' in an "
            "environment without the extra `cpu`"
        )
    try:
        session = ort.InferenceSession(str(path), options, providers=_with_options(wanted, bundle))
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"onnxruntime {ort.__version__} cannot load {path}: {reason}") from error
    if session.get_providers()[0] != wanted[0]:
        raise EngineError(
            f"onnxruntime fell back from {wanted[0]} to {session.get_providers()[0]}: its CUDA libraries or the driver "
            "are missing or too old; `run-ssl doctor` says which"
        )
    return session


def _with_options(providers: tuple[str, ...], bundle: Bundle) -> list[Any]:
    """Return the providers with what TensorRT's needs to know: in its networks FP16 and INT8 are allowed by flags."""
    precision = bundle.manifest.precision.name
    flags = {"trt_fp16_enable": str("fp16" in precision), "trt_int8_enable": str("int8" in precision)}
    return [(name, flags) if name.startswith("Tensorrt") else name for name in providers]


def find_strays(profile: Path, provider: str) -> str:
    """Return which part of the network ran in another provider, in words, by onnxruntime's profile of one run; or ''.

    What is not work (casts of the input, shapes) may run anywhere.

    Args:
        profile: The profile's file.
        provider: onnxruntime's name of the provider that was asked for.
    """
    ran: Counter[str] = Counter()
    for event in json.loads(profile.read_text(encoding="utf-8")):
        arguments = event.get("args", {})
        operator = arguments.get("op_name", "")
        if not event.get("name", "").endswith("_kernel_time"):
            continue
        # TensorRT's provider runs a whole subgraph as one node, named for itself.
        if operator.startswith("TRTKernel") or any(work in operator for work in _WORK):
            ran[arguments.get("provider", "unknown")] += 1
    strays = {name: count for name, count in ran.items() if name != provider}
    if not ran:
        return "no layer was seen to run"
    return ", ".join(f"{count} of {ran.total()} layers ran in {name}" for name, count in strays.items())


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
