import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from runtime.bench.figures.ratios import paired_ratio
from runtime.bench.gate import (
    Change,
    compare_results,
    gate_changes,
    left_out,
    parse_gate,
    read_result,
    render_changes,
    require_comparable,
)
from runtime.bundle.results.bench_json import Gpu, Interval, Machine
from runtime.errors import BundleError, UsageError
from tests.helpers.bench_results import MACHINE, result, subject, summary

# Two bootstraps of 2,000 resamples at the 0.9 % level of 10 rounds, in standard errors of the statistic.
BOOTSTRAP_SHARE = 0.15


def times(seed: int, *, scale: float = 1.0, rounds: int = 10, calls: int = 20, drift: float = 0.02) -> np.ndarray:
    """Skewed times about `scale` ms whose rounds differ by `drift`, a standard deviation, relatively."""
    rng = np.random.default_rng(seed)
    each = 0.03 * rng.standard_exponential((rounds, calls)) + drift * rng.standard_normal((rounds, 1))
    return scale * np.exp(each)


def change(low: float, high: float, *, name: str = "net", notes: tuple[str, ...] = ()) -> Change:
    return Change(
        name=name,
        before_ms=1.0,
        now_ms=1.0,
        ratio=(low + high) / 2,
        ratio_ci95=Interval(low=low, high=high),
        notes=notes,
    )


def test_a_change_is_the_ratio_of_medians() -> None:
    before = result(subject("a", [[1.0, 2.0, 3.0]] * 6), subject("b", [[4.0] * 3] * 6))
    now = result(subject("b", [[5.0] * 3] * 6), subject("a", [[1.0, 3.0, 9.0]] * 6))
    first, second = compare_results(before, now)
    assert (first.name, first.before_ms, first.now_ms, first.ratio) == ("b", 4.0, 5.0, 1.25)
    assert (second.name, second.before_ms, second.now_ms, second.ratio) == ("a", 2.0, 3.0, 1.5)
    # Every round is alike, so nothing is uncertain.
    assert (first.ratio_ci95.low, first.ratio_ci95.high) == (1.25, 1.25)
    assert first.verdict == "slower"


def test_the_interval_agrees_with_scipy_resampling_each_results_rounds() -> None:
    old, new = times(1), times(2, scale=1.1, rounds=14)
    level = 1 - 2 * stats.norm.cdf(-np.sqrt(10 / 9) * stats.t.ppf(0.975, 9))
    theirs = stats.bootstrap(
        (np.arange(10), np.arange(14)),
        lambda olds, news: np.median(new[news]) / np.median(old[olds]),
        vectorized=False,
        n_resamples=20_000,
        confidence_level=level,
        method="percentile",
        random_state=0,  # scipy 1.15 and later also call it `rng`
    )
    (ours,) = compare_results(result(subject("a", old)), result(subject("a", new)))
    tolerance = BOOTSTRAP_SHARE * theirs.standard_error
    assert ours.ratio_ci95.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert ours.ratio_ci95.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)


def test_few_rounds_have_a_t_interval_of_both_sides() -> None:
    old, new = times(1, rounds=4), times(2, rounds=3)
    logs = [np.log(np.median(side, axis=1)) for side in (old, new)]
    half = stats.t.ppf(0.975, 2) * np.hypot(stats.sem(logs[0]), stats.sem(logs[1]))
    (ours,) = compare_results(result(subject("a", old)), result(subject("a", new)))
    assert ours.ratio_ci95.low == pytest.approx(np.median(new) / np.median(old) * np.exp(-half))
    assert ours.ratio_ci95.high == pytest.approx(np.median(new) / np.median(old) * np.exp(half))


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [3, 10])
def test_95_of_100_intervals_hold_the_true_ratio_and_few_gates_cry_wolf(rounds: int) -> None:
    held = gated = 0
    simulations = 300
    for seed in range(simulations):
        old = subject("a", times(2 * seed, rounds=rounds))
        new = subject("a", times(2 * seed + 1, rounds=rounds, scale=1.05))
        (found,) = compare_results(result(old), result(new))
        held += found.ratio_ci95.low <= 1.05 <= found.ratio_ci95.high
        gated += bool(gate_changes([found], limit=0.05))
    # Three standard errors of a share of 95 % of 300 are 3.8 %; the least degrees of freedom of 3 rounds are cautious.
    assert 0.90 <= held / simulations <= (0.99 if rounds == 10 else 1.0)
    assert gated / simulations <= 0.05


def test_a_doubled_time_is_found_and_the_same_time_is_not() -> None:
    before = result(subject("same", times(1)), subject("slow", times(2)))
    now = result(subject("same", times(3)), subject("slow", times(4, scale=2.0)))
    changes = compare_results(before, now)
    assert [found.name for found in gate_changes(changes, limit=0.05)] == ["slow"]
    assert [found.verdict for found in changes] == ["no difference shown", "slower"]


def test_the_gate_takes_the_whole_interval_beyond_the_limit() -> None:
    changes = [change(1.04, 1.3, name="wide"), change(1.05, 1.1, name="at"), change(1.06, 1.1, name="beyond")]
    assert [found.name for found in gate_changes(changes, limit=0.05)] == ["beyond"]
    assert gate_changes([change(0.5, 0.6)], limit=0.0) == ()


@pytest.mark.parametrize(
    ("text", "limit"), [("5%", 0.05), (" 2.5 %", 0.025), ("0.05", 0.05), ("0", 0.0), ("150%", 1.5)]
)
def test_a_gate_is_a_percentage_or_a_fraction(text: str, limit: float) -> None:
    assert parse_gate(text) == pytest.approx(limit)


@pytest.mark.parametrize("text", ["5", "", "%", "-1%", "nan", "inf%", "five", "5%%"])
def test_a_gate_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected the slowdown"):
        parse_gate(text)


def other_machine(**changed: object) -> Machine:
    return MACHINE.model_copy(update=changed)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (other_machine(cpu="Example CPU 2"), "Example CPU 1 against Example CPU 2"),
        (other_machine(cores=4), "2 usable cores against 4"),
        (other_machine(gpus=(Gpu(name="GPU X", compute_capability="8.0", memory_mb=1),)), "GPU X"),
    ],
)
def test_another_machine_is_refused_unless_forced(machine: Machine, said: str) -> None:
    before, now = result(subject("a", times(1))), result(subject("a", times(2)), machine=machine)
    with pytest.raises(UsageError, match=said) as refused:
        compare_results(before, now)
    assert "--force" in str(refused.value)
    (forced,) = compare_results(before, now, force=True)
    assert said in forced.notes[0]


def test_other_versions_on_the_same_machine_are_compared() -> None:
    newer = other_machine(versions={"openvino": "2026.1.0"}, commit="abc", python="3.12.0")
    (found,) = compare_results(result(subject("a", times(1))), result(subject("a", times(2)), machine=newer))
    assert found.notes == ()


def test_another_scope_or_network_is_refused_even_when_forced() -> None:
    before = result(subject("a", times(1)))
    with pytest.raises(UsageError, match="--scope model, this run with end-to-end"):
        compare_results(before, before.model_copy(update={"scope": "end-to-end"}), force=True)
    with pytest.raises(UsageError, match="measured on net, this run on other"):
        compare_results(before, before.model_copy(update={"model": "other"}), force=True)
    with pytest.raises(UsageError, match="another machine"):
        require_comparable(before, scope="model", model="net", machine=other_machine(cores=1), force=False)


def test_one_name_for_two_batches_is_refused() -> None:
    before, now = result(subject("a", times(1), batch=1)), result(subject("a", times(2), batch=2))
    with pytest.raises(UsageError, match="was batch 1 with scope model, now batch 2"):
        compare_results(before, now)


def test_another_precision_and_thread_count_are_said() -> None:
    before = result(subject("a", times(1), precision="int8", threads=2))
    (found,) = compare_results(before, result(subject("a", times(2), precision="float32")))
    assert found.notes == (
        "It executed int8 before and float32 now.",
        "It had threads = 2 before and threads of the engine's choice now.",
    )


def test_results_with_nothing_in_common_are_refused() -> None:
    with pytest.raises(UsageError, match="has a, this run b"):
        compare_results(result(subject("a", times(1))), result(subject("b", times(2))))


def test_too_few_runs_for_an_interval_are_refused() -> None:
    few = subject("a", [[1.0], [2.0]], latency=summary(1.5, p99_ms=None, runs=2))
    with pytest.raises(UsageError, match="2 timed runs in one result"):
        compare_results(result(few), result(subject("a", times(1))))


def test_what_is_not_compared_is_said() -> None:
    program = subject("program", latency=summary(1.0, p99_ms=None))
    before = result(subject("gone", times(1)), subject("both", times(2)), program)
    now = result(subject("both", times(3)), subject("new", times(4)), program)
    assert left_out(before, now) == (
        "gone is only in the earlier result.",
        "new is only in this result.",
        "program has no times of single calls, so its change has no interval.",
    )
    assert [found.name for found in compare_results(before, now)] == ["both"]


def test_rounds_of_one_run_are_paired() -> None:
    # Rounds slow down by up to half, both alike: the ratio stays within its own scatter.
    slowing = np.linspace(1, 1.5, 10)[:, np.newaxis]
    a, b = 1.1 * times(1, drift=0.0) * slowing, times(2, drift=0.0) * slowing
    logs = np.log(np.median(a, axis=1) / np.median(b, axis=1))
    expected = stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    found = paired_ratio(subject("a", a), subject("b", b))
    assert (found.name, found.reference, found.rounds) == ("a", "b", 10)
    assert found.ratio == pytest.approx(stats.gmean(np.median(a, axis=1) / np.median(b, axis=1)))
    assert found.ratio_ci95.low == pytest.approx(np.exp(expected.low))
    assert found.ratio_ci95.high == pytest.approx(np.exp(expected.high))
    assert found.ratio_ci95.high - found.ratio_ci95.low < 0.04
    back = paired_ratio(subject("b", b), subject("a", a))
    assert back.ratio_ci95.low == pytest.approx(1 / found.ratio_ci95.high)


@pytest.mark.parametrize("rounds", [[[1.0] * 8], [[1.0] * 8] * 3, [[1.0] * 8, []]])
def test_rounds_that_are_no_pairs_are_refused(rounds: list[list[float]]) -> None:
    with pytest.raises(UsageError, match="measured in turns"):
        paired_ratio(subject("a", rounds), subject("b", [[1.0] * 8] * 2))
    with pytest.raises(UsageError, match="measured in turns"):
        paired_ratio(subject("a", latency=summary(1.0, p99_ms=None)), subject("b", latency=summary(1.0, p99_ms=None)))


def test_a_written_result_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    written = result(subject("a", times(1)), subject("program", latency=summary(1.0, p99_ms=None)))
    file.write_text(written.model_dump_json(), encoding="utf-8")
    assert read_result(file) == written


def broken_files() -> dict[str, tuple[bytes, str]]:
    """Return contents of a file by what is wrong with them, with what the message says."""
    good = json.loads(result(subject("a", times(1))).model_dump_json())
    twice = {**good, "measured": good["measured"] * 2}
    (measured,) = good["measured"]
    short = {**good, "measured": [{**measured, "rounds_ms": measured["rounds_ms"][1:]}]}
    negative = {**good, "measured": [{**measured, "rounds_ms": [[-1.0] * measured["latency"]["runs"]]}]}
    return {
        "empty": (b"", "is not JSON"),
        "cut": (json.dumps(good).encode()[:-9], "is not JSON"),
        "not text": (b"\xff\xfe\x00\x80", "is not JSON"),
        "deep": (b"[" * 100_000, "is not JSON"),
        "list": (b"[]", "is not a benchmark's result"),
        "another file": (b'{"schema_version": 1, "files": []}', "is not a benchmark's result"),
        "nan": (json.dumps({**good, "seconds": float("nan")}).encode(), "is not a benchmark's result"),
        "newer": (json.dumps({**good, "schema_version": 2}).encode(), "schema version 2, this run-ssl reads up to 1"),
        "unknown key": (json.dumps({**good, "extra": 1}).encode(), "extra"),
        "twice": (json.dumps(twice).encode(), "a appears 2 times"),
        "short": (json.dumps(short).encode(), "a has 180 times for 200 runs"),
        "negative": (json.dumps(negative).encode(), "a call of a took -1 ms"),
    }


@pytest.mark.parametrize("broken", broken_files())
def test_a_broken_result_is_refused_in_one_line(broken: str, tmp_path: Path) -> None:
    content, said = broken_files()[broken]
    file = tmp_path / "bench.json"
    file.write_bytes(content)
    with pytest.raises(BundleError, match=said) as refused:
        read_result(file)
    assert "\n" not in str(refused.value)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("name", [".", "absent.json"])
def test_a_folder_or_an_absent_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        read_result(tmp_path / name)


def test_changes_are_printed_with_what_failed() -> None:
    shown = io.StringIO()
    changes = [
        change(1.1, 1.3, name="net [bold]", notes=("It executed int8 before and float32 now.",)),
        change(0.9, 1.1),
    ]
    render_changes(changes, gate_changes(changes, limit=0.05), limit=0.05, console=Console(file=shown, width=100))
    text = shown.getvalue()
    assert "1.100-1.300" in text
    assert "no difference shown" in text
    assert "net [bold]: It executed int8 before and float32 now." in text
    assert "FAILED: net [bold] is at least 10.0 % slower; 5 % is accepted" in text
    quiet = io.StringIO()
    render_changes(changes[1:], (), limit=0.05, console=Console(file=quiet, width=100))
    assert "No subject is shown to be more than 5 % slower." in quiet.getvalue()
