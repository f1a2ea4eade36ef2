"""Takes the power away from each command that writes, in a model of the disk, and says what is left.

    python -m tests.torture.power [--tries 2000] [--minutes 10] [--only COMMAND …] [--json FILE]

A command runs once with `record_calls.c` preloaded. Of its record every state is worked out that a loss of power can
leave (`tests/torture/crash_states.py`); of more than `--tries` so many are drawn. In each

1. what stands there is whole, or absent;
2. what stood there before and is to be kept is there, once the next maker has put it back;
3. at the end, when the command has said that it is done, everything is there with only what was synced.

In some states the same command runs again and must succeed, as after a kill.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from runtime.support.partial import recover
from tests.helpers.paths import ROOT
from tests.tensorrt_bindings.standin import standin_environment
from tests.torture.commands import Command
from tests.torture.crash_states import State, least_state, read_record, states, whole_state
from tests.torture.each_command import Work, refuses, try_commands
from tests.torture.forks import MAINS, Checker, Site, listing, preload, run

_RECORDER = Path(__file__).with_name("record_calls.c")
# Of the states of a command so many are tried with the same command again.
_AGAIN = 5


@dataclass
class Losses:
    """What came of a command's states.

    Attributes:
        steps: How many changes and syncs it made.
        states: How many states were looked at.
        again: Number of states in which the same command ran again.
        faults: What is wrong, with the state.
        seconds: Time of all.
    """

    steps: int = 0
    states: int = 0
    again: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def told(self) -> str:
        """Return the counts in words."""
        return f"{self.steps} steps, {self.states} states, the command ran again in {self.again}"


def build_recorder(folder: Path) -> Path:
    """Return the library that records, compiled with the system's compiler."""
    library = folder / "record_calls.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_RECORDER), "-ldl"], check=True, capture_output=True
    )
    return library


def record(command: Command, site: Site, library: Path) -> Path:
    """Run a command in a process of its own with the recorder, and return the log."""
    log = site.root / "log"
    environment = {"OMP_NUM_THREADS": "1", "TMPDIR": str(site.temporary), "XDG_CACHE_HOME": str(site.root / "cache")}
    if command.standin:
        environment = standin_environment(**environment)
    recording = {"LD_PRELOAD": str(library), "RECORD_ROOT": str(site.folder), "RECORD_LOG": str(log)}
    program = f"import sys; sys.path[:] = [{str(ROOT)!r}, *sys.path]; from {MAINS[command.program]} import main; main()"
    arguments = [one.replace("{inputs}", str(site.inputs)) for one in command.arguments]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=site.folder,
        env={**os.environ, **environment, **recording},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return log


def take_power(work: Work) -> Losses:
    """Return what came of a command's states. Runs in a process of its own."""
    command, found, began = work.command, Losses(), time.monotonic()
    preload(command)
    rng = random.Random(f"{work.name} {work.seed}")  # noqa: S311
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="export-ssl-power-"))
        # The recorder sees paths without links.
        site = Site(work.inputs, Path(root).resolve() / "try")
        site.begin(command)
        shutil.copytree(site.folder, Path(root) / "before")
        log = record(command, site, build_recorder(Path(root)))
        made = read_record(log, site.folder, Path(root) / "before")
        after = listing(site.folder)
        found.steps = len(made.steps)
        for what, state in (("the record lacks", whole_state(made)), ("not synced at the end", least_state(made))):
            _put(state, site)
            seen = listing(site.folder)
            # What was to be removed is a leftover: the next maker removes it.
            differing = [name for name in after if after[name] != seen.get(name)]
            if differing:
                found.faults.append(f"{what}: {sorted(differing)[:6]}")
        possible = list(states(made, rng))
        checker = stack.enter_context(Checker(lambda: _check(command, site)))
        chosen = sorted(rng.sample(range(len(possible)), min(work.tries, len(possible))))
        again = set(rng.sample(chosen, min(_AGAIN, len(chosen))))
        ready = time.monotonic()
        for number in chosen:
            if time.monotonic() - ready > work.seconds:
                break
            found.states += 1
            _put(possible[number], site)
            wrong = checker.wrong()
            if not wrong and number in again:
                found.again += 1
                wrong = _run_again(command, site, after)
            if wrong:
                state = possible[number]
                found.faults.append(f"after {state.moment} of {found.steps} steps ({state.kind}): {wrong}")
    found.seconds = round(time.monotonic() - began, 1)
    return found


def _put(state: State, site: Site) -> None:
    shutil.rmtree(site.folder)
    site.folder.mkdir()
    state.write(site.folder)


def _check(command: Command, site: Site) -> None:
    command.whole(site.folder)
    for name in command.keeps:
        for folder in (*reversed(Path(name).parents), Path(name)):
            recover(site.folder / folder)
        assert (site.folder / name).exists(), f"{name} is lost"
    command.whole(site.folder)


def _run_again(command: Command, site: Site, after: dict[str, str]) -> str:
    ending = run(command, site)
    if refuses(ending):
        return ""
    if ending.code != 0:
        return f"the same command ended with {ending.code}: {ending.stderr[-300:]!r}"
    # A repository has one version more where the first was there.
    left = [name for name in listing(site.folder) if name not in after and "repository" not in name]
    return f"the same command left {left[:5]}" if left else ""


if __name__ == "__main__":
    try_commands(__doc__ or "", take_power, tries=2000)
