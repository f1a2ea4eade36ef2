"""The readers that are light read an output with the lines that the documents give for them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.embed.readers import COLUMNS, DOCUMENT, FAISS_LINES, LANCE_LINES, READERS, Reader, read_with
from runtime.embed.request import Dtype, EmbedRequest, OutputChoice
from tests.helpers.bundles import DIM, write_hand_made
from tests.helpers.embed_jobs import SumEngine, embed, expected_embeddings, picture_folder, use_engine

LIGHT = [one for one in READERS if one.name in ("pyarrow", "pandas", "Polars", "DuckDB", "Hugging Face datasets")]
SEEDS = [0, 1, None, 3, 4, 5, 6]


def require(reader: Reader) -> None:
    package = reader.pins[0].partition("==")[0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'export-ssl[readers]'")


@pytest.mark.parametrize("reader", LIGHT, ids=lambda one: one.name)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_reader_takes_the_folder_of_the_parts_and_shows_every_column(
    reader: Reader, dtype: Dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(reader)
    use_engine(monkeypatch, SumEngine())
    pictures = picture_folder(tmp_path / "pictures", SEEDS)
    writing = OutputChoice(dtype=dtype, top_k=2)
    bundle = write_hand_made(tmp_path / "bundle")
    embed(EmbedRequest(bundle, (pictures,), tmp_path / "out", writing=writing, batch_size=2, part_images=2))
    found = read_with(Path(sys.executable), reader, tmp_path / "out", dim=DIM)
    assert found.refusal == ""
    assert tuple(found.shown) == COLUMNS
    np.testing.assert_array_equal(found.matrix, expected_embeddings(SEEDS, 2).astype(dtype))


def test_the_lines_for_a_faiss_index_find_what_numpy_finds() -> None:
    pytest.importorskip("faiss", reason="faiss is not installed: pip install 'export-ssl[search]'")
    matrix = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    names = {"matrix": matrix}
    exec(FAISS_LINES, names)  # noqa: S102 - the lines that the documents show
    assert names["rows"].tolist() == [np.argsort(-(matrix @ matrix[0]), kind="stable")[:5].tolist()]


def test_the_lines_for_a_lance_data_set_write_every_row_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lance = pytest.importorskip("lance", reason="lance is not installed: pip install pylance")
    use_engine(monkeypatch, SumEngine())
    bundle, pictures = write_hand_made(tmp_path / "bundle"), picture_folder(tmp_path / "pictures", SEEDS)
    writing = OutputChoice(top_k=2)
    embed(EmbedRequest(bundle, (pictures,), tmp_path / "embeddings", writing=writing, batch_size=2, part_images=2))
    done = subprocess.run(
        [sys.executable, "-c", LANCE_LINES], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = lance.dataset(tmp_path / "embeddings.lance").to_table()
    assert tuple(table.column_names) == COLUMNS
    found = np.stack(table.column("embedding").to_numpy())
    np.testing.assert_array_equal(found, expected_embeddings(SEEDS, 2))


def test_the_page_has_the_lines_that_are_tested() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    for lines in (FAISS_LINES, LANCE_LINES, *(reader.code for reader in READERS)):
        assert f"```python\n{lines}\n```" in page


def test_the_light_readers_are_an_extra_and_the_table_has_them_all() -> None:
    assert len(LIGHT) == 5
    assert len({one.name for one in READERS}) == len(READERS) == 10
