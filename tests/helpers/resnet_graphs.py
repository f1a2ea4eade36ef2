"""Small ResNets written out by hand, one residual block each, with the names that timm gives."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from tests.helpers.graphs import make_model


@dataclass
class Network:
    """Nodes and constants as they come; every method returns the name of the tensor it made."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def conv(self, name: str, source: str, *, shape: tuple[int, int, int], group: int = 1, stride: int = 1) -> str:
        """Add a convolution with bias; `shape` is (K, C / group, R = S)."""
        outputs, inputs, size = shape
        weight = self.rng.normal(size=(outputs, inputs, size, size)) / np.sqrt(inputs * size * size)
        self.constants[f"{name}.weight"] = weight.astype(np.float32)
        self.constants[f"{name}.bias"] = (self.rng.normal(size=outputs) * 0.1).astype(np.float32)
        pads = [size // 2] * 4
        inputs_named = [source, f"{name}.weight", f"{name}.bias"]
        self.nodes.append(
            helper.make_node("Conv", inputs_named, [name], name=name, group=group, strides=[stride] * 2, pads=pads)
        )
        return name

    def node(self, operator: str, name: str, *sources: str, **attributes: Any) -> str:
        """Add any other node."""
        self.nodes.append(helper.make_node(operator, list(sources), [name], name=name, **attributes))
        return name

    def finish(self, source: str, channels: int, *, embedding: bool = True) -> onnx.ModelProto:
        """Pool, flatten, classify into 5 classes; return the checked model."""
        self.node("GlobalAveragePool", "global_pool", source)
        self.node("Flatten", "embedding", "global_pool", axis=1)
        self.constants["fc.weight"] = self.rng.normal(size=(5, channels)).astype(np.float32)
        self.constants["fc.bias"] = self.rng.normal(size=5).astype(np.float32)
        self.node("Gemm", "logits", "embedding", "fc.weight", "fc.bias", transB=1)
        self.nodes[-1].name = "fc"
        outputs: dict[str, tuple[int | str, ...]] = {"logits": ("n", 5)}
        if embedding:
            outputs["embedding"] = ("n", channels)
        return make_model(self.nodes, self.constants, input_shape=("n", 3, 16, 16), outputs=outputs)


def basic_block(*, embedding: bool = True) -> onnx.ModelProto:
    """A stem with a max pool, then a basic block whose identity is the pool's output."""
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 3)))
    net.node("MaxPool", "maxpool", "act1", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Relu", "b.act1", net.conv("b.conv1", "maxpool", shape=(4, 4, 3)))
    net.node("Add", "b.add", net.conv("b.conv2", "b.act1", shape=(4, 4, 3)), "maxpool")
    return net.finish(net.node("Relu", "b.act2", "b.add"), 4, embedding=embedding)


def bottleneck(*, group: int = 1, identity_first: bool = False) -> onnx.ModelProto:
    """A stem without a pool, then a bottleneck; with `group` > 1 as a ResNeXt has it."""
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(8, 3, 3)))
    net.node("Relu", "b.act1", net.conv("b.conv1", "act1", shape=(4, 8, 1)))
    net.node("Relu", "b.act2", net.conv("b.conv2", "b.act1", shape=(4, 4 // group, 3), group=group))
    sides = [net.conv("b.conv3", "b.act2", shape=(8, 4, 1)), "act1"]
    net.node("Add", "b.add", *(reversed(sides) if identity_first else sides))
    return net.finish(net.node("Relu", "b.act3", "b.add"), 8)


def group_norm_bottleneck(*, embedding: bool = True) -> onnx.ModelProto:
    """A stem and a bottleneck with a GroupNorm behind each convolution, as PyTorch's exporter writes it."""
    net = Network()

    def normalised(name: str, source: str, shape: tuple[int, int, int]) -> str:
        channels, norm = shape[0], f"{name}.norm"
        net.constants |= {
            f"{norm}.flat": np.array([0, 2, -1]),
            f"{norm}.image": np.array([-1, channels, 16, 16]),
            f"{norm}.ones": np.ones(2, np.float32),
            f"{norm}.zeros": np.zeros(2, np.float32),
            f"{norm}.weight": net.rng.uniform(0.5, 1.5, (channels, 1, 1)).astype(np.float32),
            f"{norm}.bias": net.rng.normal(size=(channels, 1, 1)).astype(np.float32),
        }
        net.node("Reshape", f"{norm}.reshape", net.conv(name, source, shape=shape), f"{norm}.flat")
        net.node("InstanceNormalization", f"{norm}.in", f"{norm}.reshape", f"{norm}.ones", f"{norm}.zeros")
        net.node(
            "Mul", f"{norm}.mul", net.node("Reshape", f"{norm}.back", f"{norm}.in", f"{norm}.image"), f"{norm}.weight"
        )
        return net.node("Add", f"{norm}.add", f"{norm}.mul", f"{norm}.bias")

    net.node("Relu", "act1", normalised("conv1", "x", (8, 3, 3)))
    net.node("Relu", "b.act1", normalised("b.conv1", "act1", (4, 8, 1)))
    net.node("Relu", "b.act2", normalised("b.conv2", "b.act1", (4, 4, 3)))
    net.node("Add", "b.add", normalised("b.conv3", "b.act2", (8, 4, 1)), "act1")
    return net.finish(net.node("Relu", "b.act3", "b.add"), 8, embedding=embedding)


def downsample_block(*, pooled: bool = False, downsample_first: bool = False) -> onnx.ModelProto:
    """A basic block of stride 2; with `pooled` its downsample begins with an average pool, as resnet50d's."""
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 3)))
    net.node("Relu", "b.act1", net.conv("b.conv1", "act1", shape=(8, 4, 3), stride=2))
    main = net.conv("b.conv2", "b.act1", shape=(8, 8, 3))
    source = net.node("AveragePool", "b.pool", "act1", kernel_shape=[2, 2], strides=[2, 2]) if pooled else "act1"
    sides = [main, net.conv("b.downsample", source, shape=(8, 4, 1), stride=1 if pooled else 2)]
    net.node("Add", "b.add", *(reversed(sides) if downsample_first else sides))
    return net.finish(net.node("Relu", "b.act2", "b.add"), 8)


def channel_attention_block() -> onnx.ModelProto:
    """A basic block with efficient channel attention, as timm's ecaresnet has it: a convolution over (N, 1, C)."""
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 3)))
    main = net.conv("b.conv1", "act1", shape=(4, 4, 3))
    net.node("GlobalAveragePool", "b.se.pool", main)
    net.constants |= {"b.se.line": np.array([0, 1, -1]), "b.se.image": np.array([0, -1, 1, 1])}
    net.node("Reshape", "b.se.flat", "b.se.pool", "b.se.line")
    net.constants["b.se.conv.weight"] = net.rng.normal(size=(1, 1, 3)).astype(np.float32)
    net.node("Conv", "b.se.conv", "b.se.flat", "b.se.conv.weight", pads=[1, 1])
    net.node("Sigmoid", "b.se.gate", net.node("Reshape", "b.se.back", "b.se.conv", "b.se.image"))
    net.node("Add", "b.add", net.node("Mul", "b.se.scaled", main, "b.se.gate"), "act1")
    return net.finish(net.node("Relu", "b.act2", "b.add"), 4)


def excitation_block(*, gate_first: bool = False) -> onnx.ModelProto:
    """A basic block with squeeze-and-excitation: each channel times what two convolutions make of all means."""
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 3)))
    main = net.conv("b.conv1", "act1", shape=(4, 4, 3))
    net.node("GlobalAveragePool", "b.se.pool", main)
    net.node("Relu", "b.se.act", net.conv("b.se.fc1", "b.se.pool", shape=(2, 4, 1)))
    net.node("Sigmoid", "b.se.gate", net.conv("b.se.fc2", "b.se.act", shape=(4, 2, 1)))
    net.node("Mul", "b.se.scaled", *(("b.se.gate", main) if gate_first else (main, "b.se.gate")))
    net.node("Relu", "b.act2", net.node("Add", "b.add", "b.se.scaled", "act1"))
    net.node("Relu", "c.act1", net.conv("c.conv1", "b.act2", shape=(4, 4, 3)))
    return net.finish("c.act1", 4)
