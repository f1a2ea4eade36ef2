"""How an onnxruntime session is opened so that Q/DQ mean what ONNX says, and which kernels its profile says have run.

The only place that makes an `InferenceSession`, but for `runtime/bench/peers`, where a session as anyone opens it is
the point. Whether Q/DQ are fused decides what a figure is true of, so every caller says which it means.
"""

import os
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from runtime.bundle.manifest import Precision
from runtime.engines.precisions import ONNXRUNTIME, compute_type
from runtime.errors import EngineError
from runtime.support.cpu import int8_sums_saturate
from runtime.support.engine_names import DISTRIBUTIONS
from runtime.support.installed import installed_versions
from runtime.support.json_file import parse_json
from runtime.support.ort_providers import PROVIDERS

if TYPE_CHECKING:
    import onnxruntime

Fusion = Literal["none", "float", "all"]
"""What onnxruntime may fuse.

- `none`: nothing. The graph is run node by node as it is written, so that every tensor in it is computed.
- `float`: everything but Q/DQ, which are computed as ONNX defines them: round to the integers, and back to floats. The
  graph is judged then, and not the integer kernels of the machine at hand, some of which saturate (CPUs without VNNI).
- `all`: Q/DQ too, into integer kernels: what a user runs, and what is timed. Around FP16 scales the fused ones are
  another function on a CPU: a ResNet-18 at 33 dB as written came out at -1.5 dB (onnxruntime 1.32, x86). A graph
  whose manifest says so (`Precision.needs_unfused_qdq`) is run with `float` there, which is right, and slower; so is
  every INT8 graph on a CPU whose integer kernels saturate (`fusion_on_cpu`).
"""

# What a network's work is in: where one of these runs, the network runs.
_WORK = ("Conv", "Gemm", "MatMul")
_SUBGRAPHS = tuple(provider.subgraph for provider in PROVIDERS.values() if provider.subgraph)


def fusion_on_cpu(precision: Precision) -> Fusion:
    """Return what may be fused on this machine's CPU so that its integer kernels cannot change the function."""
    if precision.needs_unfused_qdq or (precision.int8 is not None and int8_sums_saturate()):
        return "float"
    return "all"


def import_onnxruntime() -> Any:
    """Return the onnxruntime module, without the telemetry that it starts otherwise.

    At import onnxruntime's wheels for Linux (1.32) start a thread that gathers events, and write an identity of this
    machine into the folder for temporary files. ORT_DISABLE_TELEMETRY turns that off; a value that is set stays.

    Raises:
        EngineError: onnxruntime is not installed, or both of its variants are, which overwrite each other.
    """
    if len(installed_versions(DISTRIBUTIONS["onnxruntime"])) > 1:
        raise EngineError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: "
            "pip uninstall both, then install the extra `cpu` or `gpu`, not both"
        )
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"onnxruntime cannot be imported ({error}): pip install 'export-ssl[cpu]'") from error
    return onnxruntime


def open_session(
    model: bytes | Path,
    *,
    fusion: Fusion,
    threads: int | None = None,
    spin: bool = True,
    memory_pattern: bool = True,
    profile: Path | None = None,
    weights: Mapping[str, npt.NDArray[np.generic]] | None = None,
    providers: Sequence[Any] = PROVIDERS["cpu"].chain,
) -> "onnxruntime.InferenceSession":
    """Return a session on a graph.

    Args:
        model: A file, or a serialised ONNX model.
        fusion: What may be fused; see `Fusion`.
        threads: Threads for one run; None leaves onnxruntime's choice, the physical cores.
        spin: Let idle threads spin between runs, which is fastest where nothing else needs the cores. False lets them
            sleep: for a process that runs other engines or decoders beside this one.
        memory_pattern: Plan one block of memory for all tensors of a run. False keeps them apart: less memory and
            time where many tensors are outputs and are large.
        profile: Start of a path, such as `FOLDER/profile`: kernels are recorded until `end_profiling`, which returns
            the file. None records nothing.
        weights: Constants that the graph says are external data, by name. onnxruntime (1.32) copies them once.
        providers: onnxruntime's names of execution providers in the order of preference, or pairs (name, options).

    Raises:
        EngineError: onnxruntime is not installed, or cannot load the graph.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    # Errors alone: a warning of onnxruntime's is about the graph's form, and comes with every session. Where a graph
    # cannot be loaded, profiling logs another error beside the one that is raised; on the CPU there is no other.
    quiet = profile is not None and list(providers) == list(PROVIDERS["cpu"].chain)
    options.log_severity_level = 4 if quiet else 3
    options.enable_mem_pattern = memory_pattern
    if fusion == "none":
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if fusion != "all":
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not spin:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    # A copy of an array that is not contiguous must live as long as the session does, too.
    arrays = {name: np.ascontiguousarray(array) for name, array in (weights or {}).items()}
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
    if arrays:
        options.add_external_initializers(list(arrays), values)
    try:
        session: onnxruntime.InferenceSession = ort.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=list(providers)
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        what = "the graph" if isinstance(model, bytes) else model
        raise EngineError(f"onnxruntime {ort.__version__} cannot load {what}: {reason}") from error
    if arrays:
        # onnxruntime reads them where they are and holds no reference: they go when the session does.
        weakref.finalize(session, arrays.clear).atexit = False
    return session


def read_profile(profile: Path) -> list[dict[str, Any]]:
    """Return the events of onnxruntime's profile.

    Raises:
        EngineError: The profile is absent or cut off: onnxruntime does not say when it could not write it.
    """
    try:
        events: list[dict[str, Any]] = parse_json(profile.read_bytes())
    except (OSError, ValueError) as error:
        raise EngineError(
            f"onnxruntime could not write which kernels ran, into {profile.parent}: free some space there, or set "
            "TMPDIR to another folder"
        ) from error
    return events


def find_strays(profile: Path, provider: str) -> str:
    """Return which part of the network ran in another provider, in words, by onnxruntime's profile of one run; or ''.

    What is not work (casts of the input, shapes) may run anywhere.

    Args:
        profile: The profile's file.
        provider: onnxruntime's name of the provider that was asked for.
    """
    ran: Counter[str] = Counter()
    for event in read_profile(profile):
        arguments = event.get("args", {})
        operator = arguments.get("op_name", "")
        if not event.get("name", "").endswith("_kernel_time"):
            continue
        if operator.startswith(_SUBGRAPHS) or any(work in operator for work in _WORK):
            ran[arguments.get("provider", "unknown")] += 1
    strays = {name: count for name, count in ran.items() if name != provider}
    if not ran:
        return "no layer was seen to run"
    return ", ".join(f"{count} of {ran.total()} layers ran in {name}" for name, count in strays.items())


def profiled_precision(profile: Path) -> str:
    """Return the type that most convolutions computed in, from onnxruntime's profile of one run.

    A kernel's type is its first input's: where onnxruntime has no FP16 kernel it casts to FP32, and drops
    most casts back to FP16 between two such kernels.
    """
    types: Counter[str] = Counter()
    for event in read_profile(profile):
        arguments = event.get("args", {})
        if "Conv" in arguments.get("op_name", "") and event.get("name", "").endswith("_kernel_time"):
            first = next(iter(arguments.get("input_type_shape", [{}])[0]), "unknown")
            types[compute_type(ONNXRUNTIME, first)] += 1
    if not types:
        return "unknown"
    return types.most_common(1)[0][0]
