"""Decide which tensors get a Q/DQ pair: where TensorRT fuses best, which every other engine takes too.

Rules:

1. The data input of every convolution. The pair stands on the tensor that the convolution reads, after
   ReLU and after a max pool: TensorRT commutes a pool with its Q/DQ, and a pool that others read as an
   identity needs the pair there anyway.
2. Of a residual Add, one side only, so that convolution, Add and ReLU become one INT8 kernel that reads that side
   in INT8: the skip side. An identity shares the pair of its block's input, and the main branch stays float. Where both
   sides are convolutions that nothing else reads, as in a downsample block, either can have the pair, and the Add goes
   into the kernel of the other. Then `main_sides` says for which Adds it is the main branch: whichever side has the
   smaller range (`calibration/search/sides.py`).
3. The input of the global average pool, which does not commute with Q/DQ.
4. One pair per tensor, shared by all that read it.
5. The classifier stays float, whatever the batch: it is less than 0.1 % of the multiply-accumulates and
   in INT8 costs accuracy. With `classifier` its input gets a pair too.
6. A layer in `keep_float` reads the unquantised tensor. A skip side keeps its pair while a quantised
   convolution reads the same tensor or writes the Add's main branch, and the global pool's input while one
   of the nearest convolutions before it is quantised; without, a pair would only cost.
7. `cpu` stores all as UINT8, with the zero point 0 where a tensor cannot be negative and 128 elsewhere, or less where a
   ReLU hides what lies far below zero (`calibration/qdq/zero_points.py`). `tensorrt` and `rtx` store all as INT8, since
   TensorRT takes no other, and shift what cannot be negative where they can (`calibration/qdq/shift.py`). One type for
   all matters, because onnxruntime on ARM runs a convolution in integers only where its input and its output have the
   same one. `cpu` also quantises the main branch of an Add: onnxruntime has no kernel of convolution and Add, and
   without that pair runs the convolution in FP32: INT8 is then 1.5 times as slow as FP32.
8. Convolutions over channels, (N, 1, C), as efficient channel attention (ECA) has one a block, stay float: a few
   multiply-accumulates, and no engine's INT8 kernel.

Source: NVIDIA TensorRT Developer Guide, "Explicit Quantization", Q/DQ placement recommendations. On an A100
rule 1 alone is no faster than FP16; with rules 2 and 3 it takes 0.58 of FP16's time (docs/explanation/decisions.md).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from calibration.graph.structure import (
    ResidualAdd,
    constant,
    is_global_pool,
    layers,
    nonnegative_tensors,
    own_convolution,
    residual_adds,
)
from calibration.qdq.shift import shiftable
from runtime.errors import GraphError
from runtime.support.engine_names import Int8Target


@dataclass(frozen=True)
class QuantizedTensor:
    """A tensor with a Q/DQ pair.

    Attributes:
        name: The tensor.
        uses: Node name and input index of everything that reads it quantised, in graph order.
        unsigned: Whether all levels stand for zero and above; it cannot be negative. `cpu` stores it as UINT8, the
            other targets shift it (`calibration/qdq/shift.py`).
    """

    name: str
    uses: tuple[tuple[str, int], ...]
    unsigned: bool


@dataclass(frozen=True)
class Placement:
    """Where Q/DQ go.

    Attributes:
        activations: Tensors with a pair, in graph order.
        weights: Names of the layers whose weights are INT8, in graph order.
        target: What the graph is for.
        classifier: Whether the classifier is quantised.
        main_sides: Names of the Adds whose main branch has the pair that the skip side has elsewhere; rule 2.
    """

    activations: tuple[QuantizedTensor, ...]
    weights: tuple[str, ...]
    target: Int8Target
    classifier: bool
    main_sides: frozenset[str] = frozenset()


@dataclass(frozen=True)
class EitherSide:
    """An Add of which either side can have the pair; rule 2.

    Attributes:
        add: Name of the Add.
        skip: The tensor on its skip side.
        main: The tensor on its main branch.
    """

    add: str
    skip: str
    main: str


def place(
    model: ir.Model,
    *,
    target: Int8Target = "tensorrt",
    classifier: bool = False,
    keep_float: Iterable[str] = (),
    main_sides: Iterable[str] = (),
) -> Placement:
    """Return where Q/DQ go.

    Args:
        model: A graph that `calibration.graph.checks.prepare` has checked.
        target: What it is for; rule 7.
        classifier: Whether Gemm and MatMul are quantised; rule 5.
        keep_float: Names of layers that stay float; rule 6.
        main_sides: Names of Adds whose main branch has the pair; rule 2.

    Raises:
        GraphError: `keep_float` names a layer that the graph does not have.
    """
    floats = frozenset(keep_float)
    candidates = [node for node in layers(model) if _over_images(node) or (classifier and node.op_type != "Conv")]
    unknown = sorted(floats - {node.name for node in layers(model)})
    if unknown:
        raise GraphError(f"the graph has no layer {unknown[0]}: expected names such as {candidates[0].name}")
    quantized = {node for node in candidates if node.name not in floats}
    uses: dict[ir.Value, list[tuple[str, int]]] = {}

    def use(node: ir.Node, index: int) -> None:
        value = node.inputs[index]
        assert value is not None
        uses.setdefault(value, []).append((node.name or "", index))

    mains = frozenset(main_sides)
    adds = {add.node: ResidualAdd(add.node, 1 - add.skip) if add.node in mains else add for add in residual_adds(model)}
    for node in model.graph:
        if node in quantized:
            use(node, 0)
        elif node.op_type == "Add" and node.name in adds and _skip_pays(node, adds[node.name], quantized):
            use(node, adds[node.name].skip)
            if target == "cpu" and _producer(node.inputs[1 - adds[node.name].skip]) in quantized:
                use(node, 1 - adds[node.name].skip)
        elif is_global_pool(node) and _reads_quantized(node, quantized):
            use(node, 0)
    unsigned = nonnegative_tensors(model) if target == "cpu" else _shiftable(model, uses)
    order = _positions(model)
    return Placement(
        activations=tuple(
            QuantizedTensor(value.name or "", tuple(found), value.name in unsigned)
            for value, found in sorted(uses.items(), key=lambda item: order[item[0]])
        ),
        weights=tuple(node.name or "" for node in candidates if node in quantized),
        target=target,
        classifier=classifier,
        main_sides=mains,
    )


def either_sides(model: ir.Model, placement: Placement) -> tuple[EitherSide, ...]:
    """Return the Adds of which either side can have the pair, in graph order; rule 2.

    Args:
        model: The graph that was placed.
        placement: Where Q/DQ go in it.
    """
    if placement.target == "cpu":
        return ()
    nodes = {node.name: node for node in model.graph}
    found = []
    for add in residual_adds(model):
        node = nodes[add.node]
        writers = [own_convolution(node.inputs[side]) for side in (add.skip, 1 - add.skip)]
        if all(writer is not None and writer.name in placement.weights for writer in writers):
            skip, main = (writer.outputs[0].name or "" for writer in writers if writer is not None)
            found.append(EitherSide(add.node, skip, main))
    return tuple(found)


def _shiftable(model: ir.Model, uses: Mapping[ir.Value, Sequence[tuple[str, int]]]) -> frozenset[str]:
    nodes = {node.name or "": node for node in model.graph}
    return frozenset(
        value.name or "" for value, found in uses.items() if shiftable(value, [(nodes[n], i) for n, i in found], uses)
    )


def _over_images(node: ir.Node) -> bool:
    """Return whether a layer is a convolution over height and width; rule 8."""
    return node.op_type == "Conv" and constant(node, 1).ndim == 4


def _positions(model: ir.Model) -> dict[ir.Value, int]:
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    return {value: position for position, value in enumerate(values)}


def _skip_pays(node: ir.Node, add: ResidualAdd, quantized: set[ir.Node]) -> bool:
    """Return whether a quantised convolution leads into the Add, or reads its skip side too."""
    skip, main = node.inputs[add.skip], node.inputs[1 - add.skip]
    assert skip is not None
    assert main is not None
    return main.producer() in quantized or any(use.node in quantized for use in skip.uses())


def _reads_quantized(node: ir.Node, quantized: set[ir.Node]) -> bool:
    """Return whether the nearest convolutions before a pool are quantised: else a pair there saves nothing."""
    waiting, seen = [node.inputs[0]], set[ir.Node]()
    while waiting:
        value = waiting.pop()
        producer = value.producer() if value is not None else None
        if producer is None or producer in seen:
            continue
        seen.add(producer)
        if producer.op_type == "Conv":
            if producer in quantized:
                return True
        elif producer.op_type in ("Relu", "Add"):
            waiting.extend(producer.inputs)
    return False


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()
