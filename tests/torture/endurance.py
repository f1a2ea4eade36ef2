"""Lets each engine, and an embedding job, run long, and says what grew.

    python -m tests.torture.endurance [--inferences 20000] [--loads 600] [--images 300000] [--only RUN …] [--json FILE]

Each run has a process of its own, on a network so small that the calls are what is tried:

- ENGINE, inferences: so many calls with the same pictures
- ENGINE, threads: so many calls by eight threads at once
- ENGINE, loads: opened, called and closed so often
- ENGINE, spawn: opened and called in so many processes that are started anew, one after the other
- embed: so many small images through one job

After a first part, in which caches and pools fill, memory (what the process holds that stands in no file) may grow by
less than 1 % of it, and handles and threads not at all. Every result must have the bits of the first.
"""

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.engines.contract import Engine, Outputs
from runtime.support.arrays import Pixels
from runtime.support.memory import trim_heap
from tests.helpers.tiny_resnet import draw

ENGINES = ("onnxruntime", "openvino", "pytorch")
GROWTH = 0.01
THREADS = 8
# Of a run so much is not looked at, and memory is the median of so many looks: an allocator breathes.
_WARM, _LOOKS = 0.2, 21


@dataclass(frozen=True)
class Look:
    """What a process holds at a moment.

    Attributes:
        own_bytes: Memory that stands in no file: the code of a library counts or not, as other processes map it too.
        handles: Number of open handles.
        threads: Number of threads.
    """

    own_bytes: int
    handles: int
    threads: int

    @classmethod
    def now(cls) -> "Look":
        """Look at this process, without what nothing uses and the heap keeps: that comes and goes by megabytes."""
        gc.collect()
        trim_heap()
        rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
        (own,) = (int(line.split()[1]) * 1024 for line in rollup if line.startswith("Anonymous:"))
        return cls(own, _count("fd"), _count("task"))


def _count(what: str) -> int:
    return len(list(Path("/proc/self", what).iterdir()))


@dataclass
class Run:
    """What a run came to.

    Attributes:
        times: How often something was done: calls, loads, images.
        growth: Growth of memory from the first third of the looks behind the warm-up to the last third, a fraction.
        handles: Growth of the number of handles.
        threads: Growth of the number of threads.
        own_mb: Memory at the end, MB.
        faults: What is wrong.
        seconds: Time of all.
    """

    times: int
    growth: float
    handles: int
    threads: int
    own_mb: float
    faults: list[str]
    seconds: float


def watch(step: Callable[[int], str], times: int) -> Run:
    """Return what came of doing a step so often; it returns a digest of its result."""
    began, looks, first, wrong = time.monotonic(), list[Look](), step(0), 0
    warm, every = max(1, round(times * _WARM)), max(1, round(times * (1 - _WARM) / _LOOKS))
    for number in range(1, times):
        wrong += step(number) != first
        if number >= warm and (number - warm) % every == 0:
            looks.append(Look.now())
    return judge(looks, times, wrong, time.monotonic() - began)


def judge(looks: list[Look], times: int, wrong: int, seconds: float) -> Run:
    """Return a run of which these looks were taken behind the warm-up."""
    third = max(1, len(looks) // 3)
    early, late = looks[:third], looks[-third:]

    def grown(field: str) -> float:
        before, after = (statistics.median(getattr(look, field) for look in part) for part in (early, late))
        return after - before

    before = statistics.median(look.own_bytes for look in early)
    run = Run(
        times=times,
        growth=round(grown("own_bytes") / before, 5),
        handles=round(grown("handles")),
        threads=round(grown("threads")),
        own_mb=round(looks[-1].own_bytes / 1e6, 1),
        faults=[],
        seconds=round(seconds, 1),
    )
    if run.growth >= GROWTH:
        run.faults.append(f"memory grew by {run.growth:.2%}")
    if run.handles > 0:
        run.faults.append(f"{run.handles} handles leaked")
    if run.threads > 0:
        run.faults.append(f"{run.threads} threads leaked")
    if wrong:
        run.faults.append(f"{wrong} of {times} results differ from the first")
    return run


def _pixels(size: int = 64) -> Pixels:
    pictures = [np.asarray(Image.fromarray(draw(number)).resize((size, size))) for number in range(2)]
    return np.stack(pictures)


def _digest(outputs: Outputs) -> str:
    found = hashlib.sha256()
    for array in (outputs.logits, outputs.embedding):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _open(engine: str, bundle: Path) -> Engine:
    from runtime import EngineOptions, load_engine

    return load_engine(bundle, engine, EngineOptions(threads=1, share_cores=True))


def infer(bundle: Path, engine: str, times: int) -> Run:
    """Call an engine so often."""
    pixels = _pixels()
    with _open(engine, bundle) as opened:
        return watch(lambda _number: _digest(opened.infer(pixels)), times)


def infer_in_threads(bundle: Path, engine: str, times: int) -> Run:
    """Call an engine so often, from eight threads at once."""
    pixels, rounds = _pixels(), max(2, times // 100)
    each = times // rounds // THREADS + 1
    with _open(engine, bundle) as opened, ThreadPoolExecutor(THREADS) as pool:

        def calls(_thread: int) -> set[str]:
            return {_digest(opened.infer(pixels)) for _ in range(each)}

        def step(_number: int) -> str:
            return " ".join(sorted(set().union(*pool.map(calls, range(THREADS)))))

        run = watch(step, rounds)
    run.times = rounds * each * THREADS
    return run


def load(bundle: Path, engine: str, times: int) -> Run:
    """Open, call and close an engine so often."""
    pixels = _pixels()

    def step(_number: int) -> str:
        with _open(engine, bundle) as opened:
            return _digest(opened.infer(pixels))

    return watch(step, times)


def _call_once(bundle: Path, engine: str) -> str:
    with _open(engine, bundle) as opened:
        return _digest(opened.infer(_pixels()))


def spawn(bundle: Path, engine: str, times: int) -> Run:
    """Open and call an engine in processes that are started anew, while this one has it open too."""
    context = multiprocessing.get_context("spawn")
    with _open(engine, bundle) as opened:
        own = _digest(opened.infer(_pixels()))

        def step(number: int) -> str:
            if number == 0:
                return own
            with ProcessPoolExecutor(1, mp_context=context) as alone:
                return alone.submit(_call_once, bundle, engine).result()

        return watch(step, times)


def embed(bundle: Path, folder: Path, images: int) -> Run:
    """Put so many images through one job, and look at the process after each part."""
    import pyarrow.parquet as pq

    from runtime.embed.job import JobListener, run_embedding
    from runtime.embed.request import EmbedRequest

    # As many files as distinct pictures; a list names each again and again, under another path.
    pictures, part = 1000, 2000
    (folder / "pictures").mkdir()
    for number in range(pictures):
        Image.fromarray(draw(number)).save(folder / "pictures" / f"{number:04}.png")
    (folder / "copies").mkdir()
    for copy in range(-(-images // pictures)):
        (folder / "copies" / f"{copy:04}").symlink_to(folder / "pictures")
    names = [f"copies/{number // pictures:04}/{number % pictures:04}.png" for number in range(images)]
    (folder / "list.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    looks, began = list[Look](), time.monotonic()

    def looked(done: int) -> None:
        if done % (part // 2) == 0 and done > images * _WARM:
            looks.append(Look.now())

    request = EmbedRequest(
        bundle=bundle, images=(folder / "list.txt",), output=folder / "out", batch_size=50, part_images=part, workers=2
    )
    result = run_embedding(request, JobListener(on_images=looked))
    table = pq.read_table(folder / "out" / "data", columns=["embedding"]).column("embedding")
    rows = np.asarray(table.combine_chunks().flatten()).reshape(result.rows, -1)
    # A batch holds the same pictures in each copy, so the bits are those of the first copy.
    same = rows[: len(rows) // pictures * pictures].reshape(-1, pictures, rows.shape[1])
    wrong = int((same != same[0]).any(axis=(1, 2)).sum()) + (result.rows != images)
    return judge(looks, images, wrong, time.monotonic() - began)


def make_bundle(folder: Path) -> Path:
    """Export the small network, in a process of its own."""
    from exporter.pipeline import export_bundle
    from exporter.request import ExportRequest, WeightsChoice

    weights = WeightsChoice(source="random", seed=0)
    request = ExportRequest(
        model="test_resnet", weights=weights, num_classes=10, img_size=64, licence="MIT", output=folder / "bundle"
    )
    return export_bundle(request).path


def runs(arguments: argparse.Namespace, bundle: Path, folder: Path) -> dict[str, Callable[[], Run]]:
    """Return all runs by name."""
    found: dict[str, Callable[[], Run]] = {}
    for engine in ENGINES:
        found[f"{engine}, inferences"] = partial(infer, bundle, engine, arguments.inferences)
        found[f"{engine}, threads"] = partial(infer_in_threads, bundle, engine, arguments.inferences)
        found[f"{engine}, loads"] = partial(load, bundle, engine, arguments.loads)
        found[f"{engine}, spawn"] = partial(spawn, bundle, engine, max(2, arguments.loads // 30))
    found["embed"] = partial(embed, bundle, folder, arguments.images)
    return found


def main() -> None:
    """Do the runs one after the other, print a row for each, and exit with 1 if one has a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inferences", type=int, default=20_000, help="calls of each engine")
    parser.add_argument("--loads", type=int, default=600, help="how often each engine is opened")
    parser.add_argument("--images", type=int, default=300_000, help="images through the embedding job")
    parser.add_argument("--only", nargs="*", help="names of runs, or how they begin")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    # A pool of threads for each engine would fill memory at its own pace.
    os.environ["OMP_NUM_THREADS"] = "1"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    # Of some runs: those of the others stay as they are.
    counts: dict[str, object] = {}
    if arguments.only and arguments.json and arguments.json.is_file():
        counts = json.loads(arguments.json.read_text(encoding="utf-8"))
    context, failed = multiprocessing.get_context("spawn"), list[bool]()

    def alone(work: Callable[[], object]) -> object:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            return process.submit(work).result()

    with tempfile.TemporaryDirectory(prefix="export-ssl-endurance-") as root:
        bundle = Path(root) / "bundle"
        alone(partial(make_bundle, Path(root)))
        for name, work in runs(arguments, bundle, Path(root)).items():
            if arguments.only and not name.startswith(tuple(arguments.only)):
                continue
            run = alone(work)
            assert isinstance(run, Run)
            counts[name] = run
            failed.append(bool(run.faults))
            print(
                f"{name}: {run.times:,} times, memory {run.growth:+.2%} of {run.own_mb:.0f} MB, "
                f"handles {run.handles:+}, threads {run.threads:+}; {run.seconds:.0f} s",
                flush=True,
            )
            for what in run.faults:
                print(f"  fault: {what}", flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(counts, indent=1, default=vars), encoding="utf-8")
    sys.exit(any(failed))


if __name__ == "__main__":
    main()
