"""The page of a search has the pictures of the query and of what was found, from wherever the job had its images."""

import base64
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import runtime.search.query
from runtime.embed.request import EmbedRequest
from runtime.search.job import run_search
from runtime.search.page import write_page
from runtime.search.parts import Row
from runtime.search.pictures import find_pictures
from runtime.search.request import SearchRequest
from tests.helpers.bundles import write_hand_made
from tests.helpers.embed_jobs import SumEngine, embed, use_engine
from tests.helpers.image_folders import write_picture

# JPEG at quality 80 with halved colours, of flat pictures.
JPEG_NEAR = 6
COLOURS = {"red.png": (200, 30, 30), "a/green.png": (30, 160, 40), "a/blue.png": (20, 30, 190)}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedRequest:
    """A job of three flat pictures, in a folder with a folder."""
    use_engine(monkeypatch, SumEngine())
    monkeypatch.setattr(runtime.search.query, "load_engine", lambda *_arguments: SumEngine())
    for name, colour in COLOURS.items():
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), colour).save(tmp_path / "pictures" / name)
    return EmbedRequest(write_hand_made(tmp_path / "bundle"), (tmp_path / "pictures",), tmp_path / "out", batch_size=1)


def rows_of(output: Path) -> list[Row]:
    return [Row(**one) for one in pq.read_table(output, columns=["key", "sha256"]).to_pylist()]


def colour_of(jpeg_base64: str) -> tuple[int, ...]:
    with Image.open(io.BytesIO(base64.b64decode(jpeg_base64))) as image:
        return tuple(int(value) for value in np.asarray(image)[5, 5])


def as_folder(folder: Path) -> Path:
    return folder


def as_list(folder: Path) -> Path:
    listed = folder.parent / "list.txt"
    listed.write_text("\n".join(f"pictures/{name}" for name in COLOURS))
    return listed


def as_tar(folder: Path) -> Path:
    with tarfile.open(folder.parent / "shard.tar", "w") as tar:
        for name in COLOURS:
            tar.add(folder / name, name)
    return folder.parent / "shard.tar"


def as_parquet(folder: Path) -> Path:
    images = [(folder / name).read_bytes() for name in COLOURS]
    pq.write_table(pa.table({"key": list(COLOURS), "image": images}), folder.parent / "images.parquet")
    return folder.parent / "images.parquet"


@pytest.mark.parametrize("form", [as_folder, as_list, as_tar, as_parquet])
def test_pictures_are_found_in_every_kind_of_input(job: EmbedRequest, form: Any) -> None:
    embed(replace(job, images=(form(job.images[0]),)))
    rows = rows_of(job.output)
    found = find_pictures(job.output, rows)
    assert len(found) == 3
    for row in rows:
        wanted = next(colour for name, colour in COLOURS.items() if Path(name).name in row.key)
        assert np.abs(np.subtract(colour_of(found[row.key].jpeg_base64), wanted)).max() <= JPEG_NEAR
        assert found[row.key].remark == ""


def test_a_picture_that_has_gone_is_grey_and_one_that_has_changed_is_said(job: EmbedRequest) -> None:
    embed(job)
    folder = job.images[0]
    (folder / "red.png").unlink()
    write_picture(folder / "a/blue.png", 5)
    found = find_pictures(job.output, rows_of(job.output))
    assert found["red.png"].remark == "picture not found where the job had it"
    assert np.abs(np.subtract(colour_of(found["red.png"].jpeg_base64), 128)).max() <= JPEG_NEAR
    assert found["a/blue.png"].remark == "the file has changed since it was embedded"
    assert found["a/green.png"].remark == ""
    folder.rename(folder.with_name("away"))
    assert {one.remark for one in find_pictures(job.output, rows_of(job.output)).values()} == {
        "picture not found where the job had it"
    }


def test_the_page_names_query_neighbours_and_distances_and_needs_no_plotly(
    job: EmbedRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    embed(job)
    query = tmp_path / "<b>query.png"
    Image.new("RGB", (16, 12), COLOURS["red.png"]).save(query)
    page = write_page(run_search(SearchRequest(job.output, (query,), k=2)))
    assert "&lt;b&gt;query.png" in page
    assert "<b>query" not in page.replace("<b>&lt;b&gt;query", "")
    assert page.count("data:image/jpeg;base64,") == 3
    assert page.index("red.png") < page.index("1: distance 0.000000") < page.index("2: distance ")
    assert "MIT. Do what you like." in page
    assert len(page) < 100_000
