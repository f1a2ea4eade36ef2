"""What a search is asked to do."""

from dataclasses import dataclass
from pathlib import Path

from runtime.bundle.results.neighbours_json import Metric

DEFAULT_K = 10


@dataclass(frozen=True)
class SearchRequest:
    """A search.

    Attributes:
        output: The output of an embedding job, which is searched.
        queries: Image files; each is searched for.
        k: Number of nearest rows to find of each.
        metric: `cosine` (1 - cos) or `euclidean`.
        bundle: The bundle that made the output; None for where the job had it.
        engine: `NAME` or `NAME:PRECISION`, as in `run-ssl embed`; None for the job's engine.
        device: `cpu` or `gpu`; None for the job's.
        index: Whether an index of faiss is searched, which is made where there is none yet.
        unpack: Whether a copy of the embeddings that need not be unpacked is made where there is none yet; one that is
            there is read by every exact search.
        weights: Checkpoint, for the engine `pytorch`.
    """

    output: Path
    queries: tuple[Path, ...]
    k: int = DEFAULT_K
    metric: Metric = "cosine"
    bundle: Path | None = None
    engine: str | None = None
    device: str | None = None
    index: bool = False
    unpack: bool = False
    weights: Path | None = None
