"""The files of a plan: written beside their names, and put in place only as a whole."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from runtime.bundle.layout import PlanFiles
from runtime.bundle.plan_json import BuildOptions, PlanDescription, PlanFacts
from runtime.engines.trt.capabilities import INT8_ON_TURING, TURING
from runtime.errors import BundleError, VerificationError
from runtime.plans.certify import explain_failure
from runtime.support.files import atomic_file
from runtime.support.partial import partial_file
from runtime.support.syncing import sync_file, sync_names


@contextmanager
def staging_file(folder: Path, files: PlanFiles) -> Iterator[Path]:
    """Yield the file that the building process writes the plan to; it is gone afterwards, unless it was put in place.

    Raises:
        BundleError: The folder cannot be written into.
    """
    with ExitStack() as stack:
        try:
            partial = stack.enter_context(partial_file(folder / files.plan))
        except OSError as error:
            raise BundleError(
                f"cannot write into {folder}: {error.strerror}; use a copy in a folder where you have write permission"
            ) from error
        yield partial


def describe_build(facts: PlanFacts, options: BuildOptions) -> dict[str, Any]:
    """Return the fields of `PlanDescription` for a plan that was built just now."""
    return {
        **{name: getattr(facts, name) for name in PlanFacts.model_fields},
        "options": options,
        "built_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tool": f"export-ssl {metadata.version('export-ssl')}",
    }


def install_plan(
    folder: Path, files: PlanFiles, staged: Path, description: PlanDescription, layer_information: str
) -> None:
    """Put the three files in place: what describes the plan first, so that no plan stands there undescribed.

    Args:
        folder: Where they go.
        files: Names of the files.
        staged: The plan, in the same folder.
        description: All that is written of it.
        layer_information: The plan's layers, in the engine inspector's form.

    Raises:
        VerificationError: The plan breaks the promised precision; only its layers are kept, for a look at them.
        BundleError: A file cannot be written.
    """
    if not description.certificate.passed:
        rejected = folder / files.rejected
        _write(rejected, layer_information)
        raise VerificationError(
            f"{explain_failure(description.certificate)}; {_hint(description)}"
            f"`run-ssl explain {rejected}` shows the layers"
        )
    described = {
        folder / files.layers: layer_information,
        folder / files.sidecar: description.model_dump_json(indent=2) + "\n",
    }
    try:
        with ExitStack() as stack:
            ready = {file: stack.enter_context(partial_file(file)) for file in described}
            for file, text in described.items():
                ready[file].write_bytes(text.encode())
            for file in (*ready.values(), staged):
                file.chmod(0o644)
                sync_file(file)
            # An older plan beside the new one's description would be refused as changed: it goes first, once nothing
            # is left that the disk could refuse.
            (folder / files.plan).unlink(missing_ok=True)
            for target, file in (*ready.items(), (folder / files.plan, staged)):
                file.replace(target)
            (folder / files.rejected).unlink(missing_ok=True)
            sync_names(folder)
    except OSError as error:
        raise BundleError(f"cannot write {folder / files.plan}: {error.strerror}") from error


def _hint(description: PlanDescription) -> str:
    """Return what is known to break a promise with these GPUs, as a part of a sentence."""
    int8 = any(verdict.promised == "int8" for verdict in description.certificate.verdicts)
    turing = TURING in description.options.compute_capabilities
    return f"{INT8_ON_TURING}: leave Turing out; " if int8 and turing else ""


def _write(file: Path, text: str) -> None:
    with atomic_file(file) as output:
        output.write(text.encode())
