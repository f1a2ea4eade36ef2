"""`run-ssl embed`: every failure is one line, results go to stdout alone, and a log has nothing of a bar."""

import inspect
import io
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

import runtime.commands.embed
from runtime.commands.embed_bar import job_bar
from runtime.commands.run_ssl import app
from runtime.embed.neighbours.check_job import CheckChoice
from runtime.embed.request import DEFAULT_PART_IMAGES, EmbedRequest
from runtime.on_ray.choice import RayChoice
from tests.helpers.bundles import write_hand_made
from tests.helpers.command_lines import refused
from tests.helpers.embed_jobs import BROKEN_REASON, SumEngine, files_below, picture_folder, use_engine
from tests.helpers.exported import copy_bundle
from tests.helpers.image_folders import write_picture
from tests.helpers.paths import ROOT

NOBODY = 65534


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_engine(monkeypatch, SumEngine())
    return write_hand_made(tmp_path / "bundle")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return picture_folder(tmp_path / "pictures", range(5))


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["embed", *map(str, arguments)])


def run_real(*arguments: object, before: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; `before` is Python that goes first."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"{before}\nfrom runtime.commands.run_ssl import main\nmain()",
            "embed",
            *map(str, arguments),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def without_rights() -> Iterator[None]:
    """Be a user whom a folder's rights keep out; root is not one."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_job_says_how_many_it_wrote_and_where_and_nothing_on_stderr(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    result = run(bundle, pictures, "-o", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first == f"5 embeddings of 5 images in 1 part: {tmp_path / 'out' / 'data'}"
    assert re.fullmatch(r"sums \(exact\), [\d,.]+ images/s with decoding, \d+\.\d s", second)
    again = run(bundle, pictures, "-o", tmp_path / "out")
    assert again.exit_code == 0
    assert again.stdout.splitlines() == [first, "nothing was left to do: an earlier run had finished the job"]


def test_paths_are_printed_as_they_are_on_one_line(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / ("o" * 120 + "[bold]:smile:[red]")
    result = run(bundle, pictures, "-o", output)
    assert result.stdout.splitlines()[0] == f"5 embeddings of 5 images in 1 part: {output / 'data'}"


def test_a_broken_image_is_a_row_of_the_error_file_and_exit_code_1(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "0002.png").write_bytes(b"broken")
    (pictures / "0003.png").unlink()
    (pictures / "0003.png").symlink_to("gone")
    result = run(bundle, pictures, "-o", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (1, "")
    errors = tmp_path / "out" / "_unreadable.csv"
    assert result.stdout.splitlines()[-1] == f"2 images have no row: {errors} says why"
    assert errors.read_bytes() == (
        f"key,reason\r\n0002.png,{BROKEN_REASON}\r\n0003.png,No such file or directory\r\n".encode()
    )
    assert pq.read_table(tmp_path / "out").column("key").to_pylist() == ["0000.png", "0001.png", "0004.png"]
    # The same again: what an earlier run could not read is still not read.
    assert run(bundle, pictures, "-o", tmp_path / "out").exit_code == 1


def test_json_is_all_that_stdout_has(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "0002.png").write_bytes(b"broken")
    done = run(bundle, pictures, "-o", tmp_path / "out", "--json")
    assert (done.exit_code, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert found.pop("seconds") >= 0
    assert found.pop("images_per_s") > 0
    assert found == {
        "output": str(tmp_path / "out"),
        "data": str(tmp_path / "out" / "data"),
        "images": 5,
        "rows": 4,
        "unreadable": 1,
        "unreadable_file": str(tmp_path / "out" / "_unreadable.csv"),
        "passed_over": {},
        "lost": dict.fromkeys(("clipped", "fractions", "turned", "transparent", "coloured", "opaque"), 0),
        "repeated": 0,
        "parts": 1,
        "images_before": 0,
        "engine": "sums",
        "executes": "exact",
    }


def test_append_adds_what_is_new_and_is_refused_beside_what_contradicts_it(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert run(bundle, pictures, "-o", output).exit_code == 0
    write_picture(pictures / "more.png", 9)
    refused(run(bundle, pictures, "-o", output), "images.count is 5, this one's is 6; pass --append")
    done = run(bundle, pictures, "-o", output, "--append", "--json")
    assert (done.exit_code, json.loads(done.stdout)["images"]) == (0, 6)
    for options, words in (
        (["-o", output, "--append", "--overwrite"], "--append has no effect here, --overwrite deletes what is there"),
        (["-o", output, "--append", "--ray"], "--ray has no effect here, --append runs on this machine"),
        (["--check", "--append"], "--append has no effect here, --check writes nothing"),
    ):
        refused(run(bundle, pictures, *options), words, code=2)


def test_an_empty_folder_is_one_line(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(run(bundle, tmp_path / "empty", "-o", tmp_path / "out"), "empty holds no image", "check the path")
    (tmp_path / "list.txt").write_text("\n\n")
    refused(run(bundle, tmp_path / "list.txt", "-o", tmp_path / "out"), "list.txt has no image", "check the path")
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_or_another_folder_or_has_no_parent_is_one_line(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    refused(run(bundle, pictures, "-o", tmp_path / "file"), "file is not a directory: expected the output of a job")
    for more in ((), ("--overwrite",)):
        refused(run(bundle, pictures, "-o", tmp_path / "folder", *more), "folder holds files and is not a job's output")
    refused(run(bundle, pictures, "-o", tmp_path / "no" / "out"), "no is not a directory: create it first")
    assert files_below(tmp_path / "folder") == {"notes.txt": b"mine"}


def test_an_output_without_rights_is_one_line(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    tmp_path.chmod(0o755)
    locked, hidden = tmp_path / "locked", tmp_path / "hidden"
    locked.mkdir(0o555)
    hidden.mkdir(0o000)
    with without_rights():
        new, there = run(bundle, pictures, "-o", locked / "out"), run(bundle, pictures, "-o", hidden)
    refused(new, "cannot write", "locked")
    refused(there, "cannot write", "hidden: permission denied; pass another --output")


@pytest.mark.parametrize(("kind", "file"), [("parquet", "part-000000.parquet"), ("npy", "part-000000.npy")])
def test_a_disk_that_takes_no_more_is_one_line_and_the_job_goes_on_when_there_is_room(
    bundle: Path, tmp_path: Path, kind: str, file: str
) -> None:
    # 6,400 bytes of embeddings: more than a C library's buffer, and than what a file may have here. The description
    # and the licence are smaller.
    job = (bundle, picture_folder(tmp_path / "many", range(400)), "--format", kind)
    output, hard = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        result = run(*job, "-o", output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    refused(result, f"cannot write {output}/.{file}.", ".partial: File too large")
    assert sorted(files_below(output)) == ["_LICENSE-WEIGHTS.txt", "_job.json", "_places.json"]
    assert run(*job, "-o", output).exit_code == 0
    assert run(*job, "-o", tmp_path / "whole").exit_code == 0
    assert files_below(output) == files_below(tmp_path / "whole")


def test_an_output_of_another_bundle_is_one_line_with_the_field(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    run(bundle, pictures, "-o", tmp_path / "out")
    other = copy_bundle(bundle, tmp_path / "other", edit=lambda manifest: manifest["model"].update(name="small"))
    result = run(other, pictures, "-o", tmp_path / "out")
    refused(result, "out is the output of another job: its bundle.model is tiny, this one's is small; pass another")
    assert run(other, pictures, "-o", tmp_path / "out", "--overwrite").exit_code == 0


@pytest.mark.parametrize("damage", [b"", b"text, not an archive"])
def test_a_damaged_shard_or_table_is_one_line(bundle: Path, tmp_path: Path, damage: bytes) -> None:
    for name in ("a.tar", "a.parquet"):
        (tmp_path / name).write_bytes(damage)
        refused(run(bundle, tmp_path / name, "-o", tmp_path / "out"), f"{name} cannot be read as", "copy it again")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--top-k", 4), "--top-k 4: expected at most the network's 3 classes"),
        (("--part-images", 33), "--part-images 33: expected a multiple of --batch-size 32, so that"),
        (("--root", "/"), "--root / cannot be used with images"),
        (("--engine", "openvino:int3"), "engine openvino:int3: no precision int3"),
        (("--native", "absent.so"), "absent.so is not this project's C library"),
    ],
)
def test_usage_errors_are_one_line_and_exit_code_2(
    bundle: Path, pictures: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    refused(run(bundle, pictures, "-o", tmp_path / "out", *options), words, code=2)
    assert not (tmp_path / "out").exists()


def test_images_of_two_kinds_are_a_usage_error(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b""]}), tmp_path / "t.parquet")
    result = run(bundle, pictures, tmp_path / "t.parquet", "-o", tmp_path / "out")
    refused(result, "(images) and", "(Parquet files) are of two kinds, expected one kind: run a job for each", code=2)


def test_without_pyarrow_the_extra_is_named_before_anything_is_made_and_npy_works(exported, tmp_path: Path) -> None:
    pictures = picture_folder(tmp_path / "pictures", range(3))
    absent = "import sys; sys.modules['pyarrow'] = None"
    done = run_real(exported.fp32, pictures, "-o", tmp_path / "out", before=absent)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: pyarrow\S* is not installed: pip install 'export-ssl\[embed\]'\n", done.stderr)
    assert not (tmp_path / "out").exists()
    assert run_real(exported.fp32, pictures, "-o", tmp_path / "out", "--format", "npy", before=absent).returncode == 0
    assert np.load(tmp_path / "out/data/part-000000.npy").shape == (3, 512)


def test_both_spellings_of_normalise_divide_by_the_norm(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    for option in ("--normalise", "--normalize"):
        output = tmp_path / option.strip("-")
        assert run(bundle, pictures, "-o", output, option).exit_code == 0
        found = np.stack(pq.read_table(output).column("embedding").to_numpy())
        # A sum of squares of four numbers, each rounded to float32.
        np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"), [((), 0), (("--dtype", "float16"), 1), (("--dtype", "float16", "--format", "npy"), 0)]
)
def test_a_run_that_writes_float16_to_parquet_says_once_who_does_not_read_it(
    bundle: Path, pictures: Path, tmp_path: Path, options: tuple[str, ...], said: int
) -> None:
    result = run(bundle, pictures, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0
    assert result.stderr.count("note: float16 halves the files, but Spark refuses them") == said
    assert len(result.stderr.splitlines()) == said


def test_an_output_among_the_parquet_files_that_are_read_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    pq.write_table(pa.table({"image": pa.array([b"no picture"], pa.binary())}), tmp_path / "tables" / "images.parquet")
    result = run(bundle, tmp_path / "tables", "-o", tmp_path / "tables" / "out")
    refused(result, "inside", "Parquet files are read", code=2)
    assert not (tmp_path / "tables" / "out").exists()


def test_help_shows_the_defaults_that_a_library_call_has() -> None:
    request = EmbedRequest(Path(), (), Path())
    wanted = {
        "output_format": request.writing.format,
        "dtype": request.writing.dtype,
        "normalise": request.writing.normalise,
        "top_k": request.writing.top_k,
        "engine": request.engine,
        "device": request.device,
        "batch_size": request.batch_size,
        "part_images": request.part_images,
        "workers": request.workers,
        "threads": request.threads,
        "root": request.reading.root,
        "image_column": request.reading.image_column,
        "key_column": request.reading.key_column,
        "weights": request.weights,
        "append": request.append,
        "native": request.native,
        "exif_rotate": request.exif_rotate,
        "depth16": request.depth16,
        "overwrite": request.overwrite,
        "details": False,
        "json_output": False,
        "ray": False,
        "ray_address": RayChoice().address,
        "ray_workers": RayChoice().workers,
        "ray_cpus": RayChoice().cpus,
        "ray_gpus": RayChoice().gpus,
        "check": False,
        "sample": CheckChoice().sample,
        "seed": CheckChoice().seed,
        "metric": CheckChoice().metric,
        "min_recall": None,
        "save": CheckChoice().save,
    }
    parameters = inspect.signature(runtime.commands.embed.embed).parameters
    shown = {name: getattr(one.default, "value", one.default) for name, one in parameters.items()}
    assert {name: shown[name] for name in wanted} == wanted
    assert set(shown) - set(wanted) == {"bundle", "images", "output"}
    text = " ".join(CliRunner().invoke(app, ["embed", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout.split())
    for default in ("[default: parquet]", "[default: float32]", "[default: auto]", "[default: (one per core)]"):
        assert default in text
    assert f"[default: ({DEFAULT_PART_IMAGES})]" in text


def bar_text(*, terminal: bool, **options: object) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, **options)  # type: ignore[arg-type]
    with job_bar(console) as listener:
        listener.on_stage("list the images of photos[/x]")
        listener.on_start(1000, 20)
        listener.on_images(120)
    return text.getvalue()


def test_a_terminal_shows_stages_and_a_bar_whatever_the_paths_are_called() -> None:
    shown = bar_text(terminal=True)
    assert "120/1000" in shown


def test_a_log_has_nothing_of_a_bar_and_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bar_text(terminal=False) == ""
    clock = iter([0.0, 1000.0, 1030.0, 1100.0, 1101.0])
    monkeypatch.setattr("runtime.commands.embed_bar.time", SimpleNamespace(monotonic=lambda: next(clock)))
    text = io.StringIO()
    with job_bar(Console(file=text, width=120)) as listener:
        listener.on_start(10_000, 200)
        for done in (600, 1400, 1500):
            listener.on_images(done)
    # After 100 s: 1,200 images, and 8,600 left at 12 a second.
    assert text.getvalue() == "embed: 1,400 of 10,000 images, 12 images/s, 12 min left\n"
