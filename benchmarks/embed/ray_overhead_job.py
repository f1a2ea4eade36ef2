"""One embedding job, with Ray or without, and when it came how far: a process of `embed/ray_overhead.py`.

    python -m benchmarks.embed.ray_overhead_job STARTED BUNDLE LIST ROOT OUTPUT PART_IMAGES [WORKERS CPUS]

STARTED is when the caller started it, seconds since the epoch. Prints JSON: seconds from then on, in order.

connect     the bundle is open and the images are listed; from here on Ray is connected to
probe       Ray is connected; from here on a worker, or this process, opens the engine to say what it is
pieces      that is known; from here on pieces are handed out
first_part  the images of one part are done
last_part   all images are done
end         the output is whole and Ray is gone
"""

import argparse
import json
import time
from pathlib import Path

from runtime.data.sources.open_source import InputChoice
from runtime.embed.job import JobListener, run_embedding
from runtime.embed.ray_job import run_on_ray
from runtime.embed.request import EmbedRequest
from runtime.on_ray.choice import RayChoice

_STAGES = {"connect": "connect to Ray", "probe": "open the engine"}


def run_job(started: float, paths: list[str], part_images: int, pool: list[int]) -> None:
    """Run the job and print its times."""
    bundle, images, root, output = map(Path, paths)
    request = EmbedRequest(bundle, (images,), output, reading=InputChoice(root=root), part_images=part_images)
    times: dict[str, float] = {}

    def note(moment: str) -> None:
        times.setdefault(moment, time.time() - started)

    def on_stage(stage: str) -> None:
        for moment, words in _STAGES.items():
            if stage.startswith(words):
                note(moment)

    def on_images(done: int) -> None:
        if done >= part_images:
            note("first_part")
        times["last_part"] = time.time() - started

    listener = JobListener(on_stage, lambda _images, _done: note("pieces"), on_images)
    if pool:
        run_on_ray(request, RayChoice("local", pool[0], pool[1]), listener)
    else:
        run_embedding(request, listener)
    note("end")
    print(json.dumps(times))


def main() -> None:
    """Run the job that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("started", type=float, help="when the caller started it, seconds since the epoch")
    for name in ("bundle", "list", "root", "output"):
        parser.add_argument(name)
    parser.add_argument("part_images", type=int)
    parser.add_argument("pool", type=int, nargs="*", metavar="WORKERS CPUS", help="without, no Ray")
    arguments = parser.parse_args()
    paths = [arguments.bundle, arguments.list, arguments.root, arguments.output]
    run_job(arguments.started, paths, arguments.part_images, arguments.pool)


if __name__ == "__main__":
    main()
