"""The model configuration of a bundle, from its manifest: nothing of it is typed by hand."""

import math
from dataclasses import replace

from runtime.bundle.layout import LABELS_FILE
from runtime.bundle.manifest import Manifest, TensorSpec
from runtime.serving.backends import Served
from runtime.serving.model_config import DataType, ModelConfig, Tensor, WarmUp
from runtime.serving.settings import Settings

# The output that classes are read from.
_LOGITS = "logits"
_TYPES: dict[str, DataType] = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


def describe_model(name: str, manifest: Manifest, served: Served, settings: Settings) -> ModelConfig:
    """Return the configuration of a model.

    Args:
        name: The model's name in the repository.
        manifest: The bundle's.
        served: The backend.
        settings: How it is served.
    """
    batched = settings.max_batch_size > 0
    pixels = _tensor(manifest.input, batched=batched)
    outputs = tuple(_tensor(spec, batched=batched) for spec in manifest.outputs)
    return ModelConfig(
        name=name,
        backend=served.backend.name,
        max_batch_size=settings.max_batch_size,
        inputs=(pixels,),
        outputs=tuple(replace(spec, labels=LABELS_FILE) if spec.name == _LOGITS else spec for spec in outputs),
        kind=settings.kind,
        instances=settings.instances,
        preferred_batch=settings.preferred_batch,
        max_queue_delay_us=settings.max_queue_delay_us,
        keep=settings.keep,
        parameters=(*served.backend.parameters(settings.instances), ("weights_licence", manifest.licence.spdx)),
        warm_up=_warm_up(pixels, len(manifest.golden), settings, fixed_batch=manifest.fixed_batch or 1),
    )


def warm_up_file(number: int) -> str:
    """Return the name of a file with golden inputs, in `warmup/`."""
    return f"golden-{number}.bin"


def _tensor(spec: TensorSpec, *, batched: bool) -> Tensor:
    """Return an input or output; its batch, the first dimension, is Triton's own, any or fixed."""
    sizes = tuple(size for size in spec.shape[1:] if isinstance(size, int))
    return Tensor(spec.name, _TYPES[spec.dtype], sizes if batched else (spec.fixed_batch or -1, *sizes))


def _warm_up(pixels: Tensor, golden: int, settings: Settings, *, fixed_batch: int) -> tuple[WarmUp, ...]:
    """Return an inference of each golden picture, and one of each batch that the first requests would wait for.

    A graph of a fixed batch takes so many pictures at once: those of a file.
    """
    one = pixels if settings.max_batch_size else replace(pixels, dims=(fixed_batch, *pixels.dims[1:]))
    files = math.ceil(golden / fixed_batch)
    singles = tuple(WarmUp(f"golden {number}", 1, one, warm_up_file(number)) for number in range(files))
    batches = sorted({*settings.preferred_batch, settings.max_batch_size} - {0, 1})
    return (*singles, *(WarmUp(f"batch of {size}", size, one, warm_up_file(0)) for size in batches))
