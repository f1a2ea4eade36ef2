"""How often each piece of a job was started: a piece that kills every worker would otherwise be tried for ever."""

from collections import Counter
from typing import Any

from runtime.errors import EngineError

# A worker may die of its machine, a few times over.
ATTEMPTS = 5


class _Attempts:
    """Counts in a process of its own, since the workers do not outlive what is counted."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Return how often a piece was started, this time included."""
        self._begun[number] += 1
        return self._begun[number]


def count_attempts(ray: Any) -> Any:
    """Return a reference to a count for one job, which lives as long as the reference."""
    # It takes no CPU from the workers. If its node is lost, it starts again on another one.
    return ray.remote(_Attempts).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()


def note_attempt(attempts: Any, number: int, images: str) -> None:
    """Note that a worker begins a piece.

    Args:
        attempts: `count_attempts`'s.
        number: The piece's.
        images: Which images it has, in words.

    Raises:
        EngineError: The piece has killed so many workers that it would kill the next one too.
    """
    import ray

    refuse_after_attempts(ray.get(attempts.begin.remote(number)), images)


def refuse_after_attempts(begun: int, images: str) -> None:
    """Refuse a piece that has been started too often, wherever that is counted.

    Args:
        begun: How often it was started, this time included.
        images: Which images it has, in words.

    Raises:
        EngineError: More than `ATTEMPTS` times: workers died of it, and another one would too.
    """
    if begun > ATTEMPTS:
        raise EngineError(
            f"{ATTEMPTS} workers died at the images {images}: expected images that crash no decoder, and enough "
            "memory for a worker; run these images without --ray to see why"
        )
