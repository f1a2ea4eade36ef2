"""What came of each quantiser on each network: rows, what failed, and by how much ours is better."""

from collections.abc import Collection
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.int8.peer_task import Kind, Placement
from benchmarks.int8.scoring import Score
from benchmarks.shared.run_measured import Usage

OURS = "ours"
# With `--int8-effort high`.
HIGH = "ours, high effort"
# Wanted: dB above the best peer, agreement at least that peer's, top-1 drop unless it is not significant.
WANTED_MARGIN_DB, WANTED_DROP, SIGNIFICANT = 1.5, 0.001, 0.05


@dataclass(frozen=True)
class Row:
    """One quantised network in one engine.

    Attributes:
        network: What the table calls the network.
        kind: Whether activations are signed.
        who: The quantiser and its recipe.
        images: Calibration images.
        placement: The one who decided which tensors are quantised.
        engine: What ran it.
        score: How near it is to FP32.
        usage: What quantising took, the whole process.
    """

    network: str
    kind: Kind
    who: str
    images: int
    placement: Placement
    engine: str
    score: Score
    usage: Usage


@dataclass(frozen=True)
class Failure:
    """A quantiser that gave no network, and why.

    Attributes:
        network: What the table calls the network.
        kind: Whether activations were to be signed.
        who: The quantiser and its recipe.
        images: Calibration images.
        why: The last line that it said.
    """

    network: str
    kind: Kind
    who: str
    images: int
    why: str


def better_of_counts(rows: list[Row]) -> list[Row]:
    """Return one row per quantiser and engine: the count of images that gave the higher SQNR."""
    best: dict[tuple[str, str, str, str], Row] = {}
    for row in rows:
        key = (row.network, row.kind, row.who, row.engine)
        if key not in best or row.score.sqnr_db > best[key].score.sqnr_db:
            best[key] = row
    return list(best.values())


@dataclass(frozen=True)
class Verdict:
    """What was wanted of ours on one network, kind and engine, and what came of it.

    Attributes:
        network: What the table calls the network.
        kind: Whether activations are signed.
        engine: What ran it.
        who: Ours, with which effort.
        best_peer: The peer with the highest SQNR of those that leave no main side float where ours does not.
        margin_db: SQNR above that peer's.
        drop_is_small: Whether top-1 drops by no more than is wanted, or not significantly.
        agrees: Whether as many images as with that peer, or more, get FP32's class.
        best_lean: The best of the others, which leave the main sides of Adds float; None where none was run.
    """

    network: str
    kind: Kind
    engine: str
    who: str
    best_peer: str
    margin_db: float
    drop_is_small: bool
    agrees: bool
    best_lean: str | None

    @property
    def done(self) -> bool:
        """Whether all that is wanted came."""
        return self.margin_db >= WANTED_MARGIN_DB and self.drop_is_small and self.agrees


def judge(rows: list[Row], *, stages: Collection[str]) -> list[Verdict]:
    """Return one verdict per network, kind, engine and effort of ours.

    Args:
        rows: All rows; those of `OURS` and `HIGH` are judged against the peers'.
        stages: Names of ours with some techniques switched off, which are no peers.
    """
    verdicts = []
    for own in (row for row in rows if row.who in (OURS, HIGH)):
        same = (own.network, own.kind, own.engine)
        others = [row for row in rows if (row.network, row.kind, row.engine) == same]
        rivals = [row for row in others if row.who not in (OURS, HIGH, *stages)]
        best, lean = (_best([row for row in rivals if (row.placement == "lean") is told]) for told in (False, True))
        if best is None:
            continue
        small = own.score.drop <= WANTED_DROP or own.score.mcnemar_p > SIGNIFICANT
        margin = own.score.sqnr_db - best.score.sqnr_db
        agrees = own.score.agreement >= best.score.agreement
        verdicts.append(Verdict(*same, own.who, best.who, margin, small, agrees, lean.who if lean else None))
    return verdicts


def _best(rows: list[Row]) -> Row | None:
    return max(rows, key=lambda row: row.score.sqnr_db, default=None)


def print_rows(rows: list[Row], failures: list[Failure], console: Console, *, title: str) -> None:
    """Print one network's rows, and below them what failed."""
    heads = ("kind", "who", "images", "placement", "engine")
    figures = ("SQNR dB", "agree %", "top-1 %", "drop pp (95 %)", "p", "s", "GB")
    table = Table(*heads, *figures, title=title)
    for row in rows:
        found = row.score
        low, high = (100 * end for end in found.drop_ci95)
        table.add_row(
            row.kind,
            row.who,
            str(row.images),
            row.placement,
            row.engine,
            f"{found.sqnr_db:.2f}",
            f"{100 * found.agreement:.2f}",
            f"{100 * found.top1:.2f}",
            f"{100 * found.drop:.2f} ({low:.2f} to {high:.2f})",
            f"{found.mcnemar_p:.2f}",
            f"{row.usage.seconds:.1f}",
            f"{row.usage.peak_mb / 1024:.2f}",
        )
    console.print(table)
    for failure in failures:
        console.print(f"{failure.kind}, {failure.who}, {failure.images} images: failed: {failure.why}")
