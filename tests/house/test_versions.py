"""`tested_versions.txt` covers every direct dependency, and no lower bound is below what was run."""

import re
import sys

import pytest

from tests.helpers.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
BOUNDS: dict[str, str] = dict(
    re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", requirement).group(1, 2)  # type: ignore[misc]
    for requirement in [*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]
    if not requirement.startswith(PROJECT["name"])
)
ROWS = {
    name: (tested, lowest)
    for name, tested, lowest in (
        line.split()
        for line in (ROOT / "tests" / "house" / "tested_versions.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
}
NOT_RUN = "-"


def release(version: str) -> tuple[int, ...]:
    """Return a version's numbers, without zeros at the end."""
    numbers = [int(number) for number in version.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def test_every_direct_dependency_has_its_line_and_nothing_else_has() -> None:
    assert set(ROWS) == set(BOUNDS)


@pytest.mark.parametrize("name", [name for name, (_, lowest) in ROWS.items() if lowest != NOT_RUN])
def test_a_lower_bound_is_the_lowest_version_that_was_run(name: str) -> None:
    assert release(BOUNDS[name]) == release(ROWS[name][1])


@pytest.mark.parametrize("name", [name for name, (tested, _) in ROWS.items() if tested != NOT_RUN])
def test_the_tested_version_is_within_the_bounds(name: str) -> None:
    assert release(ROWS[name][0]) >= release(BOUNDS[name])
