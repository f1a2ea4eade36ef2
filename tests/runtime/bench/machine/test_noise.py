"""What is said of a machine's noise, from counters written by hand and from this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.bench.machine.noise import NoiseWatch, call_spread, round_drift
from runtime.bench.machine.processor_time import ProcessorTime, count_quota_stops, read_load, read_processor_time
from runtime.bundle.results.bench_json import Gpu, Interval, Latency, Measured, Noise

ME = 100
STEADY = ((10.0,) * 10, (10.1,) * 10)


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


def put_stat(root: Path, user: int, idle: int, steal: int) -> None:
    put(root, "proc/stat", f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 7 7\ncpu0 1 2 3 4 5 6 7 8 9 9\nbtime 1\n")


def put_process(root: Path, identity: int, parent: int, times: tuple[int, int, int, int], name: str = "python") -> None:
    """Write a process's stat as proc_pid_stat(5) has it: pid, (name), state, ppid, nine fields, the times."""
    fields = " ".join(map(str, times))
    put(root, f"proc/{identity}/stat", f"{identity} ({name}) S {parent} 9 9 9 9 9 9 9 9 9 {fields} 20 0 1 0 55\n")


def measured(name: str, *rounds: tuple[float, ...]) -> Measured:
    point = Interval(low=1.0, high=1.0)
    latency = Latency(
        runs=sum(map(len, rounds)) or 1,
        median_ms=1.0,
        median_ci95=point,
        mean_ms=1.0,
        mean_ci95=point,
        min_ms=1.0,
        max_ms=1.0,
        p90_ms=None,
        p95_ms=None,
        p99_ms=None,
        p99_ci95=None,
    )
    return Measured(
        name=name,
        kind="bundle",
        bundle="b",
        engine="openvino",
        precision="fp32",
        batch=1,
        threads=None,
        scope="model",
        latency=latency,
        images_per_s=1.0,
        load_ms=None,
        first_ms=None,
        peak_memory_mb=None,
        rounds_ms=rounds,
    )


def rest(root: Path) -> None:
    """Write the counters before a measurement."""
    put_stat(root, user=1000, idle=5000, steal=10)
    put_process(root, ME, 1, (50, 0, 0, 0))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a machine at rest with two processes, one of which measures."""
    put(tmp_path, "proc/loadavg", "0.02 0.30 0.40 1/100 12345\n")
    rest(tmp_path)
    put_process(tmp_path, 1, 0, (500, 0, 0, 0))
    return tmp_path


def watch(root: Path, user: int, idle: int, steal: int, own: int, *subjects: Measured) -> Noise:
    """Return what is said when the counters grew by so much."""
    rest(root)
    watcher = NoiseWatch(root, ME)
    watcher.start()
    put_stat(root, 1000 + user, 5000 + idle, 10 + steal)
    put_process(root, ME, 1, (50 + own, 0, 0, 0))
    return watcher.finish(subjects or (measured("a", *STEADY),))


def test_machine_at_rest_has_no_warnings(root: Path) -> None:
    found = watch(root, 800, 200, 0, 790)
    assert found == Noise(load_before=0.02, steal_share=0.0, busy_share=0.01, drift=1.01)


def test_time_given_to_other_guests_is_a_share_of_all_and_warned_of(root: Path) -> None:
    found = watch(root, 800, 150, 50, 800)
    assert (found.steal_share, found.busy_share) == (0.05, 0.0)
    (warning,) = found.warnings
    assert "gave 5.0% of the cores' time to other virtual machines" in warning
    assert "measure on a dedicated machine" in warning


def test_work_of_other_processes_is_a_share_of_all_and_warned_of(root: Path) -> None:
    found = watch(root, 800, 200, 0, 600)
    assert found.busy_share == 0.2
    (warning,) = found.warnings
    assert warning == ("Other processes took 20.0% of the cores' time: stop them (`top` shows them) and measure again.")


def test_rounding_of_the_kernels_counters_gives_no_negative_share(root: Path) -> None:
    assert watch(root, 800, 200, 0, 805).busy_share == 0.0


def test_shares_of_less_than_a_second_are_unknown(root: Path) -> None:
    found = watch(root, 40, 59, 0, 40)
    assert (found.steal_share, found.busy_share) == (None, None)


def test_counters_that_stand_still_are_unknown(root: Path) -> None:
    assert watch(root, 0, 0, 0, 0).busy_share is None


def test_workers_living_and_ended_are_not_others(root: Path) -> None:
    put_process(root, 101, ME, (10, 5, 0, 0), name="worker (of) a b")
    put_process(root, 102, 101, (1, 2, 0, 0))
    put_process(root, 103, 1, (400, 0, 0, 0))
    before = read_processor_time(ME, root)
    # 101 worked 30 ticks more; 102 ended with 7 in all, which its parent, that waited for it, has in its children's.
    (root / "proc/102/stat").unlink()
    put_process(root, 101, ME, (40, 5, 3, 4), name="worker (of) a b")
    after = read_processor_time(ME, root)
    assert before == ProcessorTime(total=6010, busy=1000, steal=10, own=50 + 15 + 3)
    assert after is not None
    assert after.own - before.own == 30 + (7 - 3)


def test_iowait_is_idle_and_interrupts_are_work(tmp_path: Path) -> None:
    put(tmp_path, "proc/stat", "cpu  1 2 4 8 16 32 64 128 0 0\n")
    found = read_processor_time(ME, tmp_path)
    assert found == ProcessorTime(total=255, busy=1 + 2 + 4 + 32 + 64, steal=128, own=0)


def test_load_is_warned_of_only_where_the_share_of_others_is_unknown(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.bench.machine.noise.usable_cores", lambda: 4)
    put(root, "proc/loadavg", "1.50 0.30 0.40 1/100 12345\n")
    assert watch(root, 800, 200, 0, 800).warnings == ()
    (root / "proc/stat").unlink()
    watcher = NoiseWatch(root, ME)
    watcher.start()
    found = watcher.finish((measured("a", *STEADY),))
    assert (found.load_before, found.busy_share) == (1.5, None)
    assert "A mean of 1.5 processes wanted a core in the minute before" in found.warnings[0]
    # A quarter of four cores is 1.
    put(root, "proc/loadavg", "0.90 0.30 0.40 1/100 12345\n")
    watcher.start()
    assert watcher.finish((measured("a", *STEADY),)).warnings == ()


def test_load_of_a_system_without_proc_is_asked_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (0.127, 0.0, 0.0), raising=False)
    assert read_load(tmp_path) == 0.13
    monkeypatch.delattr("os.getloadavg")
    assert read_load(tmp_path) == 0.0


def test_drift_is_of_medians_and_an_outlier_does_not_count() -> None:
    # Medians 2, 3 and 4.
    assert round_drift(((1.0, 2.0, 99.0), (3.0,), (4.0, 4.0))) == 2.0
    assert round_drift(((1.0, 2.0),)) is None
    assert round_drift(((1.0, 2.0), ())) is None
    assert round_drift(((0.0,), (1.0,))) is None


def test_drift_is_the_steadiest_subjects(root: Path) -> None:
    steady, unsteady = measured("a", *STEADY), measured("b int8", (1.0, 1.0), (1.25, 1.25))
    found = watch(root, 800, 200, 0, 800, unsteady, steady)
    assert found.drift == 1.01
    (warning,) = found.warnings
    assert "b int8 (1.25)" in warning
    assert "a (" not in warning


def test_machine_that_drifts_for_all_is_said_with_the_governor_to_set(root: Path) -> None:
    subjects = measured("a", (1.0, 1.0), (1.2, 1.2)), measured("b", (5.0,), (6.5,))
    found = watch(root, 800, 200, 0, 800, *subjects)
    assert found.drift == 1.2
    (warning,) = found.warnings
    assert "round medians differ by a factor of 1.20" in warning
    assert "governor" not in warning
    put(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    (warning,) = watch(root, 800, 200, 0, 800, *subjects).warnings
    assert "set the frequency governor to `performance` (it is `powersave`)" in warning


def test_one_round_shows_no_drift_and_that_is_said(root: Path) -> None:
    found = watch(root, 800, 200, 0, 800, measured("a", (1.0, 1.0)))
    assert found.drift == 1.0
    (warning,) = found.warnings
    assert "No subject has two rounds" in warning


def test_spread_is_the_quartiles_distance_within_rounds() -> None:
    # Relative to the rounds' medians, 10 and 20: four times 0.9, 0.95, 1, 1.05, 1.1, whose quartiles are 0.95 and 1.05.
    first, second = (9.0, 9.5, 10.0, 10.5, 11.0), (18.0, 19.0, 20.0, 21.0, 22.0)
    assert call_spread((first * 2, second * 2)) == pytest.approx(0.10)
    assert call_spread((first, second)) is None


def test_calls_that_vary_for_every_subject_are_warned_of(root: Path) -> None:
    varied = (8.0, 9.0, 10.0, 11.0, 12.0) * 4
    found = watch(root, 800, 200, 0, 800, measured("a", varied, varied), measured("b", varied, varied))
    (warning,) = found.warnings
    assert "quartiles lie 20% of its median apart" in warning
    assert watch(root, 800, 200, 0, 800, measured("a", varied, varied), measured("b", *STEADY)).warnings == ()


@pytest.mark.parametrize(
    ("groups", "statistics"),
    [
        ("0::/pod/box\n", "sys/fs/cgroup/pod/box/cpu.stat"),
        ("0::/pod/box\n", "sys/fs/cgroup/pod/cpu.stat"),
        # In a container the path can be the host's, which is not there.
        ("0::/host/pod\n", "sys/fs/cgroup/cpu.stat"),
        ("3:memory:/x\n2:cpu,cpuacct:/box\n", "sys/fs/cgroup/cpu,cpuacct/box/cpu.stat"),
        ("2:cpuset:/y\n1:cpu:/\n0::/\n", "sys/fs/cgroup/cpu/cpu.stat"),
    ],
)
def test_stops_by_a_quota_are_counted_in_both_versions_of_control_groups(
    root: Path, groups: str, statistics: str
) -> None:
    put(root, "proc/self/cgroup", groups)
    assert count_quota_stops(root) == 0
    put(root, statistics, "nr_periods 50\nnr_throttled 12\nthrottled_usec 345\n")
    assert count_quota_stops(root) == 12


def test_stops_meanwhile_are_warned_of(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/\n")
    put(root, "sys/fs/cgroup/cpu.stat", "nr_throttled 12\n")
    watcher = NoiseWatch(root, ME)
    watcher.start()
    assert watcher.finish((measured("a", *STEADY),)).warnings == ()
    put(root, "sys/fs/cgroup/cpu.stat", "nr_throttled 15\n")
    (warning,) = watcher.finish((measured("a", *STEADY),)).warnings
    assert "CPU quota stopped the measurement in 3 of its periods" in warning


def test_gpu_that_was_slowed_down_is_warned_of(root: Path) -> None:
    watcher = NoiseWatch(root, ME)
    watcher.start()
    hot = Gpu(name="Tesla T4", compute_capability="7.5", memory_mb=16000, throttling="power cap")
    cool = Gpu(name="L4", compute_capability="8.9", memory_mb=24000)
    (warning,) = watcher.finish((measured("a", *STEADY),), (hot, cool)).warnings
    assert warning.startswith("The GPU Tesla T4 was slowed down (power cap): ")


def test_system_without_counters_is_told_as_unknown(tmp_path: Path) -> None:
    watcher = NoiseWatch(tmp_path, ME)
    watcher.start()
    found = watcher.finish(())
    assert (found.steal_share, found.busy_share, found.drift) == (None, None, 1.0)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux's /proc")
def test_work_of_a_child_on_this_machine_is_own_time_living_and_ended() -> None:
    before = read_processor_time(os.getpid())
    script = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    living = read_processor_time(os.getpid())
    child.communicate(b"\n")
    ended = read_processor_time(os.getpid())
    assert before is not None
    assert living is not None
    assert ended is not None
    least = round(0.5 * os.sysconf("SC_CLK_TCK")) - 1
    assert living.since(before).own >= least
    assert ended.own >= living.own
