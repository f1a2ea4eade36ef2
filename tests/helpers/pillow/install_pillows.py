"""Install every Pillow of `pillow_versions.txt` beside the environment: tests/runtime/images/ runs on each."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = Path(sys.prefix) / "pillows"


def main() -> None:
    """Install what is missing; a version that has no wheel for this Python is an error."""
    lines = (HERE / "pillow_versions.txt").read_text(encoding="utf-8").splitlines()
    for version in (line.split("#")[0].strip() for line in lines):
        if version and not (TARGET / version / "PIL").is_dir():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*pip, "--target", str(TARGET / version), f"pillow=={version}"], check=True)


if __name__ == "__main__":
    main()
