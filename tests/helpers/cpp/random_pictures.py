"""Random pictures for the C++ preprocessing, and what Pillow makes of them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from runtime.bundle.manifest import ResizeMode
from tests.helpers.cpp.preprocess import Answer, Array, Request, sides

SEED = 5
RANDOM_IMAGES = 1200
RANDOM_RECIPES = 300
# In the order of rne_resize_mode.
MODES: tuple[ResizeMode, ...] = ("short", "cover", "squash")
LONGEST_SIDE = 900
LARGEST_RESIZE = 320
# Of resized images, so that a line of 1x900 is not resized to 80 million pixels.
MOST_RESIZED_PIXELS = 300_000
# Lines, single pixels, the known difference of Pillow 13, and photographs as they are in ImageNet.
EDGES = [
    (1, 1, 224, 256),
    (1, 900, 2, 3),
    (900, 1, 3, 3),
    (2, 3, 224, 224),
    (587, 263, 224, 256),
    (500, 375, 224, 256),
    (375, 500, 224, 256),
    (500, 375, 256, 256),
    (900, 700, 1, 1),
    (899, 900, 1, 2),
    (256, 256, 224, 256),
    (333, 256, 224, 256),
    (256, 333, 255, 256),
    (17, 16, 15, 16),
]


def random_requests(count: int) -> list[Request]:
    """Return requests with sides of 1 to 900 px, all formats, both filters, padded rows, all kinds of crop."""
    rng = np.random.default_rng(SEED)
    sizes = list(EDGES) * 2
    while len(sizes) < count:
        width, height = np.exp(rng.uniform(0, np.log(LONGEST_SIDE + 1), 2)).astype(int).tolist()
        shorter, longer = min(width, height), max(width, height)
        most = min(LARGEST_RESIZE, max(1, int((MOST_RESIZED_PIXELS * shorter / longer) ** 0.5)))
        resize = shorter if rng.random() < 0.1 and shorter <= most else int(rng.integers(1, most + 1))
        crop = max(1, resize - int(rng.integers(0, 4))) if rng.random() < 0.5 else int(rng.integers(1, resize + 1))
        sizes.append((width, height, crop, resize))
    return [
        Request(
            pixels=random_pixels(rng, (height, width, int(rng.choice([1, 3, 4]))), extreme=rng.random() < 0.3),
            resize=resize,
            crop=crop,
            bicubic=index % 2 == 0,
            padding=int(rng.choice([0, 0, 1, 3, 64])),
        )
        for index, (width, height, crop, resize) in enumerate(sizes)
    ]


def random_recipes(count: int) -> list[Request]:
    """Return requests of every resize mode, to sizes that are mostly not square."""
    rng = np.random.default_rng(SEED)
    requests: list[Request] = []
    while len(requests) < count:
        width, height = rng.integers(1, 300, 2).tolist()
        mode = len(requests) % 3
        high, wide = rng.integers(1, 120, 2).tolist()
        if mode != 2 and max(width, height) > 20 * min(width, height):
            continue
        resize = (high, high) if mode == 0 else (high, wide)
        crop = (int(rng.integers(1, resize[0] + 1)), int(rng.integers(1, resize[1] + 1)))
        requests.append(
            Request(
                pixels=random_pixels(rng, (height, width, int(rng.choice([1, 3, 4]))), extreme=rng.random() < 0.3),
                resize=resize[0] if mode == 0 else resize,
                crop=crop,
                bicubic=bool(rng.random() < 0.5),
                padding=int(rng.choice([0, 3])),
                mode=mode,
            )
        )
    return requests


def random_pixels(rng: np.random.Generator, shape: tuple[int, int, int], *, extreme: bool) -> Array:
    """Return random bytes; extreme ones are 0 and 255 only, so that bicubic sums leave the range of a byte."""
    if extreme:
        return (rng.integers(0, 2, shape) * 255).astype(np.uint8)
    return rng.integers(0, 256, shape).astype(np.uint8)


def picture_of(request: Request) -> Image.Image:
    """Return the image as Pillow has it, in the mode of its format."""
    return Image.fromarray(request.pixels[..., 0] if request.pixels.shape[2] == 1 else request.pixels)


def pillows_pixels(request: Request) -> bytes:
    """Return what Pillow gives in two one-axis resizes and a crop; sizes by torchvision's rule, retyped.

    With alpha Pillow's resize is two conversions around the passes, and nothing where no axis changes.
    """
    rgb = picture_of(request).convert(request.colour)
    width, height = rgb.size
    short, target_wide = sides(request.resize)
    wide, high = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    if MODES[request.mode] == "squash":
        wide, high = target_wide, short
    if MODES[request.mode] == "cover":
        ratio = min(height / short, width / target_wide)
        wide, high = round(width / ratio), round(height / ratio)
    crop_high, crop_wide = sides(request.crop)
    filter_ = Image.Resampling.BICUBIC if request.bicubic else Image.Resampling.BILINEAR
    weighed = request.colour == "RGBA" and (wide, high) != rgb.size
    passed = rgb.convert("RGBa") if weighed else rgb
    resized = passed.resize((wide, height), filter_).resize((wide, high), filter_)
    resized = resized.convert("RGBA") if weighed else resized
    left, top = round((wide - crop_wide) / 2), round((high - crop_high) / 2)
    return resized.crop((left, top, left + crop_wide, top + crop_high)).tobytes()


def differing(answers: Sequence[Answer], requests: Sequence[Request], expected: Sequence[bytes]) -> list[str]:
    """Return a line for every answer that is an error or has another byte."""
    return [
        f"{request.pixels.shape} to {request.resize}, crop {request.crop}, bicubic {request.bicubic}, status {a.status}"
        for a, request, pixels in zip(answers, requests, expected, strict=True)
        if a.status != 0 or a.payload != pixels
    ]
