"""A precision certificate and the accounts of plans, as tables for the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.bundle.plan_json import Certificate, LayerVerdict
from runtime.plans.explain import compare_accounts, findings, join_names
from runtime.plans.plan_account import PlanAccount


def render(certificate: Certificate, console: Console, *, explain: bool = True) -> None:
    """Print how many layers kept their promise, which did not, and what else costs time.

    Args:
        certificate: What to print.
        console: Where to print; 80 columns are enough.
        explain: Whether to name the layers that cost time, beside their number.
    """
    verdict = "[green]pass[/]" if certificate.passed else "[bold red]FAIL[/]"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("precision certificate", no_wrap=True)
    table.add_column("layers", justify="right", no_wrap=True)
    table.add_column("")
    table.add_row("promised INT8 or FP16", str(certificate.promised), "")
    kept = f"{certificate.share:.1%}, {certificate.macs_share:.1%} of MACs; {certificate.required_share:.1%} required"
    table.add_row("kept", str(certificate.kept), f"{kept}: {verdict}")
    for heading, names, known in _lists(certificate):
        shown = Text(join_names(names)) if explain else ""
        table.add_row(heading, str(len(names)) if known else "?", shown if known else "formats are not named")
    console.print(table)
    for broken in certificate.verdicts:
        if broken.reason and broken.promised != "fp32":
            console.print(Text(f"- {_sentence(broken)}"))


def render_accounts(accounts: tuple[PlanAccount, ...], console: Console) -> None:
    """Print where the time of plans goes, what costs each of them, and the first against each other.

    Args:
        accounts: One per plan, at least one.
        console: Where to print; 80 columns are enough for three plans.
    """
    console.print(_groups(accounts))
    if any(one.traffic is not None for one in accounts):
        console.print(Text("MB are what the layers read and write for an image, counted and not measured."))
    if any(one.total_ms is not None for one in accounts):
        console.print(Text("Times are the profiler's per layer; they add up to more than the latency."))
    for one in accounts:
        console.print()
        console.print(Text(one.label, style="bold"))
        _print_list(findings(one), console)
    for other in accounts[1:]:
        console.print()
        console.print(Text(f"{accounts[0].label} against {other.label}", style="bold"))
        _print_list(compare_accounts(accounts[0], other), console)


def _lists(certificate: Certificate) -> tuple[tuple[str, tuple[str, ...], bool], ...]:
    """Return heading, layers, and whether the inspector lets us know them."""
    return (
        ("reformats", certificate.reformats, True),
        ("stand-alone Q or DQ", certificate.unfused_qdq, True),
        ("computing in FP32", certificate.fp32_islands, certificate.formats_known),
        ("INT8 beside floats", certificate.crossings, certificate.formats_known),
    )


def _sentence(verdict: LayerVerdict) -> str:
    ran = "" if verdict.ran == "unknown" else f", ran in {verdict.ran}"
    return f"{verdict.name}: promised {verdict.promised}{ran}: {verdict.reason}"


def _groups(accounts: tuple[PlanAccount, ...]) -> Table:
    """Return how many layers of each sort there are, with their times, and their bytes for an image where counted."""
    counted = any(one.traffic is not None for one in accounts)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("layers", no_wrap=True)
    for one in accounts:
        table.add_column(Text(one.label), justify="right")
        table.add_column("ms", justify="right", no_wrap=True)
        if counted:
            table.add_column("MB", justify="right", no_wrap=True)
    for row, group in enumerate(accounts[0].groups):
        shown = [one.groups[row] for one in accounts]
        if any(one.count for one in shown):
            cells = (_cells(one.count, one.ms, one.moved_bytes, counted=counted) for one in shown)
            table.add_row(group.name, *(cell for several in cells for cell in several))
    totals = (
        _cells(
            sum(group.count for group in one.groups),
            one.total_ms,
            one.traffic.moved_bytes if one.traffic else None,
            counted=counted,
        )
        for one in accounts
    )
    table.add_row("all", *(cell for several in totals for cell in several))
    return table


def _cells(count: int, ms: float | None, moved_bytes: float | None, *, counted: bool) -> tuple[str, ...]:
    cells = (str(count), "-" if ms is None else f"{ms:.3f}")
    return (*cells, "-" if moved_bytes is None else f"{moved_bytes / 1e6:.1f}") if counted else cells


def _print_list(sentences: tuple[str, ...], console: Console) -> None:
    for sentence in sentences:
        console.print(Text(f"- {sentence}"))
