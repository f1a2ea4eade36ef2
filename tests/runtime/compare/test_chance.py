"""An original that only guesses is said to; the binomial distribution is SciPy's."""

import pytest
from scipy.stats import binomtest

from runtime.bundle.results.compare_json import OriginalScore
from runtime.compare.chance import describe_chance


def scored(hits, images):
    return OriginalScore(
        engine="pytorch",
        precision="fp32",
        top1=hits / images,
        top5=1.0,
        top5_k=5,
        images=images,
        images_per_s=1.0,
        non_finite_logits=0,
        non_finite_images=0,
    )


@pytest.mark.parametrize("classes", [2, 9, 10, 1000])
@pytest.mark.parametrize("images", [5, 40, 360, 5000])
def test_the_sentence_comes_where_scipys_test_finds_no_more_than_chance(classes, images):
    chance = round(images / classes)
    for hits in {0, 1, chance, chance + 1, chance + 5, chance + 20, images // 2, images} & set(range(images + 1)):
        p = binomtest(hits, images, 1 / classes, alternative="greater").pvalue
        assert bool(describe_chance(scored(hits, images), classes)) == (p > 0.05), (hits, p)


def test_folders_that_are_shifted_by_one_are_told_of_in_words():
    (sentence,) = describe_chance(scored(0, 360), 9)
    assert sentence.startswith("the original gets 0.00 % right, no better than guessing among 9 classes (11.11 %)")
    assert "labels.txt" in sentence


def test_one_class_is_no_choice():
    assert describe_chance(scored(3, 3), 1) == ()
