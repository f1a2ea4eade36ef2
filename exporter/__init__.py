"""From a timm model to a verified bundle: weights, trace, simplify, precision, verification."""

from typing import TYPE_CHECKING

from runtime.support.public_names import public_names

if TYPE_CHECKING:
    from exporter.pipeline import ExportResult, export_bundle
    from exporter.request import ExportRequest, Int8Request, WeightsChoice

__all__ = ["ExportRequest", "ExportResult", "Int8Request", "WeightsChoice", "export_bundle"]

# As in runtime/__init__.py.
if not TYPE_CHECKING:
    __getattr__ = public_names(
        __name__,
        {
            "ExportRequest": "exporter.request",
            "ExportResult": "exporter.pipeline",
            "Int8Request": "exporter.request",
            "WeightsChoice": "exporter.request",
            "export_bundle": "exporter.pipeline",
        },
    )
