"""Install every extra in its lowest and its newest versions, and use it: `make bounds`.

    python -m tests.bounds.try_bounds [--only INSTALL …] [--versions lowest newest] [--json FILE] [--cache FOLDER]

1. uv builds the sdist, and the wheel from it.
2. For each line of `INSTALLS`, in `installs.py`, and each of the two: a fresh environment in a temporary folder, the
   direct dependencies in the lowest versions that pyproject.toml allows or in the newest, all others in the newest, and
   the wheel, not editable. What needs a GPU is only resolved.
3. What the extra is for is done there, for real (`uses.py`, `thin.py`), and the environment is removed.

The lowest versions run on the lowest Python that the project supports, or that an extra's packages are made for, the
newest on the newest Python; both of those that uv finds on PATH. It needs the network, and 12 GB of disk for PyTorch:
uv's cache is in the temporary folder too, one for each half, and each package lies there once.
`benchmarks/results/bounds.json` keeps what was tried; `make readme` makes the tables of docs/how-to/install.md from it.
It ends with 1 where something failed.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.shared.environment import describe_environment
from tests.bounds.case import Case
from tests.bounds.inputs import make_inputs
from tests.bounds.installs import INSTALLS, Install
from tests.helpers.fresh_environment import CommandFailedError, UvEnvironment, find_uv, run_uv
from tests.helpers.paths import ROOT
from tests.helpers.project import PYPROJECT, release

RESULT = ROOT / "benchmarks" / "results" / "bounds.json"
KINDS = ("lowest", "newest")
# Of what a failed command said, what is kept.
_LAST_LINES = 5
# An environment with PyTorch and NVIDIA's libraries, and the archives that are unpacked meanwhile.
NEEDED_BYTES = 12 * 1000**3


def find_pythons() -> dict[tuple[int, ...], str]:
    """Return the interpreters that uv finds by their versions, oldest first: those that this project supports."""
    listed = json.loads(run_uv([find_uv(), "python", "list", "--only-installed", "--output-format", "json"]))
    lowest = release(PYPROJECT["project"]["requires-python"].removeprefix(">="))
    found = {release(one["version"]): one["path"] for one in reversed(listed)}
    fit = {version: found[version] for version in sorted(found) if version >= lowest}
    if not fit:
        sys.exit(f"uv finds no Python from {'.'.join(map(str, lowest))} on: put one on PATH")
    return fit


def choose_python(pythons: dict[tuple[int, ...], str], kind: str, install: Install) -> str:
    """Return the interpreter for one of `KINDS`: the oldest that the packages are made for, or the newest."""
    fit = [path for version, path in pythons.items() if version >= release(install.python)]
    return fit[0 if kind == "lowest" else -1]


def build_wheel(folder: Path) -> Path:
    """Return the wheel, built in a folder from the sdist that is built there first."""
    run_uv([find_uv(), "build", "--quiet", "--out-dir", str(folder), str(ROOT)])
    (wheel,) = folder.glob("*.whl")
    return wheel


def try_install(install: Install, kind: str, python: str, folder: Path, files: dict[str, Path]) -> dict[str, Any]:
    """Return what came of one environment, which is removed afterwards.

    Args:
        install: What is installed and done.
        kind: One of `KINDS`.
        python: The interpreter.
        folder: Where the environment is made; not there yet.
        files: The `wheel`, the `inputs` and uv's `cache`.
    """
    began = time.monotonic()
    result: dict[str, Any] = {"passed": False, "python": "", "packages": {}, "commands": [], "figures": {}}
    work = folder / "work"
    try:
        environment = UvEnvironment(folder / "env", python, files["cache"])
        case = Case(environment, files["inputs"], work, result["commands"])
        work.mkdir()
        result["python"] = environment.require("python", "--version").split()[1]
        pins = folder / "pins.txt"
        environment.compile(ROOT / "pyproject.toml", install.extras, pins, lowest=kind == "lowest")
        resolved = dict(line.split("==") for line in pins.read_text(encoding="utf-8").split() if "==" in line)
        result["packages"] = {name: resolved[name] for name in install.bounds if name in resolved}
        if install.use is not None:
            environment.install("-r", str(pins), str(files["wheel"]))
            result["figures"] = install.use(case) or {}
        result["passed"] = True
    except CommandFailedError as error:
        result["said"] = str(error).strip().splitlines()[:1] + str(error).strip().splitlines()[1:][-_LAST_LINES:]
    result |= {"tried": install.use is not None, "date": datetime.now(timezone.utc).date().isoformat()}
    result["seconds"] = round(time.monotonic() - began)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def told(name: str, kind: str, result: dict[str, Any]) -> str:
    """Return a line on one environment."""
    packages = " ".join(f"{package} {version}" for package, version in result["packages"].items())
    how = ("passed" if result["tried"] else "resolved") if result["passed"] else "FAILED"
    said = "".join(f"\n    {line}" for line in result.get("said", ()))
    return f"{name}, {kind}, Python {result['python']}: {how} in {result['seconds']} s: {packages}{said}"


def write(file: Path, results: dict[str, dict[str, Any]]) -> None:
    """Write what was tried into a file of results, over what it says of the same environments."""
    earlier = json.loads(file.read_text(encoding="utf-8"))["installs"] if file.is_file() else {}
    merged = {name: {**earlier.get(name, {}), **results.get(name, {})} for name in INSTALLS}
    text = {"machine": describe_environment(), "installs": {name: kinds for name, kinds in merged.items() if kinds}}
    file.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Try all, print a line for each environment, write the results, and return 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="+", choices=INSTALLS, default=list(INSTALLS), help="choices of extras")
    parser.add_argument("--versions", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--json", type=Path, default=RESULT, help="file of the results")
    parser.add_argument("--cache", type=Path, help="uv's cache, which is kept (default: a temporary one)")
    arguments = parser.parse_args()
    pythons = find_pythons()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="export-ssl-bounds-") as temporary:
        if shutil.disk_usage(temporary).free < NEEDED_BYTES:
            sys.exit(f"{temporary} needs {NEEDED_BYTES / 1e9:.0f} GB free: free some, or set TMPDIR to a larger disk")
        folder = Path(temporary)
        files = {"wheel": build_wheel(folder / "dist"), "inputs": make_inputs(folder / "inputs")}
        for kind in arguments.versions:
            files["cache"] = arguments.cache or folder / f"cache-{kind}"
            for name in arguments.only:
                python = choose_python(pythons, kind, INSTALLS[name])
                result = try_install(INSTALLS[name], kind, python, folder / f"{name}-{kind}", files)
                print(told(name, kind, result), flush=True)
                results.setdefault(name, {})[kind] = result
                write(arguments.json, results)
            if arguments.cache is None:
                shutil.rmtree(files["cache"])
    return 0 if all(one["passed"] for kinds in results.values() for one in kinds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
