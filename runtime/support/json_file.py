"""JSON files with a schema: read strictly, so that a newer file is not taken for a broken one, or for what is known."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from runtime.errors import BundleError
from runtime.support.files import atomic_file, read_plain

_Schema = TypeVar("_Schema", bound=BaseModel)


def parse_json(text: str | bytes) -> Any:
    """Return what JSON from a stranger says.

    Raises:
        ValueError: The text is not JSON, or is nested deeper than the parser of Python goes.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_versioned(file: Path, schema: type[_Schema], *, otherwise: str, next_step: str) -> _Schema:
    """Return what a versioned JSON file holds.

    Args:
        file: The file.
        schema: Schema of the file; the default of the field `schema_version` is the newest version that it describes.
        otherwise: What is said of a file that does not fit, such as `is not a manifest`.
        next_step: What a person should do about a file that is damaged.

    Raises:
        OSError: The file cannot be read; what that means, the caller knows.
        BundleError: The file is newer than this version, or broken.
    """
    text = read_plain(file)
    newest = schema.model_fields["schema_version"].default
    try:
        raw = parse_json(text)
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > newest:
            raise BundleError(
                f"{file} has schema version {version}, this run-ssl reads up to {newest}: "
                "upgrade with `pip install --upgrade export-ssl`"
            )
        return schema.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"{file} {otherwise} ({first_problem(error)}): {next_step}") from error
    except ValueError as error:
        raise BundleError(f"{file} is not JSON ({error}): {next_step}") from error


def write_model(file: Path, model: BaseModel) -> None:
    """Write a model as JSON, whole or not at all.

    Raises:
        BundleError: The file cannot be written.
    """
    with atomic_file(file) as opened:
        opened.write((model.model_dump_json(indent=2) + "\n").encode())


def read_known(file: Path, schema: type[_Schema], *, leave_out: Collection[str] = ()) -> _Schema:
    """Return what a schema knows of a JSON file, whichever version wrote it: keys that it does not know are dropped.

    Args:
        file: The file.
        schema: Schema of the file.
        leave_out: Keys of the outermost object that are dropped too; the schema has defaults for them.

    Raises:
        OSError: The file cannot be read.
        ValueError: The text is not JSON, holds NaN or infinity, or what is known of it does not fit the schema.
    """
    raw = parse_json(read_plain(file))
    if isinstance(raw, dict):
        raw = {key: value for key, value in raw.items() if key not in leave_out}
    try:
        return schema.model_validate_json(json.dumps(raw, allow_nan=False))
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            if problem["type"] == "extra_forbidden":
                _drop(raw, problem["loc"])
    return schema.model_validate_json(json.dumps(raw, allow_nan=False))


def _drop(raw: Any, place: tuple[int | str, ...]) -> None:
    for step in place[:-1]:
        raw = raw[step]
    del raw[place[-1]]


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a schema error as `where: what`."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" + (f", and {error.error_count() - 1} more" if error.error_count() > 1 else "")
