"""`run-ssl search`: keys and distances on stdout, every failure in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import runtime.search.query
from runtime.commands.run_ssl import app
from runtime.embed.request import EmbedRequest
from tests.helpers.bundles import write_hand_made
from tests.helpers.command_lines import refused
from tests.helpers.embed_jobs import SumEngine, embed, picture_folder, use_engine
from tests.helpers.image_folders import write_picture


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output of five pictures."""
    use_engine(monkeypatch, SumEngine())
    monkeypatch.setattr(runtime.search.query, "load_engine", lambda *_arguments: SumEngine())
    pictures = picture_folder(tmp_path / "pictures", range(4))
    write_picture(pictures / "[bold]:smile:[red].png", 9)
    embed(EmbedRequest(write_hand_made(tmp_path / "bundle"), (pictures,), tmp_path / "out", batch_size=1))
    return tmp_path / "out"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["search", *map(str, arguments)])


def test_a_line_for_each_neighbour_has_its_distance_and_its_key_as_it_is(embedded: Path, tmp_path: Path) -> None:
    query = write_picture(tmp_path / "query.png", 9)
    result = run(embedded, query, "-k", 2)
    assert (result.exit_code, result.stderr) == (0, "")
    summary, name, first, second = result.stdout.splitlines()
    assert summary.startswith("5 rows searched exactly, cosine distance, ")
    assert name == f"{query}:"
    assert first.split() == ["1", "0.000000", "[bold]:smile:[red].png"]
    assert second.split()[0] == "2"
    assert float(second.split()[1]) > 0


def test_json_is_all_that_stdout_has(embedded: Path, tmp_path: Path) -> None:
    query = write_picture(tmp_path / "query.png", 2)
    done = run(embedded, query, "-k", 1, "--metric", "euclidean", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found.pop("seconds") >= 0
    (one,) = found.pop("queries")
    assert found == {"output": str(embedded), "rows": 5, "metric": "euclidean", "index": None, "notes": []}
    assert one["query"] == str(query)
    assert [(near["key"], near["distance"]) for near in one["neighbours"]] == [("0002.png", 0)]


def test_what_cannot_be_searched_is_one_line(embedded: Path, tmp_path: Path) -> None:
    query = write_picture(tmp_path / "query.png")
    refused(run(tmp_path, query), "is not the output of an embedding job: expected what `run-ssl embed -o` wrote")
    refused(run(embedded, tmp_path / "absent.png"), "absent.png cannot be read as an image")
    refused(run(embedded, query, "--engine", "openvino:int3"), "engine openvino:int3: no precision int3", code=2)
