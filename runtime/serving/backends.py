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

from dataclasses import dataclass

from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import PLAN_FILE
from runtime.bundle.manifest import Manifest
from runtime.bundle.plan_json import Sidecar, read_sidecar, rebuild_command
from runtime.errors import BundleError, UsageError
from runtime.serving.request import Backend, BackendWish, DeviceWish
from runtime.support.files import hash_file

# The name that each backend looks for without `default_model_filename`. Source: core src/constants.h at 73aad7c.
MODEL_FILES: dict[Backend, tuple[str, ...]] = {
    "tensorrt": ("model.plan",),
    "onnxruntime": ("model.onnx",),
    "openvino": ("model.xml", "model.bin"),
}


@dataclass(frozen=True)
class Served:
    """What serves a bundle.

    Attributes:
        backend: Triton's backend.
        plan: What the plan was built for; None for the other backends.
    """

    backend: Backend
    plan: Sidecar | None


def choose_backend(bundle: Bundle, backend: BackendWish, device: DeviceWish) -> Served:
    """Return what serves a bundle: as asked, or of what is there the fastest that gives right answers.

    `auto` takes the plan if there is one and the device allows it, then onnxruntime: of the two that need no plan it
    alone makes batches at their own cost and computes in the graph's precision. Where it is wrong, openvino.

    Raises:
        BundleError: The plan is missing, damaged, or of another graph.
        UsageError: The backend cannot run this bundle on that device.
    """
    if backend == "auto":
        backend = _best(bundle, device)
    if backend == "tensorrt":
        if device == "cpu":
            raise UsageError(
                "--backend tensorrt runs on a GPU, --device is cpu: pass --backend onnxruntime, or no device"
            )
        return Served("tensorrt", _checked_plan(bundle))
    if backend == "openvino" and device == "gpu":
        raise UsageError(
            "--backend openvino runs on CPUs in Triton, --device is gpu: pass --backend onnxruntime, or tensorrt"
        )
    if backend == "onnxruntime" and device != "gpu" and bundle.manifest.precision.needs_unfused_qdq:
        raise UsageError(
            "an int8-fp16 graph gives wrong answers in onnxruntime on a CPU, and Triton cannot pass the setting that "
            "prevents it: pass --device gpu, or --backend openvino"
        )
    return Served(backend, None)


def _best(bundle: Bundle, device: DeviceWish) -> Backend:
    if device != "cpu" and (bundle.path / PLAN_FILE).is_file():
        return "tensorrt"
    if device != "gpu" and bundle.manifest.precision.needs_unfused_qdq:
        return "openvino"
    return "onnxruntime"


def _checked_plan(bundle: Bundle) -> Sidecar:
    """Return what stands beside a plan, which is whole, of this graph, and takes single pictures."""
    file = bundle.path / PLAN_FILE
    _refuse_unsigned(bundle.manifest)
    if not file.is_file():
        raise BundleError(
            f"{file} is not there: build it on the machine that serves it with `run-ssl build {bundle.path}`"
        )
    plan = read_sidecar(bundle.path)
    if hash_file(file) != plan.plan_sha256:
        raise BundleError(f"{file} is not the plan that its description is of: {rebuild_command(bundle.path)}")
    if hash_file(bundle.model_path) != plan.onnx_sha256:
        raise BundleError(f"{file} was built from another model.onnx: {rebuild_command(bundle.path)}")
    profile = plan.options.profile
    if profile.min > 1:
        raise BundleError(
            f"{file} takes batches of {profile} only, and Triton sends single pictures too: "
            f"`run-ssl build {bundle.path} --profile 1:{profile.opt}:{profile.max}`"
        )
    return plan


def _refuse_unsigned(manifest: Manifest) -> None:
    int8 = manifest.precision.int8
    if int8 is not None and int8.target == "cpu":
        raise BundleError(
            "this INT8 graph was exported with --int8-target cpu, which TensorRT does not take: "
            "pass --backend onnxruntime or openvino, or export with --int8-target tensorrt"
        )
