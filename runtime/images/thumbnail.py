"""A small picture for a page, as text."""

import base64
import io

from PIL import Image

# On the page a thumbnail is at most 96 CSS pixels wide; 128 is sharp enough on a phone, at about 4 kB.
_THUMBNAIL = 128
_JPEG_QUALITY = 80


def jpeg_thumbnail(image: Image.Image) -> str:
    """Return a picture of mode RGB as a small JPEG in base64."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=_JPEG_QUALITY)
    return base64.b64encode(content.getvalue()).decode("ascii")
