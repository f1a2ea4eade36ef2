"""A repository for NVIDIA Triton and OpenVINO Model Server: `run-ssl repo`, `export-ssl --triton-repo`.

    DIR/NAME/config.pbtxt            how Triton serves it; OpenVINO Model Server does not read it
    DIR/NAME/labels.txt              one class per line; absent without a classifier
    DIR/NAME/LICENSE-WEIGHTS.txt     the weights' licence
    DIR/NAME/warmup/golden-0.bin     the golden inputs, one picture or fixed batch a file, as the network takes it
    DIR/NAME/1/model.onnx            or model.plan, or model.xml and model.bin
    DIR/NAME/1/LICENSE-WEIGHTS.txt   the same licence
    DIR/NAME/1/export-ssl.json       what the version was made from (`runtime/serving/record.py`)

Of the folders in DIR/NAME Triton skips `warmup` (core src/model_repository_manager/model_lifecycle.cc VersionsToLoad
at 73aad7c) and OpenVINO Model Server warns that it is no number (src/modelmanager.cpp readAvailableVersions at
7e4df0c). A further version is a folder beside the others and changes nothing else.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layout import LABELS_FILE, LICENCE_FILE
from runtime.bundle.licence import check_licence
from runtime.engines.contract import network_input, split_batches
from runtime.errors import BundleError
from runtime.serving.backends import choose_backend
from runtime.serving.place import Place, check_version, find_place, staged
from runtime.serving.record import RECORD_FILE, Record, contract_of, record_of, refuse_another_contract
from runtime.serving.request import BackendWish, DeviceWish, RepositoryRequest
from runtime.serving.settings import settle
from runtime.serving.triton_model import describe_model, warm_up_file
from runtime.support.files import hash_file

CONFIG_FILE = "config.pbtxt"
WARM_UP_FOLDER = "warmup"
_DEVICES: dict[str, DeviceWish] = {"KIND_AUTO": "auto", "KIND_CPU": "cpu", "KIND_GPU": "gpu"}


@dataclass(frozen=True)
class Written:
    """A version that is in its place.

    Attributes:
        place: Place of the version, as it was before.
        version: Number of the version.
        record: What it was made from.
    """

    place: Place
    version: int
    record: Record


def write_repository(request: RepositoryRequest) -> Written:
    """Write a bundle into a repository as a version of a model; the whole of it, or nothing.

    The same bundle may be a version twice: so an older one is made the latest again.

    Raises:
        BundleError: The bundle or its plan is damaged, the repository cannot be written, or the model there differs in
            what its versions share.
        UsageError: A name, number, backend or batch that cannot be.
        EngineError: The graph cannot be converted for OpenVINO.
        VerificationError: What was converted differs from the original.
    """
    bundle = open_bundle(request.bundle)
    check_licence(bundle)
    place = find_place(request.repository, bundle.manifest.model.name if request.name is None else request.name)
    version = check_version(place, request.version, overwrite=request.overwrite)
    served = choose_backend(bundle, *_wishes(request, place))
    standing = place.standing.contract if place.standing else None
    contract = contract_of(bundle, served, settle(request, served, standing.settings if standing else None))
    if standing is not None:
        refuse_another_contract(place.model, standing, contract)
    with staged(place, version) as folder:
        served.backend.write(bundle, folder)
        files = {name: hash_file(folder / name) for name in served.backend.files}
        record = record_of(bundle, served, contract, files)
        _write(folder / RECORD_FILE, record.model_dump_json(indent=2) + "\n")
        shutil.copyfile(bundle.path / LICENCE_FILE, folder / LICENCE_FILE)
        if place.standing is None:
            config = describe_model(place.name, bundle.manifest, served, contract.settings)
            _write_shared(bundle, folder.parent, config.to_text())
    return Written(place, version, record)


def _wishes(request: RepositoryRequest, place: Place) -> tuple[BackendWish, DeviceWish]:
    """Return the backend and device that are wanted: as asked, else what the model in the repository has."""
    if place.standing is None:
        return request.backend, request.device
    standing = place.standing.contract
    backend = standing.backend if request.backend == "auto" else request.backend
    if backend != standing.backend:
        raise BundleError(
            f"{place.model} has the backend {standing.backend}, not {backend}: all its versions share one "
            "config.pbtxt; leave --backend out, or pass another --name"
        )
    return backend, _DEVICES[standing.settings.kind] if request.device == "auto" else request.device


def _write_shared(bundle: Bundle, model: Path, config: str) -> None:
    """Write what all versions of a model have in common."""
    _write(model / CONFIG_FILE, config)
    for name in (LICENCE_FILE, *((LABELS_FILE,) if bundle.manifest.model.classes else ())):
        shutil.copyfile(bundle.path / name, model / name)
    (model / WARM_UP_FOLDER).mkdir()
    pictures = network_input(bundle.golden().pixels, bundle.manifest)
    for number, (batch, _) in enumerate(split_batches(pictures, bundle.manifest.fixed_batch or 1)):
        (model / WARM_UP_FOLDER / warm_up_file(number)).write_bytes(batch.tobytes())


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")
