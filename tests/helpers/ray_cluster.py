"""Ray clusters of this machine, for tests: started in a process of their own, their files in a folder of their own.

Run as `python -m tests.helpers.ray_cluster CPUS`: it starts a head with so many CPUs, prints its address, and
then obeys lines: `add CPUS` starts another node, `remove` kills the last one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import ROOT

# What makes files of some names trouble, and the file that ends the waiting for one; see there.
SITE = Path(__file__).parent / "ray_site"
GATE = "open.gate"
_STARTS_IN = "elsewhere"


@dataclass(frozen=True)
class RunningCluster:
    """A cluster that a process keeps.

    Attributes:
        address: HOST:PORT.
        folder: Folder of temporary files, where bundles are unpacked too.
        process: Obeys lines.
    """

    address: str
    folder: Path
    process: subprocess.Popen[str]

    def obey(self, line: str) -> None:
        """Have the process do something, and wait until it is done."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{line}\n")
        stdin.flush()
        assert stdout.readline() == "done\n"


@contextmanager
def running_cluster(cpus: int) -> Iterator[RunningCluster]:
    """Yield a cluster whose head has so many CPUs; its processes start in an empty folder."""
    # Names of Unix sockets are short, and pytest's temporary folders are not.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    (folder / _STARTS_IN).mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.ray_cluster", str(cpus)],
        cwd=folder / _STARTS_IN,
        env=ray_environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield RunningCluster(process.stdout.readline().strip(), folder, process)
    finally:
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def ray_environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of Ray's processes, and of a command that starts some."""
    path = os.pathsep.join(map(str, (SITE, ROOT)))
    ours = {"PYTHONPATH": path, "TMPDIR": str(folder), "RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
    return {**{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}, **ours, **more}


def part_makers(folder: Path) -> dict[int, int]:
    """Return the process ids of the workers that make parts, each with its node's, of clusters with files there."""
    found = {}
    for title in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            # Ray Data names the process after the operator, and the operator after the class.
            if title.read_bytes().startswith(b"ray::") and b"PartMaker" in title.read_bytes():
                # The name, in parentheses, may hold anything; after it come state and parent (man 5 proc).
                parent = (title.parent / "stat").read_text().rpartition(")")[2].split()[1]
                if os.fsencode(folder) in Path("/proc", parent, "cmdline").read_bytes():
                    found[int(title.parent.name)] = int(parent)
        except OSError:
            continue
    return found


def main(cpus: int) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
    print(cluster.address, flush=True)
    added = []
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "add":
            added.append(cluster.add_node(num_cpus=int(rest)))
        else:
            cluster.remove_node(added.pop(), allow_graceful=False)
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
