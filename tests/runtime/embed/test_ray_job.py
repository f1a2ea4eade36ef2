"""`run-ssl embed --ray` writes the bytes that it writes without Ray, whatever dies on the way."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

import runtime.embed.ray_job
from runtime.data.sources.entries import Entry
from runtime.embed.job import JobListener, run_embedding
from runtime.embed.output.pieces_on_disk import read_piece, record_attempt, write_pieces
from runtime.embed.pieces import Piece
from runtime.embed.ray_job import run_on_ray
from runtime.embed.request import EmbedRequest, OutputChoice
from runtime.errors import BundleError, EngineError, UsageError
from runtime.on_ray.choice import RayChoice
from runtime.on_ray.connect import connected
from tests.helpers.image_folders import write_picture
from tests.helpers.ray_cluster import GATE, RunningCluster, part_makers, ray_environment, running_cluster
from tests.helpers.ray_warnings import RAYS_WARNINGS
from tests.helpers.standin_commands import wait_until

pytestmark = RAYS_WARNINGS

BATCH = 2
# One thread, so that the engine's sums are added in one order wherever it runs.
THREADS = 1
ONE_CPU = RayChoice(workers=1, cpus=1)
# The odd one is not UTF-8: file systems hold it, tables do not.
ODD_NAMES = ("a b.png", "b'\"\\.png", "c/ünïcode 猫.png", "d\n.png", os.fsdecode(b"e\xff.png"))
BROKEN = "f-broken.png"
# A command that a test starts ends within this, on a busy machine too.
LIMIT_S = 300.0
_COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:] = [folder for folder in sys.path if folder]
from runtime.commands.run_ssl import main
main()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    with running_cluster(1) as running:
        running.obey("add 1")
        yield running


@pytest.fixture(scope="module")
def connection(cluster: RunningCluster) -> Iterator[Any]:
    """One connection for the tests of what is done over it; each of the command's own costs some seconds."""
    with connected(cluster.address) as ray:
        yield ray


@pytest.fixture
def on_ray(connection: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(runtime.embed.ray_job, "connected", lambda _address: nullcontext(connection))
    return lambda request, choice=ONE_CPU, listener=None: run_on_ray(request, choice, listener)


@pytest.fixture
def request_of(exported: Any, tmp_path: Path) -> Callable[..., EmbedRequest]:
    def build(images: Path, output: str = "out", **more: Any) -> EmbedRequest:
        choices = {"engine": "onnxruntime", "batch_size": BATCH, "part_images": BATCH, "threads": THREADS, **more}
        return EmbedRequest(exported.fp32, (images,), tmp_path / output, **choices)

    return build


def pictures(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        write_picture(folder / name, number)
    return folder


def odd_folder(folder: Path) -> Path:
    pictures(folder, *ODD_NAMES)
    (folder / BROKEN).write_bytes(b"not a picture")
    return folder


def tar_shards(folder: Path) -> Path:
    source = pictures(folder.with_name("shelf"), "a.png", "b.png", "c.png")
    folder.mkdir()
    for shard in ("0.tar", "1.tar"):
        with tarfile.open(folder / shard, "w") as tar:
            for file in sorted(source.iterdir()):
                tar.add(file, f"in/{file.name}")
    return folder


def parquet_file(folder: Path) -> Path:
    source = pictures(folder.with_name("shelf"), "a.png", "b.png", "c.png", "d.png", "e.png")
    folder.mkdir()
    images = [file.read_bytes() for file in sorted(source.iterdir())]
    table = pyarrow.table({"id": pyarrow.array(list(range(5))), "image": pyarrow.array([*images[:4], None])})
    # Row groups of three, so that pieces of two begin and end within one.
    pyarrow.parquet.write_table(table, folder / "images.parquet", row_group_size=3)
    return folder


def contents(output: Path) -> dict[str, bytes]:
    """Return every file below an output, hidden ones too."""
    return {str(file.relative_to(output)): file.read_bytes() for file in output.rglob("*") if file.is_file()}


def assert_same_as_without_ray(request: EmbedRequest) -> None:
    alone = replace(request, output=request.output.with_name("alone"))
    run_embedding(alone)
    ours, theirs = contents(request.output), contents(alone.output)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def open_gate(folder: Path) -> None:
    (folder / GATE).touch()


@pytest.mark.parametrize("kind", [odd_folder, tar_shards, parquet_file])
def test_bytes_are_those_of_one_machine(on_ray, request_of, tmp_path, kind):
    request = request_of(kind(tmp_path / "images"), writing=OutputChoice(normalise=True, top_k=3))
    told: list[int] = []
    result = on_ray(request, listener=JobListener(on_images=told.append))
    assert (result.images, result.parts, told[-1]) == (told[-1], -(-result.images // BATCH), result.images)
    assert result.unreadable == (0 if kind is tar_shards else 1)
    assert_same_as_without_ray(request)


def test_a_job_is_gone_on_with_on_ray_and_without(on_ray, request_of, tmp_path):
    names = [f"{number}.png" for number in range(8)]
    folder = pictures(tmp_path / "images", *names)
    request = request_of(folder)
    stop_after = 4

    def stop(done: int) -> None:
        if done >= stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^[246] of 8 images are in .*; run the same command again to resume$"):
        run_embedding(request, JobListener(on_images=stop))
    assert on_ray(request).images_before in (2, 4, 6)
    assert_same_as_without_ray(request)
    other = replace(request, output=tmp_path / "other")
    stop_after = 2
    with pytest.raises(
        KeyboardInterrupt, match=r"^[2468] of 8 images are in .*; run the same command again to resume$"
    ):
        on_ray(other, listener=JobListener(on_images=stop))
    assert run_embedding(other).images_before in (2, 4, 6, 8)
    assert contents(other.output) == contents(request.output)


def test_a_killed_worker_loses_nothing(cluster, on_ray, request_of, tmp_path):
    folder = pictures(tmp_path / "images", "a.png", "b.png", "waits0.png", "waits1.png", "z.png")
    request = request_of(folder)
    # Ray ends an actor some time after its job: those of the tests before may still be there.
    earlier = set(part_makers(cluster.folder))
    killed: list[int] = []

    def kill_one() -> None:
        wait_until((request.output / "_pieces/part-000001.attempts").is_file)
        (worker,) = set(part_makers(cluster.folder)) - earlier
        os.kill(worker, signal.SIGKILL)
        killed.append(worker)
        open_gate(folder)

    killer = threading.Thread(target=kill_one)
    killer.start()
    result = on_ray(request)
    killer.join()
    assert killed
    assert result.rows == 5
    assert_same_as_without_ray(request)


def test_workers_of_both_nodes_share_the_pieces_and_one_unpacked_bundle(cluster, on_ray, request_of, tmp_path):
    folder = pictures(tmp_path / "images", *(f"waits{number}.png" for number in range(8)))
    request = request_of(folder)
    earlier = set(part_makers(cluster.folder))
    nodes: list[int] = []

    def look() -> None:
        wait_until(lambda: len(list(request.output.glob("_pieces/*.attempts"))) == 2)
        nodes.extend(node for worker, node in part_makers(cluster.folder).items() if worker not in earlier)
        open_gate(folder)

    looker = threading.Thread(target=look)
    looker.start()
    on_ray(request, RayChoice(cpus=1))
    looker.join()
    assert len(nodes) == len(set(nodes)) == 2
    assert len([one for one in cluster.folder.glob("export-ssl-*/*") if one.is_dir()]) == 1
    assert_same_as_without_ray(request)


def test_images_that_kill_every_worker_end_the_job_and_are_named(on_ray, request_of, tmp_path):
    request = request_of(pictures(tmp_path / "images", "a.png", "kills.png"))
    with pytest.raises(EngineError, match=r"^5 workers died at the images from a\.png to kills\.png: expected images"):
        on_ray(request)
    assert sorted(contents(request.output)) == ["_LICENSE-WEIGHTS.txt", "_job.json", "_places.json"]


def test_what_nothing_foresees_ends_the_job_with_its_reason(on_ray, request_of, tmp_path):
    request = request_of(pictures(tmp_path / "images", "a.png", "raises.png"))
    with pytest.raises(EngineError, match=r"^node \S+: ReferenceError: no room for this image; run the job without"):
        on_ray(request)
    assert not (request.output / "_pieces").exists()


def test_a_full_disk_in_a_worker_is_one_line(on_ray, request_of, tmp_path):
    request = request_of(pictures(tmp_path / "images", "a.png"), "full")
    with pytest.raises(BundleError, match=r"^cannot write .*/full/data/part-000000\.parquet: the disk is full; free"):
        on_ray(request)
    assert sorted(contents(request.output)) == ["_LICENSE-WEIGHTS.txt", "_job.json", "_places.json"]


def test_an_output_that_a_worker_cannot_write_is_one_line_and_may_have_any_name(on_ray, request_of, tmp_path):
    request = request_of(pictures(tmp_path / "images", "a.png", "b.png", "c.png"), os.fsdecode(b"out\xff"))
    run_embedding(request)
    for made in ("data/part-000001.parquet", "_parts/part-000001.json"):
        (request.output / made).unlink()
    (request.output / "data/part-000001.parquet").mkdir()
    with pytest.raises(BundleError, match=r"^cannot write .*/out\\xff/data/part-000001\.parquet: Is a directory"):
        on_ray(request)


def test_the_output_of_another_bundle_is_refused(exported, on_ray, request_of, tmp_path):
    request = request_of(pictures(tmp_path / "images", "a.png"))
    run_embedding(request)
    with pytest.raises(BundleError, match=r"output of another job: its bundle\.precision is fp32, this one's is"):
        on_ray(replace(request, bundle=exported.fp16))


def test_a_worker_larger_than_the_machine_is_refused(on_ray, request_of, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    request = request_of(pictures(tmp_path / "images", "a.png"))
    with pytest.raises(UsageError, match=r"^a worker needs 3 CPUs, but this machine has 2 CPUs and 0 GPUs: pass fewer"):
        on_ray(request, RayChoice(cpus=3))
    assert not request.output.exists()


@contextmanager
def command(request: EmbedRequest, folder: Path, *arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield the command, started on relative paths; it ends with the block at the latest."""
    paths = [os.path.relpath(path, cwd) for path in (request.bundle, *request.images)]
    choices = ["--engine", request.engine, "--batch-size", f"{BATCH}", "--part-images", f"{BATCH}", "--threads", "1"]
    with subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "embed", *paths, "-o", request.output.name, *choices, *arguments],
        cwd=cwd,
        env=ray_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def test_ray_of_this_machine_is_the_default_and_nothing_but_the_result_is_said(cluster, request_of, tmp_path):
    request = request_of(pictures(tmp_path / "images", "a.png", "b.png", "c.png"))
    with command(request, cluster.folder, "--ray", "--ray-cpus", "1", "--json", cwd=tmp_path) as started:
        stdout, stderr = started.communicate(timeout=LIMIT_S)
    assert (started.returncode, stderr) == (0, "")
    assert json.loads(stdout)["rows"] == 3
    assert_same_as_without_ray(request)


def test_paths_are_those_of_the_commands_folder_and_ctrl_c_says_how_far_it_came(cluster, request_of, tmp_path):
    folder = pictures(tmp_path / "images", "a.png", "b.png", "waits0.png", "z.png")
    request = request_of(folder)
    arguments = ("--ray-address", cluster.address, "--ray-cpus", "1", "--ray-workers", "1")
    with command(request, cluster.folder, *arguments, cwd=tmp_path) as started:
        wait_until((request.output / "_pieces/part-000001.attempts").is_file)
        os.killpg(started.pid, signal.SIGINT)
        stdout, stderr = started.communicate(timeout=LIMIT_S)
    assert (started.returncode, stdout) == (130, "")
    # Ray may give the second piece out first.
    done = BATCH * len(list((request.output / "_parts").iterdir()))
    assert stderr == f"interrupted: {done} of 4 images are in {request.output}; run the same command again to resume\n"
    assert not [name for name in contents(request.output) if name.startswith((".", "_pieces"))]
    open_gate(folder)
    assert run_embedding(request).images_before == done
    assert_same_as_without_ray(request)


def test_a_piece_comes_back_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = (Entry("ü\\xff", os.fsdecode(b"in/\xff.tar"), 512, 7), Entry("b", "/b", 0, 0))
    assert list(write_pieces(Path(), [Piece(3, entries)])) == [3]
    expected = (entries[0]._replace(file=str(tmp_path / os.fsdecode(b"in/\xff.tar"))), entries[1])
    assert read_piece(tmp_path, 3) == Piece(3, expected)


def test_a_damaged_or_absent_piece_is_one_line(tmp_path):
    list(write_pieces(tmp_path, [Piece(0, (Entry("a", "a"),))]))
    with pytest.raises(BundleError, match=r"_pieces/part-000001\.json cannot be read .*: start the job again$"):
        read_piece(tmp_path, 1)
    for damage in ("{", "[1]", '[["a", "b", 1, 2, 3]]', "3"):
        (tmp_path / "_pieces/part-000000.json").write_text(damage)
        with pytest.raises(BundleError, match=r"_pieces/part-000000\.json cannot be read"):
            read_piece(tmp_path, 0)


def test_the_sixth_attempt_at_a_piece_is_refused(tmp_path):
    piece = Piece(0, (Entry("a", "a"), Entry("b", "b")))
    list(write_pieces(tmp_path, [piece]))
    for _ in range(5):
        record_attempt(tmp_path, piece)
    with pytest.raises(EngineError, match=r"^5 workers died at the images from a to b: expected images that crash no"):
        record_attempt(tmp_path, piece)
