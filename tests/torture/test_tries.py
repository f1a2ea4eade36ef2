"""Some tries of quick commands: kills, lost power, full disks. `make torture` tries every command by the hundred."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.bundles import write_hand_made
from tests.helpers.paths import ROOT
from tests.helpers.report_samples import write_everything
from tests.helpers.tools import require_tool

QUICK = ("report", "repo", "repo --overwrite")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the quick commands read, made by hand."""
    folder = tmp_path_factory.mktemp("tries") / "inputs"
    folder.mkdir()
    write_hand_made(folder / "bundle-fp32")
    reported = folder / "reported"
    reported.mkdir()
    write_everything(reported)[1].rename(folder / "bundle-compared")
    program = "from runtime.commands.run_ssl import main; main()"
    made = [sys.executable, "-c", program, "repo", "bundle-fp32", "repository", "--name", "network"]
    subprocess.run(made, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return folder


def tried(program: str, inputs: Path, folder: Path, tries: int) -> dict[str, dict[str, object]]:
    """Return the counts of a program of `make torture`, which must find nothing."""
    counts = folder / "counts.json"
    arguments = ["--inputs", inputs, "--tries", tries, "--json", counts, "--only", *QUICK]
    done = subprocess.run(
        [sys.executable, "-m", f"tests.torture.{program}", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(counts.read_text(encoding="utf-8")))


def test_commands_that_are_killed_leave_nothing_half_made(inputs: Path, tmp_path: Path) -> None:
    for found in tried("faults", inputs, tmp_path, 6).values():
        assert set(found["tries"]) == {"SIGKILL", "SIGTERM", "SIGINT"}  # type: ignore[call-overload]


def test_what_a_command_says_is_done_survives_a_loss_of_power(inputs: Path, tmp_path: Path) -> None:
    require_tool("cc", package="gcc libc6-dev")
    for found in tried("power", inputs, tmp_path, 100).values():
        assert found["states"] > 5  # type: ignore[operator]


def test_a_disk_or_folder_that_refuses_is_told_in_one_line(inputs: Path, tmp_path: Path) -> None:
    for found in tried("disk", inputs, tmp_path, 1).values():
        assert found["refused"]["no right to write"] == 1  # type: ignore[index]
