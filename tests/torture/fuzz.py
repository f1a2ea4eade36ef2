"""Gives every surface changed files by the thousand, and says what each answered.

    python -m tests.torture.fuzz [--inputs 100000] [--minutes M] [--seed 0] [--only SURFACE …] [--json FILE]

A changed file must be read, or refused with one of the project's errors, in one line. Anything else is a fault:
another exception, the end of the process, an input that takes more than SLOWEST seconds, a process that grows, or a
file written outside its folder. Each surface is read in a process of its own, which is started again behind an input
that ended it. Of a surface that reads slowly, `--minutes` ends the run earlier. FILE keeps the counts of surfaces that
an earlier run wrote there.

An input is made from the surface's name, the seed and its number: `--replay SURFACE:NUMBER` reads one alone and shows
its traceback. Inputs are never stored: what is broken may be other people's software, and stays with who found it.
"""

import argparse
import gc
import json
import math
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from runtime.errors import ExportSslError
from runtime.support.cpu import usable_cores
from runtime.support.memory import trim_heap
from tests.torture.surfaces import SURFACES, Surface

SLOWEST = 30.0
# A process may hold as much above what it has after the first inputs; what a hostile file asks for is refused before.
MOST_BYTES = 3 << 30
# Resident memory is compared from here on: caches and pools have filled by then.
SETTLED = 1_000
GROWTH = 1.25
# In memory, where there is such a folder: on a disk, to write an input takes ten times as long as most take to read.
_KEPT = next((folder for folder in (Path("/dev/shm"),) if os.access(folder, os.W_OK)), None)  # noqa: S108
# A thread that decodes has a heap of its own, of which glibc keeps up to 64 MB free at the end, where `malloc_trim`
# does not look: that is not told from growth. Later than at the start of a process it cannot be had.
# Source: mallopt(3).
_ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}
# Importing torch or pyarrow on a busy machine, seconds.
_STARTS = 300.0

MakeSurface = Callable[[Path], Surface]


@dataclass
class Outcome:
    """What a surface answered.

    Attributes:
        inputs: Number of changed files read.
        read: How many were read without an error.
        refused: How many were refused, by the class of the error.
        faults: Each fault: the number of the input and what happened.
        grown: Resident memory at the end relative to that after SETTLED inputs; 1.0 for fewer.
        seconds: Time of all.
    """

    inputs: int = 0
    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    grown: float = 1.0
    seconds: float = 0.0


def changed_file(make: MakeSurface, surface: Surface, valid: bytes, seed: int, number: int) -> bytes:
    """Return an input: always the same one for the same four."""
    return surface.change(random.Random(f"{make.__name__} {seed} {number}"), valid)  # noqa: S311


def answer(read: Callable[[], object]) -> tuple[str, str]:
    """Return what a surface answered: `read`, `refused` with the error's class, or `fault` with what it was."""
    try:
        read()
    except ExportSslError as error:
        message = str(error)
        if "\n" in message or not message.strip():
            return "fault", f"the message of a {type(error).__name__} is not one line: {message[:80]!r}"
        return "refused", type(error).__name__
    except Exception as error:  # noqa: BLE001  (each is what is looked for)
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "fault", f"{type(error).__name__}: {str(error)[:120]} ({Path(where.filename).name}:{where.lineno})"
    return "read", ""


def _serve(make: MakeSurface, kept: Path, numbers: range, seed: int, until: float, pipe: Connection) -> None:
    """Read the inputs of some numbers and tell of each what came of it; twice the memory too, in bytes."""
    folder = kept / "inside"
    folder.mkdir()
    surface = make(folder)
    valid = surface.file.read_bytes()
    if answer(surface.read)[0] != "read":
        pipe.send(("invalid", 0, f"the valid file is not read: {answer(surface.read)}"))
        return
    limit = _memory() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for number in numbers:
        if time.monotonic() > until:
            break
        surface.file.write_bytes(changed_file(make, surface, valid, seed, number))
        pipe.send(("begins", number, ""))
        kind, what = answer(surface.read)
        pipe.send((kind, number, what))
        for outside in [entry for entry in kept.iterdir() if entry != folder]:
            pipe.send(("fault", number, f"a file was written outside the folder: {outside.name}"))
            outside.unlink()
        if number == numbers.start + SETTLED:
            pipe.send(("memory", _settled_memory(surface, valid), ""))
    pipe.send(("memory", _settled_memory(surface, valid), ""))
    pipe.send(("done", numbers.stop, ""))


def _settled_memory(surface: Surface, valid: bytes) -> int:
    """Return the resident memory once the valid file was read: a large picture before it is let go then."""
    surface.file.write_bytes(valid)
    answer(surface.read)
    gc.collect()
    return _memory()


def _memory() -> int:
    """Return the resident memory of this process, bytes, without what the C library keeps of a large picture."""
    trim_heap()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def fuzz(make: MakeSurface, *, inputs: int, seed: int, slowest: float = SLOWEST, minutes: float = math.inf) -> Outcome:
    """Return what a surface answered to so many inputs, or to as many as it read in some minutes."""
    outcome, began, next_one = Outcome(), time.monotonic(), 0
    context, until = multiprocessing.get_context("spawn"), began + 60 * minutes
    while next_one < inputs and time.monotonic() < until:
        ours, theirs = context.Pipe(duplex=False)
        with tempfile.TemporaryDirectory(prefix="export-ssl-fuzz-", dir=_KEPT) as kept:
            numbers = range(next_one, inputs)
            os.environ |= _ONE_HEAP
            process = context.Process(target=_serve, args=(make, Path(kept), numbers, seed, until, theirs))
            process.start()
            theirs.close()
            next_one = _follow(ours, outcome, next_one, slowest)
            process.kill()
            process.join()
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def _follow(pipe: Connection, outcome: Outcome, first: int, slowest: float) -> int:
    """Note what a process tells until it ends, and return the number of the input to go on with."""
    current, memories, begun = first, list[int](), outcome.inputs
    while True:
        try:
            if not pipe.poll(slowest if outcome.inputs > begun else slowest + _STARTS):
                outcome.faults.append((current, f"takes more than {slowest:.0f} s"))
                return current + 1
            kind, number, what = pipe.recv()
        except EOFError:
            if outcome.inputs == begun:
                outcome.faults.append((current, "the surface cannot be made"))
                return sys.maxsize
            outcome.faults.append((current, "ends the process"))
            return current + 1
        if kind == "begins":
            current, outcome.inputs = number, outcome.inputs + 1
        elif kind == "memory":
            memories.append(number)
        elif kind == "read":
            outcome.read += 1
        elif kind == "refused":
            outcome.refused[what] += 1
        elif kind in ("fault", "invalid"):
            outcome.faults.append((number, what))
            if kind == "invalid":
                return sys.maxsize
        else:
            if len(memories) > 1:
                outcome.grown = round(memories[-1] / memories[0], 3)
                if outcome.grown > GROWTH:
                    outcome.faults.append((number, f"grew to {outcome.grown} of its memory after {SETTLED} inputs"))
            return int(number)


def replay(name: str, seed: int, number: int) -> None:
    """Read one input here, and let its error out."""
    with tempfile.TemporaryDirectory(prefix="export-ssl-fuzz-") as kept:
        surface = SURFACES[name](Path(kept))
        surface.file.write_bytes(changed_file(SURFACES[name], surface, surface.file.read_bytes(), seed, number))
        surface.read()


def _write_counts(file: Path, outcomes: dict[str, Outcome]) -> None:
    """Write outcomes as JSON, sorted by surface, beside those that the file has of other surfaces."""
    earlier = json.loads(file.read_bytes()) if file.is_file() else {}
    file.write_text(json.dumps(earlier | outcomes, indent=1, default=vars, sort_keys=True))


def main() -> None:
    """Fuzz the surfaces, print a row for each, and exit with 1 if one has a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=100_000, help="changed files for each surface")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no surface takes longer")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="surfaces that are read at once")
    parser.add_argument("--seed", type=int, default=0, help="other inputs for another number")
    parser.add_argument("--only", nargs="*", choices=sorted(SURFACES), default=sorted(SURFACES), help="surfaces")
    parser.add_argument("--json", type=Path, help="file for the outcomes")
    parser.add_argument("--replay", metavar="SURFACE:NUMBER", help="read one input and show its traceback")
    arguments = parser.parse_args()
    if arguments.replay:
        name, number = arguments.replay.rsplit(":", 1)
        return replay(name, arguments.seed, int(number))
    asked = {"inputs": arguments.inputs, "seed": arguments.seed, "minutes": arguments.minutes}
    with ThreadPoolExecutor(arguments.processes) as pool:
        running = {name: pool.submit(fuzz, SURFACES[name], **asked) for name in arguments.only}
        outcomes = {}
        for name, one in running.items():
            outcomes[name] = found = one.result()
            if arguments.json:
                _write_counts(arguments.json, outcomes)
            refused = ", ".join(f"{count:,} {kind}" for kind, count in found.refused.most_common())
            print(f"{name}: {found.inputs:,} inputs, {found.read:,} read, {refused}; {found.seconds:.0f} s", flush=True)
            for number, what in found.faults[:20]:
                print(f"  fault, --replay {name}:{number}: {what}", flush=True)
    sys.exit(any(one.faults for one in outcomes.values()))


if __name__ == "__main__":
    main()
