"""What the thin runtime and its engines take on disk, by the files that each distribution lists.

    python -m benchmarks.thin.installed_size [--machine NAME] [SITE_PACKAGES]

The packages of another machine may be counted here: an installed ARM64 root's, with `--machine aarch64`.
"""

import argparse
import platform
import re
import sysconfig
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement

# What `pip install export-ssl` and its extra `cpu` name, without the package itself.
BASE = ("numpy", "pillow", "pydantic", "typer", "rich")
INSTALLS = {
    "export-ssl": BASE,
    "with onnxruntime": (*BASE, "onnxruntime"),
    "with OpenVINO": (*BASE, "openvino"),
    "export-ssl[cpu]": (*BASE, "onnxruntime", "openvino"),
}
BYTES_PER_MB = 1e6


def normalised(name: str) -> str:
    """Return a distribution's name as package indexes compare it.

    Source: PEP 503.
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(folder: Path) -> dict[str, Distribution]:
    """Return the distributions in a folder of packages by their names."""
    found = map(Distribution.at, folder.glob("*.dist-info"))
    return {normalised(one.metadata["Name"]): one for one in found}


def needed(distributions: dict[str, Distribution], names: tuple[str, ...], machine: str) -> dict[str, Distribution]:
    """Return the named distributions and all that they need, without extras.

    Args:
        distributions: What is installed.
        names: Where to begin.
        machine: The processor's name, as `platform.machine` has it.
    """
    found: dict[str, Distribution] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        found[name] = distributions[name]
        for text in distributions[name].requires or ():
            asked = Requirement(text)
            if asked.marker is None or asked.marker.evaluate({"extra": "", "platform_machine": machine}):
                left.append(normalised(asked.name))
    return found


def size_mb(distribution: Distribution) -> float:
    """Return the sum of a distribution's files in MB."""
    return sum(file.size or 0 for file in distribution.files or ()) / BYTES_PER_MB


def main() -> None:
    """Print a table of installations, and the largest distributions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("folder", type=Path, nargs="?", default=Path(sysconfig.get_path("purelib")))
    arguments = parser.parse_args()
    distributions = installed(arguments.folder)
    print("| installed | distributions | MB |\n|---|---|---|")
    for title, names in INSTALLS.items():
        found = needed(distributions, names, arguments.machine)
        print(f"| {title} | {len(found)} | {sum(map(size_mb, found.values())):.0f} |")
    sizes = {name: size_mb(one) for name, one in found.items()}
    for name in sorted(sizes, key=lambda name: -sizes[name])[:5]:
        print(f"{name} {found[name].version}: {sizes[name]:.1f} MB")


if __name__ == "__main__":
    main()
