"""What the doctor found, for a person and for a program."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from runtime.health.doctor import Finding

_MARKS = {"ok": "[green]ok[/]", "missing": "[yellow]-[/]", "bad": "[bold red]bad[/]"}


def render(findings: tuple[Finding, ...], console: Console) -> None:
    """Print one line per finding."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(escape(finding.name), _MARKS[finding.verdict], escape(finding.text))
    console.print(table)


def as_json(findings: tuple[Finding, ...]) -> str:
    """Return the findings as JSON."""
    well = all(finding.verdict != "bad" for finding in findings)
    return json.dumps({"well": well, "findings": [asdict(finding) for finding in findings]}, indent=2)
