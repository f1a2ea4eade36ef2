"""A network of two linear layers, of which a test changes what it takes and gives, in a bundle that describes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.helpers.bundles import CLASSES, DIM, SIZE, write_hand_made
from tests.helpers.exported import copy_bundle

OPSET, IR_VERSION = 20, 9


def graph(
    *,
    pixels: str = "pixels",
    kind: int = TensorProto.UINT8,
    batch: int | str = "batch",
    side: int | str = SIZE,
    classes: int | str = CLASSES,
    more: tuple[str, ...] = (),
    tail: Callable[[list[onnx.NodeProto]], None] = lambda _nodes: None,
) -> bytes:
    """Return a network of two linear layers on the mean of the pixels: what `write_hand_made` describes."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", [pixels], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "to_embedding"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "to_logits"], ["logits"]),
    ]
    tail(nodes)
    width = CLASSES if isinstance(classes, str) else classes
    constants: dict[str, npt.NDArray[Any]] = {
        "axes": np.array([1, 2], np.int64),
        "to_embedding": rng.normal(size=(3, DIM)).astype(np.float32),
        "to_logits": rng.normal(size=(DIM, width)).astype(np.float32),
    }
    made = helper.make_graph(
        nodes,
        "network",
        [
            helper.make_tensor_value_info(pixels, kind, [batch, side, side, 3]),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in more),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, DIM]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def bundle_with(folder: Path, network: bytes) -> Path:
    return copy_bundle(write_hand_made(folder / "described"), folder / "bundle", files={"model.onnx": network})


def of_the_pixels(nodes: list[onnx.NodeProto], operator: str, first: int, second: int) -> None:
    """Give the logits a last step whose size is in the pixels, so that no engine can know it before it runs.

    Args:
        nodes: The network; its last node gives the logits.
        operator: `Reshape` or `Tile`, or `Slice`, which takes columns.
        first: First number that it takes.
        second: Second number where all pixels are 0; it rises with the brightest of them.
    """
    nodes[-1].output[0] = "whole"
    for name, number in (("first", first), ("second", second)):
        constant = numpy_helper.from_array(np.array([number], np.int64))
        nodes.append(helper.make_node("Constant", [], [name], value=constant))
    nodes += [
        helper.make_node("ReduceMax", ["floats"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["whole_number"], to=TensorProto.INT64),
        helper.make_node("Add", ["second", "whole_number"], ["sum"]),
    ]
    if operator == "Slice":
        nodes.append(helper.make_node("Constant", [], ["axis"], value=numpy_helper.from_array(np.array([1], np.int64))))
        nodes.append(helper.make_node("Slice", ["whole", "first", "sum", "axis"], ["logits"]))
        return
    nodes.append(helper.make_node("Concat", ["first", "sum"], ["sizes"], axis=0))
    nodes.append(helper.make_node(operator, ["whole", "sizes"], ["logits"]))
