"""Images that are new are added to a finished output, whose parts stay as they are."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from runtime.embed.job import JobListener
from runtime.embed.request import EmbedRequest, OutputChoice
from runtime.errors import BundleError
from tests.helpers.bundles import write_hand_made
from tests.helpers.embed_jobs import (
    BROKEN,
    SumEngine,
    assert_same_output,
    embed,
    expected_embeddings,
    files_below,
    picture_folder,
    use_engine,
)
from tests.helpers.image_folders import write_picture

BATCH, PART = 2, 4
OLD: list[int | None] = [0, 1, None, 3, 4]


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedRequest:
    """A finished job of 5 pictures in two parts, the second of one picture; one picture is broken."""
    use_engine(monkeypatch, SumEngine())
    request = EmbedRequest(
        bundle=write_hand_made(tmp_path / "bundle"),
        images=(picture_folder(tmp_path / "pictures", OLD),),
        output=tmp_path / "out",
        batch_size=BATCH,
        part_images=PART,
    )
    embed(request)
    return request


def add_pictures(folder: Path) -> None:
    """Write new pictures before, between and behind the old ones, one of them broken: seeds 10 to 14 in order."""
    for name, seed in (("-first", 10), ("0001a", 11), ("9", 12), ("sub/x", 13), ("z", 14)):
        write_picture(folder / f"{name}.png", seed)
    (folder / "9.png").write_bytes(BROKEN)


def data(output: Path) -> dict[str, bytes]:
    return {name: content for name, content in files_below(output / "data").items() if name.startswith("part-")}


def rows(output: Path) -> tuple[list[str], Any]:
    parts = [pq.read_table(file) for file in sorted((output / "data").glob("*.parquet"))]
    keys = [key for part in parts for key in part.column("key").to_pylist()]
    return keys, np.array([value for part in parts for value in part.column("embedding").to_pylist()], np.float32)


def test_only_new_images_are_embedded_and_the_old_parts_keep_their_bytes(finished: EmbedRequest) -> None:
    before = data(finished.output)
    add_pictures(finished.images[0])
    result = embed(replace(finished, append=True))
    after = data(finished.output)
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == ["part-000002.parquet", "part-000003.parquet"]
    assert (result.images, result.images_before, result.rows, result.unreadable, result.parts) == (10, 5, 8, 2, 4)
    keys, embedding = rows(finished.output)
    old, new = ["0000.png", "0001.png", "0003.png", "0004.png"], ["-first.png", "0001a.png", "sub/x.png", "z.png"]
    assert keys == [*old, *new]
    wanted = [expected_embeddings(OLD, BATCH), expected_embeddings([10, 11, None, 13, 14], BATCH)]
    np.testing.assert_array_equal(embedding, np.concatenate(wanted))
    with (finished.output / "_unreadable.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["key", "0002.png", "9.png"]


def test_it_can_be_added_to_again_and_again_and_nothing_new_changes_nothing(finished: EmbedRequest) -> None:
    request = replace(finished, append=True)
    folder = finished.images[0]
    before = files_below(finished.output)
    assert embed(request).images_before == 5
    assert files_below(finished.output) == before
    for number in range(3):
        write_picture(folder / f"more{number}.png", 20 + number)
        result = embed(request)
        assert (result.images, result.parts) == (6 + number, 3 + number)
    assert rows(finished.output)[0][-3:] == ["more0.png", "more1.png", "more2.png"]
    (folder / "0000.png").unlink()
    assert embed(request).images == 8


def test_an_addition_that_is_stopped_is_gone_on_with_to_the_same_bytes(finished: EmbedRequest, tmp_path: Path) -> None:
    add_pictures(finished.images[0])
    whole = replace(finished, append=True)
    stopped = replace(whole, output=tmp_path / "stopped")
    embed(replace(finished, images=(picture_folder(tmp_path / "old", OLD),), output=stopped.output))

    def stop(_images: int) -> None:
        raise KeyboardInterrupt

    # Before any part is made, and after one.
    for first in (True, False):
        seen = 0

        def later(images: int, *, first: bool = first) -> None:
            nonlocal seen
            seen = images
            if first or images > 5 + PART:
                stop(images)

        with pytest.raises(KeyboardInterrupt, match="of 10 images are in"):
            embed(stopped, JobListener(on_images=later))
        assert seen
    with pytest.raises(BundleError, match="was added to: pass --append to go on or to add what is new"):
        embed(replace(stopped, append=False))
    result = embed(stopped)
    assert result.images_before == 5 + PART
    embed(whole)
    (stopped.output / "_places.json").unlink()
    (whole.output / "_places.json").unlink()
    assert_same_output(stopped.output, whole.output)


def test_numpy_parts_are_added_to_as_well(finished: EmbedRequest, tmp_path: Path) -> None:
    request = replace(finished, output=tmp_path / "npy", writing=OutputChoice(format="npy"))
    embed(request)
    before = data(request.output)
    add_pictures(finished.images[0])
    assert embed(replace(request, append=True)).images == 10
    after = data(request.output)
    assert {name: after[name] for name in before} == before
    np.testing.assert_array_equal(np.load(request.output / "data" / "part-000002.npy")[0], expected_new()[0])


def expected_new() -> Any:
    return expected_embeddings([10, 11, None, 13, 14], BATCH)


def test_what_cannot_be_added_to_is_refused_with_what_to_do(finished: EmbedRequest, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"--append: .*new is no output of a job yet: leave --append out"):
        embed(replace(finished, output=tmp_path / "new", append=True))
    add_pictures(finished.images[0])
    with pytest.raises(BundleError, match=r"images\.count is 5, this one's is 10; pass --append to embed only images"):
        embed(finished)
    before = files_below(finished.output)
    other = replace(finished, append=True, writing=OutputChoice(normalise=True))
    with pytest.raises(BundleError, match=r"rows\.normalised is False, this one's is True; pass another --output"):
        embed(other)
    assert files_below(finished.output) == before
    (finished.output / "_parts" / "part-000001.json").unlink()
    with pytest.raises(BundleError, match="has 1 of 2 parts: finish it first, by its own command without --append"):
        embed(replace(finished, append=True))


def test_a_part_whose_keys_cannot_be_read_is_named(finished: EmbedRequest) -> None:
    add_pictures(finished.images[0])
    part = finished.output / "data" / "part-000000.parquet"
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(BundleError, match=r"part-000000\.parquet cannot be read \(.*\): remove the part's record"):
        embed(replace(finished, append=True))
