"""A job on Ray: the same pieces and parts as on one machine, made by a pool of workers.

1. The driver lists the images, writes what is to do into the output, and hands Ray Data the pieces' numbers; each
   worker writes whole parts into the output. So images and output must be under the same paths on all nodes.
2. How many workers there are, where, and what happens when one dies, is Ray's: it starts another and gives it the
   piece again, without end; a piece that has killed some workers is refused by the next one, which ends the job.
3. An output is resumed on Ray or without it, whichever way it was started.
"""

import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.data.sources.entries import KeyDigest
from runtime.embed.job import (
    JobListener,
    JobResult,
    end_job,
    how_far,
    list_source,
    missing_pieces,
    open_inputs,
)
from runtime.embed.output.directory import add_up, opened_output
from runtime.embed.output.identity import Job, describe_job
from runtime.embed.output.part_files import remove_partial
from runtime.embed.output.pieces_on_disk import write_pieces
from runtime.embed.output.places import note_places
from runtime.embed.pieces import cut_pieces
from runtime.embed.ray_worker import PartMaker, Task, probe_engine
from runtime.embed.request import EmbedRequest
from runtime.engines.facts import EngineFacts
from runtime.errors import named_error
from runtime.images.formats import PassedOver
from runtime.on_ray.answers import raise_failure
from runtime.on_ray.choice import RayChoice, absolute, amount, check_resources
from runtime.on_ray.connect import connected
from runtime.on_ray.pool import pool_answers
from runtime.on_ray.ship_bundle import pack_bundle


def run_on_ray(request: EmbedRequest, choice: RayChoice, listener: JobListener | None = None) -> JobResult:
    """Do a job, or what is left of it, on Ray.

    Raises:
        ExportSslError: Anything that stops it, in one line. Finished parts are kept, and the same call resumes.
        KeyboardInterrupt: The user did.
    """
    listener = listener or JobListener()
    request = _for_workers(request, choice)
    bundle, source = open_inputs(request, listener)
    listener.on_stage("connect to Ray")
    # The output is held until the workers are gone: one could still write into it.
    with ExitStack() as held, connected(choice.address) as ray:
        check_resources(ray, choice)
        passed_over = PassedOver()
        listing = list_source(source, listener, passed_over)
        root = Path(source.root).absolute()
        task = Task(request, source, root, ray.put(pack_bundle(bundle)))
        listener.on_stage(f"open the engine in a worker with {amount(choice)}")
        facts, hardware = _probe(ray, task, choice)
        job = describe_job(request, bundle, facts, listing, hardware=hardware)
        held.enter_context(opened_output(request.output, job, bundle, overwrite=request.overwrite))
        held.callback(remove_partial, request.output)
        note_places(request)
        return replace(_run(task, job, choice, listener), passed_over=passed_over)


def _run(task: Task, job: Job, choice: RayChoice, listener: JobListener) -> JobResult:
    output = task.request.output
    before = add_up(output, job)
    listener.on_start(job.images.count, before.images)
    began = time.perf_counter()
    digest = KeyDigest()
    pieces = cut_pieces(digest.watch(task.source.entries()), job.part_images)
    numbers = list(write_pieces(output, missing_pieces(pieces, output, job.parts)))
    done = before.images
    try:
        with closing(pool_answers([{"number": number} for number in numbers], PartMaker, task, choice)) as answers:
            for row in answers:
                raise_failure(row)
                done += row["images"]
                listener.on_images(done)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(how_far(output, job)) from None
    return end_job(output, job, seen=digest.listing(), before=before.images, seconds=time.perf_counter() - began)


def _probe(ray: Any, task: Task, choice: RayChoice) -> tuple[EngineFacts, str]:
    """Return what engine the workers will open, and on what hardware.

    Raises:
        ExportSslError: A worker cannot open it.
    """
    remote = ray.remote(probe_engine).options(num_cpus=choice.cpus, num_gpus=choice.gpus or None)
    found: tuple[EngineFacts, str] | dict[str, Any] = ray.get(remote.remote(task))
    if isinstance(found, tuple):
        return found
    raise named_error(found["kind"], found["failure"])


def _for_workers(request: EmbedRequest, choice: RayChoice) -> EmbedRequest:
    """Return a request as another process, in another folder, reads it."""
    return replace(
        request,
        output=request.output.absolute(),
        weights=absolute(request.weights),
        native=absolute(request.native),
        workers=request.workers or choice.cpus,
        threads=request.threads or choice.cpus,
        device="gpu" if choice.gpus else request.device,
    )
