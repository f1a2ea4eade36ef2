"""Write docs/mutants.md from the result of `make mutation`.

    python -m tests.mutation.write_page

The prose is in `mutation_text.md` beside this file, and why a survivor does not matter in `survivors.json`.
"""

import json
import os
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.mutation.result import Counts, Result, Survivor, parse_result

PAGE = ROOT / "docs" / "mutants.md"
TEXT = Path(__file__).with_name("mutation_text.md")
REASONS = Path(__file__).with_name("survivors.json")
RESULT = ROOT / "benchmarks" / "results" / "mutation.json"
# The first run, before tests were written for what survived it.
FIRST_RESULT = ROOT / "benchmarks" / "results" / "mutation_first.json"
# A reason that begins so says that the mutant computes the same.
EQUIVALENT = "Equivalent: "
NO_REASON = "Not looked into."

# File, line before and line after to why such a survivor stays.
Reasons = dict[tuple[str, str, str], str]


def read_result(file: Path) -> Result:
    """Return a result that a run wrote."""
    return parse_result(json.loads(file.read_text(encoding="utf-8")))


def read_reasons(file: Path) -> Reasons:
    """Return why survivors stay."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return {(row["file"], row["before"], row["after"]): row["why"] for row in rows}


def reason(survivor: Survivor, reasons: Reasons) -> str:
    """Return why a survivor stays."""
    return reasons.get((survivor.file, survivor.before, survivor.after), NO_REASON)


def score(counts: Counts, reasons: Reasons) -> float | None:
    """Return the share of mutants that were seen, of those that can be; None where none can."""
    seen = counts.killed + counts.timed_out
    can_be_seen = counts.tried - equivalent(counts, reasons)
    return seen / can_be_seen if can_be_seen else None


def equivalent(counts: Counts, reasons: Reasons) -> int:
    """Return how many survivors compute the same."""
    return sum(reason(one, reasons).startswith(EQUIVALENT) for one in counts.survivors)


def write_page(result: Result, first: Result | None, reasons: Reasons) -> str:
    """Return the page.

    Args:
        result: The newest run.
        first: The run before tests were written for survivors; None where there is none.
        reasons: Why survivors stay.
    """
    text = TEXT.read_text(encoding="utf-8")
    values = {
        "machine": result.machine,
        "tools": " and ".join(f"{name} {version}" for name, version in result.tools.items()),
        "seed": str(result.seed),
        "table": _table(result, first, reasons),
        "survivors": _survivors(result, reasons),
    }
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _table(result: Result, first: Result | None, reasons: Reasons) -> str:
    lines = [f"|---|{'---:|' * 8}"]
    for name, counts in result.parts.items():
        earlier = first.parts.get(name) if first is not None else None
        before = "" if earlier is None else f" (before: {_percent(score(earlier, reasons))})"
        numbers = (counts.mutants, counts.places, counts.tried, counts.killed, counts.timed_out, len(counts.survivors))
        cells = [name, *map(str, numbers), str(equivalent(counts, reasons))]
        lines.append(f"| {' | '.join(cells)} | {_percent(score(counts, reasons))}{before} |")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _survivors(result: Result, reasons: Reasons) -> str:
    parts = []
    for name, counts in result.parts.items():
        lines = [f"### {name}", ""] + [
            f"- `{one.file}:{one.line}`: {_code(one.before)} became {_code(one.after)}. {reason(one, reasons)}"
            for one in sorted(counts.survivors, key=lambda one: (one.file, one.line))
        ]
        parts.append("\n".join(lines if counts.survivors else [*lines, "None of those tried."]))
    return "\n\n".join(parts)


def _code(line: str) -> str:
    # Two marks, because C++ and Python may have one inside.
    return f"`` {line} ``" if line else "a line"


def main() -> None:
    """Write the page."""
    first = read_result(FIRST_RESULT) if FIRST_RESULT.is_file() else None
    PAGE.write_text(write_page(read_result(RESULT), first, read_reasons(REASONS)), encoding="utf-8")
    print(os.path.relpath(PAGE))


if __name__ == "__main__":
    main()
