"""Install NVIDIA's TensorRT bindings of `bindings_versions.txt` beside the environment, for test_real_bindings.py.

The bindings alone, a megabyte each: the libraries behind them are gigabytes, and the tests put stubs in their place.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = Path(sys.prefix) / "tensorrt-bindings"


def requirements() -> dict[str, str]:
    """Return the requirements of `bindings_versions.txt`, markers included, by version."""
    lines = (HERE / "bindings_versions.txt").read_text(encoding="utf-8").splitlines()
    listed = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return {line.split(";")[0].split("==")[1].strip(): line for line in listed}


def main() -> None:
    """Install what is missing and has a wheel for this Python; pip passes over a requirement whose marker says no."""
    for version, requirement in requirements().items():
        if not (TARGET / version / "tensorrt_bindings").is_dir():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*pip, "--target", str(TARGET / version), requirement], check=True)


if __name__ == "__main__":
    main()
