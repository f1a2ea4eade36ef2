"""Which of Triton's backends serves a bundle, where, and in which batches; what gives wrong answers is refused.

Read in Triton's sources, June to August 2026:

- onnxruntime (onnxruntime_backend src/onnxruntime.cc at 00fd3e8) sets one session configuration entry,
  `session.use_device_allocator_for_initializers`, and no other. An int8-fp16 graph needs
  `session.disable_quant_qdq` on a CPU (`runtime/engines/ort_session.py`), so there it cannot be served.
- openvino (openvino_backend src/openvino.cc at db19304) takes KIND_CPU only. With a `max_batch_size` it fixes the
  network's batch to that size and fills every smaller batch up with zeros, at the full batch's cost; what it
  filled up last is not reset for a batch that is full. With 0 a request keeps its own batch, so 0 is written, and
  instances share one network's streams instead. It cannot be told to compute in FP32.
- tensorrt (tensorrt_backend src/tensorrt_utils.cc at e2ef6d7) takes uint8 inputs.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import MODEL_FILE, PLAN_FILE, SIDECAR_FILE
from runtime.bundle.manifest import Manifest
from runtime.bundle.plan_json import Sidecar, read_sidecar, rebuild_command
from runtime.errors import BundleError, UsageError
from runtime.serving.model_config import Kind
from runtime.serving.openvino_ir import BIN, XML, write_ir
from runtime.serving.request import Backend, BackendWish, DeviceWish
from runtime.support.files import hash_file


@dataclass(frozen=True)
class TritonBackend:
    """One of Triton's backends, and all that sets it apart from the others.

    Attributes:
        name: What Triton calls it.
        files: The names that it looks for in a version's folder without `default_model_filename`.
            Source: core src/constants.h at 73aad7c.
        write: Puts those files of a bundle into a folder.
        kinds: Where instances run, for each device that it has a choice of.
        check: Refuses what it cannot run on a device, and returns what its plan was built for, if it is one.
        model_server: Whether OpenVINO Model Server reads its files too.
        no_batches: Why Triton is to make no batches for it; empty where it makes them.
        parameters: What it reads from the configuration, for a number of instances.
        notes: What has to be known, for the kind of its instances and what an INT8 graph was made for.
    """

    name: Backend
    files: tuple[str, ...]
    write: Callable[[Bundle, Path], object]
    kinds: Mapping[DeviceWish, Kind]
    check: Callable[[Bundle, DeviceWish], Sidecar | None]
    model_server: bool = True
    no_batches: str = ""
    parameters: Callable[[int], tuple[tuple[str, str], ...]] = lambda _instances: ()
    notes: Callable[[Kind, str | None], tuple[str, ...]] = lambda _kind, _int8_target: ()


@dataclass(frozen=True)
class Served:
    """What serves a bundle.

    Attributes:
        backend: Triton's backend.
        plan: What the plan was built for; None for the backends that run none.
        fixed_batch: How many images every run of the graph takes; None for any number.
    """

    backend: TritonBackend
    plan: Sidecar | None
    fixed_batch: int | None = None

    @property
    def no_batches(self) -> str:
        """Why Triton is to make no batches, and what else can be done; empty where it makes them.

        Triton's batches are of any size, and its backends refuse a network whose first dimension is not.
        Source: CompareDimsSupported in onnxruntime_backend src/onnxruntime_utils.cc.
        """
        if self.fixed_batch is not None:
            return f"the batch of the graph is fixed at {self.fixed_batch}"
        return self.backend.no_batches


def choose_backend(bundle: Bundle, backend: BackendWish, device: DeviceWish) -> Served:
    """Return what serves a bundle: as asked, or of what is there the fastest that gives right answers.

    `auto` takes the plan if there is one and the device allows it, then onnxruntime: of the two that need no plan it
    alone makes batches at their own cost and computes in the graph's precision. Where it is wrong, openvino.

    Raises:
        BundleError: The plan is missing, damaged, or of another graph.
        UsageError: The backend cannot run this bundle on that device.
    """
    chosen = BACKENDS[_best(bundle, device) if backend == "auto" else backend]
    return Served(chosen, chosen.check(bundle, device), bundle.manifest.fixed_batch)


def _best(bundle: Bundle, device: DeviceWish) -> Backend:
    if device != "cpu" and (bundle.path / PLAN_FILE).is_file():
        return "tensorrt"
    if device != "gpu" and bundle.manifest.precision.needs_unfused_qdq:
        return "openvino"
    return "onnxruntime"


def _copying(name: str) -> Callable[[Bundle, Path], object]:
    """Return what copies one of a bundle's files.

    It is copied without its times: a server that polls sees by the time that a replaced version is another.
    """
    return lambda bundle, folder: shutil.copyfile(bundle.path / name, folder / name)


def _check_for_tensorrt(bundle: Bundle, device: DeviceWish) -> Sidecar:
    if device == "cpu":
        raise UsageError("--backend tensorrt runs on a GPU, --device is cpu: pass --backend onnxruntime, or no device")
    return _checked_plan(bundle)


def _check_for_onnxruntime(bundle: Bundle, device: DeviceWish) -> None:
    if device != "gpu" and bundle.manifest.precision.needs_unfused_qdq:
        raise UsageError(
            "an int8-fp16 graph gives wrong answers in onnxruntime on a CPU, and Triton cannot pass the setting that "
            "prevents it: pass --device gpu, or --backend openvino"
        )


def _check_for_openvino(_bundle: Bundle, device: DeviceWish) -> None:
    if device == "gpu":
        raise UsageError(
            "--backend openvino runs on CPUs in Triton, --device is gpu: pass --backend onnxruntime, or tensorrt"
        )


def _checked_plan(bundle: Bundle) -> Sidecar:
    """Return what stands beside a plan, which is whole, of this graph, and takes single pictures."""
    file = bundle.path / PLAN_FILE
    _refuse_unsigned(bundle.manifest)
    if not file.is_file():
        raise BundleError(
            f"{file} does not exist: build it on the machine that serves it with `run-ssl build {bundle.path}`"
        )
    plan = read_sidecar(bundle.path)
    if hash_file(file) != plan.plan_sha256:
        raise BundleError(f"{file} is not the plan that {SIDECAR_FILE} describes: {rebuild_command(bundle.path)}")
    if hash_file(bundle.model_path) != plan.onnx_sha256:
        raise BundleError(f"{file} was built from another model.onnx: {rebuild_command(bundle.path)}")
    profile = plan.options.profile
    if profile.min > 1 and bundle.manifest.fixed_batch is None:
        raise BundleError(
            f"{file} takes batches of {profile} only, but Triton sends single images too: "
            f"`run-ssl build {bundle.path} --profile 1:{profile.opt}:{profile.max}`"
        )
    return plan


def _refuse_unsigned(manifest: Manifest) -> None:
    int8 = manifest.precision.int8
    if int8 is not None and int8.target == "cpu":
        raise BundleError(
            "this INT8 graph was exported with --int8-target cpu, which TensorRT refuses: pass --backend "
            "onnxruntime or openvino, or export with --int8-target tensorrt"
        )


def _onnxruntime_notes(kind: Kind, int8_target: str | None) -> tuple[str, ...]:
    notes = []
    if kind == "KIND_AUTO":
        notes.append("Triton uses the GPU if its container sees one")
    if kind != "KIND_GPU" and int8_target in ("tensorrt", "rtx"):
        notes.append(
            "this INT8 graph has signed activations, and onnxruntime on a CPU computes it in FP32: for CPUs, export "
            "with --int8-target cpu"
        )
    return tuple(notes)


def _openvino_parameters(instances: int) -> tuple[tuple[str, str], ...]:
    """Return one stream per instance, which is one request at a time.

    Source: openvino_backend README, latency and throughput mode, at db19304.
    """
    return (("NUM_STREAMS", str(instances)), ("PERFORMANCE_HINT", "LATENCY" if instances == 1 else "THROUGHPUT"))


_ROWS = (
    TritonBackend(
        name="tensorrt",
        files=(PLAN_FILE,),
        write=_copying(PLAN_FILE),
        kinds={"auto": "KIND_GPU", "gpu": "KIND_GPU"},
        check=_check_for_tensorrt,
        model_server=False,
    ),
    TritonBackend(
        name="onnxruntime",
        files=(MODEL_FILE,),
        write=_copying(MODEL_FILE),
        kinds={"auto": "KIND_AUTO", "cpu": "KIND_CPU", "gpu": "KIND_GPU"},
        check=_check_for_onnxruntime,
        notes=_onnxruntime_notes,
    ),
    TritonBackend(
        name="openvino",
        files=(XML, BIN),
        write=write_ir,
        kinds={"auto": "KIND_CPU", "cpu": "KIND_CPU"},
        check=_check_for_openvino,
        no_batches="Triton's OpenVINO backend fills every batch up to the largest",
        parameters=_openvino_parameters,
        notes=lambda _kind, _int8_target: (
            "a request has the batch dimension itself: Triton's OpenVINO backend fills batches up to the largest",
            "that backend cannot be set to compute in FP32: on a CPU with AMX or AVX512-BF16 it computes in bf16, "
            "where --backend onnxruntime does not",
        ),
    ),
)
BACKENDS: Mapping[Backend, TritonBackend] = {row.name: row for row in _ROWS}
