"""Which bundle and engine to take, in words: the choice, what it costs and gains, or why there is none yet."""

from runtime.bundle.results.bench_json import Measured
from runtime.report.candidates import (
    ORIGINAL,
    Candidate,
    fastest_by_subject,
    smallest_batch,
    subject_label,
    timed_alone,
)
from runtime.report.certainty import Lead, format_ratio, measure_lead, speed_ratio
from runtime.report.document import format_cell, format_ms
from runtime.report.inputs import Inputs, bundle_name

# An interval shrinks with the square root of the calls: four times as many halve it.
_MORE_CALLS = 4


def choose(inputs: Inputs, candidates: list[Candidate]) -> Candidate | None:
    """Return the fastest engine of the bundles reported on that is accurate enough; None if none is.

    Accurate enough: a top-1 drop of at most `max_drop`, finite logits, and an SQNR that rounding explains.
    """
    return min(_accurate(inputs, candidates), key=lambda one: one.latency_ms, default=None)


def _accurate(inputs: Inputs, candidates: list[Candidate]) -> list[Candidate]:
    return [one for one in _own(inputs, candidates) if one.drop <= inputs.max_drop and one.sound]


def _own(inputs: Inputs, candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates that are engines of the bundles reported on, the original itself left out."""
    return [
        one
        for one in candidates
        if one.measured.kind == "bundle" and one.score is not None and inputs.reports_on(one.measured.bundle)
    ]


def describe_decision(inputs: Inputs, candidates: list[Candidate]) -> tuple[str, ...]:
    """Return which precision and engine to take, what it costs and what it gains, in two to four sentences.

    Where the benchmark was too noisy to tell the fastest, they say so instead, with the next step.
    """
    chosen = choose(inputs, candidates)
    if chosen is None:
        return _without_choice(inputs, candidates)
    rivals = [one for one in _accurate(inputs, candidates) if one is not chosen]
    leads = [(one, measure_lead(one.measured, chosen.measured, inputs.benches)) for one in rivals]
    undecided = [(one, lead) for one, lead in leads if not (lead.shown or lead.equal)]
    if undecided:
        return (*_too_noisy(inputs, chosen, undecided), *_faster_alone(inputs, candidates, chosen))
    return (
        _take(inputs, candidates, chosen),
        *_as_fast([(one, lead) for one, lead in leads if lead.equal]),
        _cost(chosen, inputs.max_drop),
        _gain(inputs, candidates, chosen),
        *_faster_alone(inputs, candidates, chosen),
    )


def _take(inputs: Inputs, candidates: list[Candidate], chosen: Candidate) -> str:
    name, count = bundle_name(chosen.measured.bundle), len(_own(inputs, candidates))
    take = f"Take {name} on {chosen.measured.engine}, which executes {chosen.measured.precision}"
    if count == 1:
        return f"{take}: no other has a known accuracy and latency, and it is accurate enough."
    return (
        f"{take}: it is the fastest of {count} that were measured, among those with a top-1 drop of at most"
        f" {_points(inputs.max_drop)}."
    )


def _as_fast(equals: list[tuple[Candidate, Lead]]) -> tuple[str, ...]:
    """Return in a sentence what is as fast as the choice, if anything is."""
    if not equals:
        return ()
    words = [
        f"{one.label} ({format_ratio(lead.ratio)} times the latency, {format_ratio(lead.interval.low)} to"
        f" {format_ratio(lead.interval.high)}; drop {_signed(one.drop)})"
        for one, lead in equals
    ]
    return (f"As fast, as far as was measured: {'; '.join(words)}.",)


def _too_noisy(inputs: Inputs, chosen: Candidate, undecided: list[tuple[Candidate, Lead]]) -> tuple[str, ...]:
    """Return that the benchmark does not tell the fastest, why, and what to do."""
    rival, lead = undecided[0]
    low, high = format_ratio(lead.interval.low), format_ratio(lead.interval.high)
    ratio = f"the ratio of their times, {format_ratio(lead.ratio)} ({low} to {high}),"
    verdict = (
        f"{ratio} does not exclude 1"
        if lead.interval.low <= 1
        else f"{ratio} is not above the {format_ratio(lead.explained)} that other work on the machine can explain"
    )
    why = f"; {' and '.join(lead.disturbances)}" if lead.disturbances else ""
    more = f" ({len(undecided) - 1} more are as near)" if len(undecided) > 1 else ""
    step = (
        f"Run again on a quiet machine with `run-ssl bench {inputs.paths}`"
        if lead.disturbances
        else f"Run again on a quiet machine with more calls: `run-ssl bench {inputs.paths} --runs"
        f" {_MORE_CALLS * chosen.measured.latency.runs}`"
    )
    return (
        f"The machine was too noisy to decide between {chosen.label}, {format_ms(chosen.latency_ms)}, and"
        f" {rival.label}, {format_ms(rival.latency_ms)}{more}: {verdict}{why}.",
        f"{step}.",
        f"Both are accurate enough: their top-1 changes by {_signed(-chosen.drop)} and {_signed(-rival.drop)}.",
    )


def _faster_alone(inputs: Inputs, candidates: list[Candidate], chosen: Candidate) -> tuple[str, ...]:
    """Return in a sentence what is faster than the choice and was not judged, since nobody compared it."""
    faster = [one for one in timed_alone(inputs, candidates) if one.latency.median_ms < chosen.latency_ms]
    if not faster:
        return ()
    words = ", ".join(f"{subject_label(one)}, {format_ms(one.latency.median_ms)}" for one in faster)
    return (f"Faster, but its accuracy was not compared: {words}; {compare_command(inputs, faster)} does that.",)


def compare_command(inputs: Inputs, timed: list[Measured]) -> str:
    """Return the command that compares engines which were timed alone, as code."""
    engines = ",".join(dict.fromkeys(one.engine for one in timed))
    return f"`run-ssl compare {inputs.paths} --data FOLDER --engines {engines} --save`"


def _signed(share: float) -> str:
    return format_cell(share, "points")


def _cost(chosen: Candidate, max_drop: float) -> str:
    assert chosen.score is not None
    low, high = chosen.score.drop_ci95
    drop = chosen.score.drop
    change = f"loses {_points(drop)}" if drop > 0 else f"gains {_points(-drop)}" if drop < 0 else "changes nothing"
    sentence = (
        f"It {change} of top-1 against the PyTorch original ({100 * chosen.top1:.2f} % on {chosen.images:,} images;"
        f" 95 % interval of the drop {100 * low:+.2f} to {100 * high:+.2f} pp)"
    )
    if high > max_drop:
        return f"{sentence}; that interval does not exclude a drop above {_points(max_drop)}, more images would tell."
    return f"{sentence}."


def _gain(inputs: Inputs, candidates: list[Candidate], chosen: Candidate) -> str:
    batch = chosen.measured.batch
    speed = f"One call of batch {batch} takes {format_ms(chosen.latency_ms)}"
    parts = []
    others = [one for one in candidates if one is not chosen]
    floats = [one for one in others if one.measured.kind == "bundle" and one.measured.precision == "fp32"]
    for words, group in (
        ("the fastest FP32 engine", floats),
        ("PyTorch", [one for one in others if one.measured.engine.startswith(ORIGINAL) and one.score is None]),
    ):
        if group:
            slow = min(group, key=lambda one: one.latency_ms)
            parts.append(
                f"{_ratio(slow.measured, chosen.measured, inputs)} as fast as {words} ({slow.measured.engine})"
            )
    return f"{speed}: {' and '.join(parts)}." if parts else f"{speed}; nothing slower was measured to compare it with."


def _ratio(slow: Measured, fast: Measured, inputs: Inputs) -> str:
    together = any(slow in bench.measured and fast in bench.measured for bench in inputs.benches)
    ratio, interval = speed_ratio(slow, fast) if together else (slow.latency.median_ms / fast.latency.median_ms, None)
    spread = f" ({format_ratio(interval.low)} to {format_ratio(interval.high)})" if interval else ""
    return f"{format_ratio(ratio)} times{spread}"


def _without_choice(inputs: Inputs, candidates: list[Candidate]) -> tuple[str, ...]:
    names = inputs.paths
    if _own(inputs, candidates):
        return (
            f"Take none of these as they are: every bundle that was measured loses more than {_points(inputs.max_drop)}"
            " of top-1, has logits that are not finite, or is further from the original than rounding explains.",
            "The tables below say by how much; keep the FP32 original, or export with --max-drop.",
        )
    if not inputs.benches and not inputs.comparisons:
        return (
            f"Nothing was measured yet: `run-ssl compare {names} --data FOLDER --save` gives the accuracy and"
            f" `run-ssl bench {names}` the speed.",
        )
    if not inputs.benches:
        best = max(inputs.comparisons[0].engines, key=lambda one: one.images_per_s, default=None)
        fastest = f" In the comparison itself {best.engine} ({best.precision}) was the fastest." if best else ""
        return (f"Accuracy is known, latency is not: `run-ssl bench {names}` measures it.{fastest}",)
    if not inputs.comparisons:
        batch = smallest_batch(inputs.benches) or 1
        fastest_one = fastest_by_subject(inputs.benches, batch)[0] if inputs.benches[0].measured else None
        words = f" {subject_label(fastest_one)} is the fastest at batch {batch}." if fastest_one else ""
        return (
            f"Latency is known, accuracy is not: `run-ssl compare {names} --data FOLDER --save` measures it.{words}",
        )
    return ("The benchmark and the comparison have no bundle and engine in common: run both on the same bundles.",)


def _points(share: float) -> str:
    return f"{100 * share:.2f} pp"
