"""The smallest ResNet with one block of each kind, and pictures for it that have some structure."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.helpers.graphs import make_model
from tests.helpers.resnet_graphs import Network

SIZE, IMAGES = 32, 40
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)


def tiny_resnet(*, pixels: bool = False, opset: int = 20) -> onnx.ModelProto:
    """A stem with a max pool, an identity block and a downsample block, weights drawn, 32 px."""
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(8, 3, 3), stride=2))
    net.node("MaxPool", "maxpool", "act1", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Relu", "a.act1", net.conv("a.conv1", "maxpool", shape=(8, 8, 3)))
    net.node("Add", "a.add", net.conv("a.conv2", "a.act1", shape=(8, 8, 3)), "maxpool")
    net.node("Relu", "a.act2", "a.add")
    net.node("Relu", "b.act1", net.conv("b.conv1", "a.act2", shape=(16, 8, 3), stride=2))
    main = net.conv("b.conv2", "b.act1", shape=(16, 16, 3))
    net.node("Add", "b.add", main, net.conv("b.downsample", "a.act2", shape=(16, 8, 1), stride=2))
    net.node("GlobalAveragePool", "global_pool", net.node("Relu", "b.act2", "b.add"))
    net.node("Flatten", "embedding", "global_pool", axis=1)
    net.constants["fc.weight"] = net.rng.normal(size=(5, 16)).astype(np.float32)
    net.constants["fc.bias"] = net.rng.normal(size=5).astype(np.float32)
    net.nodes.append(helper.make_node("Gemm", ["embedding", "fc.weight", "fc.bias"], ["logits"], name="fc", transB=1))
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, SIZE, SIZE), outputs={"logits": ("n", 5)})
    if pixels:
        put_normalisation_in_front(model)
    model.opset_import[0].version = opset
    onnx.checker.check_model(model, full_check=True)
    return model


def with_a_loud_channel(times: float, *, divided_by: float) -> onnx.ModelProto:
    """The tiny network, one channel of a block's inside so many times as large, what reads it divided by a number."""
    model = tiny_resnet()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("a.conv1.weight", "a.conv1.bias"):
            values[0] *= times
        elif tensor.name == "a.conv2.weight":
            values[:, 0] /= divided_by
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def put_normalisation_in_front(model: onnx.ModelProto) -> None:
    """Let a graph take pixels, (N, 32, 32, 3) uint8."""
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ("n", SIZE, SIZE, 3)))
    for name, values in (("mean", MEAN), ("std", STD)):
        array = np.array(values, np.float32).reshape(1, 3, 1, 1) * 255
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], name="transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "mean"], ["centred"], name="sub"),
        helper.make_node("Div", ["centred", "std"], ["x"], name="div"),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def draw(seed: int) -> np.ndarray:
    """A picture with structure: noise over a coarse pattern, (32, 32, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(0, 200, (4, 4, 3)), np.ones((8, 8, 1), np.int64))
    return (coarse + rng.integers(0, 56, (SIZE, SIZE, 3))).astype(np.uint8)


def pictures(folder: Path, count: int = IMAGES) -> Path:
    for number in range(count):
        (folder / f"class{number % 4}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(number)).save(folder / f"class{number % 4}" / f"{number:02}.png")
    return folder
