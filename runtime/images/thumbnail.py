"""A small picture for a page, as text."""

import base64
import io

from PIL import Image

from runtime.support.arrays import Pixels

# On the page a thumbnail is at most 96 CSS pixels wide; 128 is sharp enough on a phone, at about 4 kB.
_THUMBNAIL = 128
_JPEG_QUALITY = 80


def jpeg_thumbnail(image: Image.Image) -> str:
    """Return a picture as a small JPEG in base64, without its transparency."""
    small = image.convert("RGB") if image.mode == "RGBA" else image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=_JPEG_QUALITY)
    return base64.b64encode(content.getvalue()).decode("ascii")


def picture_of(pixels: Pixels) -> Image.Image:
    """Return the picture that one image's pixels are, (H, W, C) uint8; of one channel it is grey."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
