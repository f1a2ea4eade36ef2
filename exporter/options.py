"""Make sense of the INT8 options of the command line together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calibration.activations.thresholds import Method
from calibration.options import QuantizeOptions
from calibration.qdq.placement import Target
from exporter.request import Int8Request
from runtime.errors import UsageError


@dataclass(frozen=True)
class Int8Options:
    """The options as they were typed; see `export-ssl --help`. `max_drop` is in percentage points."""

    int8: bool
    images: Path | None
    count: int
    seed: int
    method: Method | Literal["auto"]
    target: Target
    classifier: bool
    float_weights: bool
    cache: Path | None
    eval_data: Path | None
    max_drop: float | None
    sensitivity: bool
    workers: int | None

    def read(self) -> Int8Request | None:
        """Return how to calibrate, or None without `--int8`.

        Raises:
            UsageError: Options contradict each other, or one is missing.
        """
        if not self.int8:
            self._refuse_without_int8()
            return None
        if self.images is None:
            raise UsageError(
                "--int8 needs --calib FOLDER with real images (training images, 512 are drawn): "
                "scales from random data would be wrong, so there is no default"
            )
        if self.max_drop is not None and self.eval_data is None:
            raise UsageError(f"--max-drop {self.max_drop:g} needs --eval-data FOLDER of labelled images")
        return Int8Request(
            images=self.images,
            count=self.count,
            seed=self.seed,
            options=QuantizeOptions(
                method=self.method,
                target=self.target,
                classifier=self.classifier,
                float_weights=self.float_weights,
                workers=self.workers,
            ),
            eval_data=self.eval_data,
            max_drop=None if self.max_drop is None else self.max_drop / 100,
            sensitivity=self.sensitivity,
            cache=self.cache,
        )

    def _refuse_without_int8(self) -> None:
        given = {
            "--calib": self.images is not None,
            "--calib-cache": self.cache is not None,
            "--eval-data": self.eval_data is not None,
            "--max-drop": self.max_drop is not None,
            "--sensitivity": self.sensitivity,
            "--int8-classifier": self.classifier,
            "--int8-float-weights": self.float_weights,
        }
        named = [name for name, present in given.items() if present]
        if named:
            raise UsageError(f"{named[0]} is for INT8: add --int8, or leave it out")
