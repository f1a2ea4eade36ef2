"""Install into fresh environments and prove that the base install is thin and sufficient.

    python tests/house/thin_install.py [--only newest|lowest] [--python PYTHON]

1. `pip install .`, no extra: every module of `runtime` imports, `run-ssl --help` works, no package of an extra
   is there, and `run-ssl verify` without an engine is one line that names the extra to install.
2. `pip install .[cpu]`, no torch: `run-ssl verify` passes on an FP32 and an FP16 bundle that this environment,
   with torch, exports.

Both with the newest versions that pip finds and with the lowest that pyproject.toml allows, on python3.10, the
lowest Python, where it is installed. The import time is printed: from `import runtime.engines.open_engine`, before an
engine, the best of several fresh processes, the interpreter's own start not counted. pip needs the network, so this is
not part of the tests; `make test-thin` runs it.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, WeightsChoice
from tests.helpers.fresh_environment import Environment
from tests.helpers.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOWEST_PYTHON = "python3.10"
IMPORT_RUNS = 10
# What `runtime` should need at most before an engine is loaded, milliseconds. Printed beside the figure.
IMPORT_TARGET_MS = 200
IMPORT_SCRIPT = """
import time
began = time.perf_counter()
import runtime, runtime.engines.open_engine
print(1000 * (time.perf_counter() - began))
"""
MODULES_SCRIPT = """
import importlib, pkgutil, runtime
names = ["runtime", *(module.name for module in pkgutil.walk_packages(runtime.__path__, "runtime."))]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
DISTRIBUTIONS_SCRIPT = """
import re
from importlib import metadata
for one in metadata.distributions():
    print(re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower())
"""


def bounded(requirements: list[str]) -> dict[str, str]:
    """Return the lower bound of each requirement: `name>=version`, perhaps with more behind a comma."""
    found = (re.match(r"([\w.-]+)>=([\w.]+)", requirement) for requirement in requirements)
    return {match[1]: match[2] for match in found if match}


def find_python() -> str:
    """Return the lowest Python that we support, or this one where that is not installed."""
    path = shutil.which(LOWEST_PYTHON)
    if path and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
        return path
    using = ".".join(str(part) for part in sys.version_info[:2])
    print(f"no {LOWEST_PYTHON} that runs is on PATH: using Python {using}; see --python", file=sys.stderr)
    return sys.executable


def export_bundles(folder: Path) -> list[Path]:
    """Export small bundles with this environment's torch."""
    targets = [folder / "fp32", folder / "fp16"]
    weights = WeightsChoice(source="random")
    export_bundle(ExportRequest("resnet18", weights=weights, img_size=64, output=targets[0]))
    export_bundle(ExportRequest("resnet18", fp16=True, weights=weights, img_size=64, output=targets[1]))
    return targets


def check_base(environment: Environment, bundle: Path) -> None:
    """Check the install without an extra."""
    extras = PROJECT["optional-dependencies"]
    optional = {re.split(r"[^\w.-]", one)[0].lower() for extra in extras.values() for one in extra} - {PROJECT["name"]}
    unwanted = optional & set(environment.require("python", "-c", DISTRIBUTIONS_SCRIPT).split())
    assert not unwanted, f"the base install brought {sorted(unwanted)}"
    modules = environment.require("python", "-c", MODULES_SCRIPT).strip()
    for arguments in (["--help"], ["verify", "--help"], ["compare", "--help"]):
        text = environment.require("run-ssl", *arguments)
        # Typer up to 0.17.0 adds this to options whose help already states the default.
        assert "default: None" not in text, f"run-ssl {' '.join(arguments)} shows a default that is none"
    refused = environment.run("run-ssl", "verify", str(bundle))
    assert refused.returncode == 1, refused
    assert "export-ssl[cpu]" in refused.stderr, refused
    assert refused.stderr.count("\n") == 1, refused
    times = [float(environment.require("python", "-c", IMPORT_SCRIPT)) for _ in range(IMPORT_RUNS)]
    best = min(times)
    print(
        f"  base: {modules} modules import; runtime.engines.open_engine in {best:.0f} ms (target {IMPORT_TARGET_MS} ms)"
    )


def check_cpu(environment: Environment, bundles: list[Path]) -> None:
    """Check the install with onnxruntime and OpenVINO."""
    installed = environment.require("python", "-c", DISTRIBUTIONS_SCRIPT).split()
    assert "torch" not in installed
    for bundle in bundles:
        environment.require("run-ssl", "verify", str(bundle))
    print(f"  cpu: run-ssl verify passes on {', '.join(bundle.name for bundle in bundles)}, without torch")


def main() -> None:
    """Install and check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=["newest", "lowest"], help="versions to install (default: both, in turn)")
    parser.add_argument("--python", help=f"interpreter (default: {LOWEST_PYTHON}, or this one where there is none)")
    arguments = parser.parse_args()
    python = arguments.python or find_python()
    base, cpu = bounded(PROJECT["dependencies"]), bounded(PROJECT["optional-dependencies"]["cpu"])
    with tempfile.TemporaryDirectory() as temporary:
        bundles = export_bundles(Path(temporary))
        for versions in [arguments.only] if arguments.only else ["newest", "lowest"]:
            for extra, bounds in (("", base), ("[cpu]", base | cpu)):
                environment = Environment(Path(temporary, f"{versions}{extra}"), python)
                pins = [f"{name}=={version}" for name, version in bounds.items()] if versions == "lowest" else []
                environment.install(f"{ROOT}{extra}", *pins)
                if not extra:
                    print(f"{versions}, {environment.require('python', '--version').strip()}")
                    check_base(environment, bundles[0])
                else:
                    frozen = environment.require("python", "-m", "pip", "list", "--format=freeze").split()
                    direct = {re.sub(r"[-_.]+", "-", name).lower() for name in bounds}
                    print(
                        "  " + " ".join(one for one in frozen if one.split("==")[0].lower().replace("_", "-") in direct)
                    )
                    check_cpu(environment, bundles)
    print(f"export-ssl {metadata.version('export-ssl')}: the base install is thin")


if __name__ == "__main__":
    main()
