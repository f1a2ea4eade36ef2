"""`tested_versions.txt` covers every direct dependency, and no lower bound is below what was run."""

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.project import PYPROJECT, lower_bounds, normalised, release

PROJECT = PYPROJECT["project"]
BOUNDS = lower_bounds(
    [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
)
ROWS = {
    normalised(name): (tested, lowest)
    for name, tested, lowest in (
        line.split()
        for line in (ROOT / "tests" / "house" / "tested_versions.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
}
NOT_RUN = "-"


def test_every_direct_dependency_has_its_line_and_nothing_else_has() -> None:
    assert set(ROWS) == set(BOUNDS)


@pytest.mark.parametrize("name", [name for name, (_, lowest) in ROWS.items() if lowest != NOT_RUN])
def test_a_lower_bound_is_the_lowest_version_that_was_run(name: str) -> None:
    assert release(BOUNDS[name]) == release(ROWS[name][1])


@pytest.mark.parametrize("name", [name for name, (tested, _) in ROWS.items() if tested != NOT_RUN])
def test_the_tested_version_is_within_the_bounds(name: str) -> None:
    assert release(ROWS[name][0]) >= release(BOUNDS[name])
