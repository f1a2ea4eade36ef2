"""`run-ssl compare --ray`: the same report as without, whatever the pieces, and whichever worker dies."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from runtime.bundle.results.changed_json import read_changes
from runtime.bundle.results.compare_json import Comparison
from runtime.commands.run_ssl import app
from runtime.compare.job import run_comparison
from runtime.compare.ray_job import run_comparison_on_ray
from runtime.compare.request import CompareRequest
from runtime.compare.score import score
from runtime.compare.tally import Tallies, tally_batches
from runtime.data.dataset import Dataset, LabelledImage
from runtime.data.pieces import cut_dataset
from runtime.engines.contract import Outputs
from runtime.errors import DataError, EngineError
from runtime.on_ray.attempts import ATTEMPTS, note_attempt
from runtime.on_ray.choice import RayChoice
from runtime.on_ray.connect import connected
from runtime.on_ray.ship_file import pack_file, unpack_file
from tests.conftest import PICTURES
from tests.helpers.command_lines import refused
from tests.helpers.exported import change_weights, copy_bundle
from tests.helpers.fake_engine import FakeEngine
from tests.helpers.paths import ROOT
from tests.helpers.ray_comparison import ONE_CPU, figures
from tests.helpers.ray_warnings import RAYS_WARNINGS
from tests.helpers.standin_commands import wait_until

# Sums of a few hundred float64, added in another order.
SUM_ORDER = 1e-9
pytestmark = RAYS_WARNINGS


class Replay(FakeEngine):
    """An engine that has its answers; a picture is its number."""

    def __init__(self, logits: np.ndarray) -> None:
        self.name, self.precision, self.logits = "replay", "fp32", logits

    def infer(self, pixels: np.ndarray) -> Outputs:
        return Outputs(self.logits[pixels], self.logits[pixels])


@dataclass(frozen=True)
class Answers:
    original: np.ndarray
    engine: np.ndarray
    labels: np.ndarray

    def tally(self, numbers: list[np.ndarray]) -> Tallies:
        batches = [SimpleNamespace(pixels=here, labels=self.labels[here]) for here in numbers]
        return tally_batches(batches, original=Replay(self.original), engines=[Replay(self.engine)])


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    images, classes = draw(st.integers(1, 60)), draw(st.integers(2, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    original = rng.normal(size=(images, classes)).astype(np.float32)
    engine = (original + rng.normal(scale=draw(st.sampled_from([0, 1e-3, 1])), size=original.shape)).astype(np.float32)
    for row in draw(st.lists(st.integers(0, images - 1), max_size=3)):
        engine[row, 0] = draw(st.sampled_from([np.nan, np.inf]))
    return Answers(original, engine, rng.integers(0, classes, images))


@settings(deadline=None)
@given(answers=answers(), data=st.data())
def test_tallies_of_any_cut_merge_to_those_of_the_whole(answers: Answers, data: st.DataObject) -> None:
    images = len(answers.labels)
    cuts = sorted(data.draw(st.lists(st.integers(0, images), max_size=6)))
    batches = np.split(np.arange(images), cuts)
    # A piece may hold no image at all, where none of its own can be read.
    pieces = [answers.tally([here] if len(here) else []) for here in batches]
    merged = pieces[0]
    for piece in pieces[1:]:
        merged = merged.merge(piece)
    whole = answers.tally([here for here in batches if len(here)])
    assert counts(merged) == counts(whole)
    # By hand: which of all images have the label's logit above all others'.
    hits = answers.original.argmax(axis=1) == answers.labels
    assert merged.original.top1 == int(hits.sum())
    for one, another in zip(merged.engines, whole.engines, strict=True):
        assert one.sqnr.signal == pytest.approx(another.sqnr.signal, rel=SUM_ORDER)
        assert one.sqnr.noise == pytest.approx(another.sqnr.noise, rel=SUM_ORDER)
    assert score(merged, seconds=1.0).engines[0].drop_ci95 == score(whole, seconds=1.0).engines[0].drop_ci95


def counts(tallies: Tallies) -> list[dict[str, Any]]:
    """Return all whole numbers but those of the warm-up, which comes once for each worker."""
    kept = []
    for tally in (tallies.original, *tallies.engines):
        kept.append({name: value for name, value in vars(tally).items() if isinstance(value, int)})
        del kept[-1]["warm_up_images"]
    return kept


def test_speed_is_one_workers_without_the_first_batch_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("runtime.compare.tally.time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Slow(Replay):
        def infer(self, pixels: np.ndarray) -> Outputs:
            now[0] += 10.0 if pixels[0] in (0, 4) else 1.0
            return super().infer(pixels)

    logits = np.eye(8, 3, dtype=np.float32)

    def piece(*starts: int, warm: bool) -> Tallies:
        batches = [SimpleNamespace(pixels=np.arange(start, start + 2), labels=np.zeros(2, int)) for start in starts]
        return tally_batches(batches, original=Slow(logits), engines=[], warm=warm)

    # One worker begins with images 0 and 1, another one with 4 and 5; a piece of one batch comes to the first again.
    merged = piece(0, 2, warm=False).merge(piece(4, warm=False)).merge(piece(6, warm=True))
    assert merged.original.images_per_s == (2 + 2) / (1 + 1)
    assert piece(4, warm=False).original.images_per_s == 2 / 10


def test_pieces_hold_every_image_once_with_absolute_paths() -> None:
    images = tuple(LabelledImage(f"{number}.png", number, Path(f"{number}.png")) for number in range(11))
    pieces = list(cut_dataset(Dataset(images), 4))
    assert [(piece.number, piece.start, len(piece.images), piece.length) for piece in pieces] == [
        (0, 0, 4, 11),
        (1, 4, 4, 11),
        (2, 8, 3, 11),
    ]
    assert [image.label for piece in pieces for image in piece] == list(range(11))
    assert pieces[2].images[2].source == Path.cwd() / "10.png"


def test_a_piece_that_kills_every_worker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = iter(range(1, ATTEMPTS + 2))
    attempts = SimpleNamespace(begin=SimpleNamespace(remote=lambda _number: next(begun)))
    monkeypatch.setattr("ray.get", lambda value: value)
    for _ in range(ATTEMPTS):
        note_attempt(attempts, 3, "from a.png to b.png")
    with pytest.raises(EngineError, match=r"5 workers died at the images from a\.png to b\.png"):
        note_attempt(attempts, 3, "from a.png to b.png")


def test_a_checkpoint_arrives_under_its_own_name_and_damage_is_found(tmp_path: Path) -> None:
    (tmp_path / "net-0123abcd.pth").write_bytes(b"weights")
    packed = pack_file(tmp_path / "net-0123abcd.pth")
    for _ in range(2):
        arrived = unpack_file(packed, cache=tmp_path / "node")
        assert (arrived.name, arrived.read_bytes()) == ("net-0123abcd.pth", b"weights")
    arrived.write_bytes(b"weighty")
    with pytest.raises(Exception, match=r"net-0123abcd\.pth has sha256 .*: remove it"):
        unpack_file(packed, cache=tmp_path / "node")


@pytest.fixture(scope="module")
def bundles(exported: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a good bundle and one with a spoiled classifier, in a folder without their checkpoint."""
    folder = tmp_path_factory.mktemp("compare_ray")

    def spoil(_name: str, array: np.ndarray) -> np.ndarray:
        if array.shape not in ((1000, 512), (512, 1000)):
            return array
        return array + np.random.default_rng(0).normal(scale=array.std(), size=array.shape)

    graph = change_weights((exported.fp32 / "model.onnx").read_bytes(), spoil)
    return (
        copy_bundle(exported.fp32, folder / "good"),
        copy_bundle(exported.fp32, folder / "bad", files={"model.onnx": graph}),
    )


@pytest.fixture
def asked(bundles: tuple[Path, Path], exported: Any, class_folders: Path) -> Callable[..., CompareRequest]:
    def make(**changes: Any) -> CompareRequest:
        plain = CompareRequest(
            bundles,
            str(class_folders),
            engines=("onnxruntime",),
            weights=exported.checkpoint,
            batch_size=4,
            workers=1,
            threads=1,
        )
        return replace(plain, **changes)

    return make


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    """Return one Ray for several tests; each one of the command's own costs some seconds."""
    with connected("local") as ray:
        yield ray


@pytest.fixture
def on_ray(connection: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Comparison]:
    monkeypatch.setattr("runtime.compare.ray_job.connected", lambda *_, **__: nullcontext(connection))
    return run_comparison_on_ray


def test_pieces_make_the_report_of_one_machine_and_keep_its_changed_images(
    asked: Callable[..., CompareRequest], on_ray: Callable[..., Comparison], bundles: tuple[Path, Path]
) -> None:
    request = asked(save=True, engines=(), limit=PICTURES - 2)
    alone = run_comparison(request)
    kept = read_changes(bundles[1] / "results/changed.json")
    assert kept.engines[-1].changed > 0
    done: list[int] = []
    shared = on_ray(request, ONE_CPU, piece_images=5, on_images=done.append)
    expected, found = figures(alone), figures(shared)
    for row, wanted in zip(found["engines"], expected["engines"], strict=True):
        assert row.pop("sqnr_db") == pytest.approx(wanted.pop("sqnr_db"), rel=SUM_ORDER)
    assert found == expected
    assert len(found["engines"]) == 4
    # Five images are two batches of four.
    assert sorted(np.diff([0, *done])) == [6, 8, 8]
    assert shared.data.notes[:-1] == alone.data.notes
    assert shared.data.notes[-1].startswith("on Ray, ")
    assert read_changes(bundles[1] / "results/changed.json") == kept


def workers_below(process: int) -> Iterator[int]:
    """Yield the processes of Ray's, below another one, that score a piece now."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            above = int(folder.name)
            while above not in (0, process):
                above = int(Path(f"/proc/{above}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except OSError:
            continue
        if above == process and title.startswith(b"ray::") and b"PieceScorer" in title:
            yield int(folder.name)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker in /proc")
def test_a_killed_worker_loses_nothing_and_nothing_counts_twice(
    asked: Callable[..., CompareRequest], on_ray: Callable[..., Comparison], class_folders: Path, tmp_path: Path
) -> None:
    copies = 4
    for file in class_folders.glob("*/*.png"):
        folder = tmp_path / file.parent.name
        folder.mkdir(exist_ok=True)
        for number in range(copies):
            (folder / f"{number}-{file.name}").symlink_to(file)
    # Ray ends an actor some time after its job: those of the tests before may still be there.
    earlier = set(workers_below(os.getpid()))
    killed: list[int] = []

    def kill(_images: int) -> None:
        if not killed:
            killed.extend(set(workers_below(os.getpid())) - earlier)
            for worker in killed:
                os.kill(worker, signal.SIGKILL)

    request = asked(data=str(tmp_path))
    found = on_ray(request, RayChoice(workers=1, cpus=1), piece_images=4, on_images=kill)
    assert len(killed) == 1
    assert any("on Ray, 2 workers on 1 node" in note for note in found.data.notes)
    # How the folders were labelled; see their fixture.
    assert (found.original.images, found.original.top1, found.original.top5) == (copies * PICTURES, 0.5, 0.75)
    assert found.engines[0].agreement == 1.0


@pytest.fixture
def damaged(class_folders: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    """Return the folders with two pictures cut short, in the second and the fourth piece of six."""
    folder = tmp_path / "damaged"
    for file in class_folders.glob("*/*.png"):
        (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / file.parent.name / file.name).write_bytes(file.read_bytes())
    broken = [sorted(folder.glob("*/*.png"))[position] for position in (6, 13)]
    for file in broken:
        file.write_bytes(file.read_bytes()[:300])
    return folder, broken


def test_an_unreadable_image_is_the_same_error_as_without_ray(
    asked: Callable[..., CompareRequest], on_ray: Callable[..., Comparison], damaged: tuple[Path, list[Path]]
) -> None:
    request = asked(data=str(damaged[0]))
    with pytest.raises(DataError, match=damaged[1][0].name) as alone:
        run_comparison(request)
    with pytest.raises(DataError) as shared:
        on_ray(request, ONE_CPU, piece_images=4)
    assert str(shared.value) == str(alone.value)
    names = ", ".join(file.relative_to(damaged[0]).as_posix() for file in damaged[1])
    assert str(shared.value).startswith(f"2 images of 24 cannot be read ({names}); the first: {damaged[1][0]} cannot")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker in /proc")
def test_the_command_prints_json_alone_though_a_worker_is_killed(
    bundles: tuple[Path, Path], exported: Any, damaged: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    folder, broken = damaged
    options = ["--ray", "--ray-cpus", "1", "--engines", "onnxruntime", "--skip-unreadable", "--json"]
    command = [sys.executable, "-c", "from runtime.commands.run_ssl import main; main()", "compare", str(bundles[0])]
    with subprocess.Popen(
        [*command, "--data", folder.name, "--weights", os.path.relpath(exported.checkpoint, tmp_path), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        killed: list[int] = []

        def found_one() -> bool:
            killed.extend(workers_below(process.pid))
            return bool(killed) or process.poll() is not None

        wait_until(found_one)
        os.kill(killed[0], signal.SIGKILL)
        stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    found = json.loads(stdout)
    assert found["data"]["source"] == "damaged"
    assert found["data"]["images"] == PICTURES - 2
    assert found["data"]["unreadable"] == [file.relative_to(folder).as_posix() for file in broken]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["compare", *(str(argument) for argument in arguments)])


@pytest.mark.parametrize("name", ["hfds/owner/name", "wds/name", "torch/cifar10"])
def test_a_data_set_that_timm_names_is_refused(exported: Any, name: str) -> None:
    refused(run(exported.fp32, "--data", name, "--ray"), f"--data {name} with --ray", "leave --ray out", code=2)


def test_a_gpu_that_no_worker_is_given_is_refused(exported: Any, class_folders: Path) -> None:
    result = run(exported.fp32, "--data", class_folders, "--ray", "--device", "gpu")
    refused(result, "--device gpu with --ray", "--ray-gpus 1", code=2)


def test_rays_client_is_refused(exported: Any, class_folders: Path) -> None:
    result = run(exported.fp32, "--data", class_folders, "--ray-address", "ray://127.0.0.1:10001")
    refused(result, "ray://127.0.0.1:10001", "ray job submit", code=2)


def test_a_folder_that_is_missing_is_refused_before_ray_starts(exported: Any, tmp_path: Path) -> None:
    refused(run(exported.fp32, "--data", tmp_path / "absent", "--ray"), "absent is not a folder")


def test_a_checkpoint_that_is_missing_is_refused_before_ray_starts(
    exported: Any, class_folders: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "absent.safetensors"
    refused(run(exported.fp32, "--data", class_folders, "--weights", weights, "--ray"), "absent.safetensors")
