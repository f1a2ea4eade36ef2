"""JSON files that carry their schema's version, read in one way: what is newer is told from what is broken."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from runtime.errors import BundleError

_Schema = TypeVar("_Schema", bound=BaseModel)


def read_versioned(file: Path, schema: type[_Schema], *, otherwise: str, next_step: str) -> _Schema:
    """Return what a versioned JSON file holds.

    Args:
        file: The file.
        schema: Its schema; the default of the field `schema_version` is the newest version that it describes.
        otherwise: What is said of a file that does not fit, such as `is not a manifest`.
        next_step: What a person should do about a file that is damaged.

    Raises:
        OSError: The file cannot be read; what that means, the caller knows.
        BundleError: It is newer than this version, or broken.
    """
    text = file.read_bytes()
    newest = schema.model_fields["schema_version"].default
    try:
        raw = json.loads(text)
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > newest:
            raise BundleError(
                f"{file} has schema version {version}, this run-ssl reads up to {newest}: "
                "upgrade with `pip install --upgrade export-ssl`"
            )
        return schema.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"{file} {otherwise} ({first_problem(error)}): {next_step}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file} is not JSON ({error}): {next_step}") from error


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a schema error as `where: what`."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" + (f", and {error.error_count() - 1} more" if error.error_count() > 1 else "")
