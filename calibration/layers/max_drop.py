"""Leave the fewest layers float that bring the paired top-1 drop within a budget.

1. With no layer float the drop may be within the budget already.
2. Otherwise layers become float in the order of their noise: 1, 2, 4, 8, ... of them until the drop is within
   the budget, then by bisection between the last two numbers. That takes the drop to fall as more layers are
   float; where it does not quite (it is a count of images), the prefix found still holds, but a shorter one may.
3. Then each layer kept is quantised again, the cheapest first, and stays so if the budget still holds: a layer
   whose noise does not move decisions need not be float. No search over all sets is made, so "fewest" is this
   one's.
4. At most 2 log2(n) + 2 graphs are evaluated for n layers, and one for each layer kept.
5. Every evaluation is written to a file at once. A later search with the same key, of any budget, reuses them.

The set is chosen on the images that its drop is measured on, so on others the drop may be a little larger.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.bundle.sensitivity_json import Evaluation, PairedCounts
from runtime.errors import CalibrationError
from runtime.support.files import atomic_file, read_plain

# Names of the layers that stay float, to what the graph with all others quantised loses.
Evaluate = Callable[[frozenset[str]], PairedCounts]
# Counts are whole images; a millionth of one is the rounding of `budget * images`.
_ROUNDING_IMAGES = 1e-6


@dataclass(frozen=True)
class MaxDropResult:
    """The layers to leave float.

    Attributes:
        kept_float: Names of the float layers, the noisiest first; empty if the budget holds without.
        reached: What was measured with them float.
        evaluations: All that the search looked at, in order, each set once.
        reused: How many of those were read from the progress file.
        notice: Why the progress file was not used, where it was not; for people.
    """

    kept_float: tuple[str, ...]
    reached: Evaluation
    evaluations: tuple[Evaluation, ...]
    reused: int
    notice: str | None


def find_fewest_layers(
    ranked: Sequence[str],
    evaluate: Evaluate,
    *,
    budget: float,
    progress: Path | None = None,
    state_key: str = "",
) -> MaxDropResult:
    """Return the fewest layers that must stay float.

    Args:
        ranked: Names of the layers that can be quantised, the noisiest first.
        evaluate: Measures a graph; always on the same images, and the same for the same set.
        budget: Largest drop allowed, a fraction of the images.
        progress: File that keeps the evaluations; written after each, left there at the end. None for none.
        state_key: Hash of everything that decides an evaluation: graph, weights, scales, images, engine.

    Raises:
        CalibrationError: The budget cannot be met, or `progress` is a file of another kind.
        BundleError: `progress` cannot be written.
    """
    measured = _Evaluations(ranked, evaluate, path=progress, key=state_key)

    def within(kept: frozenset[str]) -> bool:
        found = measured.get(kept)
        return found.lost - found.gained <= budget * found.images + _ROUNDING_IMAGES

    kept = frozenset(ranked[: _shortest_prefix(ranked, within)]) if not within(frozenset()) else frozenset()
    if not within(kept):
        raise _cannot_be_met(budget, everything=measured.get(kept), best=measured.best())
    for name in reversed(ranked):
        if name in kept and within(kept - {name}):
            kept = kept - {name}
    reached = measured.get(kept)
    return MaxDropResult(reached.kept_float, reached, tuple(measured.asked.values()), measured.reused, measured.notice)


def _shortest_prefix(ranked: Sequence[str], within: Callable[[frozenset[str]], bool]) -> int:
    """Return how many of the first layers must be float, rule 2; all of them if no number tried is enough."""
    low, high = 0, 1
    while not within(frozenset(ranked[:high])):
        if high >= len(ranked):
            return len(ranked)
        low, high = high, min(2 * high, len(ranked))
    while high - low > 1:
        middle = (low + high) // 2
        if within(frozenset(ranked[:middle])):
            high = middle
        else:
            low = middle
    return high


def _cannot_be_met(budget: float, *, everything: Evaluation, best: Evaluation) -> CalibrationError:
    return CalibrationError(
        f"the accuracy drop cannot be brought to {100 * budget:g} percentage points: with all "
        f"{len(everything.kept_float)} layers float it is {_points(everything)}, and the smallest that was "
        f"reached, with {len(best.kept_float)} float, is {_points(best)}; allow a larger drop, or check that "
        "images, labels and "
        "preprocessing are the network's own"
    )


def _points(found: Evaluation) -> str:
    return f"{100 * found.drop:.2f} ({found.lost} lost, {found.gained} gained of {found.images})"


class _State(BaseModel):
    """All of the progress file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    key: str
    evaluations: tuple[Evaluation, ...]


class _Evaluations:
    """Everything measured so far, in memory and in the progress file."""

    def __init__(self, ranked: Sequence[str], evaluate: Evaluate, *, path: Path | None, key: str) -> None:
        self._ranked, self._evaluate, self._path, self._key = ranked, evaluate, path, key
        self.asked: dict[frozenset[str], Evaluation] = {}
        self.reused = 0
        self.notice: str | None = None
        self._known: dict[frozenset[str], Evaluation] = {}
        if path is not None and path.exists():
            state = _read_state(path)
            if state.key == key:
                self._known = {frozenset(found.kept_float): found for found in state.evaluations}
            else:
                self.notice = f"{path} is of another search (graph, images or options differ): it is started again"

    def get(self, kept: frozenset[str]) -> Evaluation:
        """Return what was measured with these layers float, measuring it if it was not."""
        if kept in self.asked:
            return self.asked[kept]
        if kept in self._known:
            self.reused += 1
        else:
            counts = self._evaluate(kept)
            self._known[kept] = Evaluation(
                kept_float=tuple(name for name in self._ranked if name in kept),
                lost=counts.lost,
                gained=counts.gained,
                images=counts.images,
            )
            self._write()
        self.asked[kept] = self._known[kept]
        return self.asked[kept]

    def best(self) -> Evaluation:
        """Return the least drop, with the fewest layers float."""
        return min(self.asked.values(), key=lambda found: (found.drop, len(found.kept_float)))

    def _write(self) -> None:
        if self._path is None:
            return
        state = _State(key=self._key, evaluations=tuple(self._known.values()))
        with atomic_file(self._path) as file:
            file.write(state.model_dump_json(indent=1).encode() + b"\n")


def _read_state(path: Path) -> _State:
    try:
        return _State.model_validate_json(read_plain(path))
    except (OSError, ValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CalibrationError(
            f"{path} is not the progress of a search for float layers ({reason}): delete it, or name another file"
        ) from error
