"""Rounds of rates that only mean something together, and which of them count: for the benchmarks of throughput.

On a machine that does other work too the rates of a round are measured under different loads, and their ratio means
nothing. What others used of the cores during a round is therefore recorded (all busy time of the machine less this
process's own), rounds above `QUIET_CORES` are shown but not counted, and measuring goes on until enough rounds were
quiet, or `ATTEMPTS` times as many were not. What is counted depends on the load alone, never on the figures.

The rates are D, of decoding alone on all cores, I, of inference alone on all cores, and that of something that does
both. An image costs 1/D + 1/I seconds of all cores, so the most that the third can be is 1 / (1/D + 1/I).
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

# A round counts where others used less than this of one core, 5 % of two; a share is wanted to about 5 %.
QUIET_CORES = 0.1
ATTEMPTS = 3
DECODING, INFERENCE = "decoding", "inference"


@dataclass(frozen=True)
class Round:
    """Rates, measured one after the other: see the module.

    Attributes:
        rates: Rates by name, mostly images/s.
        others: Cores that other processes used meanwhile, the most of the measurements.
    """

    rates: Mapping[str, float]
    others: float

    def limit(self) -> float:
        """Return 1 / (1/D + 1/I), images/s."""
        return 1 / (1 / self.rates[DECODING] + 1 / self.rates[INFERENCE])

    def share(self, whole: str) -> float:
        """Return what the rate named `whole` reaches of what the cores allow."""
        return self.rates[whole] / self.limit()

    def as_json(self) -> dict[str, float]:
        """Return the rates and what others used."""
        return {**self.rates, "others": self.others}


def others_seconds() -> float:
    """Return the core seconds that other processes have used since the machine started.

    Source: proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, in clock ticks.
    """
    ticks = [int(field) for field in Path("/proc/stat").read_text(encoding="utf-8").split("\n")[0].split()[1:9]]
    busy = sum(ticks) - ticks[3] - ticks[4]
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()


def watch(work: Callable[[], float]) -> tuple[float, float]:
    """Return what `work` returns, and the cores that others used meanwhile."""
    others, began = others_seconds(), time.perf_counter()
    rate = work()
    return rate, (others_seconds() - others) / (time.perf_counter() - began)


def measure_rounds(figures: Mapping[str, Callable[[], float]], *, rounds: int, reverse: bool) -> list[Round]:
    """Return rounds, until enough of them were quiet or too many were not.

    Args:
        figures: What measures each rate, in the order in which they are measured.
        rounds: How many quiet ones are wanted.
        reverse: Whether the order is reversed every other round, so that none always comes after the same one.
    """
    found: list[Round] = []
    while len(quiet(found)) < rounds and len(found) < ATTEMPTS * rounds:
        names = list(figures)
        if reverse and len(found) % 2:
            names.reverse()
        watched = {name: watch(figures[name]) for name in names}
        others = max(busy for _, busy in watched.values())
        rates = {name: watched[name][0] for name in figures}
        found.append(Round(rates, others))
        shown = ", ".join(f"{name} {rate:,.1f}" for name, rate in rates.items())
        print(f"round {len(found)}: {shown}, cores of others {others:.2f}", file=sys.stderr)
    return found


def quiet(rounds: Sequence[Round]) -> list[Round]:
    """Return the rounds that count."""
    return [one for one in rounds if one.others < QUIET_CORES]


def medians(rounds: Sequence[Round]) -> Round | None:
    """Return the medians of each rate over the rounds that count; None where none does."""
    counted = quiet(rounds)
    if not counted:
        return None
    rates = {name: statistics.median(one.rates[name] for one in counted) for name in counted[0].rates}
    return Round(rates, statistics.median(one.others for one in counted))


def middle_share(rounds: Sequence[Round], whole: str) -> float | None:
    """Return the median of the shares of the rounds that count; None where none does."""
    counted = quiet(rounds)
    return statistics.median(one.share(whole) for one in counted) if counted else None


def print_shares(rounds: Sequence[Round], console: Console, *, whole: str, letter: str, share: float | None) -> None:
    """Print every round, those that do not count in brackets, and the medians of those that do.

    Args:
        rounds: Rounds with the rates of decoding, of inference, and of what does both.
        console: Where to print.
        whole: The name of the last.
        letter: What it is called for short.
        share: What stands beside the medians.
    """
    table = Table(
        "round",
        "D images/s",
        "I images/s",
        "1 / (1/D + 1/I)",
        f"{letter} images/s",
        f"{letter} of that",
        "cores of others",
    )
    counted, middle = quiet(rounds), medians(rounds)
    rows = [
        (str(number) if one in counted else f"({number})", one, one.share(whole))
        for number, one in enumerate(rounds, 1)
    ]
    if middle is not None and share is not None:
        rows.append(("median", middle, share))
    for name, one, reached in rows:
        figures = (one.rates[DECODING], one.rates[INFERENCE], one.limit(), one.rates[whole])
        table.add_row(name, *(f"{figure:,.1f}" for figure in figures), f"{100 * reached:.1f} %", f"{one.others:.2f}")
    console.print(table)


def write_result(result: Mapping[str, object], output: Path | None) -> None:
    """Write a result as JSON, where it is wanted."""
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def require_quiet(found: Sequence[Round], rounds: int) -> None:
    """End the program with 1 where fewer rounds were quiet than are wanted."""
    counted = len(quiet(found))
    if counted < rounds:
        sys.exit(
            f"{counted} of {rounds} rounds were quiet: others used {QUIET_CORES} cores or more in the "
            "rest; measure again on a machine at rest"
        )
