"""Gives each command that writes a disk, a folder or an input that fails it, and says what it answered and left.

    python -m tests.torture.disk [--tries 4] [--minutes 10] [--only COMMAND …] [--json FILE]

Kinds of tries:

- full disk: a tmpfs or an ext4 of its own, filled so that it is full somewhere in the command's writing (needs root)
- file limit: no file may grow beyond a size, `ulimit -f`
- no right to write: the folder and all in it, for a process without root's rights
- read-only file system: the folder is remounted (needs root)
- vanishing input: a file that it reads is removed while it runs
- two at once: the same command twice in one folder

Each command must succeed or end with 1 and one line; what stands in the folder is whole, what stood there is kept; and
when the cause is gone, the same command succeeds and leaves what it leaves undisturbed.
"""

import json
import os
import random
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.torture.commands import Command
from tests.torture.each_command import Work, refuses, try_commands
from tests.torture.faults import Undisturbed, differing_from
from tests.torture.forks import Blow, Checker, Ending, Site, preload, run
from tests.torture.rights import (
    FileSystem,
    allow_writing,
    drop_rights,
    fill,
    forbid_writing,
    mounted,
    remount,
    why_no_mounts,
)


@dataclass
class Answers:
    """What a command answered, by kind of the try.

    Attributes:
        tries: How often it was tried.
        refused: Number of tries that ended with an error in one line; the others succeeded.
        faults: Each fault, with the kind.
        seconds: Time of all.
    """

    tries: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def told(self) -> str:
        """Return the counts in words."""
        return "refused " + ", ".join(f"{self.refused[kind]} of {count} ({kind})" for kind, count in self.tries.items())


@dataclass(frozen=True)
class Bench:
    """What every kind of try needs.

    Attributes:
        command: The command.
        site: Where it runs.
        usual: What it does undisturbed.
        checker: Checks what stands in the site's folder.
        rng: Draws sizes and moments.
        written: How many bytes the files have that the command makes or changes.
        largest: How many bytes the largest of them has.
    """

    command: Command
    site: Site
    usual: Undisturbed
    checker: Checker
    rng: random.Random
    written: int
    largest: int

    def judge(self, ending: Ending) -> str:
        """Return what is wrong with an ending and with what it left; nothing where all is right."""
        said = [line for line in ending.stderr.splitlines() if line.strip() and line not in self.usual.ending.stderr]
        if ending.code not in (0, 1) or len(said) > 1 or "Traceback" in ending.stderr:
            return f"ended with {ending.code}: {' / '.join(said)[-500:]!r}"
        if ending.code == 1 and not said:
            return "ended with 1 and said nothing"
        if missing := [name for name in self.command.before if not (self.site.folder / name).exists()]:
            return f"lost {missing}"
        return self.checker.wrong()

    def again(self) -> str:
        """Return what is wrong when the same command runs once the cause is gone."""
        ending = run(self.command, self.site)
        if refuses(ending):
            return ""
        if ending.code != 0:
            return f"then the same command ended with {ending.code}: {ending.stderr[-300:]!r}"
        differing = differing_from(self.usual, self.command, self.site)
        return f"then, other than undisturbed: {differing[:5]}" if differing else ""


Try = Callable[[Bench], tuple[Ending, str]]


def full_disk(bench: Bench) -> tuple[Ending, str]:
    """Fill the disk somewhere in the command's writing."""
    with own_disk(bench, bench.rng.choice(("tmpfs", "ext4"))):
        ballast = fill(bench.site.folder, bench.rng.randrange(bench.written))
        ending = run(bench.command, bench.site)
        wrong = bench.judge(ending)
        ballast.unlink()
        return ending, wrong or bench.again()


def read_only_disk(bench: Bench) -> tuple[Ending, str]:
    """Remount the disk so that nothing can be written."""
    with own_disk(bench, "tmpfs"):
        remount(bench.site.folder, "ro")
        ending = run(bench.command, bench.site)
        wrong = bench.judge(ending) or ("" if ending.code == 1 else "it succeeded")
        remount(bench.site.folder, "rw")
        return ending, wrong or bench.again()


@contextmanager
def own_disk(bench: Bench, kind: FileSystem) -> Iterator[None]:
    """Mount a disk as the working folder, with what stands there before the command."""
    bench.site.begin(bench.command)
    shutil.rmtree(bench.site.folder)
    with mounted(kind, bench.site.folder):
        shutil.rmtree(bench.site.folder / "lost+found", ignore_errors=True)
        bench.site.fill(bench.command)
        yield


def file_limit(bench: Bench) -> tuple[Ending, str]:
    """Let no file grow beyond a size."""
    bench.site.begin(bench.command)
    most = bench.rng.randrange(bench.largest)
    # The logs of a try grow too.
    limit = max(most, 1 << 12)
    ending = run(bench.command, bench.site, prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    return ending, bench.judge(ending) or bench.again()


def no_right(bench: Bench) -> tuple[Ending, str]:
    """Take the right to write from the folder and all in it."""
    bench.site.begin(bench.command)
    forbid_writing(bench.site.folder)
    ending = run(bench.command, bench.site, prepare=drop_rights)
    wrong = bench.judge(ending) or ("" if ending.code == 1 else "it succeeded")
    allow_writing(bench.site.folder)
    return ending, wrong or bench.again()


def vanishing_input(bench: Bench) -> tuple[Ending, str]:
    """Remove a file that the command reads, at a random moment."""
    bench.site.begin(bench.command)
    inputs = bench.site.root / "inputs"
    shutil.copytree(bench.site.inputs, inputs, copy_function=os.link)
    places = [inputs / one.removeprefix("{inputs}/") for one in bench.command.arguments if one.startswith("{inputs}/")]
    places += [bench.site.folder / name for name in bench.command.before]
    files = sorted(
        file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()
    )
    if not files:
        return bench.usual.ending, ""
    blow = Blow(0, bench.rng.uniform(0, bench.usual.ending.seconds), act=bench.rng.choice(files).unlink)
    ending = run(bench.command, replace(bench.site, inputs=inputs), blow)
    # What it had is lost where that is what vanished; the images that a job could not read are listed in its output.
    said = [line for line in ending.stderr.splitlines() if line.strip() and line not in bench.usual.ending.stderr]
    # A command that succeeds has notices, which name where its inputs were.
    many = ending.code == 1 and len(said) > 1
    if ending.code not in (0, 1) or many or "Traceback" in ending.stderr:
        return ending, f"ended with {ending.code}: {' / '.join(said)[-500:]!r}"
    return ending, ""


def two_at_once(bench: Bench) -> tuple[Ending, str]:
    """Run the command twice in one folder, the second a moment later."""
    bench.site.begin(bench.command)
    other = Site(bench.site.inputs, bench.site.root / "other", shared=bench.site.folder)
    other.temporary.mkdir(parents=True)
    second = os.fork()
    if not second:
        time.sleep(bench.rng.uniform(0, bench.usual.ending.seconds))
        ending = run(bench.command, other)
        (other.root / "answer").write_text(json.dumps(asdict(ending)))
        os._exit(0)
    first = run(bench.command, bench.site)
    os.waitpid(second, 0)
    answer = Ending(**json.loads((other.root / "answer").read_text()))
    return (answer if answer.code else first), bench.judge(first) or bench.judge(answer) or bench.again()


NEEDS_MOUNTS = ("full disk", "read-only file system")
KINDS: dict[str, Try] = {
    "full disk": full_disk,
    "file limit": file_limit,
    "no right to write": no_right,
    "read-only file system": read_only_disk,
    "vanishing input": vanishing_input,
    "two at once": two_at_once,
}


def fail_command(work: Work) -> Answers:
    """Return what a command answered to so many tries of each kind. Runs in a process of its own."""
    command, found, began = work.command, Answers(), time.monotonic()
    preload(command)
    kinds = [kind for kind in KINDS if kind not in NEEDS_MOUNTS or not why_no_mounts()]
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="export-ssl-disk-"))
        site = Site(work.inputs, Path(root) / "try")
        usual = Undisturbed.of(command, site)
        new = [name for name, digest in usual.after.items() if digest and usual.before.get(name) != digest]
        # One that writes the same again changes no byte, and writes all.
        written = new or [name for name, digest in usual.after.items() if digest]
        sizes = [(site.folder / name).stat().st_size for name in written]
        checker = stack.enter_context(Checker(lambda: command.whole(site.folder)))
        ready = time.monotonic()
        for number, kind in [(number, kind) for number in range(work.tries) for kind in kinds]:
            if time.monotonic() - ready > work.seconds:
                break
            rng = random.Random(f"{work.name} {kind} {work.seed} {number}")  # noqa: S311
            ending, wrong = KINDS[kind](Bench(command, site, usual, checker, rng, sum(sizes), max(sizes)))
            found.tries[kind] += 1
            found.refused[kind] += ending.code == 1
            if wrong:
                found.faults.append(f"{kind}, try {number}: {wrong}")
    found.seconds = round(time.monotonic() - began, 1)
    return found


if __name__ == "__main__":
    if why_no_mounts():
        print(f"skipped: {' and '.join(NEEDS_MOUNTS)}: {why_no_mounts()}")
    try_commands(__doc__ or "", fail_command, tries=4)
