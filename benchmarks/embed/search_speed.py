"""How long a search takes, and how much memory: 200,000 rows of 2,048 numbers, exactly and with an index.

    python -m benchmarks.embed.search_speed --scratch DIR [--output RESULT.json]
    python -m benchmarks.embed.search_speed --write      the table of docs/how-to/search.md, of the recorded result

Writes outputs as jobs of a ResNet-50 would, of drawn embeddings (clusters with noise, cut off at 0 as a ReLU does), and
searches each in processes of its own: `first` is the first search of a process, `later` the median of the others, and
`later_core_s` the time that one of these kept cores busy, which other processes on the machine do not lengthen. All is
in the kernel's memory, as it was just written. The query's own embedding is not in the time, its row's key is. Where
something is kept for later searches, a process before makes it. Needs some 5 GB below DIR, which are removed.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.documents.scale_costs import fill, table
from benchmarks.shared.environment import describe_environment
from runtime.bundle.manifest import Licence
from runtime.embed.output.identity import BundleFacts, ImageFacts, Job, ReadingFacts, RowFacts, write_job
from runtime.embed.output.npy_part import NpyPart, npy_suffixes
from runtime.embed.output.parquet_part import SUFFIX, ParquetPart
from runtime.embed.output.part_files import DATA, RECORDS, PartRecord, PartWriter, finish_part, partial_names
from runtime.embed.output.rows import Rows
from runtime.embed.request import Dtype, Format
from runtime.engines.facts import EngineFacts
from runtime.search.exact import Nearest, search_exactly
from runtime.search.faiss_index import open_index
from runtime.search.gallery import open_gallery
from runtime.search.unpacked import unpack
from runtime.support.arrays import Floats

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "search_speed.json"
DOCUMENT = ROOT / "docs" / "how-to" / "search.md"
ROWS, DIM, PART, BATCH = 200_000, 2048, 8192, 32
CLUSTERS, NOISE, SEED, SEARCHES, K = 1000, 0.7, 0, 8, 10
MADE = ", made"
OUTPUTS: tuple[tuple[Format, Dtype], ...] = (("npy", "float32"), ("parquet", "float32"), ("parquet", "float16"))


def main() -> None:
    """Measure all cases, and print or write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--scratch", type=Path, help="folder for some GB")
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--search", nargs=2, metavar=("OUTPUT", "HOW"), help="what the processes of their own do")
    parser.add_argument("--write", action="store_true", help="fill docs/how-to/search.md from the recorded result")
    given = parser.parse_args()
    if given.write:
        recorded = json.loads(RESULT.read_text(encoding="utf-8"))
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(fill(text, {"speed": speed_table(recorded)}), encoding="utf-8")
        return
    if given.search:
        print(json.dumps(search(Path(given.search[0]), given.search[1])))
        return
    result = {**describe_environment("numpy", "pyarrow", "faiss-cpu"), "rows": given.rows, "dim": DIM, "k": K}
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        result["searches"] = [
            {"format": kind, "dtype": dtype, **found}
            for kind, dtype in OUTPUTS
            for found in measure(Path(folder) / f"{kind}-{dtype}", kind, dtype, given.rows)
        ]
    text = json.dumps(result, indent=1)
    if given.output is not None:
        given.output.write_text(text + "\n", encoding="utf-8")
    print(text)


def speed_table(result: dict[str, Any]) -> str:
    """Return the page's table of a result."""
    made = {
        (one["format"], one["dtype"], one["how"].removesuffix(MADE)): one
        for one in result["searches"]
        if one["how"].endswith(MADE)
    }
    rows = [
        [
            f"{one['format']}, {one['dtype']}",
            one["how"],
            f"{one['open_s'] + one['first_s']:.2f} s",
            f"{one['later_s']:.2f} s",
            f"{one['peak_mb']:,.0f} MB",
            _making(made.get((one["format"], one["dtype"], one["how"]))),
        ]
        for one in result["searches"]
        if not one["how"].endswith(MADE)
    ]
    return table(("output", "search", "first", "later ones", "memory at most", "making what is kept"), rows)


def _making(one: dict[str, Any] | None) -> str:
    return "" if one is None else f"{one['open_s']:.0f} s, {one['peak_mb']:,.0f} MB"


def measure(output: Path, kind: Format, dtype: Dtype, rows: int) -> Iterator[dict[str, object]]:
    """Yield what the searches of one output cost; see the module."""
    write_output(output, kind, dtype, rows)
    unpacked = (f"exact, unpacked{MADE}", "exact, unpacked") if kind != "npy" else ()
    for how in ("exact", *unpacked, f"index{MADE}", "index"):
        command = [
            sys.executable,
            "-m",
            "benchmarks.embed.search_speed",
            "--search",
            str(output),
            how.removesuffix(MADE),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = {"how": how, **json.loads(done.stdout)}
        print(kind, dtype, found, file=sys.stderr, flush=True)
        yield found


def search(output: Path, how: str) -> dict[str, object]:
    """Return the seconds of the first search of this process and of later ones, and its memory in MB."""
    gallery = open_gallery(output)
    queries = gallery.embeddings(np.linspace(0, gallery.rows - 1, SEARCHES).astype(int).tolist())
    before = peak_mb()
    began = time.perf_counter()
    index = open_index(gallery, "cosine", lambda _stage: None) if how == "index" else None
    unpacked = unpack(gallery, lambda _stage: None) if how == "exact, unpacked" else None
    opened = time.perf_counter() - began

    def one(query: Floats) -> float:
        began = time.perf_counter()
        nearest: list[Nearest]
        if index is not None:
            nearest = index.search(query, k=K)
        else:
            nearest = search_exactly(unpacked or gallery, query, k=K, metric="cosine")
        gallery.described(nearest[0].rows.tolist())
        return time.perf_counter() - began

    seconds = [one(queries[:1])]
    busy = time.process_time()
    seconds += [one(queries[number : number + 1]) for number in range(1, SEARCHES)]
    busy = (time.process_time() - busy) / (SEARCHES - 1)
    return {
        "open_s": opened,
        "first_s": seconds[0],
        "later_s": statistics.median(seconds[1:]),
        "later_fastest_s": min(seconds[1:]),
        "later_core_s": busy,
        "peak_mb": peak_mb(),
        "peak_mb_before": before,
        "index": index.record.model_dump() if index is not None else None,
    }


def peak_mb() -> float:
    """Return the largest resident memory of this process so far, MB; files that it maps count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def write_output(output: Path, kind: Format, dtype: Dtype, rows: int) -> None:
    """Write an output of drawn embeddings, with the job's own writers."""
    for folder in (output, output / RECORDS, output / DATA):
        folder.mkdir()
    job = Job(
        bundle=BundleFacts(
            model="resnet50",
            precision="fp32",
            weights_sha256="0" * 64,
            manifest_sha256="0" * 64,
            classes=1000,
            embedding_dim=DIM,
            licence=Licence(spdx="MIT", notice="Drawn numbers.", url="https://opensource.org/license/mit"),
        ),
        engine=EngineFacts(name="onnxruntime", version="", executes="fp32"),
        device="cpu",
        hardware="",
        reading=ReadingFacts(exif_rotate=False, depth16="clip"),
        images=ImageFacts(count=rows, keys_sha256="0" * 64),
        rows=RowFacts(format=kind, dtype=dtype, normalised=False, top_k=0),
        batch_size=BATCH,
        part_images=PART,
        tool="benchmark",
    )
    write_job(output, job)
    rng = np.random.default_rng(SEED)
    centres = rng.standard_normal((CLUSTERS, DIM), dtype=np.float32)
    for number in range(job.parts):
        count = min(PART, rows - number * PART)
        files = partial_names(output, number, (SUFFIX,) if kind == "parquet" else npy_suffixes(job))
        writer: PartWriter = ParquetPart(files[SUFFIX], job, ()) if kind == "parquet" else NpyPart(files, job)
        for first in range(0, count, 2048):
            writer.add(drawn(rng, centres, number * PART + first, min(2048, count - first), dtype))
        writer.close()
        finish_part(output, PartRecord(number=number, images=count, rows=count, unreadable=(), files=()), files)


def drawn(rng: np.random.Generator, centres: Floats, first: int, count: int, dtype: Dtype) -> Rows:
    """Return rows whose embeddings lie around some centres."""
    around = centres[rng.integers(0, len(centres), count)]
    embedding = np.maximum(around + NOISE * rng.standard_normal((count, DIM), dtype=np.float32), 0)
    nothing = np.empty((count, 0), np.float32)
    return Rows(
        keys=tuple(f"{first + place:09}.jpg" for place in range(count)),
        sha256=("0" * 64,) * count,
        embedding=embedding.astype(dtype),
        classes=nothing.astype(np.int32),
        scores=nothing,
    )


if __name__ == "__main__":
    main()
