"""The programs of `make ray-stress`: cables between namespaces can be pulled, and what is wrong with a job is found."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tools import leave_out
from tests.torture.ray_faults import FAULTS
from tests.torture.ray_nodes import Place, missing_tools, places, why_no_nodes
from tests.torture.ray_stress import in_turn
from tests.torture.ray_work import Ending, differences, judge

# A line to standard output once it listens; then it answers each who connects with a byte.
_SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], 7000)) as server:
    print(flush=True)
    while True:
        server.accept()[0].sendall(b"x")
"""
_CLIENT = "import socket, sys; assert socket.create_connection((sys.argv[1], 7000), 1).recv(1) == b'x'"


def reaches(here: Place, there: Place) -> bool:
    """Return whether one place can connect to another."""
    command = ["ip", "netns", "exec", here.namespace, sys.executable, "-c", _CLIENT, there.address]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_places_reach_each_other_unless_a_cable_is_pulled_and_leave_nothing(tmp_path: Path) -> None:
    if missing := missing_tools():
        leave_out(missing)
    if reason := why_no_nodes():
        pytest.skip(reason)
    with places(2, tmp_path / "disk") as (first, second):
        command = ["ip", "netns", "exec", first.namespace, sys.executable, "-c", _SERVER, first.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            server.stdout.readline()
            found = [reaches(second, first)]
            for in_ in (False, True):
                second.plug(in_=in_)
                found.append(reaches(second, first))
            server.kill()
    assert found == [True, False, True]
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert first.namespace not in left
    assert first.switch not in left


def test_every_fault_is_tried_and_the_undisturbed_job_first_and_last() -> None:
    order = in_turn(list(FAULTS))
    assert (order[0], order[-1], set(order)) == ("nothing", "nothing", set(FAULTS))
    assert in_turn(["node"]) == ["node"]


@pytest.mark.parametrize(
    ("code", "said", "wrong"),
    [
        (0, "", None),
        (0, "Ray says: a worker died; unless another line follows, the job goes on; Ray's logs have the rest", None),
        (1, "error: node b cannot unpack", None),
        (1, "Ray says: a\nerror: b", None),
        (None, "", "it hung: ''"),
        (2, "error: c", "exit code 2, expected (0, 1): 'error: c'"),
        (0, "error: d", "it said 1 lines: 'error: d'"),
        (1, "Traceback\nKeyError", "it said 2 lines: 'Traceback / KeyError'"),
    ],
)
def test_a_command_may_say_one_line_and_one_of_rays(code: int | None, said: str, wrong: str | None) -> None:
    assert list(judge(Ending(code, said, 1.0, []), (0, 1))) == ([] if wrong is None else [wrong])


def test_files_that_are_missing_beside_or_of_other_bytes_are_told(tmp_path: Path) -> None:
    for name, files in {"found": {"a": b"1", "b": b"2"}, "wanted": {"b": b"3", "c": b"4"}}.items():
        (tmp_path / name).mkdir()
        for file, contents in files.items():
            (tmp_path / name / file).write_bytes(contents)
    assert list(differences(tmp_path / "found", tmp_path / "wanted")) == [
        "1 files beside the output: ['a']",
        "1 files are missing: ['c']",
        "1 files have other bytes: ['b']",
    ]
    assert list(differences(tmp_path / "found", tmp_path / "found")) == []
