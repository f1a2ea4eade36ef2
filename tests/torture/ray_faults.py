"""What happens to an embedding job on three nodes of Ray: a table of faults.

Each is a function that is called when the job's command has been started, and acts when enough parts are made.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from runtime.embed.output.part_files import RECORDS
from tests.torture.ray_nodes import Node, Place, send, start_node
from tests.torture.rights import BALLAST, fill

# The shares of the parts that are made when something happens.
_EARLY, _MIDDLE, _LATE = 0.2, 0.4, 0.6
# Seconds that a network is cut: longer and shorter than Ray waits for a node that does not answer.
_CUT_S, _SHORT_CUT_S = 60.0, 8.0
# Ray's nodes wait for their head's node for 60 s, and their processes end then.
# Source: Ray Core, "Node Fault Tolerance": RAY_gcs_rpc_server_reconnect_timeout_s.
_HEAD_GIVEN_UP_S = 120.0
# Less than the bundle takes, and enough for Ray's logs of some seconds.
_ROOM_BYTES = 1 << 20


@dataclass(frozen=True)
class Scene:
    """A job that runs on a cluster.

    Attributes:
        places: Where the nodes are, the head's first.
        nodes: The nodes; the job's command runs on the first. A fault may add some.
        command: The job's command.
        output: The job's output.
        parts: How many parts it will have.
        came_at: How many parts were made at each moment when something happened to it.
    """

    places: list[Place]
    nodes: list[Node]
    command: "subprocess.Popen[bytes]"
    output: Path
    parts: int
    came_at: list[int] = field(default_factory=list)

    def comes_to(self, share: float, node: Node) -> bool:
        """Wait until this share of the parts is made, and a node has a worker; return whether the command runs then."""
        while self.command.poll() is None:
            made = len(list((self.output / RECORDS).glob("part-*.json")))
            if made >= share * self.parts and node.makers():
                self.came_at.append(made)
                return True
            time.sleep(0.1)
        return False


def kill_workers(scene: Scene) -> None:
    """Kill the worker of each node in turn."""
    for node, share in zip(scene.nodes, (_EARLY, _MIDDLE, _LATE), strict=True):
        if scene.comes_to(share, node):
            for maker in node.makers():
                os.kill(maker, signal.SIGKILL)


def kill_node(scene: Scene, *, number: int = -1) -> None:
    """End all processes of a node at once: its kernel closes their connections."""
    if scene.comes_to(_EARLY, scene.nodes[number]):
        scene.nodes[number].kill()


def lose_node(scene: Scene) -> None:
    """Let a node vanish as in a loss of power: nobody closes its connections."""
    if scene.comes_to(_EARLY, scene.nodes[-1]):
        scene.places[-1].plug(in_=False)
        scene.nodes[-1].kill()


def replace_node(scene: Scene) -> None:
    """End a node, and let another one join in its place."""
    if scene.comes_to(_EARLY, scene.nodes[-1]):
        scene.nodes[-1].kill()
        scene.nodes.append(start_node(scene.places[-1], scene.places[0]))


def cut_network(scene: Scene, *, seconds: float, number: int = -1) -> None:
    """Cut a node's network for so long."""
    if scene.comes_to(_EARLY, scene.nodes[number]):
        scene.places[number].plug(in_=False)
        time.sleep(seconds)
        scene.places[number].plug(in_=True)


def fill_disk(scene: Scene) -> None:
    """Fill a node's disk while it works."""
    if scene.comes_to(_EARLY, scene.nodes[-1]):
        fill(scene.nodes[-1].disk, 0)


def signal_command(scene: Scene, *, number: signal.Signals) -> None:
    """Send the job's command a signal."""
    if scene.comes_to(_MIDDLE, scene.nodes[-1]):
        send(scene.command, number)


def fill_first(nodes: list[Node]) -> None:
    """Leave less room on a node's disk, before the job, than the bundle takes."""
    fill(nodes[-1].disk, _ROOM_BYTES)


def empty_again(places: list[Place], nodes: list[Node]) -> None:
    """Make room on that disk; a node that died of it is started again."""
    if nodes[-1].process.poll() is None:
        (nodes[-1].disk / BALLAST).unlink()
    else:
        nodes.append(start_node(places[-1], places[0]))


def nothing(*_of: object) -> None:
    """Let nothing happen."""


@dataclass(frozen=True)
class Fault:
    """A fault, and how the command that meets it must end.

    Attributes:
        what: Name of the fault in tables, in words.
        happens: Lets it happen while the command runs.
        codes: Exit codes that the command may end with; where it is not 0, the same command is started again.
        before: Called with the nodes before the command is started.
        mended: Called with places and nodes before it is started again.
        again_on: Which cluster the second command has.
        leave_s: How long after the command its workers may be there, seconds.
    """

    what: str
    happens: Callable[[Scene], None] = nothing
    codes: tuple[int, ...] = (0,)
    before: Callable[[list[Node]], None] = nothing
    mended: Callable[[list[Place], list[Node]], None] = nothing
    again_on: Literal["the same", "a new one"] = "the same"
    leave_s: float = 60.0


FAULTS = {
    "nothing": Fault("nothing"),
    "workers": Fault("the worker of each node is killed in turn", kill_workers),
    "node": Fault("a node's processes are killed", kill_node),
    "lost": Fault("a node vanishes, its connections left open", lose_node),
    "driver": Fault(
        "the command is killed (SIGKILL)", partial(signal_command, number=signal.SIGKILL), codes=(-signal.SIGKILL,)
    ),
    "full": Fault("a node's disk fills while it works", fill_disk),
    "full-first": Fault(
        "a node's disk has no room for the bundle", before=fill_first, codes=(0, 1), mended=empty_again
    ),
    "cut": Fault("a node's network is cut for a minute", partial(cut_network, seconds=_CUT_S)),
    "head": Fault(
        "all processes of the command's node are killed",
        partial(kill_node, number=0),
        codes=(-signal.SIGKILL,),
        again_on="a new one",
        leave_s=_HEAD_GIVEN_UP_S,
    ),
    "head-cut": Fault(
        "the network of the command's node is cut for a minute", partial(cut_network, seconds=_CUT_S, number=0)
    ),
    "ctrl-c": Fault("the command gets Ctrl-C", partial(signal_command, number=signal.SIGINT), codes=(130,)),
    "replaced": Fault("a node's processes are killed, another node joins", replace_node),
    "short-cut": Fault("a node's network is cut for 8 s", partial(cut_network, seconds=_SHORT_CUT_S)),
}
