import math

import pytest

from runtime.engines.golden_check import explain_difference


@pytest.mark.parametrize(
    ("decibels", "words"),
    [
        (math.inf, "equal to the original within rounding"),
        (99.5, "equal to the original within rounding"),
        (99.4, "more than rounding: it executes bf16"),
        (45.0, "more than rounding: it executes bf16"),
        (3.0, "another function"),
        (-20.0, "another function"),
        (-math.inf, "NaN or infinity"),
    ],
)
def test_every_size_of_difference_has_its_sentence(decibels, words):
    assert explain_difference(decibels, 99.5, executed="bf16").startswith(words)
