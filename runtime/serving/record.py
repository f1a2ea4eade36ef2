"""What a version in a repository was made from: the schema of `export-ssl.json`, which stands beside the model.

Neither server reads it: Triton opens the backend's file by name, OpenVINO Model Server the first `.xml` and `.bin`,
or `.onnx` (src/modelinstance.cpp fetchModelFilepaths at 7e4df0c). It is also what the next version is compared with:
`config.pbtxt` and `labels.txt` hold for all versions of a model.
"""

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import LABELS_FILE, LICENCE_FILE, MANIFEST_FILE
from runtime.bundle.manifest import Licence, PrecisionName, Sha256, TensorSpec, Weights
from runtime.bundle.plan_json import BatchProfile
from runtime.errors import BundleError
from runtime.serving.backends import Served
from runtime.serving.request import Backend
from runtime.serving.settings import Settings
from runtime.support.engine_names import Int8Target
from runtime.support.files import hash_file
from runtime.support.json_file import read_versioned

RECORD_FILE = "export-ssl.json"
RECORD_VERSION: Literal[1] = 1


class _Part(BaseModel):
    """A frozen part; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PlanMachine(_Part):
    """What a plan runs on.

    Attributes:
        gpu: Name of the GPU.
        compute_capability: Compute capability, for example `8.0`.
        tensorrt: The version that built it.
        profile: Batch sizes.
    """

    gpu: str
    compute_capability: str
    tensorrt: str
    profile: BatchProfile


class Contract(_Part):
    """What all versions of a model have in common, because clients and `config.pbtxt` rely on it.

    Attributes:
        backend: Triton's backend.
        input: The input.
        preprocessing: Preprocessing from a picture to the input; mean and std only where they are not in the graph.
        classes: Number of classes; 0 without a classifier.
        outputs: The outputs.
        labels: sha256 of labels.txt; None without a classifier.
        licence: sha256 of LICENSE-WEIGHTS.txt, which stands beside `config.pbtxt` too.
        settings: How it is served.
    """

    backend: Backend
    input: TensorSpec
    preprocessing: dict[str, Any]
    classes: int
    outputs: tuple[TensorSpec, ...]
    labels: Sha256 | None
    licence: Sha256
    settings: Settings


class Record(_Part):
    """All of `export-ssl.json`.

    Attributes:
        schema_version: Raised when a meaning changes.
        model: The bundle's name.
        precision: Precision in the graph.
        int8_target: What an INT8 graph was made for; None for the others.
        weights: Where the weights came from, with their sha256.
        licence: Licence of the weights, which holds for the served model too.
        bundle_sha256: Hash of the bundle's manifest, which lists the sha256 of its files.
        files: File of this version to its sha256.
        plan: GPU and TensorRT version that a TensorRT plan runs on.
        contract: What the other versions have too.
        tool: export-ssl's version.
    """

    schema_version: Literal[1] = RECORD_VERSION
    model: str
    precision: PrecisionName
    int8_target: Int8Target | None
    weights: Weights
    licence: Licence
    bundle_sha256: Sha256
    files: dict[str, Sha256]
    plan: PlanMachine | None
    contract: Contract
    tool: str


def contract_of(bundle: Bundle, served: Served, settings: Settings) -> Contract:
    """Return what a bundle's versions must have in common."""
    manifest = bundle.manifest
    inside = {"mean", "std"} if manifest.input.dtype == "uint8" else set()
    return Contract(
        backend=served.backend.name,
        input=manifest.input,
        preprocessing=manifest.preprocessing.model_dump(mode="json", exclude=inside),
        classes=manifest.model.classes,
        outputs=manifest.outputs,
        labels=hash_file(bundle.path / LABELS_FILE) if manifest.model.classes else None,
        licence=hash_file(bundle.path / LICENCE_FILE),
        settings=settings,
    )


def record_of(bundle: Bundle, served: Served, contract: Contract, files: dict[str, str]) -> Record:
    """Return the record of a version; `files` is name to sha256."""
    manifest, plan = bundle.manifest, served.plan
    machine = plan and PlanMachine(
        gpu=plan.gpu, compute_capability=plan.compute_capability, tensorrt=plan.tensorrt, profile=plan.options.profile
    )
    return Record(
        model=manifest.model.name,
        precision=manifest.precision.name,
        int8_target=manifest.precision.int8.target if manifest.precision.int8 else None,
        weights=manifest.weights,
        licence=manifest.licence,
        bundle_sha256=hash_file(bundle.path / MANIFEST_FILE),
        files=files,
        plan=machine,
        contract=contract,
        tool=f"export-ssl {metadata.version('export-ssl')}",
    )


def refuse_another_contract(model: Path, standing: Contract, wanted: Contract) -> None:
    """Refuse a version that differs from the others in what they share.

    Raises:
        BundleError: The version differs; the first field that differs is named.
    """
    there, here = standing.model_dump(mode="json"), wanted.model_dump(mode="json")
    there.update(there.pop("settings"))
    here.update(here.pop("settings"))
    for field, value in there.items():
        if here[field] != value:
            raise BundleError(
                f"{model} has the {field} {_brief(value)}, but this version would have {_brief(here[field])}; "
                "all its versions share one config.pbtxt and one labels.txt: pass another --name, or remove that model"
            )


def _brief(value: object) -> str:
    """Return a field's value for a message: a hash by its beginning."""
    text = value if isinstance(value, str) else json.dumps(value)
    is_hash = len(text) == 2 * hashlib.sha256().digest_size and set(text) <= set("0123456789abcdef")
    return f"sha256 {text[:12]}…" if is_hash else text


def read_record(version: Path) -> Record:
    """Return what stands beside a version.

    Raises:
        BundleError: There is none, it is newer than this run-ssl, or broken.
    """
    file, another = version / RECORD_FILE, "pass another --name"
    try:
        return read_versioned(file, Record, otherwise="is not a record", next_step=another)
    except OSError as error:
        raise BundleError(
            f"{version} has no readable {RECORD_FILE} ({error.strerror}), so it was not made by run-ssl repo: {another}"
        ) from error
