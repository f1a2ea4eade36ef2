"""The inputs and outputs of a bundle's graph, held against its manifest when an engine opens it.

A hash says that the graph is the one that the manifest lists, and not that it is the one that the manifest describes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from runtime.bundle.bundle import Bundle
from runtime.bundle.manifest import TensorSpec
from runtime.errors import BundleError


class GraphTensor(NamedTuple):
    """An input or output as an engine finds it in a graph.

    Attributes:
        name: Name in the graph.
        dtype: `uint8` or `float32`, or the engine's own name of another type.
        shape: Dimensions, None for one that is not fixed; None where even their number is not.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


def check_tensors(bundle: Bundle, inputs: Sequence[GraphTensor], outputs: Sequence[GraphTensor]) -> None:
    """Refuse a graph that does not take or give what the manifest says.

    Args:
        bundle: An opened bundle.
        inputs: All inputs of the graph.
        outputs: All outputs of the graph; those that the manifest does not name do no harm.

    Raises:
        BundleError: A tensor is missing, is one too many, or has another type or shape.
    """
    manifest = bundle.manifest
    found = {tensor.name: tensor for tensor in (*inputs, *outputs)}
    wanted = (manifest.input, *manifest.outputs)
    missing = [spec.name for spec in wanted if spec.name not in found]
    if missing or [tensor.name for tensor in inputs] != [manifest.input.name]:
        raise BundleError(
            f"{bundle.model_path} takes {_names(inputs)} and gives {_names(outputs)}, the manifest says "
            f"{manifest.input.name} and {', '.join(spec.name for spec in manifest.outputs)}: export the bundle again"
        )
    for spec in wanted:
        tensor = found[spec.name]
        if tensor.dtype != spec.dtype or not _shape_fits(tensor.shape, spec):
            raise BundleError(
                f"{bundle.model_path} has {spec.name} as {tensor.dtype} {_shape(tensor)}, the manifest says "
                f"{spec.dtype} ({', '.join(map(str, spec.shape))}): export the bundle again"
            )


def _names(tensors: Sequence[GraphTensor]) -> str:
    return ", ".join(tensor.name for tensor in tensors) or "nothing"


def _shape(tensor: GraphTensor) -> str:
    if tensor.shape is None:
        return "of any shape"
    return f"({', '.join('any' if size is None else str(size) for size in tensor.shape)})"


def _shape_fits(found: tuple[int | None, ...] | None, spec: TensorSpec) -> bool:
    """Return whether a graph's shape can be the manifest's: what the graph leaves open shows when it runs."""
    if found is None:
        return True
    if len(found) != len(spec.shape) or (found[0] is not None and found[0] != spec.fixed_batch):
        return False
    return all(size is None or size == stated for size, stated in zip(found[1:], spec.shape[1:], strict=True))
