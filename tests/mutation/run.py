"""Change the code in small ways, and count which changes the tests see: `make mutation`.

    python -m tests.mutation.run [--mutants 40] [--minutes 90] [--seed 0] [--only PART …] [--output FILE]

Needs the extra `mutation`, git, and for C++ a compiler. The mutants are a random sample of all; parts take turns, so a
limit of time cuts all alike.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.mutation.judged import JUDGED, Judged
from tests.mutation.mutants import changed_lines, draw, mutants_of
from tests.mutation.result import Counts, Result, Survivor, parse_result
from tests.mutation.trial import Bench, open_bench
from tests.torture.write_reliability import describe_machine

RESULT = ROOT / "benchmarks" / "results" / "mutation.json"
TOOLS = {"cosmic-ray": "cosmic_ray", "universalmutator": "universalmutator"}


def try_part(bench: Bench, root: Path, name: str, judged: Judged, result: Result) -> Iterator[str]:
    """Try mutants of one part until enough are, and yield a line for each, after one for the part.

    What does not compile, or compiles to the same, is no mutant and is passed over.

    Args:
        bench: Where they are tried.
        root: The project.
        name: Name of the part.
        judged: The part.
        result: What is found is added to it.

    Raises:
        TrialError: The tests do not pass on the unchanged code.
    """
    texts = {file: (root / file).read_text(encoding="utf-8") for file in judged.sources}
    mutants = [mutant for file, text in texts.items() for mutant in mutants_of(file, text)]
    places = len({(mutant.file, mutant.line, mutant.column) for mutant in mutants})
    counts = result.parts[name] = Counts(judged.tests, len(mutants), places, bench.measure(judged))
    yield f"{len(mutants)} mutants of {places} places, tests take {counts.seconds:.1f} s of processor time"
    for mutant in draw(mutants, seed=result.seed):
        if counts.tried == result.wanted:
            return
        text = mutant.make()
        if not bench.is_change(mutant, text):
            continue
        outcome = bench.judge(mutant, text, judged, seconds=counts.seconds)
        before, after = changed_lines(texts[mutant.file], text)
        if outcome == "survived":
            counts.survivors.append(Survivor(mutant.file, mutant.line, mutant.operator, before, after))
        counts.killed += outcome == "killed"
        counts.timed_out += outcome == "timed out"
        yield f"{outcome}: {mutant.file}:{mutant.line}: {before}  ->  {after}"


def run(
    root: Path, judged: Mapping[str, Judged], result: Result, *, folder: Path, minutes: float, output: Path
) -> Iterator[str]:
    """Try mutants of all parts in turns, keep the result after each, and yield a line for each.

    Args:
        root: The project, a checkout of git.
        judged: Parts by name.
        result: What is found is added to it.
        folder: Where the copy of the project is made.
        minutes: No mutant is begun after this time.
        output: File of the result.

    Raises:
        TrialError: The tests of a part do not pass on the unchanged code.
    """
    ends = time.monotonic() + 60 * minutes
    with open_bench(root, folder) as bench:
        turns = {name: try_part(bench, root, name, part, result) for name, part in judged.items()}
        while turns and time.monotonic() < ends:
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
    parser.add_argument(
        "--only",
        action="append",
        choices=list(JUDGED),
        help="a part, several times for several; others of the file stay",
    )
    parser.add_argument("--output", type=Path, default=RESULT, help="file of the result")
    given = parser.parse_args()
    if absent := [name for name, module in TOOLS.items() if find_spec(module) is None]:
        sys.exit(f"error: {', '.join(absent)} not installed, expected both: pip install 'export-ssl[mutation]'")
    tools = {name: metadata.version(name) for name in TOOLS}
    result = Result(given.seed, given.mutants, describe_machine(), tools)
    if given.only and given.output.is_file():
        result.parts.update(parse_result(json.loads(given.output.read_text(encoding="utf-8"))).parts)
    chosen = {name: JUDGED[name] for name in given.only or JUDGED}
    folder = ROOT / "build" / f"mutation-{os.getpid()}"
    for line in run(ROOT, chosen, result, folder=folder, minutes=given.minutes, output=given.output):
        print(line, flush=True)
    for name in chosen:
        counts = result.parts[name]
        print(f"{name}: {counts.killed} killed, {counts.timed_out} timed out, {len(counts.survivors)} survived")


if __name__ == "__main__":
    main()
