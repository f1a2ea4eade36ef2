"""What the rewritings of OpenVINO's graphs share."""

from collections.abc import Sequence
from typing import Any


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
