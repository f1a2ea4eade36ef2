"""Change the code in small ways, and count which changes the tests see: `make mutation`.

    python -m tests.mutation.run [--mutants 40] [--minutes 90] [--seed 0] [--only PART …] [--output FILE]

Needs the extra `mutation`, git, and for C++ a compiler. The mutants are a random sample of all; parts take turns, so a
limit of time cuts all alike.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.mutation.judged import JUDGED, Judged
from tests.mutation.mutants import Mutant, changed_lines, draw, mutants_of
from tests.mutation.result import Counts, Result, Survivor
from tests.mutation.trial import PACKAGES, Bench, open_bench
from tests.torture.write_reliability import describe_machine

RESULT = ROOT / "benchmarks" / "results" / "mutation.json"
TOOLS = {"cosmic-ray": "cosmic_ray", "universalmutator": "universalmutator"}


def try_part(bench: Bench, judged: Judged, counts: Counts, mutants: Sequence[Mutant], *, wanted: int) -> Iterator[str]:
    """Try mutants of one part until enough are, and yield a line for each.

    What does not compile, or compiles to the same, is no mutant and is passed over.

    Args:
        bench: Where they are tried.
        judged: The part.
        counts: What is counted is added to these.
        mutants: The part's mutants, in the order of the trial.
        wanted: How many are tried.
    """
    for mutant in mutants:
        if counts.tried == wanted:
            return
        text = mutant.make()
        if not bench.is_change(mutant, text):
            continue
        outcome = bench.judge(mutant, text, judged, seconds=counts.seconds)
        before, after = changed_lines((bench.folder / mutant.file).read_text(encoding="utf-8"), text)
        if outcome == "survived":
            counts.survivors.append(Survivor(mutant.file, mutant.line, mutant.operator, before, after))
        counts.killed += outcome == "killed"
        counts.timed_out += outcome == "timed out"
        yield f"{outcome}: {mutant.file}:{mutant.line}: {before}  ->  {after}"


def run(
    root: Path,
    judged: dict[str, Judged],
    result: Result,
    *,
    folder: Path,
    minutes: float,
    output: Path,
    packages: Sequence[str] = PACKAGES,
) -> Iterator[str]:
    """Try mutants of all parts, keep the result after each, and yield a line for each.

    Args:
        root: The project, a checkout of git.
        judged: Parts by name.
        result: What is found is added to it.
        folder: Where the copy of the project is made.
        minutes: No mutant is begun after this time.
        output: File of the result.
        packages: Packages that are imported once for all runs of the tests.

    Raises:
        TrialError: The tests of a part do not pass on the unchanged code.
    """
    started = time.monotonic()
    with open_bench(root, folder, packages=packages) as bench:
        turns = {}
        for name, part in judged.items():
            mutants = [
                mutant
                for file in part.sources
                for mutant in mutants_of(file, (root / file).read_text(encoding="utf-8"))
            ]
            places = len({(mutant.file, mutant.line, mutant.column) for mutant in mutants})
            counts = result.parts[name] = Counts(part.tests, len(mutants), places, bench.measure(part))
            turns[name] = try_part(
                bench, part, counts, draw(mutants, seed=result.seed), wanted=min(result.wanted, len(mutants))
            )
            yield f"{name}: {len(mutants)} mutants of {places} places, tests take {counts.seconds:.1f} s"
        while turns and time.monotonic() - started < 60 * minutes:
            for name, turn in list(turns.items()):
                line = next(turn, None)
                if line is None:
                    del turns[name]
                    continue
                output.write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")
                yield f"{name}: {line}"


def main() -> None:
    """Run, print a line for each mutant and the counts at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mutants", type=int, default=40, help="mutants of each part")
    parser.add_argument("--minutes", type=float, default=90, help="no mutant is begun after this time")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random draw")
    parser.add_argument("--only", action="append", choices=list(JUDGED), help="a part; may be given several times")
    parser.add_argument("--output", type=Path, default=RESULT, help="file of the result")
    given = parser.parse_args()
    if absent := [name for name, module in TOOLS.items() if find_spec(module) is None]:
        sys.exit(f"error: {', '.join(absent)} not installed, expected both: pip install 'export-ssl[mutation]'")
    tools = {name: metadata.version(name) for name in TOOLS}
    result = Result(given.seed, given.mutants, describe_machine(), tools)
    chosen = {name: JUDGED[name] for name in given.only or JUDGED}
    folder = ROOT / "build" / "mutation"
    for line in run(ROOT, chosen, result, folder=folder, minutes=given.minutes, output=given.output):
        print(line, flush=True)
    for name, counts in result.parts.items():
        print(f"{name}: {counts.killed} killed, {counts.timed_out} timed out, {len(counts.survivors)} survived")


if __name__ == "__main__":
    main()
