"""PyTorch to ONNX: one graph with a dynamic batch, fixed names, and nothing of this machine in it.

What comes out:

1. Input `pixels` (batch, H, W, C) uint8, or `input` (batch, C, H, W) float32; outputs `logits`
   (batch, classes), where there is a classifier, and `embedding` (batch, embedding_dim), float32. Only the batch is
   dynamic.
2. Opset 20 and IR version 9: what TensorRT 10.3's parser (built on ONNX 1.16) and onnxruntime 1.17
   and newer read. FP16 scales of a later QuantizeLinear need opset 19.
3. Nodes and tensors are named after timm's modules: `layer1.0.conv1`, not `node_conv2d_1`. The names
   survive into layers.json, into an engine's layer profile, and into error messages.
4. No stack traces, file paths or doc strings: `torch.onnx.export` writes one per node.
5. BatchNorm is still in the graph: `exporter/passes/fold_batchnorm.py` folds it, in float64.
"""

import ast
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx_ir.passes import common as common_passes

from runtime.bundle.manifest import output_names, sides
from runtime.errors import GraphError
from runtime.original.network import InputKind

if TYPE_CHECKING:
    import torch

OPSET = 20
IR_VERSION = 9

INPUT_NAMES: dict[InputKind, str] = {"uint8": "pixels", "float32": "input"}

# The wrapper (`runtime.original.network`) holds timm's network under this attribute.
_NETWORK_PREFIX = "network."
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
# PyTorch colours its messages.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def trace_network(
    module: "torch.nn.Module",
    *,
    image_size: int | tuple[int, int],
    input_kind: InputKind,
    channels: int = 3,
    outputs: Sequence[str] = output_names(1),
) -> ir.Model:
    """Return the ONNX graph of a wrapped network, not yet simplified.

    Args:
        module: `runtime.original.network.wrap`'s module, in eval mode.
        image_size: Height and width of the input, pixels; one number where they are equal.
        input_kind: What the module takes.
        channels: Channels of the images.
        outputs: Names of what it returns, in that order.

    Raises:
        GraphError: PyTorch cannot trace the network.
    """
    height, width = sides(image_size)
    # Two images, because torch.export treats a batch of one as a constant.
    shape = (2, height, width, channels) if input_kind == "uint8" else (2, channels, height, width)
    program = _export(module, shape, input_kind=input_kind, outputs=outputs)
    model = _fold_constants(program)
    model.ir_version = IR_VERSION
    _rename(model)
    common_passes.ClearMetadataAndDocStringPass()(model)
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    for node in model.graph:
        for value in node.outputs:
            value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.graph.name = "resnet"
    return model


def _export(
    module: "torch.nn.Module", shape: tuple[int, ...], *, input_kind: InputKind, outputs: Sequence[str]
) -> ir.Model:
    import torch

    example = torch.zeros(shape, dtype=torch.uint8 if input_kind == "uint8" else torch.float32)
    with _silent_torch(), warnings.catch_warnings():
        # PyTorch's exporter warns about its own deprecated internals; a user can do nothing about it.
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT_NAMES[input_kind]],
                output_names=outputs,
                dynamic_shapes=({0: "batch"},),
                external_data=False,
                optimize=False,
                verbose=False,
            )
        except (torch.onnx.OnnxExporterError, RuntimeError) as error:
            # The exporter's own message is a page of advice; what stopped it is the cause.
            reason = _COLOUR.sub("", str(error.__cause__ or error)).strip().splitlines()[0]
            raise GraphError(f"PyTorch cannot trace this network: {reason}") from error
    assert program is not None
    model: ir.Model = program.model
    return model


@contextmanager
def _silent_torch() -> Iterator[None]:
    """Let PyTorch log nothing: it logs errors, with their stack, that it also raises, or passes over.

    Ctrl-C among its C++ code is such an error, a TypeError of its own.
    """
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _fold_constants(model: ir.Model) -> ir.Model:
    """Inline PyTorch's operator functions and evaluate what does not depend on the image."""
    from onnxscript import optimizer

    optimizer.inline(model)
    optimizer.fold_constants(model)
    optimizer.remove_unused_nodes(model)
    common_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common_passes.RemoveUnusedNodesPass()(model)
    if model.functions:
        raise GraphError(f"the trace kept the functions {sorted(str(key) for key in model.functions)}: expected none")
    return model


def _rename(model: ir.Model) -> None:
    """Name nodes, their outputs and their constants after timm's modules."""
    taken: Counter[str] = Counter()
    kept = {id(value) for value in (*model.graph.inputs, *model.graph.outputs)}
    for node in model.graph:
        base = _module_name(node)
        taken[base] += 1
        node.name = base if taken[base] == 1 else f"{base}.{taken[base] - 1}"
        for index, value in enumerate(node.outputs):
            if id(value) not in kept:
                value.name = node.name if index == 0 else f"{node.name}.output{index}"
    for value in list(model.graph.initializers.values()):
        value.name = _initializer_name(value)


def _module_name(node: ir.Node) -> str:
    """Return timm's module for a node, or where it is called and its operator for a bare function."""
    scopes = ast.literal_eval(node.metadata_props.get(_SCOPES_KEY, "[]"))
    modules = [scope for scope in scopes[:-1] if scope]
    path = str(modules[-1]).removeprefix(_NETWORK_PREFIX) if modules else ""
    own_module = node.op_type in {"Conv", "Gemm", "MatMul", "BatchNormalization", "Relu", "MaxPool"}
    if path and own_module and path != _NETWORK_PREFIX.rstrip("."):
        return path
    return ".".join(part for part in (path, node.op_type.lower()) if part)


def _initializer_name(value: ir.Value) -> str:
    name = (value.name or "").removeprefix(_NETWORK_PREFIX)
    users = list(value.uses())
    if name.startswith("val_") and users:
        # A constant that PyTorch's exporter made: name it after its user and its place there.
        use = users[0]
        return f"{use.node.name}.constant{use.idx}"
    return name
