"""A query's embedding, made as the rows of an output were made: the same bundle, and the same steps after it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layout import MANIFEST_FILE
from runtime.bundle.results.neighbours_json import Metric
from runtime.embed.output.identity import Job
from runtime.embed.output.places import read_places
from runtime.embed.output.rows import finish_embedding
from runtime.engines.contract import Engine
from runtime.engines.facts import describe_engine
from runtime.engines.open_engine import EngineOptions, load_engine, parse_engine
from runtime.errors import BundleError, DataError
from runtime.images.reading import load_pixels
from runtime.neighbours.nearest import lengths
from runtime.search.request import SearchRequest
from runtime.support.arrays import AnyFloats
from runtime.support.files import hash_file


def open_bundle_of(request: SearchRequest, job: Job) -> Bundle:
    """Return the bundle that made an output.

    Raises:
        BundleError: The bundle is not where the job had it, or is another one.
    """
    made_by = f"{job.bundle.model}, {job.bundle.precision}"
    path = request.bundle
    if path is None:
        places = read_places(request.output)
        if places is None or not Path(places.bundle).is_dir():
            where = f"{places.bundle} is not there" if places is not None else "where it is, no file says"
            raise BundleError(
                f"the bundle that made {request.output} ({made_by}) cannot be found, {where}: pass it as --bundle"
            )
        path = Path(places.bundle)
    bundle = open_bundle(path)
    found = hash_file(bundle.path / MANIFEST_FILE)
    if found != job.bundle.manifest_sha256:
        manifest = bundle.manifest
        raise BundleError(
            f"{path} ({manifest.model.name}, {manifest.precision.name}) is not the bundle that made {request.output} "
            f"({made_by}): its manifest has sha256 {found[:12]}, expected {job.bundle.manifest_sha256[:12]}; distances "
            "between two networks mean nothing, pass as --bundle the one that did"
        )
    return bundle


def open_engine_of(request: SearchRequest, job: Job, bundle: Bundle) -> Engine:
    """Return the engine for the queries: the one asked for, or the job's.

    Raises:
        UsageError: There is no such engine or precision.
        EngineError: The engine cannot run on this machine.
    """
    choice = parse_engine(request.engine or job.engine.name)
    options = EngineOptions(
        device=request.device or ("gpu" if job.device == "gpu" else "cpu"), weights=request.weights, share_cores=True
    )
    options = replace(options, precision=choice.precision, provider=choice.provider)
    return load_engine(bundle, choice.name, options)


def engine_notes(job: Job, engine: Engine) -> tuple[str, ...]:
    """Return in a sentence how the engine of the queries differs from that of the rows, if it does."""
    found, wanted = describe_engine(engine), job.engine
    if found == wanted:
        return ()
    return (
        f"The query was embedded by {found.name} {found.version} ({found.executes}), the rows by {wanted.name} "
        f"{wanted.version} ({wanted.executes}): distances hold the difference of the two.",
    )


def embed_queries(queries: Sequence[Path], *, job: Job, bundle: Bundle, engine: Engine, metric: Metric) -> AnyFloats:
    """Return an embedding for each picture, (Q, D), of the dtype of the rows.

    Raises:
        DataError: A picture cannot be read, or its embedding cannot be compared.
        EngineError: The engine cannot run it.
    """
    found = []
    for query in queries:
        pixels = load_pixels(query, bundle.manifest.preprocessing)
        # One at a time: a query's embedding does not depend on what else is asked for.
        embedding = finish_embedding(engine.infer(pixels[np.newaxis]).embedding, job.rows)
        if not np.isfinite(embedding).all():
            raise DataError(f"{query}: its embedding holds NaN or infinity; expected numbers, pass another picture")
        if metric == "cosine" and not lengths(embedding)[0]:
            raise DataError(f"{query}: its embedding has length 0 and no direction; pass --metric euclidean")
        found.append(embedding[0])
    return np.stack(found)
