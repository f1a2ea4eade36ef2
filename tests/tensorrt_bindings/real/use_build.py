"""Build where TensorRT cannot start, on the real bindings; print the error and what TensorRT logged as JSON."""

import json

from runtime.bundle.plan_json import BuildOptions
from runtime.engines.trt.monitor import make_logger
from runtime.engines.trt.versions import require_tensorrt
from runtime.errors import EngineError
from runtime.plans.build_network import BuildCallbacks, build_plan_bytes
from tests.tensorrt_bindings.real.use_callbacks import Progress


def main() -> None:
    logged: list[str] = []
    version = require_tensorrt()
    callbacks = BuildCallbacks(
        logger=make_logger(lambda level, message: logged.append(f"{level} {message}")),
        progress=Progress(),
        cancelled=lambda: False,
        errors=lambda: logged,
    )
    try:
        build_plan_bytes(
            b"", BuildOptions(), name="model.onnx", version=version, callbacks=callbacks, timing_cache=None
        )
    except EngineError as error:
        print(json.dumps({"error": str(error), "logged": logged}))


if __name__ == "__main__":
    main()
