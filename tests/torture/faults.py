"""Kills each command that writes, at random moments, and says what it left.

    python -m tests.torture.faults [--tries 50] [--minutes 10] [--only COMMAND …] [--json FILE]

A try: a command of `tests/torture/commands.py` is started, and sent SIGKILL, SIGTERM or SIGINT (Ctrl-C), alone or with
all processes that it started; half of the moments are drawn over its time, half over its changes to files and folders,
so that those are met too that take no time. In one try of three it is started again and killed again. Then

1. it ended by that, or had finished, and it said at most one line of it;
2. what stands in the folder is whole, or absent;
3. no process of its own outlives it, and after SIGTERM or SIGINT no temporary file;
4. the same command succeeds and makes the same files as undisturbed, and nothing beside them; or it refuses to make
   again what is finished, as an export without --overwrite does.
"""

import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from tests.torture.commands import Command
from tests.torture.each_command import Work, refuses, try_commands
from tests.torture.forks import Blow, Checker, Ending, Site, listing, preload, run

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Exit codes of a command that a signal ended: it dies of SIGKILL, and tells of the others.
CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 128 + signal.SIGINT}


@dataclass
class Tries:
    """What came of the tries of one command.

    Attributes:
        tries: How often it was killed, by signal.
        finished: Number of tries in which the command had finished before.
        faults: Each fault: the number of the try and what happened.
        seconds: Time of all.
    """

    tries: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def told(self) -> str:
        """Return the counts in words."""
        return ", ".join(f"{count} {kind}" for kind, count in self.tries.items()) + f"; {self.finished} had finished"


@dataclass(frozen=True)
class Undisturbed:
    """What a command does when nothing disturbs it.

    Attributes:
        before: What stands in its folder before.
        after: What stands there afterwards.
        ending: How it ended.
    """

    before: dict[str, str]
    after: dict[str, str]
    ending: Ending

    @classmethod
    def of(cls, command: Command, site: Site) -> "Undisturbed":
        """Run a command for it."""
        site.begin(command)
        before = listing(site.folder)
        ending = run(command, site)
        assert ending.code == 0, f"{command.arguments}: {ending.code}: {ending.stderr}"
        return cls(before, listing(site.folder), ending)


def draw_blow(rng: random.Random, number: int, usual: Ending) -> Blow:
    """Return a signal and a moment in the life of a command that usually ends so."""
    to_group = rng.random() < 0.5
    if rng.random() < 0.5 and usual.changes:
        return Blow(number, None, at_change=rng.randint(1, usual.changes), to_group=to_group)
    return Blow(number, rng.uniform(0, usual.seconds), to_group=to_group)


def temporary_files(site: Site) -> set[str]:
    """Return the names of what stands in the folder for temporary files."""
    return {one.name for one in site.temporary.iterdir()}


def try_once(
    command: Command, site: Site, blows: list[Blow], usual: Undisturbed, checker: Checker
) -> tuple[bool, list[str]]:
    """Return whether a command had finished before its last blow, and what is wrong after the blows."""
    site.begin(command)
    wrong, finished = [], False
    for blow in blows:
        stood, kept = listing(site.folder), temporary_files(site)
        ending = run(command, site, blow)
        finished = ending.code == 0
        # Before it listens, and behind its end, when all is written, any signal ends a process. An earlier one may have
        # left what no undisturbed command does.
        states = (set(stood), set(usual.before), set(usual.after))
        unheard = ending.code == -blow.number and set(listing(site.folder)) in states
        found = [*_judge(blow, ending, usual, checker, unheard=unheard)]
        # SIGKILL, and a signal that it does not hear, leave a process no time to remove them.
        if blow.number != signal.SIGKILL and not unheard and (more := temporary_files(site) - kept):
            found.append(f"it left temporary files: {sorted(more)}")
        wrong += [f"{signal.Signals(blow.number).name}: {what}" for what in found]
    again = run(command, site)
    if refuses(again):
        return finished, wrong
    if again.code != 0:
        wrong.append(f"the same command ended with {again.code} then: {again.stderr[-300:]!r}")
    elif differing := differing_from(usual, command, site):
        wrong.append(f"made again, other than undisturbed: {differing[:5]}")
    return finished, wrong


def _judge(blow: Blow, ending: Ending, usual: Undisturbed, checker: Checker, *, unheard: bool) -> Iterator[str]:
    """Yield what is wrong right after a blow."""
    if ending.code is None:
        yield "it hung"
        return
    if not (unheard or refuses(ending)) and ending.code not in (0, CODES[signal.Signals(blow.number)]):
        yield f"exit code {ending.code}: {ending.stderr[-300:]!r}"
    said = [line for line in ending.stderr.splitlines() if line.strip() and line not in usual.ending.stderr]
    if len(said) > 1 or any("Traceback" in line for line in said):
        yield f"it said {len(said)} lines: {' / '.join(said)[:600]!r}"
    if ending.orphans:
        yield f"{ending.orphans} of its processes outlived it"
    if not_whole := checker.wrong():
        yield f"not whole: {not_whole}"


def _differing(one: dict[str, str], another: dict[str, str]) -> list[str]:
    return sorted(name for name in {*one, *another} if one.get(name) != another.get(name))


def differing_from(usual: Undisturbed, command: Command, site: Site) -> list[str]:
    """Return what stands in a folder otherwise than undisturbed; nothing of a command that adds to what is there."""
    if _may_add(command):
        return []
    found = listing(site.folder)
    return [name for name in _differing(found, usual.after) if not _varies(command, name, found, usual.after)]


def _varies(command: Command, name: str, one: dict[str, str], another: dict[str, str]) -> bool:
    return name in one and name in another and any(fnmatch(name, pattern) for pattern in command.varies)


def _may_add(command: Command) -> bool:
    """Return whether a command that finished adds something when it runs again."""
    return command.arguments[0] == "repo" and "--overwrite" not in command.arguments


def try_command(work: Work) -> Tries:
    """Return what came of the tries of a command. Runs in a process of its own."""
    command, found, began = work.command, Tries(), time.monotonic()
    preload(command)
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="export-ssl-faults-"))
        site = Site(work.inputs, Path(root) / "try")
        usual = Undisturbed.of(command, site)
        checker = stack.enter_context(Checker(lambda: command.whole(site.folder)))
        ready = time.monotonic()
        for number in range(work.tries):
            if time.monotonic() - ready > work.seconds:
                break
            rng = random.Random(f"{work.name} {work.seed} {number}")  # noqa: S311
            sent = SIGNALS[number % len(SIGNALS)]
            blows = [draw_blow(rng, sent, usual.ending) for _ in range(rng.choice((1, 1, 2)))]
            # Each run of one that may add does.
            blows = blows[:1] if _may_add(command) else blows
            found.tries[sent.name] += len(blows)
            finished, wrong = try_once(command, site, blows, usual, checker)
            found.finished += finished
            found.faults += [f"try {number}: {what}" for what in wrong]
    found.seconds = round(time.monotonic() - began, 1)
    return found


if __name__ == "__main__":
    try_commands(__doc__ or "", try_command, tries=50)
