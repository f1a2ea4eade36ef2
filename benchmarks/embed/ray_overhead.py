"""What Ray costs on one machine: `run-ssl embed` with `--ray` and without, to the same bytes.

    python -m benchmarks.embed.ray_overhead [DEMO] [--images N] [--part-images N] [--rounds N] [--output FILE]

DEMO is what `make demo` wrote: its INT8 network of digits, and its training images, as often as makes N. They are
small, so that a piece is done in half a second and what is around it shows.

Whole processes in turn, in an order that is reversed every other round: without Ray, on a Ray of this machine with one
worker on all cores, and with a worker per core. Medians over rounds. The outputs are compared byte by byte.

single_s       without Ray, the whole process
ray_s          with Ray, the whole process
start_s        how much later the first part is done with Ray: its start, the engine's opening in a worker to say what
               it is, the pool's start, and the opening there; of workers on one core also that a part takes them longer
connect_s      of that: importing and starting Ray
probe_s        of that: the opening in a worker
per_piece_s    how much longer each further piece takes with Ray: handing it out, and no decoding ahead across pieces
stop_s         from the last part to the process's end
"""

import argparse
import filecmp
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.shared.environment import describe_environment
from runtime.support.cpu import usable_cores

JOB = Path(__file__).parent / "ray_overhead_job.py"
LEAST_IMAGES = 20_000
PART_IMAGES = 512
# Seconds since its start at which a job was how far, by the names of `ray_overhead_job.py`.
Times = dict[str, float]


@dataclass(frozen=True)
class Pool:
    """Workers of Ray.

    Attributes:
        workers: How many; 0 for a job without Ray.
        cpus: CPUs of each worker.
    """

    workers: int
    cpus: int

    @property
    def words(self) -> str:
        """The pool in a table."""
        return f"Ray, {self.workers} x {self.cpus} CPUs" if self.workers else "without Ray"


@dataclass(frozen=True)
class Overhead:
    """What Ray costs with one pool; medians, seconds; see the module."""

    workers: int
    cpus: int
    ray_s: float
    start_s: float
    connect_s: float
    probe_s: float
    per_piece_s: float
    stop_s: float


def run_job(inputs: list[str], output: Path, *, part_images: int, pool: Pool) -> Times:
    """Return the times of one job in a process of its own.

    Raises:
        RuntimeError: The process failed; the message ends with what it said.
    """
    shutil.rmtree(output, ignore_errors=True)
    workers = [str(pool.workers), str(pool.cpus)] if pool.workers else []
    command = [sys.executable, str(JOB), str(time.time()), *inputs, str(output), str(part_images), *workers]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}")
    return {**json.loads(done.stdout), "whole": time.monotonic() - began}


def measure(inputs: list[str], scratch: Path, pools: list[Pool], *, part_images: int, rounds: int) -> dict[Pool, Times]:
    """Return the median times of each pool.

    Raises:
        RuntimeError: A job failed, or its output is not that of another one.
    """
    found: dict[Pool, list[Times]] = {pool: [] for pool in pools}
    for number in range(rounds):
        for pool in pools if number % 2 == 0 else reversed(pools):
            output = scratch / f"{pool.workers}x{pool.cpus}"
            found[pool].append(run_job(inputs, output, part_images=part_images, pool=pool))
            print(f"round {number + 1}, {pool.words}: {found[pool][-1]}", file=sys.stderr)
        same_outputs([scratch / f"{pool.workers}x{pool.cpus}" for pool in pools])
    return {
        pool: {moment: statistics.median(one[moment] for one in times) for moment in times[0]}
        for pool, times in found.items()
    }


def same_outputs(outputs: list[Path]) -> None:
    """Refuse outputs that differ.

    Raises:
        RuntimeError: The outputs differ.
    """
    for other in outputs[1:]:
        names = sorted({str(file.relative_to(one)) for one in (outputs[0], other) for file in one.rglob("*.*")})
        _, differing, absent = filecmp.cmpfiles(outputs[0], other, names, shallow=False)
        if differing or absent:
            raise RuntimeError(f"{outputs[0]} and {other} differ, expected the same bytes: {[*differing, *absent][:5]}")


def compare(pool: Pool, ray: Times, single: Times, pieces: int) -> Overhead:
    """Return what a pool costs beyond a job without Ray."""
    rest, single_rest = ray["last_part"] - ray["first_part"], single["last_part"] - single["first_part"]
    return Overhead(
        workers=pool.workers,
        cpus=pool.cpus,
        ray_s=ray["whole"],
        start_s=ray["first_part"] - single["first_part"],
        connect_s=ray["probe"] - ray["connect"],
        probe_s=ray["pieces"] - ray["probe"],
        per_piece_s=(rest - single_rest) / (pieces - 1),
        stop_s=ray["whole"] - ray["last_part"],
    )


def print_table(single_s: float, found: list[Overhead], console: Console) -> None:
    """Print one row per pool."""
    table = Table("", "whole s", "start s", "connect s", "probe s", "per piece ms", "stop s")
    table.add_row("without Ray", f"{single_s:.1f}", "", "", "", "", "")
    for one in found:
        starting = (f"{seconds:.2f}" for seconds in (one.start_s, one.connect_s, one.probe_s))
        pool = Pool(one.workers, one.cpus).words
        table.add_row(pool, f"{one.ray_s:.1f}", *starting, f"{1e3 * one.per_piece_s:.0f}", f"{one.stop_s:.2f}")
    console.print(table)


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("demo", type=Path, nargs="?", default=Path("demo"), help="default: %(default)s")
    parser.add_argument("--images", type=int, default=LEAST_IMAGES, help="default: %(default)s")
    parser.add_argument("--part-images", type=int, default=PART_IMAGES, help="per piece (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table and write the JSON."""
    arguments = parse_arguments()
    environment = describe_environment("ray", "openvino", "numpy", "pillow", "pyarrow")
    cores = usable_cores()
    single, *pools = dict.fromkeys([Pool(0, 0), Pool(1, cores), Pool(cores, 1)])
    root = (arguments.demo / "digits/train").resolve()
    names = sorted(str(file.relative_to(root)) for file in root.rglob("*.png"))
    with tempfile.TemporaryDirectory() as temporary:
        listed = Path(temporary, "images.txt")
        listed.write_text("\n".join(islice(cycle(names), arguments.images)) + "\n", encoding="utf-8")
        inputs = [str((arguments.demo / "digits-int8").resolve()), str(listed), str(root)]
        times = measure(
            inputs, Path(temporary), [single, *pools], part_images=arguments.part_images, rounds=arguments.rounds
        )
    pieces = -(-arguments.images // arguments.part_images)
    found = [compare(pool, times[pool], times[single], pieces) for pool in pools]
    print_table(times[single]["whole"], found, Console())
    result = {
        **environment,
        "images": arguments.images,
        "part_images": arguments.part_images,
        "pieces": pieces,
        "rounds": arguments.rounds,
        "single_s": times[single]["whole"],
        **asdict(found[0]),
        "worker_per_core": asdict(found[-1]),
    }
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
