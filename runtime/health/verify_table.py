"""A verification as a table for the terminal, or as JSON."""

import json
import math
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table

from runtime.bundle.bundle import Bundle
from runtime.engines.golden_check import EngineCheck


def render(bundle: Bundle, checks: tuple[EngineCheck, ...], console: Console) -> None:
    """Print what was checked, one row per engine, and what the differences mean."""
    manifest = bundle.manifest
    console.print(
        f"{bundle.path}: {manifest.model.name}, {manifest.precision.name}, licence {manifest.licence.spdx}",
        markup=False,
    )
    console.print(f"schema {manifest.schema_version}; {len(manifest.files)} files have the right sha256")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("engine", no_wrap=True)
    table.add_column("executes")
    classifies = manifest.model.classes > 0
    headings = ("embedding\nSQNR dB", "required\ndB")
    for heading in ("logits\nSQNR dB", *headings, "same\ntop-1") if classifies else headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for check in checks:
        verdict = "[green]pass[/]" if check.passed else "[bold red]FAIL[/]"
        cells: tuple[str, ...] = (_decibels(check.embedding_db), f"{check.required_db:.1f}")
        if classifies:
            logits = "-" if check.logits_db is None else _decibels(check.logits_db)
            cells = (logits, *cells, f"{check.same_top1 or 0}/{check.images}")
        table.add_row(check.engine, check.precision, *cells, verdict)
    console.print(table)
    for check in checks:
        # Unbroken, as it may end in a command.
        console.print(f"- {check.engine}: {check.meaning}", markup=False, soft_wrap=True)


def as_json(bundle: Bundle, checks: tuple[EngineCheck, ...]) -> str:
    """Return the verification as JSON; decibels are null where outputs are equal, not finite, or absent."""
    rows = []
    for check in checks:
        row = asdict(check) | {"passed": check.passed}
        for key in ("logits_db", "embedding_db"):
            row[key] = row[key] if row[key] is not None and math.isfinite(row[key]) else None
        rows.append(row)
    summary = {"bundle": str(bundle.path), "passed": all(check.passed for check in checks), "engines": rows}
    return json.dumps(summary, indent=2)


def _decibels(value: float) -> str:
    if math.isinf(value):
        return "equal" if value > 0 else "-"
    return f"{value:.1f}"
