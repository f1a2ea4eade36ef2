import math
from collections.abc import Callable
from pathlib import Path

import pytest

from calibration.layers.max_drop import find_fewest_layers
from runtime.bundle.sensitivity_json import PairedCounts
from runtime.errors import CalibrationError

IMAGES = 1000
LAYERS = [f"layer{i}" for i in range(54)]
Lost = Callable[[frozenset[str]], int]


class Engine:
    """Counts lost images by a rule, and what it was asked for; stops at one call like Ctrl-C."""

    def __init__(self, lost: Lost, *, stop_at: int | None = None) -> None:
        self.lost, self.stop_at = lost, stop_at
        self.asked: list[frozenset[str]] = []

    def __call__(self, kept: frozenset[str]) -> PairedCounts:
        self.asked.append(kept)
        if len(self.asked) == self.stop_at:
            raise KeyboardInterrupt
        # One image is gained whatever is float: the drop is paired.
        return PairedCounts(lost=self.lost(kept) + 1, gained=1, images=IMAGES)


def additive(costs: dict[str, int]) -> Lost:
    """Every quantised layer loses so many images."""
    return lambda kept: sum(cost for name, cost in costs.items() if name not in kept)


def test_within_the_budget_nothing_becomes_float_and_one_graph_is_evaluated() -> None:
    engine = Engine(additive({"a": 2, "b": 1}))
    result = find_fewest_layers(["a", "b"], engine, budget=0.003)
    assert result.kept_float == ()
    assert engine.asked == [frozenset()]
    assert result.evaluations == (result.reached,)


@pytest.mark.parametrize("needed", [1, 2, 3, 5, 8, 21, 53, 54])
def test_the_shortest_prefix_is_found_in_few_evaluations(needed: int) -> None:
    engine = Engine(additive(dict.fromkeys(LAYERS[:needed], 1)))
    result = find_fewest_layers(LAYERS, engine, budget=0.0)
    assert result.kept_float == tuple(LAYERS[:needed])
    assert result.reached.drop == 0.0
    assert len(engine.asked) <= 2 * math.log2(len(LAYERS)) + 2 + needed
    assert len(set(engine.asked)) == len(engine.asked)
    assert [frozenset(found.kept_float) for found in result.evaluations] == engine.asked


def test_budget_and_count_that_are_equal_on_paper_are_equal() -> None:
    assert 7 / IMAGES > 0.7 / 100, "floating point rounds one of them up"
    result = find_fewest_layers(["a"], Engine(additive({"a": 7})), budget=0.7 / 100)
    assert result.kept_float == ()


def test_a_noisy_layer_that_moves_no_decision_is_quantised_again() -> None:
    result = find_fewest_layers(list("abcd"), Engine(additive({"c": 9, "a": 4})), budget=0.0)
    assert result.kept_float == ("a", "c")


def test_where_the_drop_rises_again_what_is_returned_still_holds() -> None:
    # Prefixes of 1, 2 and 4 to 6 fail, 3 and 7 on hold: no bisection is sure to find the 3.
    def lost(kept: frozenset[str]) -> int:
        return 0 if len(kept) == 3 or len(kept) >= 7 else 8

    engine = Engine(lost)
    result = find_fewest_layers(LAYERS[:8], engine, budget=0.002)
    assert lost(frozenset(result.kept_float)) == 0
    assert result.reached.drop <= 0.002
    assert len(result.kept_float) == 7


def test_a_budget_that_float_layers_cannot_meet_is_refused_with_what_was_found() -> None:
    # 12 images are lost whatever is float, and 2 more with more than two layers float.
    def lost(kept: frozenset[str]) -> int:
        return 30 - 9 * len(kept) if len(kept) < 3 else 14

    with pytest.raises(CalibrationError) as error:
        find_fewest_layers(list("abcd"), Engine(lost), budget=0.003)
    text = str(error.value)
    assert "cannot be brought to 0.3 percentage points" in text
    assert "with all 4 layers float it is 1.40 (15 lost, 1 gained of 1000)" in text
    assert "with 2 float, is 1.20 (13 lost, 1 gained of 1000)" in text
    assert "allow a larger drop" in text


def test_no_layers_at_all_cannot_meet_a_budget() -> None:
    with pytest.raises(CalibrationError, match="with all 0 layers float"):
        find_fewest_layers([], Engine(lambda _: 5), budget=0.0)


@pytest.mark.parametrize("stop_at", [1, 3, 6])
def test_an_interrupted_search_goes_on_where_it_was(tmp_path: Path, stop_at: int) -> None:
    lost = additive(dict.fromkeys(LAYERS[:6], 1))
    straight = Engine(lost)
    expected = find_fewest_layers(LAYERS, straight, budget=0.001)
    state = tmp_path / "state.json"
    with pytest.raises(KeyboardInterrupt):
        find_fewest_layers(LAYERS, Engine(lost, stop_at=stop_at), budget=0.001, progress=state, state_key="k")
    second = Engine(lost)
    result = find_fewest_layers(LAYERS, second, budget=0.001, progress=state, state_key="k")
    assert (result.reached, result.evaluations) == (expected.reached, expected.evaluations)
    assert second.asked == straight.asked[stop_at - 1 :]
    assert (result.reused, result.notice) == (stop_at - 1, None)
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_another_budget_reuses_what_was_measured(tmp_path: Path) -> None:
    lost, state = additive(dict.fromkeys(LAYERS[:6], 1)), tmp_path / "state.json"
    find_fewest_layers(LAYERS, Engine(lost), budget=0.001, progress=state, state_key="k")
    again = Engine(lost)
    result = find_fewest_layers(LAYERS, again, budget=0.002, progress=state, state_key="k")
    assert result.kept_float == tuple(LAYERS[:4])
    assert result.reused + len(again.asked) == len(result.evaluations)
    assert result.reused >= 3


def test_the_state_of_another_search_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    find_fewest_layers(["a"], Engine(additive({"a": 5})), budget=0.0, progress=state, state_key="one")
    engine = Engine(additive({}))
    result = find_fewest_layers(["a"], engine, budget=0.0, progress=state, state_key="two")
    assert (result.kept_float, result.reused, engine.asked) == ((), 0, [frozenset()])
    assert result.notice is not None
    assert "of another search" in result.notice
    assert find_fewest_layers(["a"], Engine(additive({})), budget=0.0, progress=state, state_key="two").reused == 1


@pytest.mark.parametrize("content", ["", "# Notes\n", '{"key": "k"}'])
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, content: str) -> None:
    state = tmp_path / "notes.md"
    state.write_text(content)
    with pytest.raises(CalibrationError, match=r"notes\.md is not the progress of a search for float layers"):
        find_fewest_layers(["a"], Engine(additive({"a": 5})), budget=0.0, progress=state, state_key="k")
    assert state.read_text() == content
