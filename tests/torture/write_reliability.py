"""Write docs/reliability.md from the counts of `make torture` and `make ray-stress`.

    python -m tests.torture.write_reliability [--counts build]

The prose is in `reliability_text.md` beside this file; the numbers are from the JSON files that the programs wrote. Of
a program that left no file the page keeps its table, or gets a line that it was not tried.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runtime.support.cpu import usable_cores
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "reliability.md"
TEXT = Path(__file__).with_name("reliability_text.md")
PROGRAMS = ("fuzz", "guided", "faults", "power", "disk", "endurance", "ray_stress")
Counts = Mapping[str, Mapping[str, Any]]


def describe_machine() -> str:
    """Return on what kind of machine this runs, in words."""
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"on {system}, {platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}"


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Return a table in Markdown; all columns but the first are numbers."""
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _number(count: float) -> str:
    return f"{count:,.0f}"


def fuzz_table(counts: Counts) -> str:
    """Return the answers to hostile files."""
    rows: list[tuple[object, ...]] = [
        (name, _number(one["inputs"]), _number(one["read"]), _number(sum(one["refused"].values())), len(one["faults"]))
        for name, one in counts.items()
    ]
    return table(("surface", "changed files", "read", "refused", "faults"), rows)


def guided_table(counts: Counts) -> str:
    """Return the answers to inputs that coverage guided to."""
    rows: list[tuple[object, ...]] = [
        (name, _number(one["inputs"]), f"{one['seconds']:.0f}", _number(one["corpus"]), len(one["faults"]))
        for name, one in counts.items()
    ]
    return table(("surface", "inputs", "seconds", "corpus", "faults"), rows)


def faults_table(counts: Counts) -> str:
    """Return what came of kills."""
    signals = ("SIGKILL", "SIGTERM", "SIGINT")
    rows: list[tuple[object, ...]] = [
        (name, *(one["tries"].get(signal, 0) for signal in signals), one["finished"], len(one["faults"]))
        for name, one in counts.items()
    ]
    return table(("command", *signals, "had finished", "faults"), rows)


def power_table(counts: Counts) -> str:
    """Return what came of losses of power."""
    rows: list[tuple[object, ...]] = [
        (name, one["steps"], _number(one["states"]), one["again"], len(one["faults"])) for name, one in counts.items()
    ]
    return table(("command", "changes and syncs", "states", "run again", "faults"), rows)


def disk_table(counts: Counts) -> str:
    """Return what came of disks and folders that refuse."""
    kinds = list(dict.fromkeys(kind for one in counts.values() for kind in one["tries"]))
    rows: list[tuple[object, ...]] = [
        (name, *(_share(one, kind) for kind in kinds), len(one["faults"])) for name, one in counts.items()
    ]
    return table(("command", *kinds, "faults"), rows)


def _share(one: Mapping[str, Any], kind: str) -> str:
    tries = one["tries"].get(kind, 0)
    return f"{one['refused'].get(kind, 0)} of {tries}" if tries else "not tried"


def endurance_table(counts: Counts) -> str:
    """Return what grew in long runs."""
    rows: list[tuple[object, ...]] = [
        (
            name,
            _number(one["times"]),
            f"{100 * one['growth']:+.2f} %",
            f"{one['own_mb']:.0f}",
            f"{one['handles']:+}",
            f"{one['threads']:+}",
            len(one["faults"]),
        )
        for name, one in counts.items()
    ]
    return table(("run", "times", "memory", "MB", "handles", "threads", "faults"), rows)


def ray_table(counts: Mapping[str, Counts]) -> str:
    """Return what came of jobs on three nodes of Ray, a table for each number of images."""
    head = ("what happens", "when so many parts are made", "s", "again, s", "of the undisturbed", "rows", "faults")
    found = []
    for images, trials in counts.items():
        rows: list[tuple[object, ...]] = [
            (
                one["what"],
                ", ".join(map(str, one["came_at"])),
                _times(one["each_s"] or [one["seconds"]]),
                f"{one['again_s']:.0f}" if one["again_s"] else "",
                f"{one['ratio']:.2f}" if one["ratio"] else "",
                _number(one["rows"]),
                len(one["faults"]),
            )
            for one in trials.values()
        ]
        parts = next(iter(trials.values()))["parts"]
        found.append(f"{_number(int(images))} images in {parts} parts:\n\n{table(head, rows)}")
    return "\n\n".join(found)


def _times(seconds: list[float]) -> str:
    """Return times as they are shown: the one, or the least and the largest."""
    return " to ".join(dict.fromkeys(f"{one:.0f}" for one in (min(seconds), max(seconds))))


_TABLES: Mapping[str, Callable[[Any], str]] = {
    "fuzz": fuzz_table,
    "guided": guided_table,
    "faults": faults_table,
    "power": power_table,
    "disk": disk_table,
    "endurance": endurance_table,
    "ray_stress": ray_table,
}


def write_page(folder: Path, machine: str, before: str = "") -> str:
    """Return the page.

    Args:
        folder: Where the programs wrote their counts, a file each.
        machine: On what kind of machine they ran, in words.
        before: The page as it is, of which the tables of other programs are kept.
    """
    text = TEXT.read_text(encoding="utf-8").replace("{machine}", machine)
    for name in PROGRAMS:
        file = folder / f"{name}.json"
        if file.is_file():
            found = _TABLES[name](json.loads(file.read_text(encoding="utf-8")))
        else:
            found = _kept(text, before, name) or f"Not tried in this run: `python -m tests.torture.{name}`."
        text = text.replace(f"{{{name}}}", found)
    return text


def _kept(text: str, before: str, name: str) -> str:
    """Return what stands in the page from the end of the prose in front of a table to the table's last line."""
    prose = text.partition(f"{{{name}}}")[0].rstrip().splitlines()[-1]
    section = before.partition(f"{prose}\n")[2].partition("\n## ")[0].strip()
    return section if section.endswith("|") else ""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--counts", type=Path, default=ROOT / "build", help="folder of the JSON files")
    before = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(write_page(parser.parse_args().counts, describe_machine(), before), encoding="utf-8")
    print(os.path.relpath(PAGE))


if __name__ == "__main__":
    main()
