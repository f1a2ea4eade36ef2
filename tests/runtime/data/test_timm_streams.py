"""Streams come in order, once, bounded and whole, or end the run with the sample that was wrong."""

import gc
import gzip
import io
import json
import re
import tarfile
import threading
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from timm.data import IterableImageDataset, create_dataset

from runtime.commands.console import progress_bar
from runtime.compare.job import _data_report
from runtime.data import timm_names
from runtime.data.batches import Batch, load_batches
from runtime.data.dataset import Dataset, Stream
from runtime.data.open_images import open_images
from runtime.errors import DataError, UsageError
from tests.helpers.image_folders import picture, write_picture
from tests.helpers.pillow.pillow_contract import Case
from tests.helpers.pillow.resample_reference import evaluation_pixels

CONTRACT = Case("RGB", 16, 12, 8, 0.8, "bilinear").preprocessing
NAMES = ("ant", "bee", "cat")


class FakeReader:
    """What timm's readers for tfds and hfids look like: pictures and targets one after the other."""

    def __init__(self, samples: list[Any], length: int | None = None) -> None:
        self.samples, self.taken, self.threads = samples, 0, set[str]()
        if length is not None:
            self.__class__ = type("Sized", (FakeReader,), {"__len__": lambda _self: length})

    def __iter__(self) -> Iterator[Any]:
        for sample in self.samples:
            self.taken += 1
            self.threads.add(threading.current_thread().name)
            if isinstance(sample, Exception):
                raise sample
            yield sample


def pictures(count: int) -> list[Any]:
    return [(Image.fromarray(picture(seed)), np.int64(seed % 3)) for seed in range(count)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes `tfds/fake` a stream of the given samples, in timm's own class around a reader."""

    def install(samples: list[Any], length: int | None = None, **more: Any) -> FakeReader:
        reader = FakeReader(samples, length)
        vars(reader).update(more)
        dataset = IterableImageDataset("", reader=reader)
        monkeypatch.setitem(timm_names._PACKAGES, "tfds", ((), ""))
        monkeypatch.setattr("timm.data.create_dataset", lambda *_arguments, **_options: dataset)
        return reader

    return install


def stream(source: str = "tfds/fake", **options: Any) -> Stream:
    opened = open_images(source, NAMES, **options)
    assert isinstance(opened, Stream)
    return opened


def indices_and_labels(batches: list[Batch]) -> tuple[list[int], list[int]]:
    return (
        [int(index) for batch in batches for index in batch.indices],
        [int(label) for batch in batches for label in batch.labels],
    )


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("length", [None, 23])
def test_a_stream_gives_batches_in_order_with_labels_and_pixels(fake: Any, overlap: bool, length: int | None) -> None:
    reader = fake(pictures(23), length)
    opened = stream()
    assert opened.length == length
    assert reader.taken == 0
    batches = list(load_batches(opened, CONTRACT, batch_size=5, workers=3, prefetch=1, overlap=overlap))
    assert [len(batch.labels) for batch in batches] == [5, 5, 5, 5, 3]
    assert indices_and_labels(batches) == (list(range(23)), [seed % 3 for seed in range(23)])
    wanted = [evaluation_pixels(picture(seed), resize=10, crop=8, interpolation="bilinear") for seed in range(23)]
    np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in batches]), np.stack(wanted))
    assert reader.threads == {threading.current_thread().name}


@pytest.mark.parametrize("overlap", [False, True])
def test_a_stream_is_read_ahead_but_not_without_bound(fake: Any, overlap: bool) -> None:
    reader = fake(pictures(1) * 100)
    with load_batches(stream(), CONTRACT, batch_size=4, workers=2, prefetch=3, overlap=overlap) as loader:
        taken = [reader.taken for _, _ in zip(loader, range(5), strict=False)]
    assert taken == ([16, 20, 24, 28, 32] if overlap else [16, 16, 16, 16, 32])


def test_limit_takes_the_first_samples_says_so_and_reads_no_further(fake: Any) -> None:
    reader = fake([*pictures(7), RuntimeError("beyond the limit")])
    opened = stream(limit=7)
    assert opened.notes == ("the first 7 images of a stream, not balanced over the classes",)
    assert opened.length == 7
    assert indices_and_labels(list(load_batches(opened, CONTRACT, batch_size=3)))[0] == list(range(7))
    assert reader.taken == 7
    fake(pictures(5), length=5)
    assert stream(limit=9).length == 5


def test_undecodable_bytes_are_named_by_position_and_may_be_skipped(fake: Any) -> None:
    fake([*pictures(2), (b"nothing", 1), *pictures(2)])
    with pytest.raises(DataError, match=r"tfds/fake\[validation\]\[2\] cannot .*\(2 images of the stream were read\)"):
        list(load_batches(stream(), CONTRACT, batch_size=2))
    loader = load_batches(stream(), CONTRACT, batch_size=2, skip_unreadable=True)
    assert [batch.indices.tolist() for batch in loader] == [[0, 1], [3], [4]]
    assert [entry.name for entry in loader.unreadable] == ["tfds/fake[validation][2]"]


def test_an_error_inside_the_reader_ends_the_run_with_its_position(fake: Any) -> None:
    fake([*pictures(3), OSError("connection\nlost")])
    loader = load_batches(stream(), CONTRACT, batch_size=2, skip_unreadable=True)
    with pytest.raises(DataError, match=r"\[3\] cannot be read \(connection lost\).*--limit 3$"):
        list(loader)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize(
    ("target", "shown"), [(3, "3"), (-1, "-1"), (None, "None"), ([0, 1], r"\[0, 1\]"), (1.0, "1.0"), ("ant", "'ant'")]
)
def test_the_first_label_that_is_no_class_is_named(fake: Any, target: object, shown: str) -> None:
    fake([*pictures(2), (pictures(1)[0][0], target), *pictures(1)])
    with pytest.raises(DataError, match=rf"\[2\] has the label {shown}, expected a class index .*, 0 to 2: "):
        list(load_batches(stream(), CONTRACT, batch_size=2, skip_unreadable=True))


def test_what_is_no_picture_and_what_is_empty_is_refused(fake: Any) -> None:
    fake([("text", 0)])
    with pytest.raises(DataError, match=r"\[0\] is a str, expected an image"):
        list(stream())
    fake([])
    with pytest.raises(DataError, match=r"tfds/fake\[validation\] gave no image"):
        list(load_batches(stream(), CONTRACT, batch_size=2))


def test_the_number_of_named_classes_is_checked_before_a_sample_is_read(fake: Any) -> None:
    reader = fake(pictures(3), class_to_idx={"ant": 0, "bee": 1})
    with pytest.raises(DataError, match="tfds/fake has 2 classes, expected the network's 3"):
        stream()
    assert reader.taken == 0


def test_usage_errors_of_streams_are_those_of_other_data(fake: Any, tmp_path: Path) -> None:
    fake(pictures(1))
    with pytest.raises(UsageError, match="--limit 0: expected at least 1 image"):
        stream(limit=0)
    with pytest.raises(UsageError, match="has its own labels: leave it out"):
        stream(labels_file=tmp_path / "labels.txt")


def test_a_folder_is_opened_as_before_also_where_its_name_looks_like_a_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "wds" / "val" / "ant" / "a.png")
    monkeypatch.chdir(tmp_path)
    opened = open_images("wds/val", NAMES)
    assert isinstance(opened, Dataset)
    assert [image.label for image in opened] == [0]
    assert opened.length == len(opened) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("wds/x", "wds/x needs webdataset, not installed here: pip install webdataset"),
        ("hfds/a/b", "hfds/a/b needs datasets, not installed here: pip install datasets"),
        ("HFIDS/a/b", "HFIDS/a/b needs datasets, not installed here: pip install datasets"),
        (
            "tfds/mnist",
            "tfds/mnist needs tensorflow and tensorflow_datasets, not installed here: "
            "pip install tensorflow tensorflow-datasets",
        ),
    ],
)
def test_a_missing_package_is_one_line_with_what_to_install(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(timm_names, "find_spec", lambda _name: None)
    with pytest.raises(DataError) as caught:
        open_images(source, NAMES, root=tmp_path)
    assert str(caught.value) == message
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("length", "shown"), [(None, "3/?"), (8, "3/8")])
def test_the_bar_has_an_end_where_the_length_is_known(fake: Any, length: int | None, shown: str) -> None:
    fake(pictures(1), length)
    text = io.StringIO()
    with progress_bar("compare", Console(file=text, force_terminal=True, width=120)) as bar:
        bar.start(stream())
        bar.advance_to(3)
    assert shown in text.getvalue()


def test_a_stream_that_ends_sooner_than_it_said_is_noted_in_the_report(fake: Any) -> None:
    class Scores:
        class original:  # noqa: N801
            images = 5

        seconds, images_per_s = 1.0, 5.0

    fake(pictures(5), length=7)
    report = _data_report("tfds/fake", stream(), Scores, [])  # type: ignore[arg-type]
    assert report.notes == ("the stream ended after 5 images, expected 7",)
    fake(pictures(5), length=5)
    assert _data_report("tfds/fake", stream(), Scores, []).notes == ()  # type: ignore[arg-type]


def encoded(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(seed)).save(buffer, format="PNG")
    return buffer.getvalue()


def shard(path: Path, samples: dict[str, dict[str, bytes]]) -> Path:
    """Write a tar shard with the standard library alone: files `key.suffix`, one sample after the other."""
    with tarfile.open(path, "w") as tar:
        for key, files in samples.items():
            for suffix, content in files.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def shards(folder: Path, *counts: int) -> None:
    """Write numbered shards, `val-0.tar` and on, with samples s0, s1 and on."""
    first = 0
    for number, count in enumerate(counts):
        seeds = range(first, first + count)
        shard(folder / f"val-{number}.tar", {f"s{i}": {"png": encoded(i), "cls": b"%d" % (i % 3)} for i in seeds})
        first += count


def read_by_timm(root: Path, split: str = "validation") -> list[Any]:
    """Return what timm's own loop gives; webdataset leaves the files it opened there to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        samples = list(create_dataset("wds/local", root=str(root), split=split))
        gc.collect()
    return samples


def test_wds_shards_are_read_as_timm_reads_them(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed: pip install webdataset")
    shards(tmp_path, 4, 3)
    split = "val-{0..1}.tar|7"
    opened = stream("wds/local", split=split, root=tmp_path)
    assert opened.length == 7
    theirs = read_by_timm(tmp_path, split)
    ours = list(opened)
    assert [image.name for image in ours] == [f"wds/local[{split}][{i}] s{i}" for i in range(7)]
    for image, (pixels, target) in zip(ours, theirs, strict=True):
        assert image.label == target
        np.testing.assert_array_equal(np.asarray(image.read().picture), np.asarray(pixels))
    batches = list(load_batches(opened, CONTRACT, batch_size=4))
    assert indices_and_labels(batches) == (list(range(7)), [0, 1, 2, 0, 1, 2, 0])
    assert stream("wds/local", split="val-{0..1}.tar", root=tmp_path).length is None
    assert len(list(stream("wds/local", split=split, root=tmp_path, limit=2))) == 2


def test_a_wds_split_is_found_in_its_info_file_with_its_own_labels(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed: pip install webdataset")
    labels = (2, -1, 0)
    samples = {
        f"s{i}": {"png": encoded(i), "json": json.dumps({"other": label}).encode(), "cls": b"1"}
        for i, label in enumerate(labels)
    }
    shard(tmp_path / "a.tar", samples)
    entry = {
        "name": "validation",
        "num_samples": 3,
        "filenames": ["a.tar"],
        "shard_lengths": [3],
        "alt_label": "other",
    }
    (tmp_path / "_info.json").write_text(json.dumps({"splits": {"validation": entry}}))
    ours = [image.label for image in stream("wds/", root=tmp_path)]
    assert ours == [target for _, target in read_by_timm(tmp_path)] == [2, 0]


def test_wds_damage_is_an_error_where_timm_leaves_it_out(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed: pip install webdataset")
    shards(tmp_path, 3)
    options = {"split": "val-0.tar", "root": tmp_path}
    shard(tmp_path / "bad.tar", {"s": {"png": b"broken", "cls": b"0"}, "t": {"png": encoded(0), "cls": b"1"}})
    loader = load_batches(stream("wds/x", split="bad.tar", root=tmp_path), CONTRACT, batch_size=2, skip_unreadable=True)
    assert [batch.indices.tolist() for batch in loader] == [[1]]
    assert [entry.name for entry in loader.unreadable] == ["wds/x[bad.tar][0] s"]
    whole = (tmp_path / "val-0.tar").read_bytes()
    # One sample is 2560 bytes: header, 1024 of picture, header, 512 of class.
    assert whole[2560:2566] == b"s1.png"
    zeros, noise = bytes(512), b"\xa5" * 512
    for contents, position in (
        (b"", 0),  # nothing at all
        (whole[:700], 0),  # within a picture
        (whole[:2600], 0),  # within a header: s0 may have lacked files
        (whole[:5120], 1),  # between two samples
        (whole[:2560] + noise + whole[3072:], 0),  # a damaged header, whole files after it
        (noise + whole[512:], 0),
    ):
        (tmp_path / "val-0.tar").write_bytes(contents)
        with pytest.raises(DataError, match=rf"wds/x\[val-0\.tar\]\[{position}\] cannot be read \(.*undamaged data"):
            list(stream("wds/x", **options))
    (tmp_path / "val-0.tar").write_bytes(whole[:7680] + zeros)
    assert len(list(stream("wds/x", **options))) == 3
    (tmp_path / "val-0.tar.gz").write_bytes(gzip.compress(whole, mtime=0)[:-200])
    with pytest.raises(DataError, match=r"\[val-0\.tar\.gz\]\[\d\] cannot be read \(.*\), and a stream cannot"):
        list(stream("wds/x", split="val-0.tar.gz", root=tmp_path))
    with pytest.raises(DataError, match=r"\[0\] cannot be read \(.*No such file.*check --split and --root"):
        list(stream("wds/x", split="gone.tar", root=tmp_path))
    for files, message in (
        ({"png": encoded(0)}, "has the entries png, expected one of cls"),
        ({"txt": b"", "cls": b"0"}, "has the entries txt, cls, expected one of jpg, png, webp"),
        ({"png": encoded(0), "cls": b"ant"}, r"no class index in its cls entry \(b'ant'\)"),
        ({"png": encoded(0), "cls": b"3"}, r"\[0\] s has the label 3, expected a class index"),
    ):
        shard(tmp_path / "bad.tar", {"s": files})
        with pytest.raises(DataError, match=message):
            list(stream("wds/x", split="bad.tar", root=tmp_path))


@pytest.mark.slow
def test_wds_samples_with_several_dots_other_endings_and_long_names_are_told_apart(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed: pip install webdataset")
    samples = {
        "x": {"input.png": encoded(0), "mask.seg.png": encoded(5), "cls": b"1"},
        "y": {"cls": b"2", "jpeg": encoded(1)},
        **{f"photo.v2.{i:04}": {"png": encoded(i), "cls": b"%d" % (i % 3), "json": b"{}"} for i in range(2, 5)},
        "d/z.1": {"txt": b"a caption", "png": encoded(5), "cls": b"0"},
    }
    shard(tmp_path / "a.tar", samples)
    found = list(stream("wds/x", split="a.tar", root=tmp_path))
    assert [image.label for image in found] == [1, 2, 2, 0, 1, 0]
    for seed, image in enumerate(found):
        np.testing.assert_array_equal(np.asarray(image.read().picture), picture(seed))
    assert found[3].name == "wds/x[a.tar][3] photo.v2.0003"
    shard(tmp_path / "b.tar", {f"photo.{i:05}": {"png": b""} for i in range(3000)})
    with pytest.raises(DataError, match=r"sample photo of .* has the entries 00000\.png, .* and 2,994 mo") as caught:
        list(stream("wds/x", split="b.tar", root=tmp_path))
    assert len(str(caught.value)) < 500


def test_wds_without_a_folder_or_with_an_unknown_split_says_what_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed: pip install webdataset")
    with pytest.raises(UsageError, match=r"--data wds/x without --root: expected the folder of the \.tar shards"):
        stream("wds/x")
    with pytest.raises(DataError, match="split validation not found in info"):
        stream("wds/x", root=tmp_path)


def release(package: str) -> tuple[int, ...]:
    """The numbers of an installed package's version."""
    return tuple(int(part) for part in re.findall(r"\d+", version(package))[:3])


def test_a_local_folder_is_streamed_by_hugging_face_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("datasets", reason="Hugging Face datasets is not installed: pip install datasets")
    for seed, name in enumerate(NAMES):
        write_picture(tmp_path / "data" / "validation" / name / f"{seed}.png", seed)
    name = f"hfids/{tmp_path / 'data'}"
    if release("timm") < (1, 0, 31) and release("datasets") >= (4,):
        with pytest.raises(
            DataError, match=r"passes trust_remote_code, .* pip install 'timm>=1.0.31', or 'datasets<4'"
        ):
            stream(name, root=tmp_path / "cache")
        return
    opened = stream(name, root=tmp_path / "cache")
    assert [image.label for image in opened] == [0, 1, 2]
    for seed, image in enumerate(opened):
        np.testing.assert_array_equal(np.asarray(image.read().picture), picture(seed))
