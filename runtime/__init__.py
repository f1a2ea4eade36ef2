"""Run exported bundles on a device: bundle, preprocessing, engines, comparison. Imports no torch and no onnx."""

from typing import TYPE_CHECKING

from runtime.support.public_names import public_names

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle, open_bundle
    from runtime.bundle.manifest import Preprocessing
    from runtime.engines.contract import Engine, Outputs
    from runtime.engines.open_engine import EngineOptions, load_engine
    from runtime.errors import ExportSslError
    from runtime.images.preprocessing import preprocess
    from runtime.images.reading import load_pixels

__all__ = [
    "Bundle",
    "Engine",
    "EngineOptions",
    "ExportSslError",
    "Outputs",
    "Preprocessing",
    "load_engine",
    "load_pixels",
    "open_bundle",
    "preprocess",
]

# Behind `not TYPE_CHECKING`, so that a type checker knows these names and finds fault with any other.
if not TYPE_CHECKING:
    __getattr__ = public_names(
        __name__,
        {
            "Bundle": "runtime.bundle.bundle",
            "Engine": "runtime.engines.contract",
            "EngineOptions": "runtime.engines.open_engine",
            "ExportSslError": "runtime.errors",
            "Outputs": "runtime.engines.contract",
            "Preprocessing": "runtime.bundle.manifest",
            "load_engine": "runtime.engines.open_engine",
            "load_pixels": "runtime.images.reading",
            "open_bundle": "runtime.bundle.bundle",
            "preprocess": "runtime.images.preprocessing",
        },
    )
