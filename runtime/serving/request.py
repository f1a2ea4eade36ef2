"""What `run-ssl repo` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.serving.model_config import Keep

Backend = Literal["tensorrt", "onnxruntime", "openvino"]
BackendWish = Literal["auto", Backend]
DeviceWish = Literal["auto", "cpu", "gpu"]


@dataclass(frozen=True)
class RepositoryRequest:
    """A bundle and where it is to be served from; None is what the model there has, or else the default.

    Attributes:
        bundle: The bundle's directory.
        repository: The repository's directory, new or existing.
        name: The model's name there; None for the bundle's.
        version: Version number; None for the one after the highest.
        backend: What runs it.
        device: Device that runs the model.
        max_batch: Largest batch that Triton makes.
        instances: Instances of the model, per device.
        max_queue_delay_us: How long a request may wait for others, microseconds.
        preferred_batch: Batches that are sent without waiting.
        keep: Whether Triton serves the latest version, or all.
        overwrite: Whether an existing version may be replaced.
    """

    bundle: Path
    repository: Path
    name: str | None = None
    version: int | None = None
    backend: BackendWish = "auto"
    device: DeviceWish = "auto"
    max_batch: int | None = None
    instances: int | None = None
    max_queue_delay_us: int | None = None
    preferred_batch: tuple[int, ...] | None = None
    keep: Keep | None = None
    overwrite: bool = False
