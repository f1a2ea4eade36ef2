"""The batch to choose for a latency budget, from the throughput and latency of every measured batch."""

import math
from collections.abc import Sequence

from runtime.bundle.results.bench_json import BatchChoice, Measured
from runtime.errors import UsageError
from runtime.support.words import counted


def choose_batches(measured: Sequence[Measured], budget_ms: float) -> tuple[BatchChoice, ...]:
    """Return the batch with the most images per second within a budget, for every curve.

    A curve is what differs in the batch only: one bundle, engine, precision and number of threads. A batch is within
    the budget when the p99 of one call is, or its median where there are too few runs for a p99; the text says which.
    Only measured batches are chosen: nothing is interpolated.

    Args:
        measured: What was timed, in any order.
        budget_ms: Longest time that one call may take, milliseconds.

    Returns:
        One choice per curve, in the order in which their first points come.

    Raises:
        UsageError: The budget is no positive time.
    """
    if not (math.isfinite(budget_ms) and budget_ms > 0):
        raise UsageError(f"--budget-ms {budget_ms:g}: expected a positive number of milliseconds")
    curves: dict[tuple[str, str, str, int | None, str], list[Measured]] = {}
    for point in measured:
        key = (point.bundle, point.engine, point.precision, point.threads, point.scope)
        curves.setdefault(key, []).append(point)
    return tuple(_choose(sorted(points, key=lambda point: point.batch), budget_ms) for points in curves.values())


def _choose(points: Sequence[Measured], budget_ms: float) -> BatchChoice:
    """Return the choice for one curve, its points by batch."""
    within = [point for point in points if _judged(point)[1] <= budget_ms]
    # Of equal rates the smaller batch, which answers sooner.
    best = max(within, key=lambda point: (point.images_per_s, -point.batch), default=None)
    first = points[0]
    return BatchChoice(
        budget_ms=budget_ms,
        bundle=first.bundle,
        engine=first.engine,
        precision=first.precision,
        batch=best.batch if best else None,
        images_per_s=best.images_per_s if best else None,
        text=_curve_name(first) + (_chosen(best, points, budget_ms) if best else _none_within(points, budget_ms)),
    )


def _curve_name(point: Measured) -> str:
    threads = "" if point.threads is None else f", {counted(point.threads, 'thread')}"
    return f"{point.bundle} in {point.engine} ({point.precision}{threads}): "


def _chosen(best: Measured, points: Sequence[Measured], budget_ms: float) -> str:
    """Return why a batch was chosen, and what the next larger would have brought."""
    text = f"batch {best.batch} gives {best.images_per_s:.4g} images/s, {_time(best)} within {budget_ms:g} ms"
    larger = [point for point in points if point.batch > best.batch]
    if not larger:
        return f"{text}; no larger batch was measured"
    faster = [point for point in larger if point.images_per_s > best.images_per_s]
    if not faster:
        return f"{text}; no larger batch gives more"
    return f"{text}; batch {faster[0].batch} gives {faster[0].images_per_s:.4g} images/s, but {_time(faster[0])}"


def _none_within(points: Sequence[Measured], budget_ms: float) -> str:
    fastest = min(points, key=lambda point: _judged(point)[1])
    return f"no batch is within {budget_ms:g} ms: the fastest, batch {fastest.batch}, has {_time(fastest)}"


def _time(point: Measured) -> str:
    statistic, milliseconds = _judged(point)
    few = "" if point.latency.p99_ms is not None else f" ({counted(point.latency.runs, 'run')}: too few for a p99)"
    return f"{statistic} {milliseconds:.4g} ms{few}"


def _judged(point: Measured) -> tuple[str, float]:
    """Return what is held against the budget, by name, and its milliseconds."""
    if point.latency.p99_ms is None:
        return "median", point.latency.median_ms
    return "p99", point.latency.p99_ms
