"""What `run-ssl explain` reads: bundles with a plan, or the files that trtexec writes of any engine."""

from pathlib import Path

from runtime.bundle.layout import MANIFEST_FILE, PLANS
from runtime.bundle.plan_json import read_sidecar
from runtime.errors import BundleError, UsageError
from runtime.plans.inspector import read_layer_information, read_layer_times
from runtime.plans.plan_account import PlanAccount, account
from runtime.support.engine_names import PlanEngine
from runtime.support.files import read_plain


def read_accounts(text: str) -> tuple[PlanAccount, ...]:
    """Return where the time of each plan goes that a text means: a bundle may have one of each engine.

    Args:
        text: See `read_account`.

    Raises:
        UsageError: The argument means no plan.
        BundleError: A file cannot be read, or the bundle has no plan.
        EngineError: A file is not what trtexec writes.
    """
    path = Path(text)
    if not (path / MANIFEST_FILE).is_file():
        return (read_account(text),)
    engines = [engine for engine, files in PLANS.items() if (path / files.sidecar).is_file()]
    if len(engines) < 2:
        return (_of_bundle(path, engines[0] if engines else "tensorrt", label=path.name),)
    return tuple(_of_bundle(path, engine, label=f"{path.name} ({engine})") for engine in engines)


def read_account(text: str) -> PlanAccount:
    """Return where the time of a plan goes; of a bundle, of its TensorRT plan.

    Args:
        text: A bundle's directory, or `LAYERS.json`, or `LAYERS.json,PROFILE.json`: what trtexec's --exportLayerInfo
            and --exportProfile write.

    Raises:
        UsageError: The text is none of these.
        BundleError: A file cannot be read, or the bundle has no plan.
        EngineError: A file is not what trtexec writes.
    """
    path = Path(text)
    if (path / MANIFEST_FILE).is_file():
        return _of_bundle(path, "tensorrt", label=path.name)
    names = text.split(",")
    if len(names) > 2 or path.is_dir():
        raise UsageError(f"{text}: expected a bundle with a plan, or LAYERS.json, or LAYERS.json,PROFILE.json")
    label = Path(names[0]).name.removesuffix(".json").removesuffix(".graph")
    times = read_layer_times(_read(Path(names[1]))) if len(names) > 1 else None
    return account(label, read_layer_information(_read(Path(names[0]))), times)


def _of_bundle(path: Path, engine: PlanEngine, *, label: str) -> PlanAccount:
    # Only names, types and times are read: the plan itself may be for another machine.
    certificate = read_sidecar(path, engine).certificate
    layers = read_layer_information(_read(path / PLANS[engine].layers))
    return account(label, layers, certificate.layer_times_ms or None)


def _read(file: Path) -> str:
    try:
        return read_plain(file).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise BundleError(
            f"{file} cannot be read: {reason}; expected what trtexec's --exportLayerInfo writes"
        ) from error
