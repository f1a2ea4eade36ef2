"""The schema of calibration.json."""

import json

from runtime.bundle.calibration_json import Calibration, CalibrationFacts, Convergence, Fingerprint
from runtime.bundle.manifest import Preprocessing


def test_the_file_begins_with_what_it_was_made_from():
    preprocessing = Preprocessing(
        image_size=8, resize_size=9, crop_pct=0.875, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    calibration = Calibration(
        fingerprint=Fingerprint(
            graph_sha256="0" * 64,
            weights_sha256="1" * 64,
            images=3,
            images_sha256="2" * 64,
            preprocessing=preprocessing,
            options={},
            versions={},
        ),
        target="cpu",
        method="mse",
        candidates=(),
        techniques=(),
        activations=(),
        layers=("conv1",),
        float_layers=("fc",),
        images=3,
        held_out=1,
        held_out_sqnr_db=30.0,
        convergence=Convergence(median=0.1, worst=0.2, worst_tensor="x"),
        warnings=(),
    )
    assert [*json.loads(calibration.to_bytes())] == [
        *("schema_version", "fingerprint", "target", "method", "candidates", "techniques", "activations", "layers"),
        *("float_layers", "images", "held_out", "held_out_sqnr_db", "convergence", "warnings"),
    ]
    assert {*Calibration.model_fields} - {*CalibrationFacts.model_fields} == {"schema_version", "fingerprint"}
