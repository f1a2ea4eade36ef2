"""Batches come in order, bounded, with every image accounted for, and leave no thread behind."""

import errno
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from runtime.data.batches import Batch, load_batches
from runtime.data.dataset import Dataset, LabelledImage
from runtime.data.open_images import open_images
from runtime.errors import DataError, MachineError, UsageError
from runtime.support.arrays import Pixels
from runtime.support.cpu import usable_cores
from tests.helpers.image_folders import picture, write_picture
from tests.helpers.pillow.pillow_contract import Case
from tests.helpers.pillow.resample_reference import evaluation_pixels

CONTRACT = Case("RGB", 16, 12, 8, 0.8, "bilinear").preprocessing
# Long enough for a thread that has work to do it, on a machine that is busy.
PATIENCE_S = 10.0


@dataclass
class Probe:
    """Pictures that call back from whichever thread reads them."""

    on_read: Callable[[], None] = field(default=lambda: None)
    reads: int = 0

    def open(self) -> BinaryIO:
        self.reads += 1
        self.on_read()
        buffer = BytesIO()
        Image.fromarray(picture(0)).save(buffer, format="PNG")
        buffer.seek(0)
        return buffer

    def dataset(self, count: int) -> Dataset:
        return Dataset(tuple(LabelledImage(str(index), 0, self) for index in range(count)), ("probe",))


def folder(root: Path, count: int) -> Dataset:
    """Write `count` different pictures in two classes and open them."""
    for index in range(count):
        write_picture(root / "ab"[index % 2] / f"{index:03}.png", index)
    opened = open_images(str(root), ("a", "b"))
    assert isinstance(opened, Dataset)
    return opened


def decoding_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def everything(batches: list[Batch]) -> tuple[list[int], list[int]]:
    return (
        [int(index) for batch in batches for index in batch.indices],
        [int(label) for batch in batches for label in batch.labels],
    )


def test_every_image_comes_once_in_order_with_its_label_and_pixels(tmp_path: Path) -> None:
    dataset = folder(tmp_path, 23)
    batches = list(load_batches(dataset, CONTRACT, batch_size=5))
    assert [len(batch.labels) for batch in batches] == [5, 5, 5, 5, 3]
    assert everything(batches) == (list(range(23)), [0] * 12 + [1] * 11)
    seeds = [int(Path(image.name).stem) for image in dataset.images]
    wanted = [evaluation_pixels(picture(seed), resize=10, crop=8, interpolation="bilinear") for seed in seeds]
    np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in batches]), np.stack(wanted))
    assert batches[0].pixels.dtype == np.uint8
    assert batches[0].labels.dtype == batches[0].indices.dtype == np.int64


def test_batches_do_not_depend_on_workers_prefetch_or_overlap(tmp_path: Path) -> None:
    dataset = folder(tmp_path, 17)
    first, second = (
        list(load_batches(dataset, CONTRACT, batch_size=4, workers=workers, prefetch=prefetch, overlap=overlap))
        for workers, prefetch, overlap in ((1, 1, False), (7, 9, True))
    )
    assert everything(first) == everything(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_an_unreadable_image_stops_the_run_with_its_name_and_how_many_were_read(tmp_path: Path) -> None:
    dataset = folder(tmp_path, 9)
    (tmp_path / "a" / "004.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"004\.png cannot be read as an image .*2 of 9 images were read"):
        list(load_batches(dataset, CONTRACT, batch_size=2))
    assert not decoding_threads()


def test_several_unreadable_images_are_all_named_by_one_error_and_nothing_is_given_after_the_first(
    tmp_path: Path,
) -> None:
    dataset = folder(tmp_path, 30)
    names = [image.name for image in dataset.images]
    for name in (names[3], names[4], *names[12:24]):
        (tmp_path / name).write_bytes(b"broken")
    given: list[Batch] = []
    with pytest.raises(DataError) as caught:
        given.extend(load_batches(dataset, CONTRACT, batch_size=2))
    assert [batch.indices.tolist() for batch in given] == [[0, 1]]
    words = str(caught.value)
    listed = ", ".join([names[3], names[4], *names[12:20]])
    assert words.startswith(f"14 images of 30 cannot be read ({listed} and 4 more); the first: ")
    assert f"{names[3]} cannot be read as an image" in words
    assert not decoding_threads()


def test_unreadable_images_may_be_skipped_and_are_named_and_counted(tmp_path: Path) -> None:
    dataset = folder(tmp_path, 8)
    for name in ("a/000.png", "a/002.png", "b/003.png"):
        (tmp_path / name).write_bytes(b"broken")
    loader = load_batches(dataset, CONTRACT, batch_size=2, skip_unreadable=True)
    batches = list(loader)
    assert [batch.indices.tolist() for batch in batches] == [[2, 3], [4], [6, 7]]
    assert [entry.name for entry in loader.unreadable] == ["a/000.png", "a/002.png", "b/003.png"]
    assert all("cannot be read as an image" in entry.reason for entry in loader.unreadable)


def test_nothing_readable_is_an_error_even_where_images_may_be_skipped(tmp_path: Path) -> None:
    dataset = folder(tmp_path, 3)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match="none of the 3 images can be read"):
        list(load_batches(dataset, CONTRACT, batch_size=2, skip_unreadable=True))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), r"^2 cannot be read now \(Too many open files\): the image"),
        (OSError(errno.ENFILE, "Too many open files in system"), r"^2 cannot be read now"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), r"^2 cannot be read now"),
        (OSError(errno.ESTALE, "Stale file handle"), r"^2 cannot be read now"),
        (MemoryError(), r"^there is not enough memory to decode 2: free some"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("place", ["read", "transform"])
def test_a_fault_of_the_machine_is_never_skipped(fault: Exception, words: str, place: str) -> None:
    probe = Probe()

    def break_at_third(step: str) -> None:
        if step == place and probe.reads == 3:
            raise fault

    def transform(picture: Image.Image) -> Pixels:
        break_at_third("transform")
        return np.asarray(picture)

    probe.on_read = lambda: break_at_third("read")
    loader = load_batches(
        probe.dataset(6), CONTRACT, batch_size=2, workers=1, skip_unreadable=True, transform=transform
    )
    with pytest.raises(MachineError, match=words):
        list(loader)
    assert loader.unreadable == []
    assert not decoding_threads()


def test_overlap_runs_ahead_but_not_without_bound() -> None:
    enough = threading.Event()
    probe = Probe()
    probe.on_read = lambda: enough.set() if probe.reads >= 16 else None
    with load_batches(probe.dataset(100), CONTRACT, batch_size=4, workers=2, prefetch=3, overlap=True) as loader:
        next(loader)
        assert enough.wait(PATIENCE_S)
        assert probe.reads == 16


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_exception_in_the_loop_ends_the_threads(error: type[BaseException], overlap: bool) -> None:
    def leave_early() -> None:
        with load_batches(Probe().dataset(500), CONTRACT, batch_size=4, overlap=overlap) as loader:
            for _ in loader:
                raise error

    with pytest.raises(error):
        leave_early()
    assert not decoding_threads()


def test_leaving_a_plain_loop_early_ends_the_threads() -> None:
    for _ in load_batches(Probe().dataset(500), CONTRACT, batch_size=4):
        break
    assert not decoding_threads()


def test_a_loader_that_was_never_read_starts_and_leaves_nothing() -> None:
    probe = Probe()
    with load_batches(probe.dataset(5), CONTRACT, batch_size=2) as loader:
        assert not decoding_threads()
    loader.close()
    assert probe.reads == 0


def test_in_turn_nothing_is_decoded_while_a_batch_is_used() -> None:
    probe = Probe()
    with load_batches(probe.dataset(40), CONTRACT, batch_size=4, workers=1, prefetch=2) as loader:
        reads = [probe.reads for _ in loader]
    assert reads == [12, 12, 12, 24, 24, 24, 36, 36, 36, 40]


def test_with_overlap_decoding_goes_on_while_a_batch_is_used() -> None:
    probe = Probe()
    further = threading.Event()
    probe.on_read = lambda: further.set() if probe.reads > 12 else None
    with load_batches(probe.dataset(40), CONTRACT, batch_size=4, workers=1, prefetch=2, overlap=True) as loader:
        next(loader)
        next(loader)
        assert further.wait(PATIENCE_S)
        assert everything(list(loader))[0] == list(range(8, 40))


def test_workers_have_enough_to_do_where_batches_are_small() -> None:
    probe = Probe()
    with load_batches(probe.dataset(60), CONTRACT, batch_size=1, workers=3, prefetch=1) as loader:
        next(loader)
        assert probe.reads == 24


def test_pillows_warnings_are_silent_in_workers_and_the_filters_come_back(tmp_path: Path) -> None:
    dataset = folder(tmp_path, 2)
    for image in dataset.images:
        palette = Image.fromarray(picture(0)[..., 0])
        palette.putpalette(list(range(256)) * 3)
        palette.save(tmp_path / image.name, transparency=bytes(range(256)))
    before = list(warnings.filters)
    assert len(list(load_batches(dataset, CONTRACT, batch_size=1))) == 2
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    "option", [{"batch_size": 0}, {"batch_size": 1, "workers": 0}, {"batch_size": 1, "prefetch": 0}]
)
def test_numbers_below_one_are_usage_errors(option: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="0: expected at least 1"):
        load_batches(Dataset((), ""), CONTRACT, **option)  # type: ignore[arg-type]


def test_the_default_is_one_worker_per_usable_core() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
