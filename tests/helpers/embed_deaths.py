"""A program for `test_embed_kill`: it dies at every change of its output in turn, and goes on.

Run as `python -m tests.helpers.embed_deaths FOLDER CASE`. For each n it forks a process that runs a job and is ended,
with nothing flushed or cleaned up, as it is about to make its n-th change below the output; another then runs the job
to its end. It prints how many such moments there were, and those after which the output was not the wanted one.
"""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

import runtime.embed.opening
from runtime.embed.job import run_embedding
from runtime.embed.request import EmbedRequest, OutputChoice
from tests.helpers.embed_jobs import SumEngine, files_below

DIED = 7
# Else every process would import pandas, where it is installed: pyarrow does so at its first array.
pyarrow.array(np.zeros(1))
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.copyfile")


def count_changes(output: Path, end_at: int) -> None:
    """End this process at a change below the output; audit events are CPython's own, whatever calls them."""
    seen = 0

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in _CHANGES or writes) and any(str(output) in str(argument) for argument in arguments):
            seen += 1
            if seen == end_at:
                os._exit(DIED)

    sys.addaudithook(look)


def run_forked(request: EmbedRequest, end_at: int = 0) -> int:
    """Return the exit code of a process that runs a job."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        count_changes(request.output, end_at)
        run_embedding(request)
        code = 0
    finally:
        os._exit(code)


def main(folder: Path, case: str) -> None:
    runtime.embed.opening.load_engine = lambda *_arguments: SumEngine()  # type: ignore[attr-defined]
    writing = OutputChoice(format="npy" if case == "npy" else "parquet")
    whole = EmbedRequest(
        bundle=folder / "bundle",
        images=(folder / "pictures",),
        output=folder / "whole",
        writing=writing,
        batch_size=2,
        part_images=4,
        workers=2,
    )
    assert run_forked(whole) == 0
    other = replace(whole, output=folder / "other", writing=OutputChoice(normalise=True), part_images=2)
    assert run_forked(other) == 0
    wanted, moment, wrong = files_below(whole.output), 0, []
    while True:
        moment += 1
        request = replace(whole, output=folder / "out", overwrite=case == "overwrite")
        shutil.rmtree(request.output, ignore_errors=True)
        if request.overwrite:
            shutil.copytree(other.output, request.output)
        code = run_forked(request, moment)
        if code == 0:
            break
        # Overwriting has begun anew once the new description is there; before, it is asked for again.
        begun = (request.output / "_job.json").is_file() and (request.output / "_job.json").read_bytes() == wanted[
            "_job.json"
        ]
        again = run_forked(replace(request, overwrite=request.overwrite and not begun))
        if code != DIED or again != 0 or files_below(request.output) != wanted:
            wrong.append(moment)
    print(json.dumps({"moments": moment - 1, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
