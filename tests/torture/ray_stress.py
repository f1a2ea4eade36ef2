"""Runs an embedding job on three nodes of Ray while workers, nodes, networks and disks fail, and compares the bytes.

    python -m tests.torture.ray_stress [--images 50000] [--only FAULT …] [--inputs FOLDER] [--json FILE]

The nodes are namespaces of this machine (`tests/torture/ray_nodes.py`), the faults those of
`tests/torture/ray_faults.py`, each on a cluster of its own. Needs root and the Debian package iproute2.

1. The command ends as it must: with 0; or, where the fault ends it, with one line, and the same command succeeds.
2. Its output has the same files with the same bytes as that of one machine without Ray, and nothing beside them.
3. No worker is left on a node that runs, and the output is still the same when the whole cluster is gone.

Times are of whole commands. Those of the faults are divided by that of the job that nothing disturbs.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.torture.ray_faults import FAULTS, Fault, Scene, nothing
from tests.torture.ray_nodes import PORT, Node, Place, cluster, places, why_no_nodes
from tests.torture.ray_work import Ending, Job, count_rows, differences, judge, make_inputs, said_beside_progress

NODES = 3
# Seconds: a command that takes longer hangs.
_LIMIT_S = 900.0


# By the number of images, and by the name of the fault; "alone" is the job without Ray.
Results = dict[str, dict[str, "Trial"]]


@dataclass
class Trial:
    """What came of a job.

    Attributes:
        what: What happened to it, in words.
        images: Number of images.
        parts: Number of parts.
        rows: Number of rows of the output.
        came_at: How many parts were made at each moment when something happened.
        seconds: Time of the command that met it; of the undisturbed job the median of all runs.
        again_s: Time of the same command started again; 0 where it was not.
        kept: Number of parts that were there when it was started again.
        ratio: Time of both over that of the undisturbed job on Ray; 0 where that was not run.
        said: What the command that the fault ended said.
        each_s: Times of all runs of the undisturbed job.
        faults: What is wrong.
    """

    what: str
    images: int
    parts: int
    rows: int = 0
    came_at: list[int] = field(default_factory=list)
    seconds: float = 0.0
    again_s: float = 0.0
    kept: int = 0
    ratio: float = 0.0
    said: str = ""
    each_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def run_alone(job: Job) -> Trial:
    """Run the job without Ray, on this machine."""
    began = time.monotonic()
    subprocess.run(job.command(job.alone), env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    seconds = time.monotonic() - began
    rows = count_rows(job.alone)
    return Trial("nothing, without Ray", job.images, job.parts, rows=rows, seconds=round(seconds, 1))


def run_command(job: Job, fault: Fault, there: list[Place], nodes: list[Node]) -> Ending:
    """Run the job's command on the first node, and let a fault happen to it."""
    said, printed = job.scratch / "stderr", job.scratch / "stdout"
    ray = ("--ray-address", f"{there[0].address}:{PORT}", "--ray-cpus", "1")
    began = time.monotonic()
    command = nodes[0].started(job.command(job.output, *ray), job.scratch, stdout=printed, stderr=said)
    scene = Scene(there, nodes, command, job.output, job.parts)
    with ThreadPoolExecutor(1) as beside:
        happens = beside.submit(fault.happens, scene)
        try:
            code: int | None = command.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            seconds = time.monotonic() - began
            # Whatever ended the wait: its program goes with the node then, and the fault does not wait for it.
            command.kill()
            command.wait()
        happens.result()
    return Ending(code, said_beside_progress(said), seconds, scene.came_at)


def try_fault(job: Job, fault: Fault, there: list[Place]) -> Trial:
    """Return what came of a job that a fault met."""
    shutil.rmtree(job.output, ignore_errors=True)
    trial = Trial(fault.what, job.images, job.parts)
    with cluster(there) as nodes:
        fault.before(nodes)
        ending = run_command(job, fault, there, nodes)
        trial.seconds, trial.said, trial.came_at = round(ending.seconds, 1), ending.said[-400:], ending.came_at
        trial.faults += judge(ending, fault.codes)
        if not ending.came_at and fault.happens is not nothing:
            trial.faults.append("nothing happened to it before it ended")
        if ending.code and fault.again_on == "the same":
            fault.mended(there, nodes)
            again(job, trial, there, nodes)
        trial.faults += left_workers(nodes, seconds=fault.leave_s)
    if ending.code and fault.again_on == "a new one":
        with cluster(there) as nodes:
            again(job, trial, there, nodes)
    trial.rows = count_rows(job.output)
    trial.faults += differences(job.output, job.alone)
    return trial


def again(job: Job, trial: Trial, there: list[Place], nodes: list[Node]) -> None:
    """Start the same command again, with nothing to disturb it."""
    trial.kept = len(list(job.output.glob("_parts/part-*.json")))
    ending = run_command(job, FAULTS["nothing"], there, nodes)
    trial.again_s = round(ending.seconds, 1)
    trial.faults += [f"started again: {what}" for what in judge(ending, (0,))]


def left_workers(nodes: list[Node], *, seconds: float) -> Iterator[str]:
    """Yield what workers are left on the nodes, after so long."""
    began = time.monotonic()
    while (left := [maker for node in nodes for maker in node.makers()]) and time.monotonic() < began + seconds:
        time.sleep(0.2)
    if left:
        yield f"{len(left)} workers are left {seconds:.0f} s after the command"
    else:
        print(f"no worker was left {time.monotonic() - began:.1f} s after the command", flush=True)


def read(file: Path | None) -> Results:
    """Return earlier results; none where there is no file."""
    if file is None or not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    return {images: {name: Trial(**one) for name, one in trials.items()} for images, trials in found.items()}


def write(file: Path | None, results: Results) -> None:
    """Work out the ratios to the undisturbed job of as many images, if it was run, and write all."""
    for trials in results.values():
        whole = trials.get("nothing")
        for trial in trials.values():
            trial.ratio = round((trial.seconds + trial.again_s) / whole.seconds, 2) if whole is not None else 0.0
    if file is not None:
        file.parent.mkdir(exist_ok=True)
        order = ["alone", *FAULTS]
        ordered = {
            images: {name: asdict(results[images][name]) for name in order if name in results[images]}
            for images in sorted(results, key=int, reverse=True)
        }
        file.write_text(json.dumps(ordered, indent=1), encoding="utf-8")


def note(trials: dict[str, Trial], name: str, trial: Trial) -> None:
    """Keep a result; of the undisturbed job, which runs several times, the median time and all faults."""
    if name == "nothing":
        before = trials.get(name)
        trial.each_s = [*(before.each_s if before else ()), trial.seconds]
        trial.seconds = round(statistics.median(trial.each_s), 1)
        trial.faults = [*(before.faults if before else ()), *trial.faults]
    trials[name] = trial


def in_turn(names: list[str]) -> list[str]:
    """Return the faults in the order in which they are tried: the undisturbed job comes first, and last once more."""
    return [*names, "nothing"] if "nothing" in names and len(names) > 1 else names


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=50_000, help="default: %(default)s")
    parser.add_argument("--part-images", type=int, default=512, help="default: %(default)s")
    parser.add_argument("--only", nargs="*", choices=sorted(FAULTS), default=list(FAULTS), help="faults")
    parser.add_argument("--inputs", type=Path, help="folder of bundle and pictures; made where they are absent")
    parser.add_argument("--json", type=Path, help="file for the results; those of other faults in it are kept")
    return parser.parse_args()


def main() -> None:
    """Try all faults, print a row for each, and exit with 1 if something is wrong."""
    arguments = parse_arguments()
    if reason := why_no_nodes():
        print(f"skipped: {reason}")
        return
    # Nodes, namespaces and files go with the blocks below, whatever ends this program.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    # A shell lets what it starts in the background ignore Ctrl-C, and the job's command would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results, wrong = read(arguments.json), False
    if len(arguments.only) == len(FAULTS):
        results[f"{arguments.images}"] = {}
    trials = results.setdefault(f"{arguments.images}", {})
    # Names of Unix sockets are short.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as root:
        scratch, inputs = Path(root), arguments.inputs or Path(root, "inputs")
        job = Job(inputs.absolute(), scratch, arguments.images, arguments.part_images)
        make_inputs(job)
        if "alone" not in trials or not job.alone.is_dir():
            trials["alone"] = run_alone(job)
        print(f"{trials['alone'].what}: {trials['alone'].seconds:.1f} s", flush=True)
        with places(NODES, scratch / "disk") as there:
            for name in in_turn(arguments.only):
                trial = try_fault(job, FAULTS[name], there)
                print(
                    f"{trial.what}: {trial.seconds:.1f} s, then {trial.again_s:.1f} s; {trial.rows:,} rows; at "
                    f"{trial.came_at} of {trial.parts} parts; {trial.said!r}",
                    flush=True,
                )
                for what in trial.faults:
                    print(f"  fault: {what}", flush=True)
                note(trials, name, trial)
                wrong |= bool(trial.faults)
                write(arguments.json, results)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
