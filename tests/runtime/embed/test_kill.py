"""A job that was killed, at whatever moment, goes on with the same command and ends in the same bytes."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.bundles import write_hand_made
from tests.helpers.embed_jobs import assert_same_output, picture_folder
from tests.helpers.paths import ROOT

SEED, KILLS = 20, 10
IMAGES, BATCH = 360, 4
# Between two kills: so many parts are made at most before the process is killed, some milliseconds later. With 90
# parts to make, the job cannot end before the last kill.
PARTS_BETWEEN, DELAY_S = 5, 0.01
# For a start of the interpreter and an engine on a machine that is busy.
PATIENCE_S = 300.0


# A shell's background jobs ignore SIGINT, and what they start too: then no Ctrl-C would reach the command.
_COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from runtime.commands.run_ssl import main
main()
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the real command, with a part for every batch."""
    command = [sys.executable, "-c", _COMMAND, "embed", *map(str, arguments)]
    sizes = ["--batch-size", str(BATCH), "--part-images", str(BATCH)]
    return subprocess.Popen(
        [*command, *sizes], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    return process.returncode, stdout, stderr


def parts_done(output: Path) -> int:
    return len(list((output / "_parts").glob("part-*.json")))


def wait_for(output: Path, parts: int, process: subprocess.Popen[str]) -> None:
    """Wait until an output is there and has so many parts."""
    end = time.monotonic() + PATIENCE_S
    while not output.exists() or parts_done(output) < parts:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, every 53rd of them broken."""
    seeds = [None if index % 53 == 7 else index for index in range(IMAGES)]
    return picture_folder(tmp_path_factory.mktemp("kill") / "pictures", seeds)


@pytest.fixture(scope="module")
def uninterrupted(exported, pictures: Path) -> Path:
    output = pictures.parent / "uninterrupted"
    code, _, stderr = ended(start(exported.fp32, pictures, "-o", output))
    assert (code, stderr) == (1, "")
    return output


def test_ten_kills_at_random_moments_lose_no_row_double_none_and_change_no_byte(
    exported, pictures: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    rng = random.Random(SEED)  # noqa: S311 - moments, not secrets
    output = tmp_path / "out"
    for _ in range(KILLS):
        process = start(exported.fp32, pictures, "-o", output)
        wait_for(output, parts_done(output) + rng.randint(0, PARTS_BETWEEN), process)
        time.sleep(rng.uniform(0, DELAY_S))
        process.send_signal(signal.SIGKILL)
        assert ended(process)[0] == -signal.SIGKILL
    done = parts_done(output)
    assert 0 < done < IMAGES / BATCH
    code, stdout, stderr = ended(start(exported.fp32, pictures, "-o", output, "--json"))
    assert (code, stderr) == (1, "")
    assert json.loads(stdout)["images_before"] >= (done - 1) * BATCH
    assert_same_output(output, uninterrupted)
    keys = pq.read_table(output, columns=["key"]).column("key").to_pylist()
    assert keys == [f"{index:04}.png" for index in range(IMAGES) if index % 53 != 7]


def test_ctrl_c_says_how_many_images_are_done_and_the_same_command_goes_on(
    exported, pictures: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    process = start(exported.fp32, pictures, "-o", output)
    wait_for(output, 3, process)
    process.send_signal(signal.SIGINT)
    code, stdout, stderr = ended(process)
    assert (code, stdout) == (130, "")
    said = re.fullmatch(
        rf"interrupted: (\d+) of {IMAGES} images are in {re.escape(str(output))}; "
        r"run the same command again to resume\n",
        stderr,
    )
    assert said is not None, stderr
    assert int(said[1]) == parts_done(output) * BATCH
    assert ended(start(exported.fp32, pictures, "-o", output))[0] == 1
    assert_same_output(output, uninterrupted)


@pytest.mark.parametrize("case", ["parquet", "npy", "overwrite"])
def test_a_job_goes_on_after_a_death_before_any_change_of_its_output(case: str, tmp_path: Path) -> None:
    write_hand_made(tmp_path / "bundle")
    picture_folder(tmp_path / "pictures", [0, 1, None, 3, 4])
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.embed_deaths", str(tmp_path), case],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # A directory, a description, a licence, two parts with records, a list of the unreadable: two or more each.
    assert found["moments"] > 12
    assert found["wrong"] == [], done.stderr
