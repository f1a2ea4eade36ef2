"""Which files have the same bytes again, and what changes them: the table of docs/reference/stability.md.

    python -m tests.torture.same_bytes [--only SETTING …] [--json FILE] [--cache FOLDER] [--write]

Two fresh environments get the same versions of all packages, and a third the lowest that pyproject.toml allows, each
with the wheel of this checkout. In the first, a ResNet-18 is exported in FP32, FP16 and INT8 for both targets, pictures
are embedded with each bundle, and a repository is written: `COMMANDS`. The same commands then run in every line of
`SETTINGS`: again, in the other environments, on one core, and on older processors, by QEMU's emulation of them. Every
file is compared with the first one's. The embeddings and the repository are made of the first run's bundles each time,
so that they show the engines alone. No command here writes a file that holds a time.

Only the first two settings must give the same bytes: it ends with 1 where they do not. It needs the network and 20 GB
of disk; emulated processors need qemu-x86_64-static (Debian's qemu-user-static) and take most of the time.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.documents.scale_costs import fill
from benchmarks.shared.environment import describe_environment
from tests.bounds.inputs import OWN, make_checkpoint
from tests.bounds.try_bounds import build_wheel, find_pythons
from tests.helpers.fresh_environment import CommandFailedError, UvEnvironment
from tests.helpers.paths import ROOT
from tests.torture.byte_differences import difference, page_table

RESULT = ROOT / "benchmarks" / "results" / "same_bytes.json"
PAGE = ROOT / "docs" / "reference" / "stability.md"
EXTRAS = ("export", "cpu", "embed")
QEMU = "qemu-x86_64-static"
_OWN = (*OWN, "--weights", "{inputs}/network.safetensors", "--labels", "{inputs}/pictures")
_INT8 = ("--int8", "--calib", "{inputs}/pictures")
_JOB = ("{inputs}/pictures", "--part-images", "16", "--batch-size", "8", "--threads", "1")
EXPORTS: dict[str, tuple[str, ...]] = {
    "fp32": ("export-ssl", *_OWN, "--output", "fp32"),
    "fp16": ("export-ssl", *_OWN, "--fp16", "--output", "fp16"),
    "int8": ("export-ssl", *_OWN, *_INT8, "--calib-cache", "int8.cache", "--output", "int8"),
    "int8-cpu": ("export-ssl", *_OWN, *_INT8, "--int8-target", "cpu", "--output", "int8-cpu"),
}
# Each reads the first run's bundles, `{first}`.
USES: dict[str, tuple[str, ...]] = {
    f"embed {bundle} {engine}": (
        *("run-ssl", "embed", f"{{first}}/{bundle}", *_JOB, "--engine", engine, "--format", form, "--top-k", "2"),
        *("-o", f"embedded-{bundle}-{engine}"),
    )
    for bundle, form in (("fp32", "parquet"), ("int8-cpu", "npy"))
    for engine in ("onnxruntime", "openvino")
} | {"repo": ("run-ssl", "repo", "{first}/fp32", "repository", "--name", "network")}
COMMANDS = EXPORTS | USES
# What runs on emulated processors. INT8 is not among it: a calibration takes over half an hour there, and the runtime
# asks /proc/cpuinfo whether the integer kernels saturate, which QEMU leaves as this machine has it.
_EMULATED = tuple(name for name in USES if "int8" not in name)
# The ones that must give the same bytes.
PROMISED = ("again", "another environment")


@dataclass(frozen=True)
class Setting:
    """Under what the commands run again.

    Attributes:
        title: Head of the column in the table.
        environment: Which of the environments: `first`, `second` or `lowest`.
        cores: How many cores the processes may use; None for all.
        cpu: Processor that QEMU emulates; None for this machine's.
        commands: Names of the commands that run.
    """

    title: str
    environment: str = "first"
    cores: int | None = None
    cpu: str | None = None
    commands: tuple[str, ...] = tuple(COMMANDS)


SETTINGS: dict[str, Setting] = {
    "again": Setting("again"),
    "another environment": Setting("another environment, same versions", environment="second"),
    "one core": Setting("one core", cores=1),
    "lowest versions": Setting("lowest versions", environment="lowest"),
    "haswell": Setting("a CPU without AVX-512", cpu="Haswell", commands=("fp32", *_EMULATED)),
    "nehalem": Setting("a CPU without AVX", cpu="Nehalem", commands=_EMULATED),
}


@dataclass(frozen=True)
class Places:
    """Where everything is.

    Attributes:
        environments: The environments by name.
        inputs: What the commands read.
        first: Working folder of the first run.
    """

    environments: Mapping[str, UvEnvironment]
    inputs: Path
    first: Path


def make_places(folder: Path, cache: Path | None) -> Places:
    """Return the environments and inputs, made in a folder."""
    wheel = build_wheel(folder / "dist")
    pythons = list(find_pythons().values())
    environments = {}
    for name in ("first", "second", "lowest"):
        environment = UvEnvironment(folder / name, pythons[0 if name == "lowest" else -1], cache)
        pins = folder / ("lowest.txt" if name == "lowest" else "newest.txt")
        if not pins.exists():
            environment.compile(ROOT / "pyproject.toml", EXTRAS, pins, lowest=name == "lowest")
        environment.install("-r", str(pins), str(wheel))
        environments[name] = environment
    inputs = folder / "inputs"
    make_checkpoint(inputs)
    return Places(environments, inputs, folder / "runs" / "first")


def run_setting(setting: Setting, places: Places, work: Path) -> float:
    """Run the commands of a setting in a new folder, and return how long they took, in seconds.

    Raises:
        CommandFailedError: A command failed.
    """
    work.mkdir(parents=True)
    environment = places.environments[setting.environment]
    began = time.monotonic()
    usable = os.sched_getaffinity(0)
    if setting.cores is not None:
        os.sched_setaffinity(0, sorted(usable)[: setting.cores])
    try:
        for name in setting.commands:
            filled = [word.format(inputs=places.inputs, first=places.first) for word in COMMANDS[name]]
            run_command(environment, filled, setting, work)
    finally:
        os.sched_setaffinity(0, usable)
    return time.monotonic() - began


def run_command(environment: UvEnvironment, words: list[str], setting: Setting, work: Path) -> None:
    """Run a command of an environment in a folder, on an emulated processor where the setting names one."""
    if setting.cpu is None:
        environment.require(*words, folder=work)
        return
    binaries = environment.folder / "bin"
    emulated = [QEMU, "-cpu", setting.cpu, str(binaries / "python"), str(binaries / words[0]), *words[1:]]
    environment.require("python", "-c", _EXECUTE, *emulated, folder=work)


_EXECUTE = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


def compare_folders(first: Path, other: Path) -> dict[str, str]:
    """Return what differs of each file of a run, by its path: empty where the bytes are the same.

    Files of commands that the other run leaves out are not among them.
    """
    made = {path.name for path in other.iterdir()}
    names = sorted(
        path.relative_to(first).as_posix()
        for path in first.rglob("*")
        if path.is_file() and path.relative_to(first).parts[0] in made
    )
    return {name: difference(first / name, other / name) for name in names}


def try_settings(names: list[str], folder: Path, cache: Path | None, file: Path) -> dict[str, Any]:
    """Return, by setting, its title, the seconds it took and what differs of each file.

    Args:
        names: Names of the settings.
        folder: Where environments and runs are made.
        cache: uv's cache; None for the user's.
        file: Where what is known so far is written, after each setting; `earlier` results in it are kept.
    """
    places = make_places(folder, cache)
    versions = {name: places.environments[name].versions() for name in ("first", "lowest")}
    results = earlier(file, versions)
    seconds = run_setting(Setting("first"), places, places.first)
    print(f"first run: {seconds:.0f} s", flush=True)
    for name in names:
        work = folder / "runs" / name.replace(" ", "-")
        results[name] = result = try_setting(SETTINGS[name], places, work)
        settings = {of: results[of] for of in SETTINGS if of in results}
        text = {"machine": describe_environment(), "versions": versions, "settings": settings}
        file.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {told(result)}", flush=True)
    return results


def earlier(file: Path, versions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an earlier run with the same versions of all packages."""
    if not file.exists():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    if found.get("versions") != versions:
        return {}
    kept: dict[str, Any] = found["settings"]
    return kept


def try_setting(setting: Setting, places: Places, work: Path) -> dict[str, Any]:
    """Return what came of a setting: what differs of each file, or what its first failed command said."""
    try:
        seconds = run_setting(setting, places, work)
    except CommandFailedError as error:
        return {"title": setting.title, "failed": str(error).strip().splitlines()[-1]}
    files = compare_folders(places.first, work)
    shutil.rmtree(work)
    return {"title": setting.title, "seconds": round(seconds), "files": files}


def told(result: Mapping[str, Any]) -> str:
    """Return what came of a setting, in lines."""
    if "failed" in result:
        return f"failed: {result['failed']}"
    other = {file: what for file, what in result["files"].items() if what}
    same = len(result["files"]) - len(other)
    lines = [f"{same} of {len(result['files'])} files the same; {result['seconds']} s"]
    return "\n".join([*lines, *(f"    {file}: {what}" for file, what in other.items())])


def main() -> int:
    """Try the settings, write the result, and return 1 where what must be the same is not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, help="settings (default: all that can run here)")
    parser.add_argument("--json", type=Path, default=RESULT, help="file of the results; other settings in it are kept")
    parser.add_argument("--cache", type=Path, help="uv's cache (default: the user's)")
    parser.add_argument("--write", action="store_true", help="only fill the page, from the file of the results")
    arguments = parser.parse_args()
    if arguments.write:
        settings = json.loads(arguments.json.read_text(encoding="utf-8"))["settings"]
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(fill(page, {"same_bytes": page_table(settings)}), encoding="utf-8")
        return 0
    # Else no run would have more than so many threads, and `one core` would change nothing.
    os.environ.pop("OMP_NUM_THREADS", None)
    able = [name for name, setting in SETTINGS.items() if setting.cpu is None or shutil.which(QEMU)]
    with tempfile.TemporaryDirectory(prefix="export-ssl-same-bytes-") as temporary:
        results = try_settings(arguments.only or able, Path(temporary), arguments.cache, arguments.json)
    return int(any(_differs(results[name]) for name in PROMISED if name in results))


def _differs(setting: Mapping[str, Any]) -> bool:
    return "failed" in setting or any(setting["files"].values())


if __name__ == "__main__":
    sys.exit(main())
