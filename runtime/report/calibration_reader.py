"""The parts of `calibration.json` and `sensitivity.json` that a report shows.

The ground floor may not import `calibration`, which writes them, so what is needed is described again; keys that
are not are let through.
"""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.bundle.layout import CALIBRATION_FILE, SENSITIVITY_FILE
from runtime.errors import BundleError
from runtime.support.json_file import first_problem


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Activation(_Part):
    """A tensor with a scale; ranges are those on the calibration images, after equalisation."""

    name: str
    scale: float
    unsigned: bool
    clip: float
    low: float
    high: float
    amax_before: float


class Tried(_Part):
    """Something that was tried: logits SQNR on the held-out images, decibels, and whether it was kept."""

    name: str
    sqnr_db: float
    kept: bool


class Convergence(_Part):
    """How far scales from two halves of the images are apart, as fractions."""

    median: float
    worst: float
    worst_tensor: str


class CalibrationFacts(_Part):
    """What a report needs of `calibration.json`."""

    target: str
    method: str
    candidates: tuple[Tried, ...]
    techniques: tuple[Tried, ...]
    activations: tuple[Activation, ...]
    float_layers: tuple[str, ...]
    images: int
    held_out: int
    held_out_sqnr_db: float
    convergence: Convergence
    warnings: tuple[str, ...]


class LayerSensitivity(_Part):
    """What quantising one layer costs: SQNR with it alone in INT8, and its share of the noise of all."""

    layer: str
    sqnr_only_db: float | None
    noise_share: float


class Sensitivity(_Part):
    """What every layer costs."""

    layers: tuple[LayerSensitivity, ...]
    sqnr_all_db: float | None
    images: int


class FloatLayer(_Part):
    """A layer that stays float, and the latency that this costs, milliseconds."""

    layer: str
    cost_ms: float


class SensitivityFacts(_Part):
    """What a report needs of `sensitivity.json`."""

    sensitivity: Sensitivity
    max_drop: float | None = None
    engine: str | None = None
    int8_ms: float | None = None
    float_layers: tuple[FloatLayer, ...] = ()


_Facts = TypeVar("_Facts", CalibrationFacts, SensitivityFacts)


def read_calibration(bundle: Path) -> CalibrationFacts | None:
    """Return what a bundle's calibration measured; None where it has none.

    Raises:
        BundleError: The file cannot be read or is not that.
    """
    return _read(bundle / CALIBRATION_FILE, CalibrationFacts)


def read_sensitivity(bundle: Path) -> SensitivityFacts | None:
    """Return what a bundle's layers cost in accuracy; None where that was not measured.

    Raises:
        BundleError: The file cannot be read or is not that.
    """
    return _read(bundle / SENSITIVITY_FILE, SensitivityFacts)


def _read(file: Path, schema: type[_Facts]) -> _Facts | None:
    if not file.exists():
        return None
    try:
        return schema.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}; export the bundle again") from error
    except ValidationError as error:
        raise BundleError(f"{file} is not what an export writes ({first_problem(error)}): export again") from error
