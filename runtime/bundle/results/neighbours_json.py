"""A bundle's neighbours against PyTorch's: the schema of `neighbours.json` and of `run-ssl embed --check --json`.

Recalls and distances are fractions. The rules that the attributes name are those of
`runtime/neighbours/agreement.py`, which measures them.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from runtime.errors import BundleError, UsageError
from runtime.support.json_file import read_versioned, write_model

Metric = Literal["cosine", "euclidean"]


class _Part(BaseModel):
    """A frozen part of the file; no NaN, no infinity, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Recall(_Part):
    """Recall@k of all queries; rules 1 to 3.

    Attributes:
        k: How many neighbours are asked for.
        recall: Share of them that is right, 0 to 1.
        ci95: 95 % interval over the queries; `runtime/neighbours/recall_interval.py` says what it covers.
        chance: Recall of images drawn blindly.
    """

    k: int
    recall: float
    ci95: tuple[float, float]
    chance: float


class Search(_Part):
    """The answer to one of the two questions.

    Attributes:
        recalls: One per k, as given.
        lost: Searches that return another first image; rule 4.
        near_ties: How many of these are near-ties; rule 5.
        farther_median: How much farther the images found instead are, median of the lost ones, a fraction; 0 where none
            is lost, None where it is infinite, as a copy was lost.
        farther_most: The largest of the lost ones; the same.
        first_listed: Share of the searches that have the true first neighbour among the `depth` first images.
        noise: Noise of the distances, a fraction; rule 6. None where the bundle takes most neighbours for copies.
    """

    recalls: tuple[Recall, ...]
    lost: int
    near_ties: int
    farther_median: float | None
    farther_most: float | None
    first_listed: float
    noise: float | None


class Agreement(_Part):
    """How far two embeddings of the same images agree about neighbours.

    Attributes:
        images: How many, N.
        metric: `cosine` or `euclidean`.
        depth: The largest k, at least 2.
        renewed: Queries and index of the bundle.
        kept: Queries of the bundle, index of PyTorch.
        step: What separates the first two neighbours, a fraction; rule 5.
        copies: Images that have a copy in the sample; rule 7.
        cosine_mean: Cosine between the two embeddings of one image, mean over the images.
        cosine_lowest: The lowest of them.
    """

    images: int
    metric: Metric
    depth: int
    renewed: Search
    kept: Search
    step: float
    copies: int
    cosine_mean: float
    cosine_lowest: float


class NeighbourCheck(_Part):
    """A bundle's embeddings against PyTorch's.

    Attributes:
        schema_version: Raised when a meaning changes.
        bundle: The bundle, as the user gave it.
        model: Name of the model.
        engine: What ran the bundle.
        precision: What it really executed.
        source: Where the images came from, in words; empty where a program gave their pixels.
        agreement: What was measured.
    """

    schema_version: Literal[1] = 1
    bundle: str
    model: str
    engine: str
    precision: str
    source: str = ""
    agreement: Agreement

    def recall(self, k: int) -> float:
        """Return recall@k of the worse of the two questions, 0 to 1.

        Raises:
            UsageError: Recall was not measured at that k.
        """
        searches = (self.agreement.renewed, self.agreement.kept)
        found = [recall.recall for search in searches for recall in search.recalls if recall.k == k]
        if not found:
            measured = ", ".join(str(recall.k) for recall in self.agreement.renewed.recalls)
            raise UsageError(f"recall at {k} was not measured, expected one of {measured}: ask for another k")
        return min(found)


def write_neighbours(path: Path, check: NeighbourCheck) -> None:
    """Write `neighbours.json`, whole or not at all.

    Raises:
        BundleError: The file cannot be written.
    """
    write_model(path, check)


def read_neighbours(path: Path) -> NeighbourCheck:
    """Return what `write_neighbours` wrote.

    Raises:
        BundleError: The file cannot be read, is newer than this version, or is not that.
    """
    again = "run `run-ssl embed BUNDLE IMAGES --check --save` again"
    try:
        return read_versioned(path, NeighbourCheck, otherwise="is not a check of neighbours", next_step=again)
    except OSError as error:
        raise BundleError(f"{path} is not a check of neighbours ({error.strerror}): {again}") from error
