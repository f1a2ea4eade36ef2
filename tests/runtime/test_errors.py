"""A message is one line that a terminal only shows, whatever names of a stranger it quotes."""

import pytest

from runtime.errors import BundleError, named_error


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb", "a b"),
        ("a\r\nb", "a  b"),
        ("a\u2028b", "a b"),
        ("\x1b[2Jhidden", "\\x1b[2Jhidden"),
        ("a\x00b\x9b", "a\\x00b\\x9b"),
        ("Überraschung, 画像.png", "Überraschung, 画像.png"),
    ],
)
def test_line_breaks_become_spaces_and_control_characters_are_spelled(name: str, shown: str) -> None:
    error = BundleError(f"{name} is missing")
    assert f"{error}" == str(error) == f"{shown} is missing"
    assert str(named_error("BundleError", str(error))) == f"{shown} is missing"
