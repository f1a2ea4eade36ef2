"""Networks with a tensor wherever ONNX lets one stand, made by onnx itself; its values in the network or in a file."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VALUES = np.arange(4, dtype=np.float32)


def plain(name: str = "w") -> TensorProto:
    return numpy_helper.from_array(VALUES, name)


def external(*, located: bool = True, named: bool = True) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    if located:
        tensor.data_location = TensorProto.EXTERNAL
    if named:
        for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "16")):
            tensor.external_data.add(key=key, value=value)
    return tensor


def graph_of(*nodes: onnx.NodeProto, initializer: Any = (), sparse: Any = ()) -> onnx.GraphProto:
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])]
    return helper.make_graph(
        list(nodes), "graph", [], outputs, initializer=list(initializer), sparse_initializer=list(sparse)
    )


def model_of(graph: onnx.GraphProto, **more: Any) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], **more)


def constant(tensor: TensorProto, name: str = "c") -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], name=name, value=tensor)


def sparse_of(tensor: TensorProto) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(tensor, numpy_helper.from_array(np.arange(4), "i"), [9])


def within_if(tensor: TensorProto) -> onnx.ModelProto:
    branch = graph_of(constant(tensor))
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=graph_of(constant(plain())))
    return model_of(graph_of(node))


def in_graphs(tensor: TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Own", [], ["y"], domain="own", graphs=[graph_of(initializer=[tensor])])
    return model_of(graph_of(node))


def in_tensors(tensor: TensorProto) -> onnx.ModelProto:
    return model_of(graph_of(helper.make_node("Own", [], ["y"], domain="own", values=[plain(), tensor])))


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 20)]
    function = helper.make_function("own", "F", [], ["y"], [constant(tensor)], imports)
    return model_of(graph_of(), functions=[function])


def in_training(tensor: TensorProto) -> onnx.ModelProto:
    model = model_of(graph_of())
    model.training_info.add().algorithm.CopyFrom(graph_of(initializer=[tensor]))
    return model


PLACES: dict[str, Callable[[TensorProto], onnx.ModelProto]] = {
    "an initializer": lambda tensor: model_of(graph_of(initializer=[plain("v"), tensor])),
    "a sparse initializer": lambda tensor: model_of(graph_of(sparse=[sparse_of(tensor)])),
    "a constant": lambda tensor: model_of(graph_of(constant(tensor))),
    "a sparse constant": lambda tensor: model_of(
        graph_of(helper.make_node("Constant", [], ["y"], sparse_value=sparse_of(tensor)))
    ),
    "a branch": within_if,
    "a list of graphs": in_graphs,
    "a list of tensors": in_tensors,
    "a function": in_function,
    "training": in_training,
}
