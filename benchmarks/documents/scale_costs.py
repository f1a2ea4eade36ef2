"""What many images cost in core-hours and storage, and what runs out first: the tables of docs/explanation/scale.md.

    python -m benchmarks.documents.scale_costs [--gpu-images-per-s RATE ...] [--write]

Prints the tables, or with `--write` fills them into docs/explanation/scale.md, each between `<!-- table: NAME -->` and
`<!-- /table -->`. They are made of benchmarks/results/embed_throughput.json, and of ray_overhead.json where there is
one: seconds of one job in one process, of the same job under Ray on the same cores, and what of the latter Ray took to
start, to end, and for each piece.

The model, for c cores on which decoding alone makes D images/s and inference alone I:

1. An image takes t = c/D + c/I core-seconds: on a CPU the two are done in turn. N images take N t / 3600 core-hours.
2. k cores make k/t images/s and read k b/t bytes/s, b being the mean size of an image's file. What delivers B bytes/s
   is the limit from k = B t/b cores on.
3. A GPU of G images/s works while cores decode: k cores and a GPU make the smaller of G and k D/c images/s, so that
   G c/D cores feed it.

Measured are D, I, b and the bytes of a row, on one machine; that work spreads evenly over more cores is assumed.
"""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.embed.request import DEFAULT_PART_IMAGES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "explanation" / "scale.md"
IMAGES = {"a million": 10**6, "a hundred million": 10**8, "a billion": 10**9}
NODES = (16, 64, 128)
# What is assumed to deliver images, bytes/s.
DELIVERY = {
    "disk, 200 MB/s": 200e6,
    "disk, 2 GB/s": 2e9,
    "network, 10 Gbit/s": 10e9 / 8,
    "network, 25 Gbit/s": 25e9 / 8,
    "network, 100 Gbit/s": 100e9 / 8,
}
# No GPU was measured: rates to choose among, images/s.
GPU_IMAGES_PER_S = (2_000.0, 5_000.0, 10_000.0, 20_000.0)
PILLOW, NATIVE = "Pillow", "C library"
NOT_MEASURED = "Not measured yet: `make bench` writes `benchmarks/results/embed_throughput.json`.\n"
_TABLE = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


@dataclass(frozen=True)
class Measured:
    """What was measured on one machine.

    Attributes:
        where: The machine, the network and the engines, in words.
        cores: c, on which the rates were measured.
        decoding: D by decoder, images/s on all cores.
        decoding_one_thread: The first decoder's in one thread, images/s.
        inference: I by engine, images/s on all cores; the first one is the job's.
        images: Number of images of the job that was measured.
        job: P, images/s of the whole job with the first decoder and engine.
        share: P * (1/D + 1/I), the median over rounds.
        image_bytes: b, the mean size of an image's file.
        row_bytes: Bytes of a row of the output, by what is written.
        listing_per_s: Files that are listed, 1/s, in one thread.
        sha256_mb_per_s: MB/s that are hashed, in one thread; part of decoding.
    """

    where: str
    cores: int
    decoding: dict[str, float]
    decoding_one_thread: float
    inference: dict[str, float]
    images: int
    job: float
    share: float
    image_bytes: float
    row_bytes: dict[str, float]
    listing_per_s: float
    sha256_mb_per_s: float

    def ways(self) -> dict[tuple[str, str], float]:
        """Return t, core-seconds per image, by engine and decoder."""
        return {
            (engine, decoder): core_seconds(self.cores, decoding, inference)
            for engine, inference in self.inference.items()
            for decoder, decoding in self.decoding.items()
        }


def core_seconds(cores: int, decoding: float, inference: float) -> float:
    """Return t, core-seconds per image, of rates in images/s on `cores` cores; rule 1."""
    return cores / decoding + cores / inference


def core_hours(images: int, seconds: float) -> float:
    """Return the core-hours of so many images at t core-seconds each; rule 1."""
    return images * seconds / 3600


def bytes_per_s(cores: int, seconds: float, image_bytes: float) -> float:
    """Return what so many cores read at t core-seconds per image; rule 2."""
    return cores / seconds * image_bytes


def cores_at_limit(delivered: float, seconds: float, image_bytes: float) -> float:
    """Return the cores from which on `delivered` bytes/s are the limit; rule 2."""
    return delivered * seconds / image_bytes


def feeding_cores(gpu_images_per_s: float, cores: int, decoding: float) -> float:
    """Return the cores that feed a GPU, where `cores` of them decode `decoding` images/s; rule 3."""
    return gpu_images_per_s * cores / decoding


def read_measured(result: dict[str, Any]) -> Measured:
    """Return what a result of `embed/throughput.py` says.

    Raises:
        ValueError: Too few of its rounds were quiet.
    """
    middle, rates = result["median"], result["rates"]["median"]
    if middle is None or rates is None:
        raise ValueError("no round of the result was quiet: expected medians; run embed/throughput.py again")
    others = {name.partition(" ")[2]: rate for name, rate in rates.items() if name.startswith("inference ")}
    decoding = {PILLOW: middle["decoding"]}
    if "decoding_native" in rates:
        decoding[NATIVE] = rates["decoding_native"]
    versions = ", ".join(f"{name} {result['versions'][name]}" for name in ("openvino", "onnxruntime", "pillow"))
    return Measured(
        where=f"{result['cpu']}, {result['cores']} cores; {result['model']}, {result['image_size']} px; {versions}",
        cores=result["cores"],
        decoding=decoding,
        decoding_one_thread=rates["decoding_one_worker"],
        inference={result["engine"]: middle["inference"], **others},
        images=result["images"],
        job=middle["embed"],
        share=result["share"],
        image_bytes=result["mean_jpeg_bytes"],
        row_bytes=result["row_bytes"],
        listing_per_s=rates["listing_entries_per_s"],
        sha256_mb_per_s=rates["sha256_mb_per_s"],
    )


def make_tables(measured: Measured | None, ray: dict[str, float] | None, gpus: Sequence[float]) -> dict[str, str]:
    """Return the tables by name, in Markdown; without measurements they say so."""
    section = ray_section(ray) if ray else ""
    if measured is None:
        names = ("measured", "points", "costs", "storage", "network", "limits", "gpu")
        return {**dict.fromkeys(names, NOT_MEASURED), "ray": section}
    return {
        "measured": measured_table(measured),
        "points": points_table(measured),
        "costs": costs_table(measured),
        "storage": storage_table(measured),
        "network": network_table(measured),
        "limits": limits_table(measured),
        "gpu": gpu_table(measured, gpus),
        "ray": section,
    }


def measured_table(measured: Measured) -> str:
    """Return the rates and sizes as they were measured."""
    cores = measured.cores
    rates = {f"decoding, {name}": rate for name, rate in measured.decoding.items()}
    rates |= {f"inference, {name}": rate for name, rate in measured.inference.items()}
    rows = [
        (what, f"{rate:,.0f} images/s", f"{rate / cores:,.0f} images/s", f"{1e3 * cores / rate:.2f} ms")
        for what, rate in rates.items()
    ]
    rows += [
        ("listing a folder, one thread, names in memory", "", f"{measured.listing_per_s:,.0f} files/s", ""),
        ("sha256, part of decoding", "", f"{measured.sha256_mb_per_s:,.0f} MB/s", ""),
        ("mean size of an image's file", f"{measured.image_bytes:,.0f} bytes", "", ""),
        *((f"row of the output, {name}", f"{size:,.0f} bytes", "", "") for name, size in measured.row_bytes.items()),
    ]
    headings = ("what", f"{cores} cores" if cores > 1 else "1 core", "one core", "core-ms per image")
    return f"{table(headings, rows)}\n{measured.where}.\n"


def points_table(measured: Measured) -> str:
    """Return what the model says beside what was measured."""
    decoder, engine = next(iter(measured.decoding)), next(iter(measured.inference))
    decoding = measured.decoding[decoder]
    spread = measured.cores * measured.decoding_one_thread
    limit = 1 / (1 / decoding + 1 / measured.inference[engine])
    rows = [
        (
            f"decoding on {measured.cores} cores, from that in one thread",
            f"{spread:,.0f} images/s",
            f"{decoding:,.0f} images/s",
            f"{100 * decoding / spread:.1f} %",
        ),
        (
            f"a job of {measured.images:,} images on {measured.cores} cores, {engine}, {decoder}",
            f"{limit:,.0f} images/s",
            f"{measured.job:,.0f} images/s",
            f"{100 * measured.share:.1f} %",
        ),
    ]
    return table(("what", "model", "measured", "measured of model"), rows)


def costs_table(measured: Measured) -> str:
    """Return core-hours by engine and decoder."""
    rows = []
    for (engine, decoder), seconds in measured.ways().items():
        decoding = measured.cores / measured.decoding[decoder]
        hours = (number(core_hours(images, seconds)) for images in IMAGES.values())
        rows.append((engine, decoder, f"{1 / seconds:,.0f}", f"{100 * decoding / seconds:.0f} %", *hours))
    headings = ("engine", "decoding by", "images/s per core", "of it decoding", *(f"{name}, core-h" for name in IMAGES))
    return table(headings, rows)


def storage_table(measured: Measured) -> str:
    """Return what is read and written, and how long listing takes."""
    rows = [
        (
            name,
            size(images * measured.image_bytes),
            *(size(images * row) for row in measured.row_bytes.values()),
            duration(images / measured.listing_per_s),
        )
        for name, images in IMAGES.items()
    ]
    headings = ("images", "input", *(f"output, {name}" for name in measured.row_bytes), "listed once, one thread")
    return table(headings, rows)


def network_table(measured: Measured) -> str:
    """Return what a node reads while all its cores work."""
    rows = [
        (
            engine,
            decoder,
            *(f"{8e-9 * bytes_per_s(cores, seconds, measured.image_bytes):.2f} Gbit/s" for cores in (1, *NODES)),
        )
        for (engine, decoder), seconds in measured.ways().items()
    ]
    return table(("engine", "decoding by", "one core", *(f"{cores} cores" for cores in NODES)), rows)


def limits_table(measured: Measured) -> str:
    """Return from how many cores on images come too slowly."""
    rows = [
        (
            engine,
            decoder,
            *(f"{cores_at_limit(each, seconds, measured.image_bytes):,.0f}" for each in DELIVERY.values()),
        )
        for (engine, decoder), seconds in measured.ways().items()
    ]
    return table(("engine", "decoding by", *DELIVERY), rows)


def gpu_table(measured: Measured, gpus: Sequence[float]) -> str:
    """Return how many cores feed a GPU of each rate."""
    rows = [
        (
            f"{rate:,.0f} images/s",
            *(f"{feeding_cores(rate, measured.cores, decoding):,.1f}" for decoding in measured.decoding.values()),
            f"{8e-9 * rate * measured.image_bytes:.2f} Gbit/s",
        )
        for rate in gpus
    ]
    return table(("GPU, assumed", *(f"cores, {name}" for name in measured.decoding), "input"), rows)


def ray_section(ray: dict[str, float]) -> str:
    """Return the section on Ray, heading and all."""
    rows = [
        ("one process", f"{ray['single_s']:.1f} s", ""),
        ("Ray, with its start", f"{ray['ray_s']:.1f} s", f"{ray['ray_s'] / ray['single_s']:.2f}"),
        (
            "Ray, without",
            f"{ray['ray_s'] - ray['start_s']:.1f} s",
            f"{(ray['ray_s'] - ray['start_s']) / ray['single_s']:.2f}",
        ),
        ("of it, each piece more than in one process", f"{ray['per_piece_s']:.3f} s", ""),
        ("of it, to end", f"{ray['stop_s']:.1f} s", ""),
    ]
    text = (
        "Measured by `benchmarks/embed/ray_overhead.py`: the same job of small images in one process, and under Ray on "
        f"the same cores, in {ray['pieces']:.0f} pieces of {ray['part_images']:.0f}. "
        "What Ray takes to start and to end is paid once per job. "
        f"A piece of {DEFAULT_PART_IMAGES:,} images, the default, costs Ray as much as one of these."
    )
    return f"## Ray\n\n{text}\n\n{table(('job', 'seconds', 'of one process'), rows)}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, numbers to the right."""
    right = [
        bool(rows) and all(not row[column] or row[column][0].isdigit() for row in rows)
        for column in range(len(headings))
    ]
    lines = [headings, ["---:" if one else "---" for one in right], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float) -> str:
    """Return a number with one decimal where it is small."""
    return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def size(count: float) -> str:
    """Return bytes in decimal units."""
    unit, name = next(
        ((unit, name) for unit, name in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB")) if count >= unit), (1e6, "MB")
    )
    return f"{number(count / unit)} {name}"


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    unit, name = next(((unit, name) for unit, name in ((3600, "h"), (60, "min")) if seconds >= unit), (1, "s"))
    return f"{number(seconds / unit)} {name}"


def fill(document: str, tables: dict[str, str]) -> str:
    """Return a document with its tables filled in.

    Raises:
        ValueError: The document has other tables than these.
    """
    found = {match["name"] for match in _TABLE.finditer(document)}
    if found != tables.keys():
        raise ValueError(f"the document's tables are {sorted(found)}: expected {sorted(tables)}")
    return _TABLE.sub(lambda match: match[1] + tables[match["name"]] + match[3], document)


def read_tables(gpus: Sequence[float] = GPU_IMAGES_PER_S) -> dict[str, str]:
    """Return the tables of the recorded results."""
    result, ray = (_read(name) for name in ("embed_throughput.json", "ray_overhead.json"))
    return make_tables(read_measured(result) if result else None, ray, gpus)


def _read(name: str) -> dict[str, Any] | None:
    """Return a recorded result, or None where there is none yet."""
    file = RESULTS / name
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def main() -> None:
    """Print the tables, or fill them in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--gpu-images-per-s",
        type=float,
        nargs="+",
        default=GPU_IMAGES_PER_S,
        help="rates of GPUs, assumed (default: %(default)s)",
    )
    parser.add_argument("--write", action="store_true", help="fill docs/explanation/scale.md instead of printing")
    arguments = parser.parse_args()
    tables = read_tables(arguments.gpu_images_per_s)
    if arguments.write:
        DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8"), tables), encoding="utf-8")
    else:
        print("\n".join(f"{name}\n\n{text}" for name, text in tables.items()))


if __name__ == "__main__":
    main()
