"""Run a float graph in PyTorch, so that gradients can be taken of what it computes.

Rules:

1. Each operator is what ONNX says of it (`calibration/graph/torch_operators.py`). `unsupported` names what is not
   there.
2. Weights are the graph's own arrays, not copied, and need no gradient.
3. What a node reads can be replaced on its way in, input by input: a tensor that is quantised for one of its readers
   and left in float for another one is two different tensors.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from calibration.graph.torch_operators import CASTS, OPERATORS
from runtime.support.arrays import Feed

if TYPE_CHECKING:
    from torch import Tensor

# Of a node, the number of the input, and what it reads there.
Read = Callable[[ir.Node, int, "Tensor"], "Tensor"]


def unsupported(model: ir.Model) -> str | None:
    """Return what `TorchGraph` cannot run, in words such as `operator Resize`; None where it can run all.

    Args:
        model: A float graph.
    """
    for node in model.graph:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            return f"operator {node.op_type}"
        if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
            return f"auto_pad of {node.op_type}"
        if node.op_type in ("MaxPool", "AveragePool") and any(one != 1 for one in _dilations(node)):
            return f"dilations of {node.op_type}"
        if node.op_type == "Cast" and node.attributes.get_int("to", 1) not in CASTS:
            return f"Cast to {ir.DataType(node.attributes.get_int('to', 1)).name}"
    return None


class TorchGraph:
    """A float graph in PyTorch, on the CPU.

    Args:
        model: A graph of one input for which `unsupported` returns None; not changed.
    """

    def __init__(self, model: ir.Model) -> None:
        import torch

        self._nodes = list(model.graph)
        self._outputs = {value.name: value for value in model.graph.outputs}
        self._constants: dict[ir.Value, Tensor] = {}
        with warnings.catch_warnings():
            # The arrays may be read-only, and nothing writes into them.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            for value in model.graph.initializers.values():
                assert value.const_value is not None
                self._constants[value] = torch.from_numpy(value.const_value.numpy())
        (self._source,) = (value for value in model.graph.inputs if value not in self._constants)

    def run(self, batch: Feed, outputs: Sequence[str], read: Read | None = None) -> "list[Tensor]":
        """Return some of the graph's outputs, (N, ...) float32 each.

        Args:
            batch: The graph's input.
            outputs: Names of the outputs.
            read: Function from a node, the number of an input and what it reads there to what it is given; None gives
                it what it reads. Constants are given as they are.
        """
        import torch

        values: dict[ir.Value, Tensor] = {self._source: torch.from_numpy(batch)}
        for node in self._nodes:
            inputs = [self._input(node, index, value, values, read) for index, value in enumerate(node.inputs)]
            values[node.outputs[0]] = OPERATORS[node.op_type](node, inputs)
        return [values[self._outputs[name]] for name in outputs]

    def _input(
        self,
        node: ir.Node,
        index: int,
        value: ir.Value | None,
        values: "Mapping[ir.Value, Tensor]",
        read: Read | None,
    ) -> "Tensor | None":
        if value is None:
            return None
        if value in self._constants:
            return self._constants[value]
        return values[value] if read is None else read(node, index, values[value])


def _dilations(node: ir.Node) -> tuple[int, ...]:
    return tuple(int(one) for one in node.attributes.get_ints("dilations", (1,)))
