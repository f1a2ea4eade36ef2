"""Measuring in turn: the order of the rounds, the warm-up, how much is measured, and processes that fail."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bench import turns as module
from runtime.bench.runners import Runner, noise_pixels, open_runner
from runtime.bench.subjects import Subject
from runtime.bench.turns import Effort, measure
from runtime.bench.worker import peak_memory_mb, run, timed, warm_up
from runtime.bundle.bundle import open_bundle
from runtime.errors import BundleError, EngineError, UsageError
from runtime.support.child_process import ChildProcess
from runtime.support.progress import Listener

QUICK = Effort(rounds=2, runs=6, warm_up_s=0.05)
ENGINES = ("onnxruntime", "openvino")


def subject(engine="onnxruntime", *, bundle="net", name=None, **changes):
    return Subject(name=name or f"net {engine} batch 1", kind="bundle", bundle=bundle, engine=engine,
                   **{"batch": 1, **changes})  # fmt: skip


def workers():
    """Return the command lines of this process's living children that measure."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z" and "runtime.bench.worker" in words:
            found.append(int(folder.name))
    return found


class Scripted:
    """Stands for a child process: notes what it is told, in a list that all share, and answers as a worker does."""

    log: list

    def __init__(self, _module):
        self.name = ""
        self.answers = []

    def send(self, line):
        command = json.loads(line)
        if not self.name:
            self.name = command["engine"]
            self.log.append((self.name, "open"))
            self.answers.append({"load_ms": 1.0, "first_ms": 2.0, "precision": "fp32", "notes": []})
        elif "warm" in command:
            self.log.append((self.name, "warm", command["warm"]))
            self.answers.append({"calls": 1})
        else:
            self.log.append((self.name, "run", command["runs"], command["seconds"]))
            self.answers.append({"times_ms": [float(len(self.log))] * command["runs"], "peak_memory_mb": 5.0})

    def lines(self):
        while self.answers:
            yield json.dumps(self.answers.pop(0))

    def close(self):
        self.log.append((self.name, "close"))


@pytest.fixture
def log(monkeypatch):
    """Return the list of what scripted processes are told."""
    lines: list = []
    monkeypatch.setattr(Scripted, "log", lines, raising=False)
    monkeypatch.setattr(Scripted, "lines", lambda self: _Answers(self))
    monkeypatch.setattr(module, "ChildProcess", Scripted)
    return lines


class _Answers:
    def __init__(self, process):
        self.process = process

    def __iter__(self):
        return self

    def __next__(self):
        return json.dumps(self.process.answers.pop(0))


@pytest.fixture
def failing(monkeypatch):
    """Make every measuring process `tests/helpers/bench_worker.py`."""
    monkeypatch.setattr(module, "ChildProcess", lambda _module: ChildProcess("tests.helpers.bench_worker"))


def test_rounds_take_turns_and_every_other_one_goes_backwards(log):
    found = measure([subject("a"), subject("b"), subject("c")], Effort(rounds=3, runs=3), Listener())
    assert [name for name, what, *_ in log if what == "run"] == list("abccbaabc")
    # All are open and warm before anything counts, and closed after it.
    assert [what for _, what, *_ in log] == ["open"] * 3 + ["warm"] * 3 + ["run"] * 9 + ["close"] * 3
    assert [times.subject.engine for times in found] == list("abc")
    # The place in the log at which each was measured: round 2 of `a` is the last of it.
    assert [times.rounds_ms for times in found] == [
        ((7.0,), (12.0,), (13.0,)),
        ((8.0,), (11.0,), (14.0,)),
        ((9.0,), (10.0,), (15.0,)),
    ]


@pytest.mark.parametrize(("runs", "rounds", "each"), [(200, 10, 20), (201, 10, 21), (6, 10, 1), (7, 2, 4)])
def test_runs_are_shared_out_over_the_rounds_and_rounded_up(log, runs, rounds, each):
    measure([subject("a")], Effort(rounds=rounds, runs=runs, seconds=5.0, warm_up_s=1.5), Listener())
    assert [one for one in log if one[1] == "run"] == [("a", "run", each, 5.0 / rounds)] * rounds
    assert ("a", "warm", 1.5) in log


def test_the_listener_hears_of_every_stage_and_step(log):
    heard: list = []
    listener = Listener(on_stage=lambda name, steps: heard.append((name, steps)), on_steps=heard.append)
    measure([subject("a"), subject("b")], Effort(rounds=2, runs=2), listener)
    assert heard == [("open", 2), 1, 1, ("warm up", 2), 1, 1, ("measure", 4), 1, 1, 1, 1]
    assert log


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("silent", EngineError, "its process ended with 5: it said nothing"),
        ("refuses", BundleError, "no such bundle"),
        ("unknown-kind", EngineError, "strange"),
        ("crashes", EngineError, "its process ended with 139: Traceback ValueError: the engine broke"),
        ("half", EngineError, "its process ended with 0"),
        ("error-later", EngineError, "out of memory"),
    ],
)
def test_a_process_that_fails_is_named_with_its_reason(fault, kind, words):
    with pytest.raises(kind) as caught:
        measure([subject("fine"), subject(fault)], Effort(rounds=2, runs=2), Listener())
    assert str(caught.value).startswith(f"net {fault} batch 1: ")
    assert words in str(caught.value)


@pytest.mark.usefixtures("failing")
def test_a_process_that_answers_is_reported_as_it_answered():
    (times,) = measure([subject("fine")], Effort(rounds=2, runs=4), Listener())
    assert (times.load_ms, times.first_ms, times.precision, times.notes) == (1.0, 2.0, "fp32", ("a note",))
    assert times.rounds_ms == ((1.0, 1.0), (1.0, 1.0))
    assert times.peak_memory_mb == 10.0


def test_every_subject_has_a_process_of_its_own_and_none_is_left(exported):
    counts = []
    listener = Listener(on_stage=lambda *_: counts.append(len(workers())))
    subjects = [subject(engine, bundle=exported.fp32) for engine in ENGINES]
    found = measure(subjects, QUICK, listener)
    assert counts == [0, 2, 2]
    assert workers() == []
    for times in found:
        assert [len(calls) for calls in times.rounds_ms] == [3, 3]
        assert min(min(calls) for calls in times.rounds_ms) > 0
        assert times.precision == "fp32"
        assert times.load_ms > 0
        assert times.first_ms > 0
        # Python with an engine and a network of 45 MB of weights.
        assert 100 < times.peak_memory_mb < 4000


def test_no_process_is_left_when_one_cannot_be_opened(exported):
    subjects = [subject(bundle=exported.fp32), subject(bundle=exported.fp32.parent / "absent", name="gone")]
    with pytest.raises(BundleError, match=r"^gone: .*absent is not a directory"):
        measure(subjects, QUICK, Listener())
    assert workers() == []


def test_no_process_is_left_after_ctrl_c(exported):
    def interrupt(_step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure([subject(bundle=exported.fp32)], QUICK, Listener(on_steps=interrupt))
    assert workers() == []


def scripted_runner(times):
    source = iter(times)
    return Runner(lambda: None, "fp32", (), lambda: next(source))


def test_the_warm_up_ends_when_two_windows_of_calls_agree():
    # Eight calls of 2 ms, then 1 ms for ever. The median of the eight calls before the last eight is 1 ms as soon as
    # five of them are: calls 6 to 13, so after call 21.
    assert warm_up(scripted_runner([2.0] * 8 + [1.0] * 100), 60) == 21


def test_the_warm_up_needs_sixteen_calls_where_all_are_equal():
    assert warm_up(scripted_runner([1.0] * 100), 60) == 16


def test_the_warm_up_ends_with_its_time_where_calls_never_agree():
    def growing():
        value = 1.0
        while True:
            value *= 1.01
            yield value

    # 1 % more every call is 8 % from window to window.
    assert warm_up(scripted_runner(growing()), 0.05) > 16


def test_the_warm_up_makes_two_calls_without_any_time():
    assert warm_up(scripted_runner([1.0] * 100), 0) == 2


def test_at_least_so_many_runs_are_made_and_more_where_there_is_time():
    assert run(scripted_runner([3.0, 4.0, 5.0]), runs=3, seconds=0) == [3.0, 4.0, 5.0]
    sleeping = Runner(lambda: __import__("time").sleep(0.01), "fp32")
    times = run(sleeping, runs=2, seconds=0.1)
    assert 2 < len(times) <= 10
    assert min(times) >= 10
    assert len(run(sleeping, runs=4, seconds=0.01)) == 4


def test_a_call_that_times_itself_is_believed():
    assert timed(Runner(lambda: pytest.fail("this is the other clock"), "fp32", (), lambda: 0.25)) == 0.25


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_peak_memory_counts_what_was_given_back_and_not_what_the_parent_had():
    script = """
import numpy as np
from runtime.bench.worker import peak_memory_mb
before = peak_memory_mb()
block = np.ones(25_000_000)
held = peak_memory_mb()
del block
print(before, held, peak_memory_mb())
"""
    big = np.ones(60_000_000)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, held, after = map(float, done.stdout.split())
    assert big.nbytes / 1e6 > before
    # 200 MB, less what the interpreter had free.
    assert 180 < held - before < 260
    assert after == pytest.approx(held, rel=0.02)
    assert peak_memory_mb() > big.nbytes / 1e6


def called(runner: Runner) -> Any:
    """Return what a call gives: a benchmark has no use for it, and its type says nothing."""
    return runner.call()


@pytest.mark.parametrize("scope", ["model", "copies"])
def test_the_call_is_the_engine_s_on_a_whole_batch(exported, scope):
    with open_runner(subject(bundle=exported.fp32, batch=3, scope=scope)) as runner:
        logits, embedding = called(runner)
    assert (logits.shape, embedding.shape) == ((3, 1000), (3, 512))
    assert (runner.precision, runner.notes, runner.call_timed) == ("fp32", (), None)


def test_a_peer_is_called_with_the_same_pixels(exported):
    with open_runner(subject(bundle=exported.fp32, batch=2)) as ours:
        logits, _ = called(ours)
    peer = Subject(name="p", kind="peer", bundle=exported.fp32, engine="raw-onnxruntime", batch=2)
    with open_runner(peer) as runner:
        theirs, _ = called(runner)
    np.testing.assert_array_equal(theirs, logits)


def test_the_pixels_are_the_same_every_time_and_of_the_network_s_size(exported):
    bundle = open_bundle(exported.fp32)
    pixels = noise_pixels(bundle, 2)
    assert (pixels.shape, pixels.dtype) == ((2, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(pixels, noise_pixels(bundle, 2))
    assert len(np.unique(pixels)) == 256


def test_a_float_input_says_that_the_normalisation_is_timed(float_input):
    with open_runner(subject(bundle=float_input)) as runner:
        assert ["normalisation" in note for note in runner.notes] == [True]
        assert called(runner).logits.shape == (1, 1000)


def test_end_to_end_needs_pictures(exported):
    with pytest.raises(UsageError, match="--data"), open_runner(subject(bundle=exported.fp32, scope="end-to-end")):
        pass


def test_end_to_end_calls_are_whole_batches_from_files_pass_after_pass(exported, class_folders):
    # 24 pictures: batches of 7 leave 3 at the end of every pass, which are not called.
    subject_ = subject(bundle=exported.fp32, scope="end-to-end", images=class_folders, batch=7)
    with open_runner(subject_) as runner:
        calls = [called(runner).logits for _ in range(4)]
        assert ["mean" in note for note in runner.notes] == [True]
    assert [len(logits) for logits in calls] == [7] * 4
    # Three batches a pass: the fourth is the first again.
    np.testing.assert_allclose(calls[3], calls[0], rtol=1e-5, atol=1e-5)
    assert np.abs(calls[1] - calls[0]).max() > 1e-3


def test_a_batch_larger_than_the_pictures_is_refused(exported, class_folders):
    large = subject(bundle=exported.fp32, scope="end-to-end", images=class_folders, batch=25)
    with pytest.raises(UsageError, match="24 images"), open_runner(large) as runner:
        runner.call()
