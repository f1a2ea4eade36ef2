"""The tables of docs/how-to/install.md that are made of benchmarks/results/bounds.json: versions tried, and sizes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULT = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "bounds.json"
KINDS = ("lowest", "newest")
_IMPORTS = ("runtime", "runtime.engines.open_engine", "numpy")


def recorded() -> dict[str, Any]:
    """Return the recorded results by extra."""
    installs: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))["installs"]
    return installs


def bounds() -> str:
    """Return the table of all packages."""
    return bounds_table(recorded())


def thin() -> str:
    """Return the table of the base install."""
    return thin_table(recorded())


def bounds_table(installs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a row for each package of each extra.

    Args:
        installs: Results by extra and by `lowest` and `newest`, as `tests/bounds/try_bounds.py` writes them.
    """
    pythons = {kind: sorted({one[kind]["python"] for one in installs.values() if kind in one}) for kind in KINDS}
    heads = [f"{kind}, Python {' and '.join(pythons[kind])}" for kind in KINDS]
    lines = [f"| extra | package | {' | '.join(heads)} | tried |", "|---|---|---|---|---|"]
    for extra, kinds in installs.items():
        packages = dict.fromkeys(name for one in kinds.values() for name in one["packages"])
        for name in packages:
            versions = [kinds.get(kind, {}).get("packages", {}).get(name, "-") for kind in KINDS]
            lines.append(f"| {_shown(extra)} | {name} | {' | '.join(versions)} | {_tried(kinds)} |")
    return "\n".join(lines) + "\n"


def thin_table(installs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what the trial of the base install measured: a row for the lowest and for the newest versions.

    Args:
        installs: Results as for `bounds_table`.
    """
    lines = [
        "| versions | base, MB | with `cpu`, MB | `import runtime`, ms | up to an engine, ms | NumPy alone, ms |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        figures, engines = installs["base"][kind]["figures"], installs["cpu"][kind]["figures"]
        times = [figures.get("import_ms", {}).get(f"import {what}") for what in _IMPORTS]
        shown = [f"{time:.0f}" if time is not None else "not measured" for time in times]
        lines.append(f"| {kind} | {figures['size_mb']:.0f} | {engines['size_mb']:.0f} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _shown(extra: str) -> str:
    return "(none)" if extra == "base" else f"`{extra}`"


def _tried(kinds: Mapping[str, Any]) -> str:
    """Return in a few words what came of both trials of an extra."""
    failed = [kind for kind in KINDS if kind in kinds and not kinds[kind]["passed"]]
    missing = [kind for kind in KINDS if kind not in kinds]
    if failed or missing:
        return "; ".join([*(f"{kind} failed" for kind in failed), *(f"{kind} not run" for kind in missing)])
    return "passed" if all(one["tried"] for one in kinds.values()) else "resolved only"
