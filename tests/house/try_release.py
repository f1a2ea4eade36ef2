"""Build wheel and sdist, check them, and try the tutorial's commands in a fresh environment with each.

    python tests/house/try_release.py [--only wheel|sdist]

1. `python -m build` makes both in a temporary folder, `twine check --strict` checks them.
2. A ResNet-18 is trained on handwritten digits, as `make demo` does; that is the one thing that the checkout does.
3. For each of the two, a fresh environment: `pip install FILE[export,cpu,report]`, `--version` of both commands, and
   every command of docs/tutorial/first-bundle.md, in a folder that holds the digits alone. What the tutorial expects
   from `make demo`, two more bundles, is exported before.
4. When all of it passed, both files are moved to dist/, and what was there before is removed.

The first failure ends it with the command, its exit code and what it said; dist/ is left as it was. Most of its time
is pip's: PyTorch with its CUDA libraries goes into each environment, one after the other. pip's own settings hold, such
as PIP_EXTRA_INDEX_URL with an index of PyTorch's for CPUs. Run by `make release`.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers.fresh_environment import Environment
from tests.helpers.paths import ROOT

TUTORIAL = ROOT / "docs" / "tutorial" / "first-bundle.md"
EXTRAS = "[export,cpu,report]"
COMMANDS = ("export-ssl", "run-ssl")
# An environment with PyTorch, and what pip downloads for it.
NEEDED_BYTES = 12 * 1000**3
FP32 = (
    "export-ssl --model resnet18 --weights demo/digits_resnet18.safetensors --labels demo/digits_labels.txt "
    "--licence CC0-1.0 --img-size 64 --interpolation bilinear --golden demo/digits/train"
)
# What `make demo` has made when the tutorial's own commands begin.
BEFORE = (
    f"{FP32} --output demo/digits-fp32",
    f"{FP32} --int8 --int8-target cpu --calib demo/digits/train --output demo/digits-int8-cpu",
)


def tutorial_commands(page: str) -> list[list[str]]:
    """Return the words of every command of ours in a page's fenced blocks, in order."""
    fenced = "\n".join(re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    lines = [shlex.split(line) for line in re.sub(r"\\\n\s*", " ", fenced).splitlines()]
    return [words for words in lines if words and words[0] in COMMANDS]


def build(folder: Path) -> dict[str, Path]:
    """Return the wheel and the sdist, built in a folder and checked."""
    here(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT))
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    print(here(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)).strip())
    return {"wheel": wheel, "sdist": sdist}


def here(*words: str) -> str:
    """Run a program of this environment in the checkout and return its output; a failure ends the script."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{shlex.join(words)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def try_file(file: Path, demo: Path, folder: Path) -> None:
    """Install a file into a fresh environment and run the tutorial there.

    Args:
        file: The wheel or the sdist.
        demo: The digits and the network that was trained on them.
        folder: Where environment and bundles are made; removed afterwards.
    """
    print(f"{file.name}:", flush=True)
    began = time.monotonic()
    environment = Environment(folder / "env", sys.executable)
    environment.install(f"{file}{EXTRAS}")
    print(f"  installed with {EXTRAS} in {time.monotonic() - began:.0f} s", flush=True)
    (_, version, *_) = file.name.removesuffix(".tar.gz").split("-")
    for command in COMMANDS:
        said = environment.require(command, "--version").strip()
        if said != f"{command} {version}":
            sys.exit(f"{command} --version says {said!r}, expected {command} {version}")
    work = folder / "work"
    shutil.copytree(demo, work / "demo")
    for words in (*map(shlex.split, BEFORE), *tutorial_commands(TUTORIAL.read_text(encoding="utf-8"))):
        began = time.monotonic()
        environment.require(*words, folder=work)
        print(f"  {time.monotonic() - began:4.0f} s  {shlex.join(words)[:100]}", flush=True)
    report = work / "demo" / "report.html"
    if not report.is_file():
        sys.exit(f"the tutorial's commands ran, but {report.name} is not there")
    shutil.rmtree(folder)


def main() -> None:
    """Build, check and try."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=["wheel", "sdist"], help="try one of the two; dist/ is left as it is then")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="export-ssl-release-") as temporary:
        free = shutil.disk_usage(temporary).free
        if free < NEEDED_BYTES:
            sys.exit(
                f"{temporary} has {free / 1e9:.0f} GB free, {NEEDED_BYTES / 1e9:.0f} GB are needed for PyTorch: "
                "free some, or set TMPDIR to a larger disk"
            )
        files = build(Path(temporary, "dist"))
        demo = Path(temporary, "demo")
        here(sys.executable, "-m", "benchmarks.inputs.train_digits", str(demo))
        for name in [arguments.only] if arguments.only else files:
            try_file(files[name], demo, Path(temporary, name))
        if not arguments.only:
            shutil.rmtree(ROOT / "dist", ignore_errors=True)
            shutil.move(Path(temporary, "dist"), ROOT / "dist")
            print(f"dist/ holds {' and '.join(file.name for file in files.values())}")


if __name__ == "__main__":
    main()
