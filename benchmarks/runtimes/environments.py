"""An environment for each program, and the process in which its lines run."""

import json
import os
import shutil
import subprocess
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.runtimes.programs import Program
from runtime.support.arrays import AnyFloats

OUTPUTS = ("logits", "embedding")
SECONDS = 900
_PYTHON = """\
import sys
import numpy
pixels = numpy.load("pixels.npy")
names = {"pixels": pixels}
exec(sys.argv[1], names)
for name in ("logits", "embedding"):
    numpy.save(name + ".npy", numpy.asarray(names[name]))
"""
_NODE = """\
import fs from "node:fs";
const input = JSON.parse(fs.readFileSync("pixels.json"));
const shape = input.shape;
const pixels = input.type === "uint8" ? Uint8Array.from(input.data) : Float32Array.from(input.data);
{lines}
for (const name of ["logits", "embedding"])
  fs.writeFileSync(name + ".json", JSON.stringify({ shape: outputs[name].dims, data: Array.from(outputs[name].data) }));
"""


class RefusedError(Exception):
    """A program did not run a network; the message is what it said."""


@dataclass(frozen=True)
class Environment:
    """Where a program is installed.

    Attributes:
        program: The program.
        folder: The folder that `venv` made for it, or that has its `node_modules`.
    """

    program: Program
    folder: Path

    def run(self, model: Path, pixels: np.ndarray) -> dict[str, AnyFloats]:
        """Return what the program computes, by the output's name.

        Args:
            model: The ONNX file.
            pixels: The network's input for N images, (N, H, W, C) uint8 or (N, C, H, W) float32.

        Raises:
            RefusedError: The program failed, or took longer than `SECONDS`.
        """
        if not self.program.one_by_one:
            return self._run(model, pixels)
        each = [self._run(model, pixels[number : number + 1]) for number in range(len(pixels))]
        return {name: np.concatenate([found[name] for found in each]) for name in OUTPUTS}

    def _run(self, model: Path, pixels: np.ndarray) -> dict[str, AnyFloats]:
        with tempfile.TemporaryDirectory(prefix="export-ssl-runtimes-") as name:
            work = Path(name)
            shutil.copy(model, work / "model.onnx")
            words, environment = self._words(work, pixels)
            try:
                done = subprocess.run(
                    words, cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
                )
            except subprocess.TimeoutExpired as error:
                raise RefusedError(f"not done within {SECONDS} seconds") from error
            if done.returncode:
                raise RefusedError(_reason(done.stderr, done.stdout, done.returncode))
            return {output: _read(work, output, node=self.program.node) for output in OUTPUTS}

    def _words(self, work: Path, pixels: np.ndarray) -> tuple[list[str], dict[str, str]]:
        """Return the command, after its input was written, and its environment."""
        if self.program.node:
            described = {"shape": pixels.shape, "type": str(pixels.dtype), "data": pixels.ravel().tolist()}
            (work / "pixels.json").write_text(json.dumps(described), encoding="utf-8")
            (work / "run.mjs").write_text(_NODE.replace("{lines}", self.program.lines), encoding="utf-8")
            (work / "node_modules").symlink_to(self.folder / "node_modules")
            return ["node", "run.mjs"], {**os.environ}
        np.save(work / "pixels.npy", pixels)
        binaries = self.folder / "bin"
        path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
        return [str(binaries / "python"), "-c", _PYTHON, self.program.lines], {**os.environ, "PATH": path}


def make_environment(folder: Path, program: Program) -> Environment:
    """Return a program's environment below `folder`, made where it is not there; needs the network, or Node.js too."""
    place = folder.absolute() / program.name
    if not place.exists():
        half = place.with_name(f"{place.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        if program.node:
            half.mkdir(parents=True)
            subprocess.run(["npm", "install", "--silent", "--prefix", str(half), *program.pins], check=True)
            half.rename(place)
        else:
            # Its scripts name its own place, so that it cannot be moved: what is half made is made again.
            venv.create(place, with_pip=True)
            done = subprocess.run([str(place / "bin" / "pip"), "install", "--quiet", *program.pins], check=False)
            if done.returncode:
                shutil.rmtree(place)
                done.check_returncode()
    return Environment(program, place)


def _read(work: Path, output: str, *, node: bool) -> AnyFloats:
    if not node:
        found: AnyFloats = np.load(work / f"{output}.npy")
        return found
    stored = json.loads((work / f"{output}.json").read_text(encoding="utf-8"))
    return np.array(stored["data"], np.float32).reshape(stored["shape"])


def _reason(errors: str, printed: str, code: int) -> str:
    """Return the line of what a program said that tells most: the first that names an error, or else the last."""
    lines = [line.strip() for line in [*printed.splitlines(), *errors.splitlines()] if line.strip()]
    named = [line for line in lines if "rror" in line and not line.startswith(("raise ", "File "))]
    return named[0] if named else lines[-1] if lines else f"ended with code {code}"
