"""The identity of a job: what counts, how its parts are numbered, and what is said where two jobs differ."""

import hashlib
import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.bundle import open_bundle
from runtime.bundle.manifest import Licence
from runtime.data.sources.entries import Listing
from runtime.embed.output.identity import (
    BundleFacts,
    ImageFacts,
    Job,
    ReadingFacts,
    RowFacts,
    describe_job,
    read_job,
    require_same_job,
    write_job,
)
from runtime.embed.request import EmbedRequest, OutputChoice
from runtime.engines.facts import EngineFacts
from runtime.errors import BundleError
from tests.helpers.bundles import write_hand_made

LISTING = Listing(images=7, keys_sha256="a" * 64)
ENGINE = EngineFacts(name="onnxruntime", version="1.2", executes="fp32")


def job(**changes: Any) -> Job:
    """A job of 7 images in parts of 3, written out by hand."""
    parts = {
        "bundle": BundleFacts(
            model="m",
            precision="fp32",
            weights_sha256="1" * 64,
            manifest_sha256="2" * 64,
            classes=3,
            embedding_dim=4,
            licence=Licence(spdx="MIT", notice="n"),
        ),
        "engine": ENGINE,
        "device": "cpu",
        "hardware": "h",
        "images": ImageFacts(count=7, keys_sha256="a" * 64),
        "reading": ReadingFacts(exif_rotate=False, depth16="clip"),
        "rows": RowFacts(format="parquet", dtype="float32", normalised=False, top_k=0),
        "batch_size": 3,
        "part_images": 3,
        "tool": "t",
    }
    return Job.model_validate({**parts, **changes})


def images(*counts: int) -> tuple[ImageFacts, ...]:
    return tuple(ImageFacts(count=count, keys_sha256="b" * 64) for count in counts)


@pytest.mark.parametrize(
    ("earlier", "first_part", "parts", "all_images"),
    [
        ((), 0, 3, 7),
        # Each time begins a part: 6 images are 2 parts of 3, 4 are 2, and none are none.
        (images(6), 2, 5, 13),
        (images(4, 6), 4, 7, 17),
        (images(0), 0, 3, 7),
    ],
)
def test_parts_are_numbered_over_all_times_that_images_came(
    earlier: tuple[ImageFacts, ...], first_part: int, parts: int, all_images: int
) -> None:
    found = job(earlier=earlier)
    assert (found.first_part, found.parts, found.all_images) == (first_part, parts, all_images)


def test_whole_parts_have_no_empty_one_behind_them() -> None:
    assert job(images=images(6)[0]).parts == 2
    assert job(images=images(0)[0]).parts == 0


@pytest.fixture
def request_(tmp_path: Path) -> EmbedRequest:
    return EmbedRequest(
        bundle=write_hand_made(tmp_path / "bundle"), images=(tmp_path,), output=tmp_path / "out", batch_size=4
    )


def described(request: EmbedRequest, **changes: Any) -> Job:
    return describe_job(request, open_bundle(request.bundle), ENGINE, LISTING, **{"hardware": "h", **changes})


def test_a_job_is_described_by_what_its_rows_depend_on(request_: EmbedRequest) -> None:
    manifest = (request_.bundle / "bundle.json").read_bytes()
    asked = replace(
        request_,
        writing=OutputChoice(format="npy", dtype="float16", normalise=True, top_k=2),
        exif_rotate=True,
        depth16="scale",
        part_images=8,
    )
    # From the hand-made bundle, the request above, and the file's own bytes.
    assert described(asked, earlier=images(5)).model_dump(mode="json") == {
        "schema_version": 2,
        "bundle": {
            "model": "tiny",
            "precision": "fp32",
            "weights_sha256": "1" * 64,
            "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
            "classes": 3,
            "embedding_dim": 4,
            "licence": {"spdx": "MIT", "notice": "Do what you like.", "url": ""},
        },
        "engine": {"name": "onnxruntime", "version": "1.2", "executes": "fp32"},
        "device": "cpu",
        "hardware": "h",
        "images": {"count": 7, "keys_sha256": "a" * 64},
        "reading": {"exif_rotate": True, "depth16": "scale"},
        "rows": {"format": "npy", "dtype": "float16", "normalised": True, "top_k": 2},
        "batch_size": 4,
        "part_images": 8,
        "tool": f"export-ssl {metadata.version('export-ssl')}",
        "earlier": [{"count": 5, "keys_sha256": "b" * 64}],
    }


@pytest.mark.parametrize(
    ("engine", "device", "expected"),
    [
        ("auto", "cpu", "cpu"),
        ("auto", "gpu", "gpu"),
        ("onnxruntime:cuda", "cpu", "gpu"),
        ("onnxruntime:cpu", "cpu", "cpu"),
        # Other numbers than CUDA's on the same device.
        ("onnxruntime:tensorrt", "cpu", "tensorrt"),
    ],
)
def test_the_device_is_where_the_engine_runs(request_: EmbedRequest, engine: str, device: str, expected: str) -> None:
    assert described(replace(request_, engine=engine, device=device)).device == expected


def test_threads_workers_and_paths_are_no_part_of_it(request_: EmbedRequest, tmp_path: Path) -> None:
    other = replace(request_, threads=3, workers=5, images=(tmp_path / "x",), output=tmp_path / "y", append=True)
    assert described(other) == described(request_)


def test_a_job_is_read_as_it_was_written_and_cannot_be_changed(tmp_path: Path) -> None:
    written = job(earlier=images(2, 3))
    assert read_job(tmp_path) is None
    write_job(tmp_path, written)
    assert read_job(tmp_path) == written
    for part, field in ((written, "tool"), (written.bundle, "model"), (written.images, "count")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(part, field, "x")
    raw = json.loads((tmp_path / "_job.json").read_text(encoding="utf-8"))
    (tmp_path / "_job.json").write_text(json.dumps({**raw, "unknown": 1}), encoding="utf-8")
    with pytest.raises(BundleError, match=r"is not the description of a job \(unknown: .*--overwrite"):
        read_job(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"schema_version": 1, "tool": "export-ssl 0.1"}',
            r"has the layout of export-ssl 0\.1 \(schema version 1, exp",
        ),
        ('{"schema_version": 3}', "is not the description of a job"),
        ('{"schema_version": "1"}', "is not the description of a job"),
        ("[1]", "is not the description of a job"),
        ("{", "is not the description of a job"),
    ],
)
def test_an_older_layout_is_told_from_a_damaged_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "_job.json").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=message):
        read_job(tmp_path)


def test_a_description_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "_job.json").mkdir()
    with pytest.raises(BundleError, match=r"_job\.json cannot be read \(Is a directory\): pass another --output"):
        read_job(tmp_path)


def test_equal_jobs_go_on_and_different_ones_name_the_first_field(tmp_path: Path) -> None:
    require_same_job(tmp_path, job(), job())
    require_same_job(tmp_path, job(earlier=images(2)), job(earlier=images(2)))
    other = job(batch_size=4, engine=ENGINE.model_copy(update={"version": "9"}))
    with pytest.raises(BundleError) as caught:
        require_same_job(tmp_path, job(), other)
    # A field of a part is named with its part; `engine` stands before `batch_size`.
    assert "its engine.version is 1.2, this one's is 9; pass another --output, or --overwrite" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "appends"),
    [
        ({"images": ImageFacts(count=8, keys_sha256="c" * 64)}, True),
        ({"images": ImageFacts(count=6, keys_sha256="c" * 64)}, False),
        ({"images": ImageFacts(count=7, keys_sha256="c" * 64)}, False),
        # More images do not explain another engine.
        ({"images": ImageFacts(count=8, keys_sha256="c" * 64), "device": "gpu"}, False),
    ],
)
def test_appending_is_offered_where_more_images_are_all_that_differs_first(
    tmp_path: Path, change: dict[str, Any], appends: bool
) -> None:
    with pytest.raises(BundleError) as caught:
        require_same_job(tmp_path, job(), job(**change))
    assert ("pass --append" in str(caught.value)) == appends


def test_an_output_that_was_added_to_asks_for_append(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="was added to: pass --append"):
        require_same_job(tmp_path, job(earlier=images(2)), job())
    with pytest.raises(BundleError, match="its earlier is "):
        require_same_job(tmp_path, job(earlier=images(2)), job(earlier=images(3)))
