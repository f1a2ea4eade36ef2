"""Print as JSON what our look-ups of versions and of names say on the real bindings."""

import json

from runtime.engines.trt.versions import find_features, require_tensorrt
from runtime.plans.parse_onnx import strongly_typed_flags


def main() -> None:
    import tensorrt as trt

    version = require_tensorrt()
    same_capability = hasattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY")
    answers = {
        "version": str(version),
        "flags": strongly_typed_flags(),
        "HAS_SAME_COMPUTE_CAPABILITY": [find_features(version).HAS_SAME_COMPUTE_CAPABILITY, same_capability],
    }
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
