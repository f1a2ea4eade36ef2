"""A pipe, a socket, a device or a link to one, where a plain file is expected, is counted or refused, and not opened.

Before, an open waited for a pipe's writer for ever: each test ends by its time limit then.
"""

import csv
import io
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from calibration.images.sampling import sample_images
from calibration.layers.max_drop import _read_state
from calibration.search.calibration_cache import read_cache
from exporter.checks.golden import golden_files
from runtime.data.class_names import read_class_names
from runtime.data.labels import read_labels_file
from runtime.data.open_images import open_images
from runtime.data.sources.entries import Entry
from runtime.data.sources.list_rows import ListLayout, read_rows
from runtime.data.sources.open_source import InputChoice, open_source
from runtime.data.sources.parquet_table import read_schema
from runtime.data.sources.tar_shards import read_entry, walk_shard
from runtime.embed.request import EmbedRequest
from runtime.errors import CalibrationError, CheckpointError, DataError, ExportSslError
from runtime.images.formats import SPECIAL, PassedOver, describe_passed_over
from runtime.images.listing import list_images, walk_files
from runtime.images.reading import UNREADABLE, open_image
from runtime.original.checkpoint import read_checkpoint
from runtime.support.files import hash_file
from runtime.support.npy import load_npy
from tests.helpers.bundles import write_hand_made
from tests.helpers.embed_jobs import SumEngine, embed, picture_folder, use_engine
from tests.helpers.image_folders import write_picture

pytestmark = pytest.mark.timeout(60)
IS_SPECIAL = "a pipe, a socket or a device"


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    # A path of a socket has at most 107 bytes: it is made beside the tests' own folder names.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        listening.bind(path.name)
    finally:
        os.chdir(before)
        listening.close()


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name(f".{path.name}"))
    path.symlink_to(f".{path.name}")


MAKERS = (make_pipe, make_socket, link_to_device, link_to_pipe)
each_kind = pytest.mark.parametrize("make", MAKERS, ids=[make.__name__ for make in MAKERS])
Make = Callable[[Path], None]


@each_kind
@pytest.mark.parametrize("name", ["b.png", "b", "b.txt"])
def test_in_a_folder_of_images_it_is_left_out_and_counted(tmp_path: Path, make: Make, name: str) -> None:
    write_picture(tmp_path / "a.png")
    write_picture(tmp_path / "c/d.png")
    make(tmp_path / name)
    passed_over = PassedOver()
    assert [path.name for path in list_images(tmp_path, passed_over)] == ["a.png", "d.png"]
    assert passed_over == {SPECIAL: 1}
    assert describe_passed_over(passed_over) == (
        "1 file is no image that Pillow reads, and passed over: 1 special file (pipe, socket or device)"
    )


def test_among_others_they_are_counted_by_their_kind(tmp_path: Path) -> None:
    for number, make in enumerate(MAKERS):
        make(tmp_path / f"{number}.png")
    (tmp_path / "x.txt").write_bytes(b"")
    passed_over = PassedOver()
    assert list_images(tmp_path, passed_over) == ()
    assert describe_passed_over(passed_over).endswith("4 special files (pipe, socket or device), 1 .txt")


def test_a_dead_link_stays_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("nowhere")
    (tmp_path / "b.png").symlink_to("b.png")
    assert list(walk_files(tmp_path)) == ["a.png", "b.png"]


@each_kind
def test_an_embedding_job_ends_without_it(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    use_engine(monkeypatch, SumEngine())
    folder = picture_folder(tmp_path / "pictures", range(5))
    make(folder / "0002a.png")
    bundle = write_hand_made(tmp_path / "bundle")
    result = embed(EmbedRequest(bundle=bundle, images=(folder,), output=tmp_path / "out", batch_size=2))
    assert (result.images, result.unreadable, result.passed_over) == (5, 0, {SPECIAL: 1})


@each_kind
def test_golden_images_labelled_images_and_calibration_images_are_the_others(tmp_path: Path, make: Make) -> None:
    folder = tmp_path / "images"
    for name in ("class/a.png", "class/c.png"):
        write_picture(folder / name)
    make(folder / "class/b.png")
    assert [path.name for path in golden_files(folder)] == ["a.png", "c.png"]
    assert [image.name for image in open_images(str(folder), ())] == ["class/a.png", "class/c.png"]
    sample = sample_images(folder)
    assert [image.name for image in sample.dataset.images] == ["class/a.png", "class/c.png"]
    assert sample.passed_over == {SPECIAL: 1}


@each_kind
@pytest.mark.parametrize("name", ["images.png", "images.tar", "images.parquet", "images.txt", "images"])
def test_named_as_the_images_it_is_refused(tmp_path: Path, make: Make, name: str) -> None:
    make(tmp_path / name)
    with pytest.raises(DataError, match=f"{name} is {IS_SPECIAL}: expected a folder of images"):
        open_source([tmp_path / name])


@each_kind
def test_listed_as_an_image_it_is_one_unreadable_image(tmp_path: Path, make: Make) -> None:
    write_picture(tmp_path / "a.png")
    make(tmp_path / "b.png")
    (tmp_path / "list.txt").write_text("a.png\nb.png\n")
    with (tmp_path / "list.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([("path", "label"), ("a.png", 0), ("b.png", 0)])
    pq.write_table(pa.table({"path": ["a.png", "b.png"]}), tmp_path / "list.parquet")
    for name in ("list.txt", "list.csv", "list.parquet"):
        source = open_source([tmp_path / name], InputChoice())
        good, bad = (read for _, read in source.opened(source.entries()))
        assert good() == (tmp_path / "a.png").read_bytes()
        with pytest.raises(UNREADABLE, match=IS_SPECIAL):
            bad()


def test_in_an_archive_it_is_no_image(tmp_path: Path) -> None:
    contents = io.BytesIO()
    Image.new("RGB", (4, 4)).save(contents, "PNG")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        plain = tarfile.TarInfo("a.png")
        plain.size = len(contents.getvalue())
        tar.addfile(plain, io.BytesIO(contents.getvalue()))
        for name, kind in (("b.png", tarfile.FIFOTYPE), ("c.png", tarfile.CHRTYPE), ("d.png", tarfile.SYMTYPE)):
            special = tarfile.TarInfo(name)
            special.type, special.linkname = kind, "/dev/zero"
            tar.addfile(special)
    assert [name for name, _, _ in walk_shard(tmp_path / "a.tar", "a.tar", None)] == ["a.png"]


READERS: dict[str, tuple[type[Exception], Callable[[Path], object]]] = {
    "a picture": (DataError, open_image),
    "a list": (DataError, lambda path: list(read_rows(path, ListLayout("paths")))),
    "an archive": (DataError, lambda path: list(walk_shard(path, "a.tar", None))),
    "an image in an archive": (OSError, lambda path: read_entry(Entry("a", str(path), 0, 4))),
    "a table": (DataError, read_schema),
    "labels": (DataError, read_labels_file),
    "class names": (DataError, lambda path: read_class_names(path, 3)),
    "a checkpoint": (CheckpointError, read_checkpoint),
    "a calibration cache": (CalibrationError, lambda path: read_cache(path, None)),
    "a search for float layers": (CalibrationError, _read_state),
    "an array": (OSError, load_npy),
    "a mapped array": (OSError, lambda path: load_npy(path, mapped=True)),
    "anything that is hashed": (OSError, hash_file),
}


@each_kind
@pytest.mark.parametrize("what", READERS)
def test_as_any_other_input_it_is_refused_in_one_line(tmp_path: Path, make: Make, what: str) -> None:
    make(tmp_path / "input")
    error, read = READERS[what]
    with pytest.raises(error, match=IS_SPECIAL) as caught:
        read(tmp_path / "input")
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, ExportSslError) or str(tmp_path / "input") in str(caught.value)
