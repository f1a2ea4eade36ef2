"""A cluster of Ray whose nodes are namespaces of this machine: each has a network card, a small disk and processes.

1. A node is a network namespace, joined to the others by a bridge in a namespace of its own: nothing of the machine's
   own network changes. A cable (a veth pair) can be pulled at the bridge.
2. Its processes are a pid namespace, so that they die together, as a machine's do, and none outlives the cluster.
3. At one path every node has a disk of its own: Ray's files, spilled objects, and the bundle that is unpacked there.
   Shared memory is a node's own too. All else is the machine's: images, output and programs are on all nodes.

Needs root, `ip` of Debian's iproute2, `unshare` and `nsenter` of util-linux.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.ray_cluster import part_makers

PORT = 6379
# Of each node: its disk, its shared memory, and Ray's share of that, bytes.
DISK_BYTES, SHARED_BYTES, OBJECTS_BYTES = 256 << 20, 256 << 20, 100 << 20
_TOOLS = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "mount": "mount"}
# Nodes of a cluster must have one; Ray 2.60 asks for it where the head has an address of a network.
_TOKEN = secrets.token_hex(32)
# A node is up within this, or another is tried; seconds.
_START_S, _TRIES = 120.0, 6
# Given, so that Ray waits for no process to choose one: it gives a node up that takes 30 s (2.60).
_PORTS = {
    "dashboard-agent-listen": 7001,
    "dashboard-agent-grpc": 7002,
    "runtime-env-agent": 7003,
    "metrics-export": 7004,
}
_STARTED = b"Ray runtime started."
_RAY = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
_SCRIPT = """
mount -t tmpfs -o size={shared} tmpfs /dev/shm && mount -t tmpfs -o size={disk} tmpfs "{place}" &&
mkdir "{place}/temporary" && hostname {host} && "$@"
exit $?
"""


def missing_tools() -> str:
    """Return which programs are not installed, and their packages; nothing where all are."""
    missing = {tool: package for tool, package in _TOOLS.items() if shutil.which(tool) is None}
    if not missing:
        return ""
    return f"{', '.join(missing)} not found: apt-get install {' '.join(sorted(set(missing.values())))}"


def why_no_nodes() -> str:
    """Return why namespaces cannot be made and entered here; nothing where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := missing_tools():
        return missing
    name = f"ssl-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"network namespaces cannot be made here ({made.stderr.strip()})"
    # To enter one it mounts /sys anew, which it cannot below a chroot.
    entered = subprocess.run(["ip", "netns", "exec", name, "true"], capture_output=True, text=True, check=False)
    _run("ip", "netns", "del", name)
    return f"network namespaces cannot be entered here ({entered.stderr.strip()})" if entered.returncode else ""


@dataclass(frozen=True)
class Place:
    """Where a node's network and disk are.

    Attributes:
        namespace: Name of the node's network namespace.
        cable: Name of the end of the node's cable at the bridge, in the namespace `switch`.
        switch: Name of the bridge's namespace.
        address: IP address of the node.
        disk: Where the node's disk is mounted, for the node's processes.
    """

    namespace: str
    cable: str
    switch: str
    address: str
    disk: Path

    def plug(self, *, in_: bool) -> None:
        """Put the cable in, or pull it."""
        _run("ip", "-n", self.switch, "link", "set", self.cable, "up" if in_ else "down")


@dataclass(frozen=True)
class Node:
    """A node that runs.

    Attributes:
        place: Network and disk of the node.
        process: What keeps the node: it dies with this process.
        root: Process id of the first of the node's processes.
    """

    place: Place
    process: "subprocess.Popen[bytes]"
    root: int

    @property
    def disk(self) -> Path:
        """Its disk, as the machine sees it."""
        return Path(f"/proc/{self.root}/root{self.place.disk}")

    def kill(self) -> None:
        """End all its processes at once."""
        self.process.kill()
        self.process.wait()

    def makers(self) -> list[int]:
        """Return the process ids of its workers that make parts; none where the node is dead."""
        mine = _namespace(self.root)
        return [one for one in part_makers(self.place.disk) if mine is not None and _namespace(one) == mine]

    def started(self, arguments: list[str], cwd: Path, *, stdout: Path, stderr: Path) -> "subprocess.Popen[bytes]":
        """Start a program on the node."""
        command = ["nsenter", "-t", f"{self.root}", "--net", "--pid", "--mount", "--uts", f"--wd={cwd}"]
        with stdout.open("wb") as out, stderr.open("wb") as err:
            return subprocess.Popen([*command, *arguments], env=_environment(self.place.disk), stdout=out, stderr=err)


def _namespace(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink()
    except OSError:
        return None


def first_child(pid: int) -> int:
    """Return the first process that a process started, or 0 where there is none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


@contextmanager
def places(count: int, disk: Path) -> Iterator[list[Place]]:
    """Yield so many places, joined by a bridge; nothing of them is left behind the block."""
    disk.mkdir()
    switch = f"ssl-{os.getpid()}-switch"
    with ExitStack() as held:
        _add_namespace(switch, held)
        _run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "bridge", "up")
        made = []
        for number in range(count):
            place = Place(f"ssl-{os.getpid()}-{number}", f"cable{number}", switch, f"10.77.0.{number + 1}", disk)
            _add_namespace(place.namespace, held)
            card = ("name", "card", "netns", place.namespace)
            _run("ip", "-n", switch, "link", "add", place.cable, "type", "veth", "peer", *card)
            _run("ip", "-n", switch, "link", "set", place.cable, "master", "bridge")
            _run("ip", "-n", place.namespace, "addr", "add", f"{place.address}/24", "dev", "card")
            for link in ("lo", "card"):
                _run("ip", "-n", place.namespace, "link", "set", link, "up")
            place.plug(in_=True)
            made.append(place)
        yield made


def _add_namespace(name: str, held: ExitStack) -> None:
    _run("ip", "netns", "add", name)
    # Its links go with it.
    held.callback(_run, "ip", "netns", "del", name)


def start_node(place: Place, head: Place) -> Node:
    """Return a node that has joined the cluster of a head, or is it.

    Raises:
        RuntimeError: No node came up in several tries: a busy machine may be too slow for Ray's own limits.
    """
    said = place.disk.with_name(f"{place.cable}.log")
    for _ in range(_TRIES):
        process = _begin_node(place, head, said)
        end = time.monotonic() + _START_S
        while time.monotonic() < end and process.poll() is None:
            # Ray says so once the cluster knows the node.
            if _STARTED in said.read_bytes():
                return Node(place, process, first_child(process.pid))
            time.sleep(0.1)
        process.kill()
        process.wait()
    reason = (said.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no reason given"])[-1]
    raise RuntimeError(f"no node of Ray came up at {place.address} in {_TRIES} tries ({reason})")


def _begin_node(place: Place, head: Place, said: Path) -> "subprocess.Popen[bytes]":
    """Start a node's first process, whose words go to a file."""
    host = f"node{place.address.rpartition('.')[2]}"
    script = _SCRIPT.format(shared=SHARED_BYTES, disk=DISK_BYTES, place=place.disk, host=host)
    own = ["--head", f"--port={PORT}", "--include-dashboard=false"]
    joins = own if place == head else [f"--address={head.address}:{PORT}"]
    ray = [sys.executable, "-c", _RAY, "start", *joins, f"--node-ip-address={place.address}", "--num-cpus=1"]
    ray += [f"--object-store-memory={OBJECTS_BYTES}", f"--temp-dir={place.disk}/ray", "--block"]
    ray += [f"--{what}-port={port}" for what, port in _PORTS.items()]
    namespaces = ["unshare", "--fork", "--pid", "--kill-child", "--mount", "--uts", "--mount-proc"]
    with said.open("wb") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", place.namespace, *namespaces, "sh", "-c", script, "sh", *ray],
            env=_environment(place.disk),
            cwd=os.sep,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for the program that ends the nodes in order.
            start_new_session=True,
        )


@contextmanager
def cluster(there: list[Place]) -> Iterator[list[Node]]:
    """Yield the nodes of a cluster, the head first; whoever adds one to the list leaves it to the block to end."""
    nodes: list[Node] = []
    try:
        for place in there:
            place.plug(in_=True)
            nodes.append(start_node(place, there[0]))
        yield nodes
    finally:
        for node in nodes:
            node.kill()


def send(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a signal to the program that `Node.started` started; what started it would not pass it on."""
    os.kill(first_child(process.pid), number)


def _environment(disk: Path) -> dict[str, str]:
    ours = {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": f"{disk}/temporary",
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    return {**{name: value for name, value in os.environ.items() if not name.startswith("RAY_")}, **ours}


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
