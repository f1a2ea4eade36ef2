"""An output in Lance's format is a data set that Lance itself opens, made of whole parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import runtime.search.query
from runtime.embed.output.part_files import part_name
from runtime.embed.request import Dtype, EmbedRequest, Format, OutputChoice
from runtime.errors import BundleError
from runtime.search.job import run_search
from runtime.search.request import SearchRequest
from tests.helpers.bundles import write_hand_made
from tests.helpers.embed_jobs import SumEngine, embed, expected_embeddings, picture_folder, use_engine
from tests.helpers.image_folders import write_picture

lance = pytest.importorskip("lance", reason="pylance is not installed: pip install 'export-ssl[lance]'")

SEEDS = [0, 1, None, 3, 4, 5, 6, None, None]
BATCH = 2


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedRequest:
    """A job of nine pictures in five parts, three of them broken; the last part has no row."""
    use_engine(monkeypatch, SumEngine())
    return EmbedRequest(
        bundle=write_hand_made(tmp_path / "bundle"),
        images=(picture_folder(tmp_path / "pictures", SEEDS),),
        output=tmp_path / "out",
        writing=OutputChoice(format="lance", top_k=2),
        batch_size=BATCH,
        part_images=BATCH,
    )


def data_files(output: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (output / "data").iterdir()}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_lance_opens_the_output_and_shows_the_rows_that_parquet_has(job: EmbedRequest, dtype: Dtype) -> None:
    embed(replace(job, writing=replace(job.writing, dtype=dtype)))
    dataset = lance.dataset(str(job.output))
    dataset.validate()
    table = dataset.to_table()
    matrix = table.column("embedding").combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    np.testing.assert_array_equal(matrix, expected_embeddings(SEEDS, BATCH).astype(dtype))
    as_parquet = replace(
        job, output=job.output.with_name("parquet"), writing=OutputChoice(format="parquet", dtype=dtype, top_k=2)
    )
    embed(as_parquet)
    assert table.to_pylist() == pq.read_table(as_parquet.output / "data").to_pylist()
    assert dataset.schema.metadata[b"licence"] == b"MIT"
    part = lance.file.LanceFileReader(str(job.output / "data/part-000000.lance"))
    assert part.metadata().schema.metadata[b"licence"].startswith(b"MIT. ")


def test_parts_are_the_same_bytes_after_a_stop_and_until_then_there_is_no_data_set(job: EmbedRequest) -> None:
    calls = 0

    def stop(_pixels: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    embed(replace(job, output=job.output.with_name("whole")))
    with pytest.MonkeyPatch.context() as patch:
        use_engine(patch, SumEngine(on_infer=stop))
        with pytest.raises(KeyboardInterrupt):
            embed(job)
    assert 0 < len(data_files(job.output)) < 5
    with pytest.raises(ValueError, match="not found"):
        lance.dataset(str(job.output))
    # What Lance's writer leaves when its process is killed.
    (job.output / ".tmpAbC123").write_bytes(b"")
    embed(job)
    assert data_files(job.output) == data_files(job.output.with_name("whole"))
    assert lance.dataset(str(job.output)).count_rows() == 6
    assert not list(job.output.glob(".tmp*"))


def test_what_a_user_adds_to_the_data_set_stays_when_the_command_is_run_again(job: EmbedRequest) -> None:
    embed(job)
    dataset = lance.dataset(str(job.output))
    dataset.add_columns({"twice": "scores[1] * 2"})
    version = dataset.latest_version
    embed(job)
    again = lance.dataset(str(job.output))
    assert (again.latest_version, again.schema.names[-1]) == (version, "twice")


def test_images_are_added_as_a_version_and_overwriting_begins_anew(job: EmbedRequest, tmp_path: Path) -> None:
    embed(job)
    before = data_files(job.output)
    write_picture(tmp_path / "pictures" / "0100.png", 7)
    embed(replace(job, append=True))
    dataset = lance.dataset(str(job.output))
    assert dataset.to_table().column("key").to_pylist()[-1] == "0100.png"
    assert dataset.count_rows() == 7
    assert {name: content for name, content in data_files(job.output).items() if name in before} == before
    embed(replace(job, overwrite=True))
    anew = lance.dataset(str(job.output))
    # One is the empty one that data files are described by.
    assert (anew.count_rows(), anew.latest_version) == (7, 2)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_search_finds_what_it_finds_in_parquet(
    job: EmbedRequest, metric: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.search.query, "load_engine", lambda *_arguments: SumEngine())
    query = write_picture(tmp_path / "query.png", 4)
    found = []
    formats: tuple[Format, ...] = ("lance", "parquet")
    for kind in formats:
        output = job.output.with_name(kind)
        embed(replace(job, output=output, writing=OutputChoice(format=kind)))
        result = run_search(SearchRequest(output, (query,), k=3, metric=metric))
        found.append([(one.row, one.distance) for one in result.found[query]])
    assert found[0] == found[1]


def test_a_damaged_part_is_named(job: EmbedRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.search.query, "load_engine", lambda *_arguments: SumEngine())
    embed(job)
    part = job.output / "data" / f"{part_name(1)}.lance"
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(BundleError, match=r"part-000001\.lance cannot be read"):
        run_search(SearchRequest(job.output, (write_picture(tmp_path / "query.png", 4),)))
