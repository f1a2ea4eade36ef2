import pytest

from runtime.support.words import counted, first_few, listed, p_value, percent, printable, shared_start, verb_for


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 layers run"), (1, "1 layer runs"), (2, "2 layers run"), (12000, "12,000 layers run")],
)
def test_one_thing_has_no_s_and_its_verb_has(number: int, expected: str) -> None:
    assert f"{counted(number, 'layer')} {verb_for(number, 'run')}" == expected


@pytest.mark.parametrize(("verb", "of_one"), [("are", "is"), ("have", "has"), ("take", "takes")])
def test_irregular_verbs_are_known(verb: str, of_one: str) -> None:
    assert [verb_for(number, verb) for number in (1, 2)] == [of_one, verb]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("", ""),
        ("a", "a"),
        ("abc", "a, b, c"),
        ("abcd", "a, b, c and 1 more"),
        ("a" * 1004, "a, a, a and 1,001 more"),
    ],
)
def test_the_first_names_are_shown_and_the_others_counted(names: str, expected: str) -> None:
    assert first_few(list(names)) == expected


def test_how_many_are_shown_and_what_parts_them_can_be_said() -> None:
    assert first_few(["a", "b", "c"], shown=2, separator="; ") == "a; b; and 1 more"


def test_an_empty_list_is_said_to_be_empty() -> None:
    assert listed((), none="nothing") == "nothing"
    assert listed(("a", "b"), none="nothing") == "a, b"


def test_shares_are_percentages_and_small_p_values_are_bounds() -> None:
    assert [percent(share) for share in (0.7262, -0.000001, 1.0)] == ["72.62", "0.00", "100.00"]
    assert [p_value(p) for p in (0.0533, 0.001, 1e-9)] == ["0.053", "0.001", "< 0.001"]


@pytest.mark.parametrize(
    ("names", "start"),
    [
        (("digits-fp32", "digits-int8", "digits-int8-cpu"), "digits-"),
        (("r50-int8", "r50-int8-fp16"), "r50-"),
        (("a/b", "a/c"), "a/"),
        (("alone-int8",), ""),
        (("abc", "abd"), ""),
        (("net-", "net-int8"), ""),
        (("same", "same"), ""),
    ],
)
def test_names_share_a_start_up_to_a_separator_and_each_keeps_a_rest(names: tuple[str, ...], start: str) -> None:
    assert shared_start(names) == start


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Kätzchen \u2028", "Kätzchen \u2028"),
        (b"a\xff\x80b".decode("utf-8", "surrogateescape"), r"a\xff\x80b"),
        ("a\0b", r"a\x00b"),
        ("\ud800\udc41", r"\ud800\udc41"),
    ],
)
def test_what_utf_8_cannot_hold_is_spelled(name: str, expected: str) -> None:
    assert printable(name) == expected
    assert expected.encode()
