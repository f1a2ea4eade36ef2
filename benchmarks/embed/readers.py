"""Who reads the output of an embedding job, and how: the table and the lines of docs/how-to/read-embeddings.md.

    python -m benchmarks.embed.readers BUNDLE IMAGES --environments DIR [--write]

Embeds IMAGES twice, in float32 and in float16, and reads the outputs with every reader in an environment of its own
below DIR, which is made of the versions in `READERS` where it is not there yet (some GB, from the package index; Spark
needs Java). It ends with 1 where a reader shows other numbers than pyarrow. `--write` fills the page. It is no part of
continuous integration.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.documents.scale_costs import fill, table
from runtime.embed.job import run_embedding
from runtime.embed.request import Dtype, EmbedRequest, OutputChoice

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "how-to" / "read-embeddings.md"
TOP_K = 2
# In the lines of `READERS`: where the output is, and how long an embedding is.
FOLDER, DIM = "embeddings/data", 512
COLUMNS = ("key", "sha256", "embedding", "classes", "labels", "scores")
_HEADINGS = ("reader", "key, sha256", "embedding", "classes", "scores", "labels", "float16", "order of rows")
# Runs a reader's lines in the folder where the output is `embeddings`, and saves what they made.
_PROGRAM = """
import importlib.metadata, json, sys
import numpy
code, columns, package, target = sys.argv[1:]
names = {}
exec(code, names)
shown = eval(columns, names)
numpy.save(target, numpy.asarray(names["matrix"]))
print("\\n" + json.dumps({"shown": shown, "version": importlib.metadata.version(package)}))
"""
# What follows the lines of any reader: an index of one's own.
FAISS_LINES = """\
import faiss

index = faiss.IndexFlatIP(matrix.shape[1])  # the inner product; IndexFlatL2 takes the difference
index.add(matrix)

scores, rows = index.search(matrix[:1], 5)"""
# A Lance data set of the parts, row by row in their order; it holds their metadata too.
LANCE_LINES = """\
import lance
import pyarrow.dataset as ds

parts = ds.dataset("embeddings/data")
table = lance.write_dataset(parts.to_batches(), "embeddings.lance", schema=parts.schema)"""


@dataclass(frozen=True)
class Reader:
    """A library that reads Parquet.

    Attributes:
        name: What it is called.
        pins: The distributions that it is tried with; the first is its own.
        code: Lines that make `table`, and `matrix` of the embeddings, (N, D).
        columns: Expression for what it shows of each column, name to type.
    """

    name: str
    pins: tuple[str, ...]
    code: str
    columns: str


READERS = (
    Reader(
        "pyarrow",
        ("pyarrow==26.0.0", "numpy"),
        """\
import pyarrow.parquet as pq

table = pq.read_table("embeddings/data")
matrix = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)""",
        "{field.name: str(field.type) for field in table.schema}",
    ),
    Reader(
        "pandas",
        ("pandas==3.1.1", "pyarrow==26.0.0"),
        """\
import numpy as np
import pandas as pd

table = pd.read_parquet("embeddings/data")
matrix = np.stack(table["embedding"])""",
        "{name: type(table[name][0]).__name__ for name in table}",
    ),
    Reader(
        "Polars",
        ("polars==2.1.0", "numpy"),
        """\
import polars as pl

table = pl.read_parquet("embeddings/data/")
matrix = table["embedding"].to_numpy()""",
        "{name: str(kind) for name, kind in table.schema.items()}",
    ),
    Reader(
        "DuckDB",
        ("duckdb==2.0.1", "numpy"),
        """\
import duckdb
import numpy as np

table = duckdb.read_parquet("embeddings/data/*.parquet")  # shows FLOAT[]: array functions need the cast
matrix = np.stack(table.select("embedding::FLOAT[512] AS embedding").fetchnumpy()["embedding"])""",
        "dict(zip(table.columns, map(str, table.types)))",
    ),
    Reader(
        "Hugging Face datasets",
        ("datasets==5.2.0",),
        """\
import datasets

table = datasets.load_dataset("parquet", data_dir="embeddings/data", split="train")
matrix = table.with_format("numpy")["embedding"][:]""",
        "{name: str(kind) for name, kind in table.features.items()}",
    ),
    Reader(
        "DataFusion",
        ("datafusion==55.0.0", "pandas==3.1.1"),
        """\
import datafusion
import numpy as np

table = datafusion.SessionContext().read_parquet("embeddings/data/")
matrix = np.stack(table.to_pandas()["embedding"])""",
        "{field.name: str(field.type) for field in table.schema()}",
    ),
    Reader(
        "chDB",
        ("chdb==4.4.0", "pyarrow==26.0.0"),
        """\
import chdb
import numpy as np

table = chdb.query("SELECT * FROM file('embeddings/data/*.parquet')", "ArrowTable")
matrix = np.stack(table["embedding"].to_numpy())""",
        "dict(line.split('\\t')[:2] for line in "
        "str(chdb.query(\"DESCRIBE file('embeddings/data/*.parquet')\", 'TSV')).splitlines())",
    ),
    Reader(
        "Daft",
        ("daft==0.7.26", "pandas==3.1.1"),
        """\
import daft
import numpy as np

table = daft.read_parquet("embeddings/data/")
matrix = np.stack(table.to_pandas()["embedding"])""",
        "{field.name: str(field.dtype) for field in table.schema()}",
    ),
    Reader(
        "LanceDB",
        ("lancedb==0.40.0", "pyarrow==26.0.0"),
        """\
import lancedb
import pyarrow.dataset as ds

parts = ds.dataset("embeddings/data")
table = lancedb.connect("vectors").create_table("images", parts.to_batches(), schema=parts.schema, mode="overwrite")
matrix = table.to_arrow()["embedding"].combine_chunks().flatten().to_numpy().reshape(table.count_rows(), -1)""",
        "{field.name: str(field.type) for field in table.schema}",
    ),
    Reader(
        "Spark",
        ("pyspark==4.3.0", "numpy"),
        """\
import numpy as np
from pyspark.sql import SparkSession

table = SparkSession.builder.getOrCreate().read.parquet("embeddings/data")
matrix = np.array([row.embedding for row in table.select("embedding").collect()], np.float32)""",
        "dict(table.dtypes)",
    ),
)


@dataclass(frozen=True)
class Reading:
    """What a reader made of an output.

    Attributes:
        shown: Type of each column as the reader shows it; empty where it refused the files.
        version: Version of the reader.
        matrix: The embeddings, (N, D); None where it refused.
        refusal: The last line that it said then.
    """

    shown: dict[str, str]
    version: str
    matrix: Any
    refusal: str = ""


def read_with(python: Path, reader: Reader, output: Path, *, dim: int = DIM) -> Reading:
    """Return what a reader makes of an output.

    Args:
        python: An interpreter that has the reader.
        reader: The reader.
        output: The output of an embedding job.
        dim: Length of its embeddings.
    """
    code = reader.code.replace(f"[{DIM}]", f"[{dim}]")
    package = reader.pins[0].partition("==")[0]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "embeddings").symlink_to(output.absolute())
        target = Path(folder) / "matrix.npy"
        done = subprocess.run(
            [str(python), "-c", _PROGRAM, code, reader.columns, package, str(target)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return Reading({}, "", None, lines[-1] if lines else f"exit {done.returncode}")
        found = json.loads(done.stdout.splitlines()[-1])
        return Reading(found["shown"], found["version"], np.load(target))


def make_environment(folder: Path, reader: Reader) -> Path:
    """Return the interpreter of a reader's environment, made where it is not there."""
    place = folder / reader.pins[0].partition("==")[0]
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *reader.pins], check=True)
    return python


def same_rows(found: Any, wanted: Any) -> bool:
    """Return whether two matrices have the same rows, in whatever order: some readers keep none."""
    return found.shape == wanted.shape and sorted(map(tuple, found.tolist())) == sorted(map(tuple, wanted.tolist()))


def row_of(reader: Reader, full: Reading, half: Reading, *, in_order: bool) -> list[str]:
    """Return a row of the page's table: what a reader shows of each column, and whether it takes float16."""
    shown = full.shown
    float16 = f"as {half.matrix.dtype}" if half.matrix is not None else "refuses the file"
    return [
        f"{reader.name} {full.version}",
        *(f"`{shown[name]}`" for name in ("key", "embedding", "classes", "scores", "labels")),
        float16,
        "of the parts" if in_order else "any",
    ]


def lines_of(reader: Reader) -> str:
    """Return a reader's lines in Markdown."""
    return f"**{reader.name}**\n\n```python\n{reader.code}\n```\n"


def main() -> int:
    """Read with all, print the table or fill the page, and return 1 where a reader shows other numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path, help="a bundle whose embeddings have 512 numbers")
    parser.add_argument("images", type=Path)
    parser.add_argument("--environments", type=Path, required=True, help="folder of the readers' environments")
    parser.add_argument("--write", action="store_true", help="fill docs/how-to/read-embeddings.md")
    given = parser.parse_args()
    rows, wrong = [], []
    with tempfile.TemporaryDirectory() as folder:
        outputs = [_embed(given.bundle, given.images, Path(folder), dtype) for dtype in ("float32", "float16")]
        for reader in READERS:
            python = make_environment(given.environments, reader)
            full, half = (read_with(python, reader, output) for output in outputs)
            reference = _reference(outputs[0])
            if full.matrix is None or not same_rows(full.matrix, reference) or [*full.shown] != [*COLUMNS]:
                wrong.append(reader.name)
                print(f"{reader.name}: {full.refusal or full.shown}: other than pyarrow", file=sys.stderr)
                continue
            rows.append(row_of(reader, full, half, in_order=np.array_equal(full.matrix, reference)))
            print(f"{reader.name}: read", file=sys.stderr)
    tables = {
        "readers": table(_HEADINGS, rows),
        "lines": "\n".join(map(lines_of, READERS)),
        "faiss": f"```python\n{FAISS_LINES}\n```\n",
        "lance": f"```python\n{LANCE_LINES}\n```\n",
    }
    if given.write and not wrong:
        DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8"), tables), encoding="utf-8")
    else:
        print(tables["readers"])
    return 1 if wrong else 0


def _embed(bundle: Path, images: Path, folder: Path, dtype: Dtype) -> Path:
    """Return an output in three parts or more."""
    writing = OutputChoice(dtype=dtype, top_k=TOP_K)
    output = folder / dtype
    run_embedding(EmbedRequest(bundle, (images,), output, writing=writing, part_images=64))
    return output


def _reference(output: Path) -> Any:
    """Return the embeddings as this environment's pyarrow reads them, part by part."""
    from pyarrow.parquet import read_table

    parts = sorted((output / "data").iterdir())
    return np.concatenate([np.stack(read_table(part).column("embedding").to_numpy()) for part in parts])


if __name__ == "__main__":
    sys.exit(main())
