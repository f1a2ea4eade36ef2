"""`run-ssl compare --ray` without a classifier: every figure is the one without Ray, neighbours and votes included."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from runtime.bundle.results.changed_json import read_changes
from runtime.commands.run_ssl import app
from runtime.compare.job import run_comparison
from runtime.compare.ray_job import run_comparison_on_ray
from runtime.compare.request import CompareRequest
from runtime.errors import DataError, UsageError
from runtime.on_ray.connect import connected
from tests.conftest import crops
from tests.helpers.command_lines import refused
from tests.helpers.exported import copy_bundle
from tests.helpers.ray_comparison import ONE_CPU, figures
from tests.helpers.ray_warnings import RAYS_WARNINGS

# Crops of one photograph are one class: six to be searched for, six to vote.
CLASSES, EACH = 4, 12
pytestmark = RAYS_WARNINGS


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two class-folder trees of the same classes, queries and gallery, each with one file that is no picture."""
    root = tmp_path_factory.mktemp("ray_neighbours")
    for number, picture in enumerate(crops()):
        folder = root / ("queries" if number % 2 else "gallery") / f"{number // EACH}"
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{number:02}.png")
    for name in ("queries", "gallery"):
        (root / name / "1" / "broken.png").write_bytes(b"no picture")
    return root / "queries", root / "gallery"


@pytest.fixture
def asked(backbone: Any, folders: tuple[Path, Path]) -> Callable[..., CompareRequest]:
    def make(**changes: Any) -> CompareRequest:
        plain = CompareRequest(
            (backbone.fp32, backbone.int8),
            str(folders[0]),
            gallery=str(folders[1]),
            engines=("onnxruntime",),
            weights=backbone.checkpoint,
            batch_size=4,
            workers=1,
            threads=1,
            skip_unreadable=True,
        )
        return replace(plain, **changes)

    return make


@pytest.fixture(scope="module", autouse=True)
def connection() -> Iterator[None]:
    """Keep one Ray for all tests: each one of the command's own costs some seconds."""
    with connected("local") as ray, pytest.MonkeyPatch.context() as patch:
        patch.setattr("runtime.compare.ray_job.connected", lambda *_, **__: nullcontext(ray))
        yield


@pytest.mark.parametrize("with_gallery", [True, False])
def test_pieces_make_the_report_of_one_machine(asked: Callable[..., CompareRequest], with_gallery: bool) -> None:
    request = asked() if with_gallery else asked(gallery=None)
    alone = run_comparison(request)
    done: list[int] = []
    shared = run_comparison_on_ray(request, ONE_CPU, piece_images=5, on_images=done.append)
    # SQNR too to the last bit: one process adds up the embeddings, in the order of the images.
    assert figures(shared) == figures(alone)
    queries = CLASSES * EACH // 2
    assert shared.original.images == queries
    # Eight bits differ from the original, so that equal figures say something.
    near = shared.engines[-1].embedding
    assert near is not None
    assert near.cosine_mean < 1
    assert shared.data.unreadable == ("1/broken.png",)
    # Five images are two batches of four: 25 queries with the broken one are four pieces. The gallery is not counted.
    assert sorted(np.diff([0, *done])) == [1, 7, 8, 8]
    assert shared.data.notes[:-1] == alone.data.notes
    assert any("images of" in note and "gallery" in note for note in shared.data.notes) == with_gallery
    assert shared.data.notes[-1].startswith("on Ray, ")


def test_a_saved_result_holds_the_changed_decisions(
    asked: Callable[..., CompareRequest], backbone: Any, tmp_path: Path
) -> None:
    bundle = copy_bundle(backbone.int8, tmp_path / "int8")
    request = asked(bundles=(bundle,), save=True)
    run_comparison(request)
    kept = read_changes(bundle / "results/changed.json")
    run_comparison_on_ray(request, ONE_CPU, piece_images=8)
    assert read_changes(bundle / "results/changed.json") == kept


def test_an_unreadable_image_of_the_gallery_and_too_few_images_are_the_same_errors_as_without_ray(
    asked: Callable[..., CompareRequest],
) -> None:
    for request, kind in ((asked(skip_unreadable=False), DataError), (asked(gallery=None, limit=4), UsageError)):
        with pytest.raises(kind) as alone:
            run_comparison(request)
        with pytest.raises(kind) as shared:
            run_comparison_on_ray(request, ONE_CPU, piece_images=4)
        assert str(shared.value) == str(alone.value)


def test_a_gallery_that_timm_names_is_refused(backbone: Any, folders: tuple[Path, Path]) -> None:
    words = ["compare", str(backbone.fp32), "--data", str(folders[0]), "--gallery", "torch/cifar10", "--ray"]
    result = CliRunner().invoke(app, words)
    refused(result, "--gallery torch/cifar10 with --ray", "leave --ray out", code=2)
