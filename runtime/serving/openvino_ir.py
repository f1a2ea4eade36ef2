"""A bundle's graph as OpenVINO IR, checked against the bundle's golden outputs.

Both servers read `model.onnx` too: Triton's OpenVINO backend with `default_model_filename` (its README at db19304),
OpenVINO Model Server by its extension (src/modelinstance.cpp at 7e4df0c). The IR is the form that both look for first,
and what is served is then what was converted and checked here, by one known OpenVINO.
"""

import re
from pathlib import Path
from typing import Any

from runtime.bundle.bundle import Bundle
from runtime.engines.contract import checked_outputs, network_input, run_batches
from runtime.engines.openvino_floats import compute_in_floats, int8_kernels_differ
from runtime.engines.openvino_package import import_openvino
from runtime.engines.openvino_unsigned import make_unsigned
from runtime.errors import EngineError, VerificationError
from runtime.support.arrays import Feed, Floats
from runtime.support.paired_statistics import sqnr_db

XML, BIN = "model.xml", "model.bin"


def write_ir(bundle: Bundle, folder: Path) -> float:
    """Write model.xml and model.bin, and return how near what they hold is to PyTorch.

    Weights keep their precision: `compress_to_fp16` is off. Activations that are never negative are written as unsigned
    integers, which OpenVINO runs faster on x86 (`runtime/engines/openvino_unsigned.py`).

    Args:
        bundle: An opened bundle.
        folder: Where the two files go.

    Returns:
        SQNR against the golden outputs, decibels: the least of all outputs, computed in FP32.

    Raises:
        EngineError: OpenVINO is not installed, or cannot read, write or compile the graph.
        VerificationError: The outputs differ from the golden ones by more than the manifest allows.
    """
    try:
        openvino = import_openvino()
    except EngineError as error:
        raise EngineError(f"--backend openvino needs OpenVINO to convert the graph: {error}") from error
    golden, required_db = bundle.golden(), bundle.manifest.precision.min_sqnr_db
    try:
        core = openvino.Core()
        model = core.read_model(bundle.model_path)
        if bundle.manifest.precision.int8 is not None:
            model = make_unsigned(model)
        _number_unnamed(model)
        openvino.save_model(model, folder / XML, compress_to_fp16=False)
        written = core.read_model(folder / XML)
        # The file is checked and not the machine: a CPU with bf16 instructions would compute in them, and one without
        # VNNI would clip INT8 sums.
        checked = compute_in_floats(written) if int8_kernels_differ() else written
        compiled = core.compile_model(checked, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        names, images = [spec.name for spec in bundle.manifest.outputs], network_input(golden.pixels, bundle.manifest)

        def run(batch: Feed) -> list[Floats]:
            outputs = compiled(batch)
            return [outputs[compiled.output(name)] for name in names]

        arrays = run_batches(run, images, bundle.manifest.fixed_batch)
        found = checked_outputs(arrays, bundle.manifest, images=len(images))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise EngineError(f"OpenVINO {openvino.__version__} cannot convert {bundle.model_path}: {reason}") from error
    # Without a classifier the logits are empty, and so equal.
    reached = min(sqnr_db(golden.logits, found.logits), sqnr_db(golden.embedding, found.embedding))
    if not reached >= required_db:
        raise VerificationError(
            f"the OpenVINO IR of {bundle.path} is at {reached:.1f} dB against the original, expected "
            f"{required_db:.1f}: pass --backend onnxruntime, and report it"
        )
    return reached


def _number_unnamed(model: Any) -> None:
    """Number nodes without a name by their place: OpenVINO counts over the process, and the bytes would differ."""
    for place, node in enumerate(model.get_ordered_ops()):
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_[0-9]+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}_{place}")
