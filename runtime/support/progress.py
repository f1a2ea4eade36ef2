"""What long work tells whoever started it."""

from collections.abc import Callable
from dataclasses import dataclass


def _ignore_stage(_name: str, _steps: int | None) -> None:
    return


def _ignore_steps(_steps: int) -> None:
    return


@dataclass(frozen=True)
class Listener:
    """Receiver of progress; by default it does nothing.

    Attributes:
        on_stage: Called with a stage's name, and how many steps it has, or None where that is unknown.
        on_steps: Called with the number of steps done since the last call.
    """

    on_stage: Callable[[str, int | None], None] = _ignore_stage
    on_steps: Callable[[int], None] = _ignore_steps
