"""What the programs share that try every command that writes: arguments, a process for each command, counts as JSON."""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from runtime.support.cpu import usable_cores
from tests.torture.commands import COMMANDS, Command, make_inputs
from tests.torture.forks import Ending, Site, run

# Faults of a command that are printed; all are in the JSON.
_PRINTED = 10


@dataclass(frozen=True)
class Work:
    """What is to be done with one command.

    Attributes:
        name: Name of the command.
        inputs: Folder of what it reads.
        tries: How many tries, or states.
        seed: Other moments and sizes for another number.
        seconds: No further try is begun so long after the first.
    """

    name: str
    inputs: Path
    tries: int
    seed: int
    seconds: float

    @property
    def command(self) -> Command:
        """The command."""
        return COMMANDS[self.name]


class Counts(Protocol):
    """What came of a command's tries: a dataclass."""

    faults: list[str]
    seconds: float

    def told(self) -> str:
        """Return the counts in words."""
        ...


def try_commands(
    about: str,
    work: Callable[[Work], Any],
    *,
    tries: int,
    names: Iterable[str] = COMMANDS,
) -> NoReturn:
    """Do the work for each command that the arguments of this program name, print a row for each, and exit.

    The exit code is 1 if a command has a fault.

    Args:
        about: Help of the program.
        work: Returns the `Counts` of a command, in a process of its own.
        tries: How many tries by default.
        names: Commands to choose from.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--tries", type=int, default=tries, help=f"tries of each command; {tries} by default")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="about how long all may take")
    parser.add_argument("--seed", type=int, default=0, help="other moments and sizes for another number")
    parser.add_argument("--only", nargs="*", choices=sorted(names), default=list(names), help="commands")
    parser.add_argument("--inputs", type=Path, help="folder of what the commands read; made where it is absent")
    parser.add_argument("--json", type=Path, help="file for the counts")
    arguments = parser.parse_args()
    # Else OpenBLAS starts threads when NumPy is imported, and a fork would have one of them.
    os.environ["OMP_NUM_THREADS"] = "1"
    counts, workers = _earlier(arguments), usable_cores()
    failed = False
    seconds = arguments.minutes * 60 * workers / len(arguments.only)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="export-ssl-torture-") as root:
        inputs = (arguments.inputs or Path(root) / "inputs").absolute()
        if not inputs.is_dir():
            made_inputs(inputs)
        with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
            running = {
                name: pool.submit(work, Work(name, inputs, arguments.tries, arguments.seed, seconds))
                for name in arguments.only
            }
            for name, one in running.items():
                counts[name] = found = one.result()
                failed |= bool(found.faults)
                print(f"{name}: {found.told()}; {found.seconds:.0f} s", flush=True)
                for what in found.faults[:_PRINTED]:
                    print(f"  fault: {what}", flush=True)
                if arguments.json:
                    _write(arguments.json, counts)
    sys.exit(failed)


def _earlier(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the counts of the commands that are not tried now."""
    if arguments.json is None or not arguments.json.is_file() or len(arguments.only) == len(COMMANDS):
        return {}
    return dict(json.loads(arguments.json.read_text(encoding="utf-8")))


def _write(file: Path, counts: dict[str, object]) -> None:
    file.parent.mkdir(exist_ok=True)
    # Not `asdict`: before Python 3.12 it counts the items of a Counter.
    file.write_text(json.dumps(counts, indent=1, default=vars), encoding="utf-8")


def refuses(ending: Ending) -> bool:
    """Return whether a command refused to make again what an earlier run of it had finished."""
    return ending.code == 1 and ending.stderr.startswith("error: ") and " exists: " in ending.stderr


def made_inputs(inputs: Path) -> Path:
    """Make what the commands read, and return where."""
    inputs.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")

    def run_one(command: Command, folder: Path) -> None:
        with ProcessPoolExecutor(1, mp_context=context) as alone:
            alone.submit(_make_one, command, folder).result()

    make_inputs(inputs, run_one)
    return inputs


def _make_one(command: Command, inputs: Path) -> None:
    """Run a command in the folder of the inputs. Runs in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="export-ssl-torture-") as root:
        site = Site(inputs, Path(root), shared=inputs)
        site.temporary.mkdir()
        ending = run(command, site)
    assert ending.code == 0, f"{command.arguments}: {ending.code}: {ending.stderr}"
