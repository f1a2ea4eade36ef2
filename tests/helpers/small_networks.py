"""Small residual networks of many shapes and sizes of numbers, as PyTorch modules and as ONNX written out by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from runtime.bundle.manifest import Preprocessing

SIZE = 16
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
PREPROCESSING = Preprocessing(
    image_size=SIZE, resize_size=SIZE, crop_pct=1.0, interpolation="bilinear", mean=MEAN, std=STD
)


@dataclass(frozen=True)
class Recipe:
    """What one network is made from.

    Attributes:
        seed: Seed of weights and images.
        blocks: Residual blocks of two convolutions each.
        width: Channels of every layer.
        classes: Outputs of the classifier.
        images: Golden images.
        brightness: Largest pixel value: 10 is a dark picture, 255 a bright one.
        weight_scale: Exponent of 2 that convolutions are multiplied by; BatchNorm takes it out again.
        feature_scale: Exponent of 2 that the last BatchNorms are multiplied by: tiny or huge embeddings.
        classifier_scale: Exponent of 2 that the classifier's weight is multiplied by.
        bias: Size of the classifier's bias.
        zero_classifier: Whether the classifier's weight is zero, so that logits are constant.
        pictures: `detailed`; `flat` (one colour) or `grey` (one grey), so that all sums of a channel are one sum but at
            the edges; `half`, flat in its upper half.
    """

    seed: int
    blocks: int
    width: int
    classes: int
    images: int
    brightness: int
    weight_scale: int
    feature_scale: int
    classifier_scale: int
    bias: float
    zero_classifier: bool
    pictures: Literal["detailed", "flat", "grey", "half"]


class SmallNetwork(torch.nn.Module):
    """As much of timm's network as the export uses: `forward_features`, the classifier `fc`, an average pool."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        width = recipe.width
        # Of pixels scaled to [0, 1]; the graph's, not the preprocessing's.
        self.pixel_mean: tuple[float, ...] = MEAN
        pool: Any = torch.nn.Identity()
        pool.pool_type = "avg"
        self.global_pool = pool
        self.stem = torch.nn.Conv2d(3, width, 3, bias=False)
        self.stem_norm = torch.nn.BatchNorm2d(width)
        self.act = torch.nn.ReLU()
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(width, width, 3, bias=False) for _ in range(2 * recipe.blocks))
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(width) for _ in range(2 * recipe.blocks))
        # One before each convolution, the stem's first.
        self.pads = torch.nn.ModuleList(torch.nn.ZeroPad2d(1) for _ in range(1 + 2 * recipe.blocks))
        self.fc = torch.nn.Linear(width, recipe.classes)

    def forward_features(self, planes: torch.Tensor) -> torch.Tensor:
        x = self.act(self.stem_norm(self.stem(self.pads[0](planes))))
        for at in range(0, len(self.convs), 2):
            inner = self.act(self.norms[at](self.convs[at](self.pads[at + 1](x))))
            x = self.act(self.norms[at + 1](self.convs[at + 1](self.pads[at + 2](inner))) + x)
        return x

    def get_classifier(self) -> torch.nn.Module:
        return self.fc

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return self.fc(self.forward_features(planes).mean(dim=(2, 3)))


def build(recipe: Recipe) -> tuple[SmallNetwork, npt.NDArray[np.uint8]]:
    """Return a network and its golden images, (N, 16, 16, 3) uint8."""
    generator = torch.Generator().manual_seed(recipe.seed)
    network = SmallNetwork(recipe).eval().requires_grad_(False)
    for layer in (network.stem, *network.convs):
        layer.weight.normal_(0, 2.0**recipe.weight_scale / layer.weight[0].numel() ** 0.5, generator=generator)
    norms = (network.stem_norm, *network.norms)
    for norm in norms:
        norm.weight.uniform_(0.5, 1.5, generator=generator)
        norm.bias.normal_(0, 0.3, generator=generator)
        norm.momentum = None
        norm.train()
    rng = np.random.default_rng(recipe.seed)
    coarse = rng.integers(0, 256, (32, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    pictures = np.clip(coarse + rng.integers(-40, 40, coarse.shape), 0, 255)
    network(normalised(pictures))
    for norm in norms:
        norm.eval()
        # The stem and the ends of the blocks make up the residual stream.
        if norm is network.stem_norm or norm in list(network.norms)[1::2]:
            norm.weight.mul_(2.0**recipe.feature_scale)
            norm.bias.mul_(2.0**recipe.feature_scale)
    inside: Any = list(network.norms)[::2]
    for norm in inside:
        norm.running_mean.mul_(2.0**recipe.feature_scale)
        norm.running_var.mul_(4.0**recipe.feature_scale)
    network.fc.weight.normal_(0, 2.0**recipe.classifier_scale, generator=generator)
    network.fc.bias.normal_(0, 1, generator=generator).mul_(recipe.bias)
    if recipe.zero_classifier:
        network.fc.weight.zero_()
    golden = (pictures[: recipe.images] * (recipe.brightness / 255)).astype(np.uint8)
    return network, _flattened(golden, recipe.pictures)


def _flattened(pixels: npt.NDArray[np.uint8], pictures: str) -> npt.NDArray[np.uint8]:
    """Return the pictures with their first pixel in place of what is to be flat."""
    found = pixels.copy()
    if pictures == "flat":
        found[:] = pixels[:, :1, :1]
    elif pictures == "grey":
        found[:] = pixels[:, :1, :1, :1]
    elif pictures == "half":
        found[:, : SIZE // 2] = pixels[:, :1, :1]
    return found


def normalised(pixels: npt.NDArray[Any]) -> torch.Tensor:
    """Return (N, 3, 16, 16) float32 of pixels (N, 16, 16, 3)."""
    planes = torch.from_numpy(np.asarray(pixels, np.float32)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (MEAN, STD))
    return (planes - mean) / std


def exact_outputs(network: SmallNetwork, pixels: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float64]]:
    """Return logits and embedding computed in float64; the network becomes one of float64."""
    wide = network.double()
    planes = torch.from_numpy(pixels.astype(np.float64)).permute(0, 3, 1, 2)
    # The constants as the network in float32 has them.
    mean, std = ((torch.tensor(values) * 255).double().view(1, 3, 1, 1) for values in (network.pixel_mean, STD))
    embedding = wide.forward_features((planes - mean) / std).mean(dim=(2, 3))
    return {"logits": wide.fc(embedding).numpy(), "embedding": embedding.numpy()}


def as_onnx(network: SmallNetwork, order: Callable[[int], npt.NDArray[np.intp]] = np.arange) -> onnx.ModelProto:
    """Return the network in ONNX, opset 20, from pixels to logits and embedding.

    Args:
        network: Not changed.
        order: Gives the order of a layer's channels: in another one every sum is added up otherwise.
    """
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], name="transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["planes", "mean"], ["centred"], name="sub"),
        helper.make_node("Div", ["centred", "std"], ["x"], name="div"),
    ]
    fields = (("mean", network.pixel_mean), ("std", STD))
    constants = {name: np.array(values, np.float32).reshape(1, 3, 1, 1) * 255 for name, values in fields}
    width = network.stem.out_channels
    new = order(width)

    def block(name: str, at: int, source: str, columns: npt.NDArray[np.intp]) -> str:
        conv: Any = (network.stem, *network.convs)[at]
        norm: Any = (network.stem_norm, *network.norms)[at]
        left, right, top, bottom = network.pads[at].padding  # type: ignore[misc]
        constants[f"{name}.weight"] = conv.weight.numpy()[new][:, columns]
        for field in ("weight", "bias", "running_mean", "running_var"):
            constants[f"{name}.norm.{field}"] = getattr(norm, field).numpy()[new]
        pads = [top, left, bottom, right]
        nodes.append(helper.make_node("Conv", [source, f"{name}.weight"], [f"{name}.y"], name=name, pads=pads))
        fields = [f"{name}.norm.{field}" for field in ("weight", "bias", "running_mean", "running_var")]
        norm_node = helper.make_node(
            "BatchNormalization", [f"{name}.y", *fields], [f"{name}.n"], name=f"{name}.norm", epsilon=norm.eps
        )
        nodes.append(norm_node)
        return f"{name}.n"

    def relu(name: str, source: str) -> str:
        nodes.append(helper.make_node("Relu", [source], [name], name=name))
        return name

    x = relu("stem.act", block("stem", 0, "x", np.arange(3)))
    for at in range(0, len(network.convs), 2):
        inner = relu(f"b{at}.act", block(f"b{at}.conv1", at + 1, x, new))
        outer = block(f"b{at}.conv2", at + 2, inner, new)
        nodes.append(helper.make_node("Add", [outer, x], [f"b{at}.add"], name=f"b{at}.add"))
        x = relu(f"b{at}.out", f"b{at}.add")
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"], name="global_pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["permuted"], name="flatten", axis=1))
    # Back in the network's own order, so that the embedding is the same.
    constants["back"] = np.argsort(new).astype(np.int64)
    nodes.append(helper.make_node("Gather", ["permuted", "back"], ["embedding"], name="gather", axis=1))
    constants["fc.weight"], constants["fc.bias"] = network.fc.weight.numpy()[:, new], network.fc.bias.numpy()
    nodes.append(helper.make_node("Gemm", ["permuted", "fc.weight", "fc.bias"], ["logits"], name="fc", transB=1))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ("n", SIZE, SIZE, 3))],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("n", network.fc.out_features)),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ("n", width)),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)
