"""Fuzzes every surface guided by coverage: inputs that reach new code of ours are kept, and changed further.

    python -m tests.torture.guided [--seconds 60] [--seed 0] [--only SURFACE …] [--json FILE]

It needs atheris (`pip install -e '.[fuzz]'`, Python 3.11 or newer on Linux), which is libFuzzer with a coverage of
Python's bytecode. The modules of `runtime` and `calibration` are instrumented; libraries are not. The surfaces, and
what counts as a fault, are those of `tests/torture/fuzz.py`. An input is changed by libFuzzer, or by the surface's own
change, which keeps the file's form.

Each surface runs in a process of its own, with limits of time for an input and of memory for all. The corpus is kept in
`build/guided/SURFACE/` and begins the next run, so faults that are mended stay tried. An input that was a fault is kept
beside it, under `build/guided/SURFACE-faults/`, and never in the repository: what is broken may be other people's
software. Without atheris the program says so and exits with 0.
"""

import argparse
import importlib.util
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers.paths import ROOT

if TYPE_CHECKING:
    from tests.torture.surfaces import Surface

KEPT = ROOT / "build" / "guided"
# Seconds for one input, and megabytes for the process, PyTorch and what libFuzzer keeps among them.
SLOWEST, MOST_MB = 30, 4096
# The largest valid file has 72 KB, and some changes of JSON put in as much.
LONGEST_BYTES = 1 << 18
# Seconds between two writings of the counts, which a process that ends leaves behind.
_EVERY = 1.0
# Of importing PyTorch with all of our modules instrumented, on a busy machine, seconds.
_STARTS = 600


class Watched:
    """A surface that libFuzzer feeds, and what it answered so far."""

    def __init__(self, surface: "Surface", counts: Path, faults: Path) -> None:
        """Watch a surface.

        Args:
            surface: The surface.
            counts: File for the counts, JSON as `tests/torture/fuzz.py` writes them.
            faults: Folder for inputs that were faults.
        """
        self._surface = surface
        self._counts = counts
        self._faults_folder = faults
        self._answers: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._faults: dict[str, int] = {}
        self._began = self._written = time.monotonic()
        self._settled = 0

    def try_one(self, data: bytes) -> None:
        """Have the surface read an input; a fault is kept and the next input follows."""
        from tests.torture.fuzz import SETTLED, answer

        self._surface.file.write_bytes(data)
        kind, what = answer(self._surface.read)
        self._answers[kind] += 1
        inputs = self._answers.total()
        if kind == "refused":
            self._refused[what] += 1
        elif kind == "fault" and self._faults.setdefault(what, inputs) == inputs:
            (self._faults_folder / f"{inputs:08}").write_bytes(data)
        if inputs == SETTLED:
            self._settled = resident()
        if kind == "fault" or time.monotonic() - self._written > _EVERY:
            self.write()

    def write(self) -> None:
        """Write the counts so far."""
        self._written = time.monotonic()
        found = {
            "inputs": self._answers.total(),
            "read": self._answers["read"],
            "refused": self._refused,
            "faults": [[number, what] for what, number in self._faults.items()],
            "grown": round(resident() / self._settled, 3) if self._settled else 1.0,
            "seconds": round(self._written - self._began, 1),
        }
        partial = self._counts.with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.replace(self._counts)

    def change(self, data: bytes, max_size: int, seed: int) -> bytes:
        """Return a changed input: by the surface's own change, or by libFuzzer's."""
        import atheris

        rng = random.Random(seed)  # noqa: S311
        if rng.randrange(2):
            # Of a file that has lost its form already, libFuzzer's alone.
            try:
                return self._surface.change(rng, data)[:max_size]
            except Exception:  # noqa: BLE001, S110
                pass
        changed: bytes = atheris.Mutate(data, max_size)
        return changed


def resident() -> int:
    """Return the resident memory of this process, bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def run_inside(name: str, folder: Path, words: list[str]) -> None:
    """Fuzz one surface in this process, which libFuzzer ends.

    Args:
        name: The surface.
        folder: An empty folder, for the surface's files and `counts.json`.
        words: Arguments of libFuzzer; the first names the corpus.
    """
    import atheris

    # What is imported here, and by the first reading, is instrumented.
    with atheris.instrument_imports(include=["runtime", "calibration"]):
        from tests.torture.surfaces import SURFACES

        inside = folder / "inside"
        inside.mkdir()
        surface = SURFACES[name](inside)
        surface.read()
    corpus = Path(words[0])
    (corpus / "valid").write_bytes(surface.file.read_bytes())
    watched = Watched(surface, folder / "counts.json", corpus.with_name(f"{name}-faults"))
    watched.write()
    atheris.Setup([sys.argv[0], *words], watched.try_one, custom_mutator=watched.change)
    atheris.Fuzz()


def fuzz_guided(name: str, *, seconds: int, seed: int) -> dict[str, Any]:
    """Return what a surface answered in so many seconds, as `tests.torture.fuzz.Outcome` has it."""
    corpus, faults = KEPT / name, KEPT / f"{name}-faults"
    for made in (corpus, faults):
        made.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MOST_MB}", f"-seed={seed + 1}"]
    words = [str(corpus), *limits, f"-max_len={LONGEST_BYTES}", f"-artifact_prefix={faults}/", "-print_final_stats=1"]
    with tempfile.TemporaryDirectory(prefix="export-ssl-fuzz-") as kept:
        command = [sys.executable, "-m", "tests.torture.guided", "--inside", name, kept, *words]
        log = KEPT / f"{name}.log"
        with log.open("wb") as output:
            try:
                code = subprocess.run(
                    command, stdout=output, stderr=output, check=False, timeout=seconds + SLOWEST + _STARTS, cwd=ROOT
                ).returncode
            except subprocess.TimeoutExpired:
                code = -1
        counts = Path(kept) / "counts.json"
        found: dict[str, Any] = json.loads(counts.read_bytes()) if counts.is_file() else {"inputs": 0, "faults": []}
        outside = [entry.name for entry in Path(kept).iterdir() if entry.name not in ("inside", counts.name)]
    if code != 0:
        found["faults"].append([found["inputs"], f"ends the process with {code}: see {log.relative_to(ROOT)}"])
    found["faults"] += [[found["inputs"], f"a file was written outside the folder: {one}"] for one in outside]
    found["corpus"] = len(list(corpus.iterdir()))
    return found


def main() -> None:
    """Fuzz the surfaces, print a row for each, and exit with 1 if one has a fault."""
    if sys.argv[1:2] == ["--inside"]:
        return run_inside(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    from tests.torture.surfaces import SURFACES

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=60, help="time for each surface")
    parser.add_argument("--seed", type=int, default=0, help="other inputs for another number")
    parser.add_argument("--only", nargs="*", choices=sorted(SURFACES), default=sorted(SURFACES), help="surfaces")
    parser.add_argument("--json", type=Path, help="file for the outcomes")
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed, so nothing is fuzzed by coverage: pip install -e '.[fuzz]'")
        return None
    faults = 0
    for name in arguments.only:
        found = fuzz_guided(name, seconds=arguments.seconds, seed=arguments.seed)
        faults += len(found["faults"])
        print(f"{name}: {found['inputs']:,} inputs, {found['corpus']:,} kept in the corpus", flush=True)
        for number, what in found["faults"]:
            print(f"  fault at {number}: {what}", flush=True)
        if arguments.json:
            earlier = json.loads(arguments.json.read_bytes()) if arguments.json.is_file() else {}
            arguments.json.write_text(json.dumps(earlier | {name: found}, indent=1, sort_keys=True))
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
