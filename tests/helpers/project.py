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


BASE = import_names(PYPROJECT["project"]["dependencies"])
OPTIONAL = import_names([one for extra in PYPROJECT["project"]["optional-dependencies"].values() for one in extra])
