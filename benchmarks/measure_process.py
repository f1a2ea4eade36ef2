"""Run a command and write what it took: what `int8_peers.run_measured` puts between itself and what it measures.

    python benchmarks/measure_process.py RESULT.json COMMAND [ARGUMENT ...]

Linux counts a process's peak resident memory from that of the process which started it: a `true` started by a
Python that once held 1 GiB is said to have had 1 GiB. Started from here, it is counted from about 10 MB.

Source: exec_mmap() in Linux's fs/exec.c, which carries the peak of the memory before into the process's `ru_maxrss`.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run, write seconds and peak resident memory in MB, and exit as the command did."""
    began = time.perf_counter()
    process = subprocess.Popen(sys.argv[2:])
    _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    Path(sys.argv[1]).write_text(json.dumps({"seconds": seconds, "peak_mb": usage.ru_maxrss / 1024}), encoding="utf-8")
    # Ended by a signal, such as the one for memory, it has no exit status of its own.
    sys.exit(process.returncode if process.returncode >= 0 else 128 - process.returncode)


if __name__ == "__main__":
    main()
