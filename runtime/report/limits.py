"""The rooflines of a benchmark with what they belong to."""

from dataclasses import dataclass

from runtime.bundle.results.bench_json import Limit, Measured
from runtime.report.candidates import subject_label
from runtime.report.inputs import Inputs


@dataclass(frozen=True)
class NamedLimit:
    """A roofline of a bundle that is reported on.

    Attributes:
        label: Bundle, engine, precision and batch in words.
        measured: What was timed.
        limit: Roofline of the engine.
    """

    label: str
    measured: Measured
    limit: Limit


def named_limits(inputs: Inputs) -> list[NamedLimit]:
    """Return the rooflines of the bundles that are reported on, in the benchmark's order."""
    found = []
    for bench in inputs.benches:
        measured = {one.name: one for one in bench.measured if inputs.reports_on(one.bundle)}
        for limit in bench.limits:
            one = measured.get(limit.name)
            if one is not None:
                found.append(NamedLimit(f"{subject_label(one)}, batch {one.batch}", one, limit))
    return found


def smallest_batches(limits: list[NamedLimit]) -> list[NamedLimit]:
    """Return of each bundle and engine the one with the smallest batch."""
    best: dict[tuple[str, str, str], NamedLimit] = {}
    for one in limits:
        key = (one.measured.bundle, one.measured.engine, one.measured.precision)
        if key not in best or one.measured.batch < best[key].measured.batch:
            best[key] = one
    return list(best.values())
