"""`run-ssl build` when TensorRT refuses, crashes, breaks its promise or is stopped: one line, the bundle untouched."""

import os
import signal
import sys
import time
from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.helpers.command_lines import refused
from tests.helpers.exported import copy_bundle
from tests.helpers.standin_commands import finish, listing, members, run, start, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

REJECTED = "model.plan.rejected.json"
# A stopped build ends at its next step, 0.2 s on the stand-in; the rest is for a busy machine.
SOON_S = 10.0


@pytest.fixture
def bundle(exported, tmp_path):
    return copy_bundle(exported.fp16, tmp_path / "bundle")


@pytest.fixture
def untouched(bundle):
    return listing(bundle)


@pytest.fixture
def build(bundle, tmp_path):
    """Run `run-ssl build` with a fault; nothing that it started may be left."""

    def built(*arguments, fault="", **env):
        arguments = ("build", bundle, *arguments)
        process = start("run-ssl", *arguments, cache=tmp_path / "cache", STANDIN_FAULT=fault, **env)
        result = finish(process)
        assert members(process.pid) == []
        return result

    return built


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("crash-build", ["TensorRT crashed (SIGSEGV)", "Tactic Timing", "update the NVIDIA driver and TensorRT"]),
        ("oom-build", ["killed", "memory", "--workspace", "smaller --profile"]),
        ("no-implementation", ["no kernel for 'layer1.0.conv1 + layer1.0.act1'", "--workspace"]),
        ("wrong-output", ["dB on the golden images", "are required", "do not use it"]),
        ("cuda-alloc", ["out of memory", "nvidia-smi"]),
        ("garbage-inspector", ["inspector"]),
    ],
)
def test_a_fault_is_one_line_and_the_bundle_is_as_it_was(fault, words, bundle, build):
    before = listing(bundle)
    refused(build(fault=fault), *words)
    assert listing(bundle) == before


@pytest.mark.parametrize("fault", ["crash-build", "wrong-output"])
def test_a_fault_leaves_an_older_plan_as_it_was(fault, bundle, build):
    for name in ("model.plan", "model.plan.json", "model.plan.layers.json", REJECTED):
        (bundle / name).write_text(f"an older {name}")
    before = listing(bundle)
    refused(build(fault=fault))
    assert listing(bundle) == before


def test_a_plan_that_breaks_the_promise_is_not_kept_and_its_layers_are(bundle, build):
    assert build().exit_code == 0
    before = listing(bundle)
    result = build(fault="fp32-island")
    refused(result, "20 of 21 layers", "layer1.0.conv1 was promised fp16 and ran in fp32", "--min-share", REJECTED)
    after = listing(bundle)
    assert set(after) - set(before) == {REJECTED}
    assert {name: after[name] for name in before} == before


def test_the_layers_of_a_refused_plan_can_be_explained(bundle, build, tmp_path):
    build(fault="fp32-island")
    explained = run("run-ssl", "explain", bundle / REJECTED, cache=tmp_path)
    assert explained.exit_code == 0, explained.stderr
    assert "1 layer computes in FP32: layer1.0.conv1" in explained.stdout


def test_a_lower_share_accepts_the_plan_and_clears_what_was_refused(bundle, build):
    build(fault="fp32-island")
    assert (bundle / REJECTED).is_file()
    # 20 of 21 are 95.2 %.
    accepted = build("--min-share", "0.95", fault="fp32-island")
    assert accepted.exit_code == 0, accepted.stderr
    assert "95.2%" in accepted.stdout
    assert "layer1.0.conv1: promised fp16, ran in fp32" in accepted.stdout
    assert not (bundle / REJECTED).exists()


def test_a_layer_that_cannot_be_judged_is_not_counted_as_kept(bundle, build):
    refused(build(fault="unknown-layer"), "layer1.0.conv1", "layer type Zebra is not known")
    assert (bundle / REJECTED).is_file()
    assert not (bundle / "model.plan").exists()


@pytest.fixture
def patch_worker(tmp_path, monkeypatch):
    """Run code in the building process before its own."""

    def patch(code):
        lines = [
            "import os, signal, sys",
            'if "runtime.plans.build_worker" in sys.orig_argv:',
            indent(dedent(code), "    "),
        ]
        (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return patch


def test_what_libraries_print_does_not_disturb_the_build(build, patch_worker):
    patch_worker(
        """
        from runtime.plans import timing_cache
        whole = timing_cache.load_timing_cache
        def load(*arguments):
            print("said by a library")
            os.write(1, b"said by C code too")
            return whole(*arguments)
        timing_cache.load_timing_cache = load
        """
    )
    result = build()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "said by" not in result.stdout


# TensorRT's logger says something as it is made.
SPEAKING_LOGGER = """
    from runtime.engines.trt import monitor
    whole = monitor.make_logger
    def speak(sink, **options):
        sink("ERROR", "Skipping tactic 0x1:\\n  no memory for it")
        sink("WARNING", "a [warning] " + "that is long " * 20)
        return whole(sink, **options)
    monitor.make_logger = speak
"""


def test_errors_that_stopped_nothing_are_shown_in_the_end_each_on_one_line(build, patch_worker):
    patch_worker(SPEAKING_LOGGER)
    result = build()
    assert result.exit_code == 0
    warning, error = result.stderr.splitlines()
    assert warning == "warning: a [warning] " + "that is long " * 19 + "that is long"
    assert error == "error: Skipping tactic 0x1: no memory for it"


def test_the_last_error_before_a_crash_is_told(build, patch_worker):
    patch_worker(SPEAKING_LOGGER)
    result = build(fault="crash-build")
    assert "its last output: Skipping tactic 0x1: no memory for it:" in result.stderr.splitlines()[-1]


def test_a_process_that_dies_in_the_middle_of_its_answer_is_one_line(bundle, untouched, build, patch_worker):
    patch_worker(
        """
        from runtime.plans import build_events as events
        whole = events.write_event
        events.write_event = lambda event: whole(event)[: None if event.event != "finished" else 100]
        os._exit = lambda _code: os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    refused(build(), "the build was killed while it was at 'verify'")
    assert listing(bundle) == untouched


@pytest.fixture
def slow(bundle, untouched, tmp_path):  # noqa: ARG001  (looked at before the build begins)
    """A build that takes seconds, in the midst of it: the command, and the building process's id."""
    sign = tmp_path / "building"
    process = start(
        "run-ssl", "build", bundle, cache=tmp_path / "cache", STANDIN_FAULT="slow-build", STANDIN_SIGN=str(sign)
    )
    wait_until(lambda: sign.exists() or process.poll() is not None)
    assert process.poll() is None
    (worker,) = (member for member in members(process.pid) if ignores_interrupts(member))
    yield process, worker
    for member in members(process.pid):
        os.kill(member, signal.SIGKILL)
    process.communicate()


def ignores_interrupts(pid):
    """Whether a process ignores SIGINT, as the building process does from its first line on."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask, 16) >> (signal.SIGINT - 1) & 1)


def interrupted(process):
    began = time.monotonic()
    result = finish(process)
    assert time.monotonic() - began < SOON_S
    assert result.exit_code == 130
    assert result.stdout == ""
    assert result.stderr == "interrupted: the build was stopped; nothing was changed\n"
    # A process that was interrupted while it was being started ends by itself, at the end of its input.
    wait_until(lambda: members(process.pid) == [])


@pytest.mark.parametrize("to_group", [True, False], ids=["from a terminal", "to the command alone"])
def test_ctrl_c_stops_the_build_and_leaves_the_bundle_as_it_was(to_group, bundle, untouched, slow):
    process, _ = slow
    (os.killpg if to_group else os.kill)(process.pid, signal.SIGINT)
    interrupted(process)
    assert listing(bundle) == untouched


def test_ctrl_c_as_soon_as_the_building_process_starts_stops_it(bundle, untouched, tmp_path):
    process = start("run-ssl", "build", bundle, cache=tmp_path / "cache", STANDIN_FAULT="slow-build")
    wait_until(lambda: len(members(process.pid)) > 1)
    os.killpg(process.pid, signal.SIGINT)
    interrupted(process)
    assert listing(bundle) == untouched


def test_the_building_process_tidies_up_and_ends_when_its_parent_is_killed(bundle, untouched, slow):
    process, worker = slow
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: worker not in members(process.pid), seconds=SOON_S)
    assert listing(bundle) == untouched
