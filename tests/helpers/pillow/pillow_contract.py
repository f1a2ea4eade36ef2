"""Run as a script: the contract's pixels, and timm's, for given pictures on whatever Pillow is first on the path.

    python pillow_contract.py CASES.npz OUT.npz [--timm]

`CASES.npz` is what `write_cases` wrote. `OUT.npz` gets `ours<i>`, (H, W, 3) uint8, with `--timm` also
`timm<i>`, (3, H, W) float32, timm's normalised evaluation transform, and `version`, Pillow's.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from runtime.bundle.manifest import Preprocessing
from runtime.images.preprocessing import normalise, preprocess

MODES = ("RGB", "L", "LA", "RGBA", "CMYK", "P", "1", "I;16")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Case:
    """One picture and its contract; sizes in pixels."""

    mode: str
    width: int
    height: int
    crop: int
    crop_pct: float
    interpolation: str

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing.model_validate(
            {
                "image_size": self.crop,
                "resize_size": int(self.crop / self.crop_pct),
                "crop_pct": self.crop_pct,
                "interpolation": self.interpolation,
                "mean": MEAN,
                "std": STD,
            }
        )


def build(mode: str, raw: Any) -> Image.Image:
    """Return a picture of `mode` that holds exactly `raw`, (H, W) or (H, W, C)."""
    if mode == "P":
        image = Image.fromarray(raw)
        image.putpalette(list(PALETTE.tobytes()))
        return image
    if mode == "1":
        return Image.fromarray(raw).convert("1", dither=Image.Dither.NONE)
    size = (raw.shape[1], raw.shape[0])
    return Image.frombytes(mode, size, np.ascontiguousarray(raw).tobytes())


PALETTE = np.random.default_rng(256).integers(0, 256, (256, 3)).astype(np.uint8)


def write_cases(path: Path, cases: list[Case], raws: list[Any]) -> None:
    """Write the pictures and their contracts for a subprocess."""
    listed = json.dumps([asdict(case) for case in cases])
    np.savez(path, cases=np.array(listed), **{f"raw{index}": raw for index, raw in enumerate(raws)})


def timm_pixels(case: Case, image: Image.Image) -> Any:
    """Return timm's evaluation transform of the picture as timm opens it, (3, H, W) float32."""
    from timm.data import create_transform

    transform = create_transform(
        (3, case.crop, case.crop), crop_pct=case.crop_pct, interpolation=case.interpolation, mean=MEAN, std=STD
    )
    return transform(image.convert("RGB")).numpy()


def main(cases_file: str, out_file: str, *flags: str) -> None:
    """Compute all cases."""
    given = np.load(cases_file)
    results = {"version": np.array(PIL.__version__)}
    for index, fields in enumerate(json.loads(str(given["cases"]))):
        case = Case(**fields)
        image = build(case.mode, given[f"raw{index}"])
        ours = preprocess(image, case.preprocessing)
        results[f"ours{index}"] = ours
        if "--timm" in flags:
            results[f"normalised{index}"] = normalise(ours[np.newaxis], case.preprocessing)[0]
            results[f"timm{index}"] = timm_pixels(case, image)
    np.savez(out_file, **results)  # type: ignore[arg-type]  # NumPy has a keyword of its own, bool, among them


if __name__ == "__main__":
    main(*sys.argv[1:])
