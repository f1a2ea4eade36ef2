"""Who had the processor: Linux's counters of the whole machine and of this process with its children."""

import os
from dataclasses import dataclass
from pathlib import Path

# Columns of /proc/stat's line `cpu`. Time of guests is in `user` already. Source: proc_stat(5).
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IDLE = ("idle", "iowait")
# Fields of /proc/PID/stat after the command's name, from 0: parent; utime, stime and those of reaped children.
# Source: proc_pid_stat(5).
_PARENT = 1
_TIMES = slice(11, 15)


@dataclass(frozen=True)
class ProcessorTime:
    """Counters since the machine's start, or what they grew by; all in clock ticks, which are 10 ms nearly everywhere.

    Attributes:
        total: All cores' time, at work or not.
        busy: Part of the total: work of any process and of the kernel.
        steal: Part of the total: what the hypervisor gave to others while a process here wanted it.
        own: Part of `busy`: work of the process and all below it.
    """

    total: int
    busy: int
    steal: int
    own: int

    def since(self, before: "ProcessorTime") -> "ProcessorTime":
        """Return what the counters grew by."""
        return ProcessorTime(
            self.total - before.total, self.busy - before.busy, self.steal - before.steal, self.own - before.own
        )


def read_processor_time(process: int, root: Path = Path("/")) -> ProcessorTime | None:
    """Return the counters of now; None where the system has none.

    Args:
        process: The process that `own` is about.
        root: The folder that holds Linux's `proc`.
    """
    try:
        line = (root / "proc/stat").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None
    name, *values = line.split()
    if name != "cpu" or len(values) < len(_COLUMNS):
        return None
    ticks = dict(zip(_COLUMNS, map(int, values), strict=False))
    total = sum(ticks.values())
    idle = sum(ticks[column] for column in _IDLE)
    return ProcessorTime(total, total - idle - ticks["steal"], ticks["steal"], _tree_ticks(process, root))


def count_quota_stops(root: Path = Path("/")) -> int:
    """Return in how many periods the control groups' CPU quotas stopped this process so far; 0 without a quota.

    A container with a quota is stopped for the rest of each period, 100 ms as a rule, in which it used it up.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst, `nr_throttled`.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    stops = 0
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        folder = mount / group.lstrip("/")
        # A quota of a group above stops those in it as well.
        for each in (folder, *folder.parents):
            stops += _throttled(each / "cpu.stat")
            if each == mount:
                break
    return stops


def read_load(root: Path = Path("/")) -> float:
    """Return the mean number of processes that wanted a core in the last minute; 0 where the system does not tell."""
    try:
        return float((root / "proc/loadavg").read_text(encoding="utf-8").split()[0])
    except OSError:
        return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


def _tree_ticks(process: int, root: Path) -> int:
    """Return the time of a process, of all below it, and of those below it that have ended."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for path in (root / "proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            # It ended meanwhile.
            continue
        # The name is in parentheses, and may hold blanks and parentheses itself.
        fields = text.rpartition(")")[2].split()
        identity = int(path.parent.name)
        ticks[identity] = sum(map(int, fields[_TIMES]))
        children.setdefault(int(fields[_PARENT]), []).append(identity)
    total = 0
    waiting = [process]
    while waiting:
        each = waiting.pop()
        total += ticks.get(each, 0)
        waiting += children.get(each, ())
    return total


def _throttled(path: Path) -> int:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("nr_throttled "))
