"""Preprocessing here, against Pillow and against a machine of another kind; exit code 1 at a difference.

    python tests/house/arm64_preprocess.py BUNDLE PHOTOGRAPHS [--native LIBRARY]

1. The runtime's pixels of the packaged photographs are those that the exporting machine wrote into `golden/pixels.npy`.
2. For 1,000 pictures of random sizes they are the centre crop of what Pillow's `resize` gives, an axis at a time.
3. With --native the C library gives the same bytes.

It runs in the thin environment of `make test-arm64`: no test framework is needed.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.bundle.bundle import open_bundle
from runtime.bundle.manifest import Preprocessing
from runtime.images.native import NativePreprocessor
from runtime.images.preprocessing import preprocess

PICTURES = 1000
LONGEST = 180


def random_contract(rng: np.random.Generator) -> Preprocessing:
    """Return a contract of random sizes."""
    resized = int(rng.integers(8, 100))
    kept = int(rng.integers(4, resized + 1))
    return Preprocessing(
        image_size=kept,
        resize_size=resized,
        crop_pct=kept / resized,
        interpolation="bicubic" if rng.integers(2) else "bilinear",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def by_pillow(picture: Image.Image, contract: Preprocessing) -> np.ndarray:
    """Return the whole picture resized by Pillow, and the centre cut out of it, (H, W, 3) uint8."""
    short, kept = contract.resize_size, contract.image_size
    assert isinstance(short, int)
    assert isinstance(kept, int)
    width, height = picture.size
    shape = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    kind = Image.Resampling.BICUBIC if contract.interpolation == "bicubic" else Image.Resampling.BILINEAR
    # In one call Pillow 13 does the vertical pass first for some sizes.
    whole = np.asarray(picture.resize((shape[0], height), kind).resize(shape, kind))
    top, left = round((shape[1] - kept) / 2.0), round((shape[0] - kept) / 2.0)
    return whole[top : top + kept, left : left + kept]


def main() -> None:
    """Compare, and print how many pictures were equal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--native", type=Path)
    given = parser.parse_args()
    bundle = open_bundle(given.bundle)
    contract = bundle.manifest.preprocessing
    for name, expected in zip(bundle.manifest.golden, bundle.golden().pixels, strict=True):
        with Image.open(given.photographs / name) as photograph:
            if not np.array_equal(preprocess(photograph, contract), expected):
                sys.exit(f"{name}: other bytes than those of the exporting machine")
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        contract = random_contract(rng)
        height, width = (int(side) for side in rng.integers(4, LONGEST, 2))
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        found = preprocess(picture, contract)
        if not np.array_equal(found, by_pillow(picture, contract)):
            sys.exit(f"picture {number}, {width}x{height}, {contract}: the runtime's bytes are not Pillow's")
        if given.native is not None and not np.array_equal(NativePreprocessor(given.native, contract)(picture), found):
            sys.exit(f"picture {number}, {width}x{height}, {contract}: the C library's bytes are not Pillow's")
    print(f"{len(bundle.manifest.golden)} photographs and {PICTURES} pictures of random sizes are equal to the bit")


if __name__ == "__main__":
    main()
