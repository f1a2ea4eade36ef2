"""Where a plan leaves its precision: layers that compute in FP32, INT8 convolutions that read or write floats."""

from collections import defaultdict

from runtime.bundle.plan_json import Datatype
from runtime.plans.inspector import (
    GENERATED,
    IDLE,
    EngineLayer,
    LayerInformation,
    compute_type,
    is_convolution,
    is_quantisation,
    is_reformat,
)

_WIDE: frozenset[Datatype] = frozenset({"fp32", "fp16", "bf16"})


def convolutions(information: LayerInformation) -> frozenset[str]:
    """Return the names of the layers whose type says convolution or matrix product."""
    return frozenset(layer.name for layer in information.layers if is_convolution(layer))


def fp32_islands(information: LayerInformation, convolving: frozenset[str]) -> tuple[EngineLayer, ...]:
    """Return the layers that compute in FP32 between the first convolution and the network's outputs.

    What copies, quantises or reshapes is none; nor is the normalisation of the input, nor what only makes
    the network's outputs, which bundles promise in FP32.

    Args:
        information: All layers of the plan.
        convolving: Names of the layers with a convolution or matrix product; they count wherever they are.
    """
    spared = (before_first(information, convolving) | _only_outputs(information, convolving)) - convolving
    return tuple(layer for layer in information.layers if layer.name not in spared and _computes_in_fp32(layer))


def int8_crossings(information: LayerInformation, convolving: frozenset[str]) -> tuple[EngineLayer, ...]:
    """Return the INT8 convolutions that read or write floats, other than the network's outputs."""
    spared = information.io | _output_tensors(information, _only_outputs(information, convolving))
    return tuple(
        layer
        for layer in information.layers
        if layer.name in convolving
        and compute_type(layer) == "int8"
        and any(tensor.datatype in _WIDE and tensor.name not in spared for tensor in (*layer.inputs, *layer.outputs))
    )


def residual_crossings(crossings: tuple[EngineLayer, ...]) -> tuple[EngineLayer, ...]:
    """Return those of `crossings` that read a residual in floats, or write what another adds as its residual."""
    added = {
        tensor.name
        for layer in crossings
        for tensor in layer.inputs[1:]
        if tensor.datatype in _WIDE
    }  # fmt: skip
    return tuple(layer for layer in crossings if added & {tensor.name for tensor in (*layer.inputs, *layer.outputs)})


def _computes_in_fp32(layer: EngineLayer) -> bool:
    moves = layer.kind in IDLE or layer.kind == "Shuffle" or is_reformat(layer) or is_quantisation(layer)
    # What Myelin generates, but for a convolution in it, computes in the widest type that it reads.
    widens = layer.kind in GENERATED and not is_convolution(layer)
    reads = {tensor.datatype for tensor in layer.inputs} if widens else {compute_type(layer)}
    return not moves and "fp32" in reads


def before_first(information: LayerInformation, convolving: frozenset[str]) -> frozenset[str]:
    """Return the names of the layers from which the first convolution's input comes."""
    producers = {tensor.name: layer for layer in information.layers for tensor in layer.outputs}
    first = next((layer for layer in information.layers if layer.name in convolving), None)
    pending = [first] if first else []
    found: set[str] = set()
    while pending:
        made = (producers.get(tensor.name) for tensor in pending.pop().inputs)
        new = [layer for layer in made if layer is not None and layer.name not in found]
        found.update(layer.name for layer in new)
        pending += new
    return frozenset(found)


def _only_outputs(information: LayerInformation, convolving: frozenset[str]) -> frozenset[str]:
    """Return the names of the layers from which no path leads to a convolution."""
    readers = defaultdict(set)
    for layer in information.layers:
        for tensor in layer.inputs:
            readers[tensor.name].add(layer.name)
    found: set[str] = set()
    for layer in reversed(information.layers):
        behind = {reader for tensor in layer.outputs for reader in readers[tensor.name]}
        if behind <= found - convolving:
            found.add(layer.name)
    return frozenset(found)


def _output_tensors(information: LayerInformation, only_outputs: frozenset[str]) -> frozenset[str]:
    """Return the names of the tensors that only layers of `only_outputs` make and read."""
    read_by_others = {
        tensor.name for layer in information.layers if layer.name not in only_outputs for tensor in layer.inputs
    }
    return frozenset(
        tensor.name
        for layer in information.layers
        if layer.name in only_outputs
        for tensor in (*layer.inputs, *layer.outputs)
        if tensor.name not in read_by_others
    )
