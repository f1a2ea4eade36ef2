"""The result of a comparison: the schema of `run-ssl compare --json`.

Where the network has no classifier (`neighbour_vote` is then there), classes are those that nearest neighbours vote
for, and wherever logits are named, the embeddings are meant.

Accuracies, drops and agreements are fractions of all images. JSON has no infinity: `sqnr_db` is null
when the logits are equal in every value (`identical` is then true) and when they hold NaN or infinity
(`non_finite_logits` is then above 0).
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.bundle.manifest import Licence, Weights


class _Part(BaseModel):
    """A frozen part of the report; no NaN, no infinity, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OriginalScore(_Part):
    """What the PyTorch original reached.

    Attributes:
        engine: Name of the engine that ran it, `pytorch`.
        precision: What it really executed.
        top1: Share of images whose label has the highest logit.
        top5: Share of images whose label is among the `top5_k` highest logits.
        top5_k: 5, or the number of classes where there are fewer.
        images: Images compared.
        images_per_s: Speed inside the engine alone; see `runtime.compare.score.compare`. On Ray, one worker's.
        non_finite_logits: Logits that are NaN or infinite.
        non_finite_images: Images with such a logit.
        repeated: Number of images whose logits equal another image's of their batch, to the last bit.
    """

    engine: str
    precision: str
    top1: float
    top5: float
    top5_k: int
    images: int
    images_per_s: float
    non_finite_logits: int
    non_finite_images: int
    repeated: int = 0


class KeptNeighbours(_Part):
    """How many nearest neighbours of the original's embeddings are found with an engine's.

    Attributes:
        k: How many neighbours are asked for.
        recall: Share of them that is right, 0 to 1: the worse of `run-ssl embed --check`'s two searches.
        images: Images that were searched for, each among all others.
    """

    k: int
    recall: float
    images: int


class EmbeddingScore(_Part):
    """How far an engine's embeddings are from the original's.

    Attributes:
        cosine_mean: Cosine between the two embeddings of one image, mean over the images.
        cosine_p1: The 1st percentile of these cosines.
        cosine_lowest: The lowest of these cosines.
        kept: Neighbours kept at 1 and at 10.
    """

    cosine_mean: float
    cosine_p1: float
    cosine_lowest: float
    kept: tuple[KeptNeighbours, ...]


class EngineScore(_Part):
    """What one engine reached, and how far it is from the original on the same images.

    Attributes:
        bundle: The bundle that it ran, as the user gave it.
        engine: Name of the engine.
        precision: What it really executed.
        top1: Share of images whose label has the highest logit; an image with NaN is a miss.
        top5: Share of images whose label is among the `top5_k` highest logits.
        drop: Original's top1 less this top1; positive where the engine is worse.
        drop_ci95: 95 % confidence interval of `drop` (Tango's score interval for paired images).
        mcnemar_p: Exact two-sided McNemar test of "equally often right".
        agreement: Share of images with the same top-1 decision as the original, right or wrong.
        sqnr_db: Logits against the original's over all images and classes, decibels, or null.
        identical: Whether all logits equal the original's.
        images_per_s: Speed inside the engine alone. On Ray, one worker's.
        only_original_right: Images that the original scores right and this engine wrong.
        only_engine_right: Images that this engine scores right and the original wrong.
        non_finite_logits: Logits that are NaN or infinite.
        non_finite_images: Images with such a logit.
        embedding: How far embeddings are from the original's, where the network has no classifier; None too where one
            is not finite or all zeros.
    """

    bundle: str = ""
    engine: str
    precision: str
    top1: float
    top5: float
    drop: float
    drop_ci95: tuple[float, float]
    mcnemar_p: float
    agreement: float
    sqnr_db: float | None
    identical: bool
    images_per_s: float
    only_original_right: int
    only_engine_right: int
    non_finite_logits: int
    non_finite_images: int
    embedding: EmbeddingScore | None = None


class NeighbourVote(_Part):
    """How classes are found for a network without a classifier; `runtime/neighbours/weighted_knn.py` has the rules.

    Attributes:
        neighbours: How many nearest images vote.
        temperature: Divisor of the cosine in a vote's weight, exp(cosine / temperature).
        gallery: The images that vote, as the user gave them; None where every image votes for all others.
        gallery_images: Number of images that vote.
    """

    neighbours: int
    temperature: float
    gallery: str | None
    gallery_images: int


class FlopsReport(_Part):
    """Multiply-accumulates of convolutions and the classifier for one image, and the card's "FLOPs".

    Attributes:
        pytorch_macs: Counted while the PyTorch original runs.
        onnx_macs: Counted from the nodes of the exported graph.
        card: The model card's "FLOPs", or None where there is no card.
        card_recomputed: The card's own rule applied to this network, or None where there is no card.
    """

    pytorch_macs: int = Field(ge=1)
    onnx_macs: int = Field(ge=1)
    card: int | None
    card_recomputed: int | None


class ParametersReport(_Part):
    """Numbers of weights.

    Attributes:
        pytorch: Parameters of the PyTorch original.
        onnx: Floating-point constants of the exported graph, or None where they were not counted.
    """

    pytorch: int = Field(ge=1)
    onnx: int | None = None


class CardAccuracy(_Part):
    """The model card's ImageNet-1k accuracy.

    Attributes:
        top1: Top-1 accuracy, a fraction.
        top5: Top-5 accuracy, a fraction.
    """

    top1: float
    top5: float


class DataReport(_Part):
    """The images and how fast all of it went.

    Attributes:
        source: Data folder or data set name, as the user gave it.
        images: Images compared.
        unreadable: Names of images that could not be decoded and were skipped.
        notes: What a person should know about how the images were chosen and read.
        seconds: Wall time of decoding and all engines together; on Ray with the time in which the workers start.
        images_per_s: images / seconds.
    """

    source: str
    images: int = Field(ge=1)
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float
    images_per_s: float


class Comparison(_Part):
    """All of `run-ssl compare --json`.

    Attributes:
        schema_version: Raised when a meaning changes.
        bundles: The bundles, as the user gave them.
        model: The model's name.
        weights: Where the original's weights came from.
        licence: The licence of the weights.
        data: The images.
        original: The PyTorch original.
        engines: One score per engine, in the order asked for.
        parameters: Numbers of weights.
        flops: Multiply-accumulates, and the card's count.
        card: The card's accuracy, or None where there is no card.
        neighbour_vote: How classes are found, where the network has no classifier.
    """

    schema_version: Literal[1] = 1
    bundles: tuple[str, ...]
    model: str
    weights: Weights
    licence: Licence
    data: DataReport
    original: OriginalScore
    engines: tuple[EngineScore, ...]
    parameters: ParametersReport
    flops: FlopsReport
    card: CardAccuracy | None
    neighbour_vote: NeighbourVote | None = None

    @property
    def figure(self) -> str:
        """What accuracy is called: `top-1`, or `k-NN accuracy` without a classifier."""
        return "top-1" if self.neighbour_vote is None else "k-NN accuracy"

    @property
    def output(self) -> str:
        """What is compared: `logits`, or `embeddings` without a classifier."""
        return "logits" if self.neighbour_vote is None else "embeddings"
