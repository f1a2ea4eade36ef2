"""Take the picture of the report that the documents show: docs/images/report.png.

    python -m benchmarks.documents.report_picture [PAGE] [--output FILE]

PAGE is the HTML file of `run-ssl report`, by default the demo's. It is opened in a headless Chromium at the width of a
laptop, and its first screen is scaled down. The picture has few colours, so a palette makes it small.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "demo" / "report.html"
PICTURE = ROOT / "docs" / "images" / "report.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# CSS pixels of the window, and the width of the picture that is kept: sharp in a README's column of about 850 px.
WINDOW = (1280, 1000)
WIDTH = 1000
COLOURS = 128
# Wait for the plots: milliseconds of the page's own clock, seconds of ours.
PAGE_TIME_MS = 10_000
PATIENCE_S = 120
LARGEST_BYTES = 150_000


def take_screenshot(page: Path, target: Path) -> None:
    """Write what a browser shows of a page, (1000, 1280, 3) pixels, as PNG."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is installed: apt-get install chromium")
    width, height = WINDOW
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--no-first-run",
                f"--user-data-dir={folder}/profile",
                f"--window-size={width},{height}",
                f"--virtual-time-budget={PAGE_TIME_MS}",
                f"--screenshot={target}",
                page.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=PATIENCE_S,
            env={**os.environ, "HOME": folder},
        )


def shrink(picture: Path, target: Path) -> None:
    """Scale a picture to `WIDTH` pixels and store it with a palette."""
    with Image.open(picture) as full:
        height = round(full.height * WIDTH / full.width)
        small = full.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    """Take the picture, and refuse one that is too large for a README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path, default=PAGE)
    parser.add_argument("--output", type=Path, default=PICTURE)
    arguments = parser.parse_args()
    if not arguments.page.is_file():
        sys.exit(f"{arguments.page} does not exist: expected a report; `make demo` makes one")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        screenshot = Path(folder) / "screenshot.png"
        take_screenshot(arguments.page, screenshot)
        shrink(screenshot, arguments.output)
    size = arguments.output.stat().st_size
    if size > LARGEST_BYTES:
        sys.exit(f"{arguments.output} has {size:,} bytes, expected at most {LARGEST_BYTES:,}: lower WIDTH or COLOURS")
    print(f"{arguments.output}: {size:,} bytes")


if __name__ == "__main__":
    main()
