"""What each node of the exported graph costs: the schema of `layers.json`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Layer(BaseModel):
    """One node of the graph, counted at the bundle's image size and one image.

    Attributes:
        name: Node name; for convolutions and the classifier the timm module's, as `layer1.0.conv1`.
        operator: ONNX operator.
        output: Name of the first output tensor.
        output_shape: Shape of it without the batch dimension.
        parameters: Trained constants that it uses, floating-point or INT8.
        macs: Multiply-accumulates of Conv and Gemm; 0 for everything else.
        weight_bytes: Bytes of the constant inputs.
        activation_bytes: Bytes read from and written to tensors that depend on the image.
        precision: Element type that the node computes in; `int8` for a layer between Q/DQ.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    operator: str
    output: str
    output_shape: tuple[int, ...]
    parameters: int = Field(ge=0)
    macs: int = Field(ge=0)
    weight_bytes: int = Field(ge=0)
    activation_bytes: int = Field(ge=0)
    precision: Literal["fp32", "fp16", "int8", "uint8", "int64"]


class LayerList(BaseModel):
    """All of `layers.json`.

    Attributes:
        batch: Images that the figures are for.
        layers: The nodes in execution order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: Literal[1] = 1
    layers: tuple[Layer, ...]


def total_macs(layers: tuple[Layer, ...]) -> int:
    """Return the multiply-accumulates of all layers, one image."""
    return sum(layer.macs for layer in layers)


def total_parameters(layers: tuple[Layer, ...]) -> int:
    """Return the number of trained constants of all layers."""
    return sum(layer.parameters for layer in layers)
