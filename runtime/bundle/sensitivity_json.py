"""What single layers of an INT8 graph cost: the schema of `sensitivity.json`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Figure = Literal["top-1", "k-NN accuracy"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerSensitivity(_Part):
    """What one layer's quantisation costs.

    Attributes:
        layer: Name of the layer.
        sqnr_only_db: SQNR of the outputs with this layer quantised alone, decibels; None if none changes.
        noise_share: Share of the layer in the sum of all layers' noise powers, a fraction.
    """

    layer: str
    sqnr_only_db: float | None
    noise_share: float = Field(ge=0, le=1)


class Sensitivity(_Part):
    """What every layer costs.

    Attributes:
        layers: The largest share first; of equal shares the first in the graph.
        sqnr_all_db: SQNR of the outputs with all layers quantised, decibels; None if none changes.
        additivity_db: `sqnr_all_db` minus the SQNR that the sum of the layers' noise powers foretells; None
            where one of the two is infinite.
        images: Images that were judged on.
    """

    layers: tuple[LayerSensitivity, ...]
    sqnr_all_db: float | None
    additivity_db: float | None
    images: int = Field(ge=1)


class PairedCounts(_Part):
    """How often exactly one of two networks is right.

    Attributes:
        lost: Images that only the original gets right.
        gained: Images that only the graph gets right.
        images: All images.
    """

    lost: int = Field(ge=0)
    gained: int = Field(ge=0)
    images: int = Field(ge=1)

    @property
    def drop(self) -> float:
        """The paired top-1 drop, a fraction; negative where the graph is right more often."""
        return (self.lost - self.gained) / self.images


class Evaluation(PairedCounts):
    """What was measured with some layers float.

    Attributes:
        kept_float: Names of the layers, the noisiest first.
    """

    kept_float: tuple[str, ...]


class FloatLayer(_Part):
    """A layer kept float.

    Attributes:
        layer: Name of the layer.
        cost_ms: Median latency of one image with it and those listed before it float, less that without it.
    """

    layer: str
    cost_ms: float


class LayerSearch(_Part):
    """All of `sensitivity.json`.

    Attributes:
        schema_version: Raised when a meaning changes.
        sensitivity: What each layer costs in accuracy.
        max_drop: The budget, a fraction; None where there was none.
        figure: What the budget is of: top-1, or without a classifier the accuracy of nearest neighbours.
        evaluations: What the search for the fewest float layers measured, paired with the float network.
        reached: The one that was chosen.
        resumed: How many evaluations an interrupted search had left.
        notice: Why what an earlier search left was not used; None if it was, or there was none.
        engine: What latencies were measured with; None where nothing stays float.
        int8_ms: Median latency of one image with every layer in INT8, milliseconds.
        float_layers: What stays float, the noisiest first.
    """

    schema_version: Literal[1] = 1
    sensitivity: Sensitivity
    max_drop: float | None = None
    figure: Figure = "top-1"
    evaluations: tuple[Evaluation, ...] = ()
    reached: Evaluation | None = None
    resumed: int = 0
    notice: str | None = None
    engine: str | None = None
    int8_ms: float | None = None
    float_layers: tuple[FloatLayer, ...] = ()
