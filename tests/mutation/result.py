"""What a run found, as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test saw.

    Attributes:
        file: Path from the repository's root.
        line: Number of the changed line, from 1.
        operator: Name of the rule that changed it.
        before: The line, stripped.
        after: The line with the change, stripped.
    """

    file: str
    line: int
    operator: str
    before: str
    after: str


@dataclass
class Counts:
    """What became of the mutants of one part.

    Attributes:
        tests: Words for pytest that chose the tests.
        mutants: All mutants that the libraries make of the sources.
        places: Places of the sources that they change.
        seconds: How long the tests take on the unchanged code, seconds of processor time.
        killed: Mutants of which a test failed.
        timed_out: Mutants with which the tests did not end.
        survivors: Mutants with which all tests passed.
    """

    tests: tuple[str, ...]
    mutants: int
    places: int
    seconds: float
    killed: int = 0
    timed_out: int = 0
    survivors: list[Survivor] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How many mutants were tried."""
        return self.killed + self.timed_out + len(self.survivors)


@dataclass
class Result:
    """All of a run.

    Attributes:
        seed: Seed of the draw.
        wanted: How many mutants were asked for of each part.
        machine: On what kind of machine it ran, in words.
        tools: Versions of the libraries that make mutants, by name.
        parts: Counts of each part.
    """

    seed: int
    wanted: int
    machine: str
    tools: dict[str, str]
    parts: dict[str, Counts] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the result for json.dump."""
        return asdict(self)


def parse_result(raw: dict[str, Any]) -> Result:
    """Return the result that `as_json` gave."""
    parts = {
        name: Counts(
            **{**one, "tests": tuple(one["tests"]), "survivors": [Survivor(**row) for row in one["survivors"]]}
        )
        for name, one in raw["parts"].items()
    }
    return Result(**{**raw, "parts": parts})
