"""What a neighbour check says, in a table, in JSON and in sentences."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from runtime.bundle.results.neighbours_json import NeighbourCheck
from runtime.embed.neighbours.explain import expected_lost, explain_neighbours
from runtime.embed.neighbours.result_table import render_check
from runtime.errors import UsageError
from runtime.neighbours.agreement import neighbour_agreement


def drawn(images, dim=16, *, seed=0):
    return np.random.default_rng(seed).standard_normal((images, dim)).astype(np.float32)


def printed(check, width=80, **options):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    render_check(check, console, **options)
    return console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above


def checked(reference, candidate, **options):
    return NeighbourCheck(
        bundle="r18-int8",
        model="ssl_resnet18",
        engine="onnxruntime",
        precision="int8",
        agreement=neighbour_agreement(reference, candidate, **options),
    )


def test_the_recall_that_a_gate_asks_for_is_the_worse_of_both_questions():
    check = checked(drawn(300), drawn(300) + np.float32(0.3) * drawn(300, seed=1))
    agreement = check.agreement
    assert check.recall(10) == min(agreement.renewed.recalls[1].recall, agreement.kept.recalls[1].recall) < 1
    with pytest.raises(UsageError, match=r"^recall at 5 was not measured, expected one of 1, 10"):
        check.recall(5)


def test_json_has_every_figure_and_comes_back_the_same():
    check = checked(drawn(300), drawn(300) + np.float32(0.3) * drawn(300, seed=1))
    told = json.loads(check.model_dump_json())
    assert told["agreement"]["renewed"]["recalls"][1]["recall"] == check.agreement.renewed.recalls[1].recall
    assert told["agreement"]["images"] == 300
    assert NeighbourCheck.model_validate_json(check.model_dump_json()) == check


def test_json_of_a_bundle_without_noise_or_ratios_has_nulls():
    reference = np.repeat(drawn(20), 2, axis=0)
    told = json.loads(checked(reference, np.ones_like(reference), metric="euclidean").model_dump_json())
    assert told["agreement"]["renewed"]["noise"] is None
    assert told["agreement"]["renewed"]["farther_most"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_has_both_questions_in_percent_and_fits_the_terminal(width):
    check = checked(drawn(300), drawn(300) + np.float32(0.05) * drawn(300, seed=1))
    text = printed(check, width)
    for search in (check.agreement.renewed, check.agreement.kept):
        for recall in search.recalls:
            assert f"{100 * recall.recall:.2f}" in text
    assert "recall@10" in text
    assert max(map(len, text.splitlines())) <= width


def test_the_verdict_comes_first_and_the_whole_is_at_most_a_screen():
    check = checked(drawn(300), drawn(300) + np.float32(0.3) * drawn(300, seed=1))
    recall = check.recall(10)
    for least, start in ((0.01, "Passed: recall at 10 is "), (0.99, "FAILED: recall at 10 is ")):
        text = printed(check, least=least)
        assert text.startswith(start)
        assert f"{100 * recall:.2f}"[:4] in text.splitlines()[0]
        assert len(text.splitlines()) <= 24
    assert printed(check).startswith("Better than chance: of 10 nearest neighbours ")


def test_a_recall_just_below_the_least_does_not_look_like_it():
    check = checked(drawn(300), drawn(300))
    recall = check.agreement.renewed.recalls[1].model_copy(update={"recall": 0.97999})
    nearly = check.agreement.renewed.model_copy(update={"recalls": (recall,)})
    check = check.model_copy(update={"agreement": check.agreement.model_copy(update={"renewed": nearly})})
    words = "FAILED: recall at 10 is 97.99 % in the worse of two cases, and --min-recall asks for 98.00 %."
    assert " ".join(printed(check, least=0.98).split()).startswith(words)


def test_details_have_every_sentence_and_what_limits_the_recall_is_said_without():
    check = checked(drawn(300), drawn(300) + np.float32(0.05) * drawn(300, seed=1))
    told = " ".join(printed(check, details=True).split())
    assert all(sentence in told for sentence in explain_neighbours(check.agreement))
    brief = " ".join(printed(check).split())
    assert "This is the recall among 300 images." in brief
    assert "`--details`" in brief


def test_a_wholly_right_bundle_is_said_to_be_so():
    words = explain_neighbours(neighbour_agreement(drawn(300), drawn(300)))
    assert "all 10 nearest neighbours are kept, and every search returns the right first image." in words[0]
    assert not any("lost" in sentence for sentence in words)


def test_small_noise_is_called_near_ties_of_the_expected_number():
    agreement = neighbour_agreement(drawn(2000, 8), drawn(2000, 8) + np.float32(0.02) * drawn(2000, 8, seed=1))
    words = " ".join(explain_neighbours(agreement))
    assert f"{agreement.renewed.lost:,} lost first neighbours" in words
    assert "lost are expected" in words
    assert "fetch 10" in words
    share = agreement.renewed.lost / 2000
    # The range that the docstring of `expected_lost` tells.
    assert 0.6 < share / expected_lost(agreement.renewed.noise, agreement.step) < 1.6


def test_noise_as_large_as_the_step_is_called_so():
    agreement = neighbour_agreement(drawn(1000, 64), drawn(1000, 64) + np.float32(0.5) * drawn(1000, 64, seed=1))
    assert expected_lost(agreement.renewed.noise, agreement.step) is None
    assert any("more than the" in sentence and "nearly alike" in sentence for sentence in explain_neighbours(agreement))


def test_a_batch_in_the_wrong_order_is_not_put_down_to_noise():
    reference, candidate = drawn(1000, 8), drawn(1000, 8)
    candidate[100:200] = np.roll(candidate[100:200], 1, axis=0)
    assert any(
        "some images moved far more" in one for one in explain_neighbours(neighbour_agreement(reference, candidate))
    )


def test_unrelated_embeddings_fail_and_nothing_else_is_explained():
    check = checked(drawn(500, seed=1), drawn(500, seed=2))
    words = explain_neighbours(check.agreement)
    assert words[0].startswith("FAILED: Index built with the bundle")
    assert not any("near-ties" in sentence for sentence in words)
    assert "recall at 1 and 10 is no better than chance" in " ".join(printed(check).split())
    assert printed(check).startswith("FAILED: Index built with the bundle")


def test_chance_is_said_where_a_sample_is_too_small_to_tell():
    words = explain_neighbours(neighbour_agreement(drawn(11), drawn(11)))
    assert "Recall at 10 says little here: among 11 images chance finds 100.00 %; give more." in words
    assert not any(sentence.startswith("FAILED") for sentence in words)


def test_copies_in_the_sample_are_counted():
    reference = np.concatenate([drawn(100), drawn(100)[:7]])
    words = explain_neighbours(neighbour_agreement(reference, reference))
    assert any(sentence.startswith("14 images have a copy in the sample") for sentence in words)


def test_neighbours_kept_are_cut_not_rounded_up():
    agreement = neighbour_agreement(drawn(300), drawn(300))
    ten = agreement.renewed.recalls[1].model_copy(update={"recall": 0.9998})
    nearly = agreement.renewed.model_copy(update={"recalls": (ten,)})
    words = explain_neighbours(agreement.model_copy(update={"renewed": nearly}))
    assert words[0].startswith("Index built with the bundle: 9.99 of 10 nearest neighbours are kept on average")


def test_shuffled_input_gives_the_same_report():
    reference, candidate = drawn(200), drawn(200) + np.float32(0.1) * drawn(200, seed=1)
    order = np.random.default_rng(0).permutation(200)
    one, other = (neighbour_agreement(a, b) for a, b in ((reference, candidate), (reference[order], candidate[order])))
    assert [r.recall for r in one.renewed.recalls] == pytest.approx([r.recall for r in other.renewed.recalls])
    assert one.renewed.lost == other.renewed.lost
