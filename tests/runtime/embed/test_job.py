"""A job's output holds a row for each image that can be read, in order, and depends on nothing but the job."""

import csv
import gc
import hashlib
import io
import json
import re
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

import runtime.embed.job
import runtime.embed.opening
from runtime.embed.job import JobListener
from runtime.embed.job_table import as_json, render
from runtime.embed.request import EmbedRequest, OutputChoice
from runtime.engines.contract import Outputs
from runtime.errors import BundleError, DataError, EngineError, UsageError
from runtime.images.preprocessing import preprocess
from tests.conftest import IMAGE_SIZE, MEAN, STD, crops, timm_network
from tests.helpers.bundles import DIM, write_hand_made
from tests.helpers.embed_jobs import (
    BROKEN_REASON,
    SumEngine,
    assert_same_output,
    embed,
    expected_embeddings,
    files_below,
    picture_folder,
    use_engine,
)
from tests.helpers.exported import copy_bundle, decibels
from tests.helpers.image_folders import write_picture

# The bundle's own promise for FP32, `min_sqnr_db` of its manifest.
FP32_SQNR_DB = 100.0
# int(64 / 0.875): pictures of this short side are only cropped, so that no version of Pillow resizes them in its way.
SHORT_SIDE = 73
BATCH, PART = 3, 6
SEEDS = [0, 1, None, 3, 4, 5, 6, None, None, None, 10, 11, 12]


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedRequest:
    """A job of 13 pictures in 3 parts, four of them broken; the second part has three of these."""
    use_engine(monkeypatch, SumEngine())
    return EmbedRequest(
        bundle=write_hand_made(tmp_path / "bundle"),
        images=(picture_folder(tmp_path / "pictures", SEEDS),),
        output=tmp_path / "out",
        batch_size=BATCH,
        part_images=PART,
        workers=2,
    )


def decode_beside_inference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have decoders go on while the engine works, as they do for one on a GPU."""
    describe = vars(runtime.embed.job)["describe_place"]
    monkeypatch.setattr(
        runtime.embed.job, "describe_place", lambda *given, **named: replace(describe(*given, **named), overlap=True)
    )


def read_keys(output: Path) -> list[str]:
    return pq.read_table(output, columns=["key"]).column("key").to_pylist()


def embeddings(output: Path) -> np.ndarray:
    return np.stack(pq.read_table(output).column("embedding").to_numpy())


def names(seeds: list[int | None]) -> list[str]:
    return [f"{index:04}.png" for index, seed in enumerate(seeds) if seed is not None]


def test_rows_are_those_of_the_readable_images_in_order_with_their_embeddings_and_hashes(
    request_: EmbedRequest,
) -> None:
    result = embed(request_)
    table = pq.read_table(request_.output)
    assert table.column("key").to_pylist() == names(SEEDS)
    np.testing.assert_array_equal(embeddings(request_.output), expected_embeddings(SEEDS, BATCH))
    folder = request_.images[0]
    wanted = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names(SEEDS)]
    assert table.column("sha256").to_pylist() == wanted
    assert (result.images, result.rows, result.unreadable, result.parts, result.images_before) == (13, 9, 4, 3, 0)
    assert (result.engine, result.executes) == ("sums", "exact")


def test_the_files_of_an_output_are_these_and_its_parts_end_where_the_images_say(request_: EmbedRequest) -> None:
    embed(request_)
    assert sorted(files_below(request_.output)) == [
        "_LICENSE-WEIGHTS.txt",
        "_job.json",
        "_parts/part-000000.json",
        "_parts/part-000001.json",
        "_parts/part-000002.json",
        "_places.json",
        "_unreadable.csv",
        "data/part-000000.parquet",
        "data/part-000001.parquet",
        "data/part-000002.parquet",
    ]
    parts = [read_keys(request_.output / "data" / f"part-00000{number}.parquet") for number in range(3)]
    assert parts == [names(SEEDS)[:5], names(SEEDS)[5:8], names(SEEDS)[8:]]
    licence = (request_.bundle / "LICENSE-WEIGHTS.txt").read_bytes()
    assert (request_.output / "_LICENSE-WEIGHTS.txt").read_bytes() == licence


def test_files_that_are_no_image_are_counted_by_their_ending_in_words_and_in_json(request_: EmbedRequest) -> None:
    folder = request_.images[0]
    for name in ("a.heic", "b.HEIC", "notes.txt"):
        (folder / name).write_bytes(b"no image")
    (folder / "picture").write_bytes((folder / "0000.png").read_bytes())
    result = embed(request_)
    assert (result.images, result.unreadable) == (len(SEEDS) + 1, SEEDS.count(None))
    assert json.loads(as_json(result))["passed_over"] == {".heic": 2, ".txt": 1}
    console = Console(file=io.StringIO(), width=200)
    render(result, console)
    last = console.file.getvalue().splitlines()[-1]  # type: ignore[attr-defined]
    assert last == "3 files are no image that Pillow reads, and passed over: 2 .heic, 1 .txt"


@pytest.mark.parametrize(("dtype", "split"), [("float32", True), ("float16", False)])
def test_half_precision_is_written_in_an_encoding_that_duckdb_reads(
    request_: EmbedRequest, dtype: Any, split: bool
) -> None:
    # DuckDB 2.0.1 refuses a byte-stream split of FLOAT16.
    embed(replace(request_, writing=OutputChoice(dtype=dtype)))
    row_group = pq.ParquetFile(request_.output / "data/part-000000.parquet").metadata.row_group(0)
    columns = {
        row_group.column(index).path_in_schema: row_group.column(index) for index in range(row_group.num_columns)
    }
    assert ("BYTE_STREAM_SPLIT" in columns["embedding.list.element"].encodings) == split


def test_the_columns_have_exactly_these_types(request_: EmbedRequest) -> None:
    embed(replace(request_, writing=OutputChoice(top_k=2)))
    embed(replace(request_, writing=OutputChoice(dtype="float16"), output=request_.output.with_name("half")))

    def element(kind: pa.DataType, length: int) -> pa.DataType:
        return pa.list_(pa.field("element", kind, nullable=False), length)

    wanted = {
        "key": pa.string(),
        "sha256": pa.string(),
        "embedding": element(pa.float32(), DIM),
        "classes": element(pa.int32(), 2),
        "labels": pa.list_(pa.field("element", pa.string(), nullable=False)),
        "scores": element(pa.float32(), 2),
    }
    schema = pq.read_schema(request_.output / "data/part-000001.parquet")
    assert dict(zip(schema.names, schema.types, strict=True)) == wanted
    assert not any(field.nullable for field in schema)
    half = pq.read_schema(request_.output.with_name("half") / "data/part-000000.parquet")
    assert dict(zip(half.names, half.types, strict=True)) == {
        "key": pa.string(),
        "sha256": pa.string(),
        "embedding": element(pa.float16(), DIM),
    }


def test_labels_and_probabilities_stand_beside_the_classes(request_: EmbedRequest) -> None:
    embed(replace(request_, writing=OutputChoice(top_k=2)))
    table = pq.read_table(request_.output)
    logits = expected_embeddings(SEEDS, BATCH)[:, :3].astype(np.float64)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :2]
    assert table.column("classes").to_pylist() == order.tolist()
    # `write_hand_made` calls its classes so.
    assert table.column("labels").to_pylist() == [["abc"[index] for index in row] for row in order]
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    wanted = np.take_along_axis(weights / weights.sum(axis=1, keepdims=True), order, axis=1)
    np.testing.assert_allclose(np.stack(table.column("scores").to_numpy()), wanted, rtol=2.0**-23)


def test_the_metadata_of_each_part_has_the_licence_of_the_weights_and_the_job(request_: EmbedRequest) -> None:
    embed(request_)
    for part in sorted(request_.output.glob("data/*.parquet")):
        found = {name.decode(): text.decode() for name, text in pq.read_schema(part).metadata.items()}
        assert found["licence"] == "MIT"
        assert found["licence_notice"] == "Do what you like."
        assert found["model"] == "tiny"
        assert found["weights_sha256"] == "1" * 64
        job = json.loads((request_.output / "_job.json").read_text(encoding="utf-8"))
        assert json.loads(found["export_ssl_job"]) == job


def test_pandas_reads_a_part_and_the_whole_output_as_a_table(request_: EmbedRequest) -> None:
    embed(request_)
    frame = pandas.read_parquet(request_.output)
    assert list(frame.columns) == ["key", "sha256", "embedding"]
    assert frame["key"].tolist() == names(SEEDS)
    np.testing.assert_array_equal(np.stack(frame["embedding"]), expected_embeddings(SEEDS, BATCH))
    assert pandas.read_parquet(request_.output / "data/part-000000.parquet")["key"].tolist() == names(SEEDS)[:5]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_npy_files_hold_what_parquet_holds(request_: EmbedRequest, dtype: Any) -> None:
    writing = OutputChoice(dtype=dtype, normalise=True, top_k=3)
    embed(replace(request_, writing=writing))
    npy = request_.output.with_name("npy")
    embed(replace(request_, writing=replace(writing, format="npy"), output=npy))
    for number in range(3):
        name = f"part-00000{number}"
        table = pq.read_table(request_.output / "data" / f"{name}.parquet")
        for suffix, column in (("", "embedding"), (".classes", "classes"), (".scores", "scores")):
            array = np.load(npy / "data" / f"{name}{suffix}.npy", allow_pickle=False)
            wanted = np.stack(table.column(column).to_numpy())
            assert array.dtype == wanted.dtype
            np.testing.assert_array_equal(array, wanted)
        lines = [json.loads(line) for line in (npy / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        assert lines == table.select(["key", "sha256"]).to_pylist()
    assert (npy / "_unreadable.csv").read_bytes() == (request_.output / "_unreadable.csv").read_bytes()


def test_embeddings_of_a_real_network_are_those_of_timm_with_its_own_transform(exported: Any, tmp_path: Path) -> None:
    import torch
    from timm.data import create_transform

    pictures = [picture.resize((SHORT_SIDE, SHORT_SIDE + index)) for index, picture in enumerate(crops()[::7])]
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, one in enumerate(pictures):
        one.save(folder / f"{index}.png")
    transform = create_transform(
        input_size=(3, IMAGE_SIZE, IMAGE_SIZE), crop_pct=0.875, interpolation="bilinear", mean=MEAN, std=STD
    )
    network = timm_network(exported.checkpoint)
    with torch.no_grad():
        features = network.forward_features(torch.stack([transform(one) for one in pictures]))
        wanted = network.forward_head(features, pre_logits=True).numpy()
        logits = network.forward_head(features)
    job = EmbedRequest(exported.fp32, (folder,), tmp_path / "out", batch_size=4, writing=OutputChoice(top_k=1))
    embed(job)
    assert decibels(wanted, embeddings(job.output)) > FP32_SQNR_DB
    assert pq.read_table(job.output).column("classes").to_pylist() == logits.argmax(1, keepdim=True).tolist()


@pytest.mark.slow
def test_a_bundle_with_an_embedding_alone_embeds_as_the_bundle_with_its_classifier(
    exported: Any, backbone: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    for index, one in enumerate(crops()[::7]):
        one.save(folder / f"{index}.png")
    embed(EmbedRequest(exported.fp32, (folder,), tmp_path / "both"))
    embed(EmbedRequest(backbone.fp32, (folder,), tmp_path / "alone"))
    assert decibels(embeddings(tmp_path / "both"), embeddings(tmp_path / "alone")) > FP32_SQNR_DB
    top_k = EmbedRequest(backbone.fp32, (folder,), tmp_path / "classes", writing=OutputChoice(top_k=1))
    with pytest.raises(UsageError, match=r"--top-k 1, but .* has no classifier: leave the option out"):
        embed(top_k)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_real_engines_bytes_do_not_depend_on_threads_workers_or_overlap(
    exported: Any,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    engine: str,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, one in enumerate(crops()[:19]):
        one.save(folder / f"{index:02}.jpg")
    bundle = request.getfixturevalue("quantized").cpu if precision == "int8" else getattr(exported, precision)
    job = EmbedRequest(bundle, (folder,), tmp_path / "one", batch_size=8, part_images=8, engine=engine)
    embed(replace(job, threads=1, workers=1))
    # More threads than cores too: what a machine of many cores would choose.
    for threads in (2, 8):
        output = tmp_path / f"threads_{threads}"
        embed(replace(job, threads=threads, workers=5, output=output))
        assert_same_output(output, tmp_path / "one")
    decode_beside_inference(monkeypatch)
    embed(replace(job, output=tmp_path / "beside"))
    assert_same_output(tmp_path / "beside", tmp_path / "one")


def test_batches_are_those_of_the_list_with_black_for_what_cannot_be_read(
    request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SumEngine()
    use_engine(monkeypatch, engine)
    embed(request_)
    # The fourth batch has nothing but broken images but one; no batch is skipped, none filled up with later ones.
    assert [len(batch) for batch in engine.batches] == [3, 3, 3, 3, 1]
    black = [[not image.any() for image in batch] for batch in engine.batches]
    assert [bool(one) for batch in black for one in batch] == [seed is None for seed in SEEDS]


@pytest.mark.parametrize("missing", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_a_resumed_job_runs_the_batches_of_the_parts_that_are_missing_and_ends_in_the_same_bytes(
    request_: EmbedRequest, missing: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(request_)
    whole = request_.output.with_name("whole")
    shutil.copytree(request_.output, whole)
    for number in missing:
        (request_.output / "_parts" / f"part-00000{number}.json").unlink()
        if number:
            (request_.output / "data" / f"part-00000{number}.parquet").unlink()
    (request_.output / "_unreadable.csv").unlink()
    engine = SumEngine()
    use_engine(monkeypatch, engine)
    started: list[tuple[int, int]] = []
    done: list[int] = []
    result = embed(request_, JobListener(on_start=lambda *counts: started.append(counts), on_images=done.append))
    assert_same_output(request_.output, whole)
    images = {0: 6, 1: 6, 2: 1}
    before = 13 - sum(images[number] for number in missing)
    assert result.images_before == before
    assert started == [(13, before)]
    assert done[-1] == 13
    assert sum(map(len, engine.batches)) == 13 - before


def test_a_job_that_is_done_reads_no_image_and_says_so(request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    embed(request_)
    before, engine = files_below(request_.output), SumEngine()
    use_engine(monkeypatch, engine)
    result = embed(request_)
    assert (result.images_before, result.images_per_s) == (13, 0.0)
    assert engine.batches == []
    assert files_below(request_.output) == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda out: (out / "data/part-000001.parquet").write_bytes(b"short"),
            r"part-000001\.parquet has 5 bytes, its reco",
        ),
        (lambda out: (out / "data/part-000001.parquet").unlink(), r"part-000001\.parquet is missing, its record says"),
        (lambda out: (out / "_parts/part-000001.json").write_text("{"), r"part-000001\.json is not a part's record"),
    ],
)
def test_a_damaged_part_is_named_with_what_to_remove_and_then_made_again(
    request_: EmbedRequest, damage: Callable[[Path], object], words: str
) -> None:
    embed(request_)
    whole = files_below(request_.output)
    damage(request_.output)
    with pytest.raises(BundleError, match=words) as caught:
        embed(request_)
    record = request_.output / "_parts/part-000001.json"
    assert re.search(rf"remove (it|{record}), and the part will be made again$", str(caught.value))
    assert str(record) in str(caught.value)
    record.unlink()
    embed(request_)
    assert files_below(request_.output) == whole


@pytest.mark.parametrize("error", [EngineError("it broke"), KeyboardInterrupt()])
@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_a_run_that_ends_within_a_part_leaves_nothing_of_it(
    request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch, error: BaseException, kind: Any
) -> None:
    request_ = replace(request_, writing=OutputChoice(format=kind))
    whole = replace(request_, output=request_.output.with_name("whole"))
    embed(whole)

    def fail(_pixels: object) -> None:
        if len(engine.batches) == 4:
            raise error

    engine = SumEngine(on_infer=fail)
    use_engine(monkeypatch, engine)
    with pytest.raises(type(error)) as caught:
        embed(request_)
    if isinstance(error, KeyboardInterrupt):
        assert str(caught.value) == f"6 of 13 images are in {request_.output}; run the same command again to resume"
    assert [name for name in files_below(request_.output) if "000001" in name or ".partial" in name] == []
    use_engine(monkeypatch, SumEngine())
    embed(request_)
    assert_same_output(request_.output, whole.output)


def test_a_second_run_on_the_same_output_is_refused_and_the_first_ends_well(
    request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals: list[str] = []

    def second_run(_pixels: object) -> None:
        if not refusals:
            refusals.append("")
            with pytest.raises(
                BundleError, match=r"another run is writing .*out: wait for it, or pass another"
            ) as caught:
                embed(replace(request_, overwrite=True))
            refusals.append(str(caught.value))

    use_engine(monkeypatch, SumEngine(on_infer=second_run))
    embed(request_)
    assert len(refusals) == 2
    assert read_keys(request_.output) == names(SEEDS)


def test_a_run_writes_no_part_into_an_output_that_another_job_took_over(
    request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a worker of Ray may, whose command died and held the lock.
    other = replace(request_, output=request_.output.with_name("other"), writing=OutputChoice(normalise=True))
    embed(other)

    def take_over(_pixels: object) -> None:
        if len(engine.batches) == 4:
            shutil.copy(other.output / "_job.json", request_.output)

    engine = SumEngine(on_infer=take_over)
    use_engine(monkeypatch, engine)
    wanted = rf"^{request_.output} was started over as another job while this one ran: expected one job at a time; pass"
    with pytest.raises(BundleError, match=wanted):
        embed(request_)
    assert [name for name in files_below(request_.output) if "000001" in name or ".partial" in name] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"batch_size": 2}, "batch_size is 3, this one's is 2"),
        ({"device": "gpu"}, "device is cpu, this one's is gpu"),
        ({"engine": "onnxruntime:cuda"}, "device is cpu, this one's is gpu"),
        ({"part_images": 3}, "part_images is 6, this one's is 3"),
        ({"writing": OutputChoice(dtype="float16")}, "rows.dtype is float32, this one's is float16"),
        ({"writing": OutputChoice(format="npy")}, "rows.format is parquet, this one's is npy"),
        ({"writing": OutputChoice(normalise=True)}, "rows.normalised is False, this one's is True"),
        ({"writing": OutputChoice(top_k=1)}, "rows.top_k is 0, this one's is 1"),
    ],
)
def test_an_output_of_another_job_is_refused_with_the_field_that_differs(
    request_: EmbedRequest, change: dict[str, Any], field: str
) -> None:
    embed(request_)
    before = files_below(request_.output)
    with pytest.raises(BundleError) as caught:
        embed(replace(request_, **change))
    assert str(caught.value) == (
        f"{request_.output} is the output of another job: its {field}; pass another --output, or --overwrite to start "
        "over"
    )
    assert files_below(request_.output) == before


def test_an_output_of_another_bundle_engine_or_list_is_refused_with_the_field_that_differs(
    request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(request_)
    other = copy_bundle(
        request_.bundle, request_.bundle.with_name("b2"), edit=lambda manifest: manifest["weights"].update(name="x")
    )
    with pytest.raises(BundleError, match=r"its bundle\.manifest_sha256 is [0-9a-f]{64}, this one's is [0-9a-f]{64};"):
        embed(replace(request_, bundle=other))
    with monkeypatch.context() as patched:
        patched.setattr(runtime.embed.job, "describe_hardware", lambda _engine: "another CPU")
        with pytest.raises(BundleError, match=r"its hardware is \w+: .*, this one's is another CPU;"):
            embed(request_)
    engine = SumEngine()
    engine.precision = "otherwise"
    use_engine(monkeypatch, engine)
    with pytest.raises(BundleError, match=r"its engine\.executes is exact, this one's is otherwise;"):
        embed(request_)
    use_engine(monkeypatch, SumEngine())
    folder = request_.images[0]
    (folder / "0000.png").rename(folder / "000.png")
    with pytest.raises(BundleError, match=r"its images\.keys_sha256 is "):
        embed(request_)
    write_picture(folder / "z.png")
    with pytest.raises(BundleError, match=r"its images\.count is 13, this one's is 14;"):
        embed(request_)


def test_a_job_is_the_same_whatever_the_path_of_bundle_and_images(request_: EmbedRequest) -> None:
    embed(request_)
    before = files_below(request_.output)
    moved = request_.images[0].rename(request_.images[0].with_name("moved"))
    result = embed(
        replace(request_, images=(moved,), bundle=request_.bundle.rename(request_.bundle.with_name("moved_bundle")))
    )
    assert result.images_before == 13
    after = files_below(request_.output)
    was, now = (json.loads(files.pop("_places.json")) for files in (before, after))
    assert after == before
    # Where a search finds them: what a run was given is kept, the newest bundle counts.
    assert was["bundle"] == str(request_.bundle)
    assert now["bundle"] == str(request_.bundle.with_name("moved_bundle"))
    assert [place["paths"] for place in was["images"]] == [[str(request_.images[0])]]
    assert [place["paths"] for place in now["images"]] == [[str(request_.images[0])], [str(moved)]]


def test_overwriting_removes_what_jobs_write_and_nothing_else(request_: EmbedRequest) -> None:
    embed(replace(request_, part_images=3, writing=OutputChoice(format="npy", top_k=1)))
    mine = {
        "notes.txt": b"1",
        "part-00000-5f0a.snappy.parquet": b"2",
        "part-000000.txt": b"3",
        "sub/part-000000.npy": b"4",
        "data/notes.txt": b"5",
        "data/_unreadable.csv": b"6",
    }
    for name, content in mine.items():
        (request_.output / name).parent.mkdir(exist_ok=True)
        (request_.output / name).write_bytes(content)
    embed(replace(request_, overwrite=True))
    fresh = request_.output.with_name("fresh")
    embed(replace(request_, output=fresh))
    assert files_below(request_.output) == {**files_below(fresh), **mine}


def test_the_parts_lie_in_a_folder_that_holds_nothing_else_at_any_moment(
    request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    folder = request_.output / "data"
    engine = SumEngine(on_infer=lambda _pixels: seen.append(sorted(file.name for file in folder.iterdir())))
    use_engine(monkeypatch, engine)
    embed(request_)
    seen.append(sorted(file.name for file in folder.iterdir()))
    parts = [f"part-00000{number}.parquet" for number in range(3)]
    # Two batches to a part; the last has one.
    assert seen == [[], [], parts[:1], parts[:1], parts[:2], parts]


def older_layout(output: Path) -> None:
    """Turn an output into what schema version 1 had: parts beside the description."""
    job = json.loads((output / "_job.json").read_text())
    (output / "_job.json").write_text(json.dumps({**job, "schema_version": 1, "tool": "export-ssl 0.1.0"}))
    for part in (output / "data").iterdir():
        part.rename(output / part.name)
    (output / "data").rmdir()


def test_an_output_of_the_older_layout_is_refused_with_the_option_that_makes_it_anew(request_: EmbedRequest) -> None:
    embed(request_)
    whole = files_below(request_.output)
    older_layout(request_.output)
    before = files_below(request_.output)
    with pytest.raises(BundleError) as caught:
        embed(request_)
    assert str(caught.value) == (
        f"{request_.output} has the layout of export-ssl 0.1.0 (schema version 1, expected 2): run the same command "
        "with --overwrite to make it anew, or finish it with that version"
    )
    assert files_below(request_.output) == before
    embed(replace(request_, overwrite=True))
    assert files_below(request_.output) == whole


def test_overwriting_begins_anew_where_the_description_is_damaged(request_: EmbedRequest) -> None:
    embed(request_)
    whole = files_below(request_.output)
    (request_.output / "_job.json").write_text("{}")
    with pytest.raises(BundleError, match=r"_job\.json is not the description of a job .*or --overwrite"):
        embed(request_)
    embed(replace(request_, overwrite=True))
    assert files_below(request_.output) == whole


def test_the_list_of_unreadable_images_can_be_read_whatever_their_names(request_: EmbedRequest) -> None:
    folder = request_.images[0]
    odd = ["a\nb.png", 'c"d,e.png', "ü.png", "=1+1.png"]
    for name in odd:
        (folder / name).write_bytes(b"")
    embed(request_)
    with (request_.output / "_unreadable.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["key", "reason"]
    broken = [f"{index:04}.png" for index, seed in enumerate(SEEDS) if seed is None]
    assert rows == [[name, BROKEN_REASON] for name in sorted([*broken, *odd])]


def test_the_list_of_unreadable_images_goes_when_they_were_mended(request_: EmbedRequest) -> None:
    assert embed(request_).unreadable_file == request_.output / "_unreadable.csv"
    folder = request_.images[0]
    for index, seed in enumerate(SEEDS):
        if seed is None:
            write_picture(folder / f"{index:04}.png", index)
    for record in (request_.output / "_parts").iterdir():
        record.unlink()
    assert embed(request_).unreadable_file is None
    fresh = replace(request_, output=request_.output.with_name("fresh"))
    embed(fresh)
    assert_same_output(request_.output, fresh.output)


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_a_job_of_which_nothing_can_be_read_has_parts_without_rows(request_: EmbedRequest, kind: Any) -> None:
    folder = picture_folder(request_.output.with_name("broken"), [None] * 7)
    result = embed(replace(request_, images=(folder,), writing=OutputChoice(format=kind, top_k=2, dtype="float16")))
    assert (result.rows, result.unreadable, result.parts) == (0, 7, 2)
    if kind == "parquet":
        table = pq.read_table(request_.output)
        assert (table.num_rows, table.schema.field("embedding").type.list_size) == (0, DIM)
    else:
        array = np.load(request_.output / "data/part-000001.npy")
        assert (array.shape, array.dtype) == ((0, DIM), np.float16)
        assert np.load(request_.output / "data/part-000001.classes.npy").shape == (0, 2)


def test_nan_from_an_engine_is_an_unreadable_image(request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty(SumEngine):
        def infer(self, pixels: np.ndarray) -> Outputs:
            logits, embedding = super().infer(pixels)
            embedding[0, 0] = np.nan
            return Outputs(logits, embedding)

    use_engine(monkeypatch, Faulty())
    assert embed(request_).unreadable == 4 + 4  # the first of each batch; that of the fourth is broken itself
    lines = (request_.output / "_unreadable.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "0000.png,the engine gave NaN or infinity"


@pytest.mark.parametrize("added", [-3, 1, 20])
def test_images_that_change_while_the_job_runs_end_it_and_a_resumed_one_is_another_job(
    request_: EmbedRequest, added: int
) -> None:
    folder = request_.images[0]

    def change(_images: int, _done: int) -> None:
        for index in range(13 + added, 13):
            (folder / f"{index:04}.png").unlink()
        for index in range(added):
            write_picture(folder / f"new{index:02}.png")

    with pytest.raises(DataError, match=r"the images changed while the job ran: .*--overwrite to start over"):
        embed(request_, JobListener(on_start=change))
    with pytest.raises(BundleError, match=rf"images\.count is 13, this one's is {13 + added}"):
        embed(request_)


@pytest.mark.parametrize("overlap", [False, True])
def test_memory_is_bounded_whatever_the_number_of_images(
    request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch, overlap: bool
) -> None:
    alive: set[int] = set()
    counts: list[int] = []

    def watched(image: Image.Image, preprocessing: Any) -> np.ndarray:
        pixels = preprocess(image, preprocessing).copy()
        number = len(counts)
        alive.add(number)
        counts.append(len(alive))
        weakref.finalize(pixels, alive.discard, number)
        return pixels

    monkeypatch.setattr(runtime.embed.opening, "preprocess", watched)
    if overlap:
        decode_beside_inference(monkeypatch)
    folder = picture_folder(request_.output.with_name("many"), [0] * 300)
    gc.collect()
    embed(
        replace(
            request_,
            images=(folder,),
            workers=1,
            batch_size=4,
            part_images=100,
        )
    )
    assert len(counts) == 300
    # Four batches ahead; the batch in use, and the first one of the part.
    assert max(counts) <= (4 + 2) * 4


def test_top_k_beyond_the_classes_and_parts_that_split_batches_are_usage_errors_before_anything_is_made(
    request_: EmbedRequest,
) -> None:
    with pytest.raises(UsageError, match=r"--top-k 4: expected at most the network's 3 classes"):
        embed(replace(request_, writing=OutputChoice(top_k=4)))
    with pytest.raises(UsageError, match=r"--part-images 7: expected a multiple of --batch-size 3, .*; 9 is one"):
        embed(replace(request_, part_images=7))
    assert not request_.output.exists()


def test_parts_hold_about_8192_images_where_nothing_is_said(request_: EmbedRequest) -> None:
    embed(replace(request_, part_images=None))
    job = json.loads((request_.output / "_job.json").read_text())
    # The next multiple of 3.
    assert job["part_images"] == 8193


def test_a_killed_overwrite_keeps_its_description_and_stale_records_never_stand_for_missing_parts(
    request_: EmbedRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(request_)

    def refuse(_folder: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("runtime.embed.output.part_files.shutil.rmtree", refuse)
    with pytest.raises(BundleError, match=r"cannot write .*out: permission denied"):
        embed(replace(request_, overwrite=True, batch_size=2))
    assert embed(request_).images_before == 13
