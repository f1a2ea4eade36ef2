"""What pyproject.toml says of the project: its dependencies by the names they are imported as."""

import re
import sys
from importlib import metadata

from tests.helpers.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# What only functions may import.
HEAVY = frozenset(PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"])

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)")


def distributions(requirements: list[str]) -> set[str]:
    """Return the normalised distribution names of requirements, without this project's own."""
    names = {re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0] for requirement in requirements}
    return {normalised(name) for name in names} - {normalised(PYPROJECT["project"]["name"])}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def import_names(requirements: list[str]) -> set[str]:
    """Return what the requirements are imported as; an absent one is taken to be named as its distribution."""
    wanted = distributions(requirements)
    installed = {
        module
        for module, providers in metadata.packages_distributions().items()
        if wanted & {normalised(provider) for provider in providers}
    }
    return installed | {name.replace("-", "_") for name in wanted}


def lower_bounds(requirements: list[str]) -> dict[str, str]:
    """Return the lower bound of each requirement by its normalised name, without this project's own extras.

    Args:
        requirements: Requirements such as `name[extra]>=version,<other; marker`.
    """
    found = [_REQUIREMENT.match(requirement) for requirement in requirements]
    return {normalised(match[1]): match[2] for match in found if match}


def release(version: str) -> tuple[int, ...]:
    """Return a version's numbers, without zeros at the end and what is behind them."""
    numbers = [int(number) for number in re.match(r"\d+(?:\.\d+)*", version)[0].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


BASE = import_names(PYPROJECT["project"]["dependencies"])
_EXTRAS = [one for extra in PYPROJECT["project"]["optional-dependencies"].values() for one in extra]
OPTIONAL = import_names(_EXTRAS)
OPTIONAL_DISTRIBUTIONS = distributions(_EXTRAS)
