"""The job of `make ray-stress`: its inputs, its command, and what is wrong with how that ends and what it leaves."""

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from tests.helpers.embed_jobs import files_below
from tests.helpers.tiny_resnet import draw
from tests.torture.endurance import make_bundle

BATCH = 64
_SIZES = range(32, 65)
# How a line of progress begins where stderr is no terminal.
_PROGRESS = "embed: "
_COMMAND = "from runtime.commands.run_ssl import main; main()"


@dataclass(frozen=True)
class Job:
    """An embedding job, and where its outputs lie.

    Attributes:
        inputs: Folder of the bundle and the pictures.
        scratch: Folder of outputs.
        images: Number of images.
        part_images: Images of a part.
    """

    inputs: Path
    scratch: Path
    images: int
    part_images: int

    @property
    def pictures(self) -> Path:
        """Its images."""
        return self.inputs / f"pictures-{self.images}"

    @property
    def parts(self) -> int:
        """How many parts it makes."""
        return -(-self.images // self.part_images)

    @property
    def alone(self) -> Path:
        """Its output without Ray: an input of the comparison, and kept with the others."""
        return self.inputs / f"alone-{self.images}-{self.part_images}"

    @property
    def output(self) -> Path:
        """Its output on Ray."""
        return self.scratch / "out"

    def command(self, output: Path, *more: str) -> list[str]:
        """Return the command line."""
        sizes = ["--batch-size", f"{BATCH}", "--part-images", f"{self.part_images}"]
        paths = [f"{self.inputs / 'bundle'}", f"{self.pictures}", "-o", f"{output}"]
        engine = ["--engine", "onnxruntime", "--threads", "1", "--workers", "1"]
        return [sys.executable, "-c", _COMMAND, "embed", *paths, *engine, *sizes, *more]


def make_inputs(job: Job) -> None:
    """Make the bundle, and the pictures, of 32 to 64 px: PNG and JPEG in turn."""
    job.inputs.mkdir(parents=True, exist_ok=True)
    if not (job.inputs / "bundle").is_dir():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            alone.submit(make_bundle, job.inputs).result()
    for number in range(job.images):
        suffix = ("png", "jpg")[number % 2]
        file = job.pictures / f"{number // 1000:03}" / f"{number:06}.{suffix}"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            size = (_SIZES[number % len(_SIZES)], _SIZES[number // len(_SIZES) % len(_SIZES)])
            Image.fromarray(draw(number)).resize(size).save(file)


def count_rows(output: Path) -> int:
    """Return how many rows an output has."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in sorted((output / "data").glob("*.parquet")))


def said_beside_progress(file: Path) -> str:
    """Return what a command said on stderr, without its lines of progress."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith(_PROGRESS))


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Exit code, less than 0 for a signal's; None where it hung and was killed.
        said: What it said on stderr beside its progress.
        seconds: How long it took.
        came_at: How many parts were made at each moment when something happened to it.
    """

    code: int | None
    said: str
    seconds: float
    came_at: list[int]


def judge(ending: Ending, codes: tuple[int, ...]) -> Iterator[str]:
    """Yield what is wrong with how a command ended; it may say one line of what Ray says."""
    if ending.code is None:
        yield f"it hung: {ending.said[-300:]!r}"
        return
    # `nsenter` ends as its program does, by the same signal.
    if ending.code not in codes:
        yield f"exit code {ending.code}, expected {codes}: {ending.said[-300:]!r}"
    lines = ending.said.splitlines()
    of_ray = sum(line.startswith("Ray says: ") for line in lines)
    if of_ray > 1 or len(lines) - of_ray > (1 if ending.code > 0 else 0):
        yield f"it said {len(lines)} lines: {' / '.join(lines)[-600:]!r}"


def differences(found: Path, wanted: Path) -> Iterator[str]:
    """Yield how an output differs from that of one machine."""
    ours, theirs = files_below(found), files_below(wanted)
    if more := sorted(set(ours) - set(theirs)):
        yield f"{len(more)} files beside the output: {more[:3]}"
    if missing := sorted(set(theirs) - set(ours)):
        yield f"{len(missing)} files are missing: {missing[:3]}"
    if other := sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]):
        yield f"{len(other)} files have other bytes: {other[:3]}"
