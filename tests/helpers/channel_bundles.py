"""Networks of one and of four channels and with the 3x3 stem, built by timm and PyTorch alone, and their bundles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.bundle.manifest import Colour

SIZE = 32
CLASSES = 4
MEAN, STD = 0.5, 0.25
COLOURS: tuple[Colour, ...] = ("L", "RGBA")


@dataclass(frozen=True)
class ChannelBundle:
    """A bundle, and the network of timm's that it was exported from."""

    path: Path
    checkpoint: Path
    network: Any
    colour: Colour

    def picture(self, seed: int) -> Image.Image:
        """Return a picture of the network's size and mode."""
        return draw_picture(self.colour, seed)

    def expected(self, pictures: list[Image.Image]) -> npt.NDArray[np.float32]:
        """Return timm's logits of pictures that have the network's size, (N, classes)."""
        import torch

        pixels = np.stack([np.asarray(picture).reshape(SIZE, SIZE, -1) for picture in pictures])
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            logits: npt.NDArray[np.float32] = self.network((planes - MEAN) / STD).numpy()
        return logits


def draw_picture(colour: Colour, seed: int, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    """Return random blocks of 4 px; (width, height)."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (size[1] // 4, size[0] // 4, len(colour)), np.uint8)
    pixels = blocks.repeat(4, axis=0).repeat(4, axis=1)
    return Image.fromarray(pixels[..., 0] if colour == "L" else pixels)


def timm_network(channels: int, *, padding: int | None = None, pooled: bool = False) -> Any:
    """Return timm's ResNet-18 with drawn weights; with a padding its stem is one 3x3 convolution of stride 1."""
    import timm
    import torch

    from runtime.original.random_weights import randomise

    network = timm.create_model("resnet18", in_chans=channels, num_classes=CLASSES).eval().requires_grad_(False)
    if padding is not None:
        network.conv1 = torch.nn.Conv2d(channels, 64, 3, stride=1, padding=padding, bias=False)
        network.maxpool = network.maxpool if pooled else torch.nn.Identity()
    randomise(network, 0)
    return network.requires_grad_(False)


def export_channels(folder: Path, colour: Colour, **choices: Any) -> ChannelBundle:
    """Export timm's ResNet-18 for pictures of this mode into `folder`."""
    import torch

    from exporter.pipeline import export_bundle
    from exporter.request import ExportRequest, WeightsChoice

    network, checkpoint = timm_network(len(colour)), folder / f"{colour}.pth"
    torch.save(network.state_dict(), checkpoint)
    request = ExportRequest(
        model="resnet18",
        weights=WeightsChoice(source="file", path=checkpoint),
        img_size=SIZE,
        crop_pct=1.0,
        mean=(MEAN,),
        std=(STD,),
        output=folder / colour,
        **choices,
    )
    return ChannelBundle(export_bundle(request).path, checkpoint, network, colour)
