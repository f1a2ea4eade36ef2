"""Run a command and write what it took: what a benchmark puts between itself and a process that it measures.

    python -m benchmarks.shared.measure_process [--every SECONDS] RESULT.json COMMAND [ARGUMENT ...]

Linux counts a process's peak resident memory from that of the process which started it: a `true` started by a
Python that once held 1 GiB is said to have had 1 GiB. Started from here, it is counted from about 10 MB.

With `--every`, its resident memory is also read so often, and the result has these readings, `resident_mb`.

Source: exec_mmap() in Linux's fs/exec.c, which carries the peak of the memory before into the process's `ru_maxrss`;
proc(5), /proc/PID/statm.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run, write seconds, processor seconds and peak resident memory in MB, and exit as the command did."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=float)
    parser.add_argument("result", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    began = time.perf_counter()
    process = subprocess.Popen(arguments.command)
    found = {} if arguments.every is None else {"resident_mb": watch_memory(process.pid, arguments.every)}
    _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    taken = {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        **found,
    }
    arguments.result.write_text(json.dumps(taken), encoding="utf-8")
    # Ended by a signal, such as the one for memory, it has no exit status of its own.
    sys.exit(process.returncode if process.returncode >= 0 else 128 - process.returncode)


def watch_memory(pid: int, every: float) -> list[float]:
    """Return the resident memory of a child in MB, read every so many seconds until it ends.

    The child is left to be waited for.
    """
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1024**2
    readings = []
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        # One that has just ended holds none.
        resident = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
        if resident:
            readings.append(resident * page_mb)
        time.sleep(every)
    return readings


if __name__ == "__main__":
    main()
