"""Options of `run-ssl compare` and `run-ssl embed` on how image files are read."""

from typing import Annotated

import typer

from runtime.bundle.manifest import Depth16

ExifRotateOption = Annotated[
    bool,
    typer.Option(
        "--exif-rotate",
        help="Turn images as their EXIF orientation says, even if the bundle was exported without this option.",
    ),
]
Depth16Option = Annotated[
    Depth16 | None,
    typer.Option(
        help="How 16-bit greyscale images are read. `clip`: values above 255 become 255. `scale`: the high byte of "
        "each value is taken.",
        show_default="the bundle's choice",
    ),
]
