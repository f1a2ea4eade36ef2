"""One layer of an engine as the engine's own profile has it, before it is matched to the bundle's nodes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counted:
    """One layer of an engine as its profile has it.

    Attributes:
        name: The engine's name of it.
        made_of: Names of what was fused into it.
        operator: The engine's layer type.
        precision: What it computes in.
        times_ms: One per run.
        activation_bytes: Bytes of the tensors that it reads and writes, constants left out.
        constant_bytes: Bytes of the constants that it reads, as far as the profile tells.
    """

    name: str
    made_of: tuple[str, ...]
    operator: str
    precision: str
    times_ms: tuple[float, ...]
    activation_bytes: int
    constant_bytes: int
