"""What a job asks of Ray, and requests as another process, in another folder, reads them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import UsageError
from runtime.on_ray.connect import is_local
from runtime.support.words import counted


@dataclass(frozen=True)
class RayChoice:
    """Where and on what a job runs.

    Attributes:
        address: Address of a cluster; None for RAY_ADDRESS, or else for this machine alone.
        workers: Fixed number of workers; None lets Ray add and remove workers as the cluster allows.
        cpus: Number of CPUs for each worker: its decoding threads, and threads of a CPU engine.
        gpus: Number of GPUs for each worker; more than 0 runs the engine on a GPU.
    """

    address: str | None = None
    workers: int | None = None
    cpus: int = 2
    gpus: float = 0.0


def check_resources(ray: Any, choice: RayChoice) -> None:
    """Refuse a worker that this machine cannot hold; a cluster may grow.

    Raises:
        UsageError: The worker is larger than this machine.
    """
    if not is_local(choice.address):
        return
    here = ray.cluster_resources()
    if here.get("CPU", 0) < choice.cpus or here.get("GPU", 0) < choice.gpus:
        raise UsageError(
            f"a worker needs {amount(choice)}, but this machine has {here.get('CPU', 0):g} CPUs and "
            f"{here.get('GPU', 0):g} GPUs: pass fewer as --ray-cpus or --ray-gpus, or a cluster as --ray-address"
        )


def amount(choice: RayChoice) -> str:
    """Return what a worker takes, in words."""
    cpus = counted(choice.cpus, "CPU")
    return f"{cpus} and {choice.gpus:g} GPUs" if choice.gpus else cpus


def absolute(path: Path | None) -> Path | None:
    """Return a path as a process in another folder reads it."""
    return None if path is None else path.absolute()
