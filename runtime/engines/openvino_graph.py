"""What the rewritings of OpenVINO's graphs share."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Bounds(NamedTuple):
    """The values of a FakeQuantize's lowest and highest integer, and these integers."""

    low: float
    high: float
    lowest: float
    highest: float


def bounds_of(node: Any) -> Bounds | None:
    """Return the bounds of a FakeQuantize; None where they are not constants for the whole tensor."""
    values = [node.input_value(index).get_node() for index in range(1, 5)]
    if any(value.get_type_name() != "Constant" or value.get_data().size != 1 for value in values):
        return None
    return Bounds(*(float(value.get_data().item()) for value in values))


def readers_of(output: Any) -> list[Any]:
    """Return the inputs that read an output of a node of an `openvino.Model`."""
    return list(output.get_target_inputs())


def move_readers(readers: Sequence[Any], output: Any) -> None:
    """Let inputs of nodes read another output.

    Args:
        readers: Result of `readers_of`.
        output: The output of a node that they read from now on.
    """
    for reader in readers:
        reader.replace_source_output(output)
