"""What a neighbour check means, in sentences.

1. Recall no better than chance is a failure, and nothing else need be explained.
2. Lost first neighbours, where there are any, are put down to one of three causes, the first that holds:
   - most are near-ties: noise changed places that hardly differ, which nobody would notice;
   - the noise is as large as the step: the bundle cannot tell this sample's neighbours apart;
   - neither: a few images moved far more than the rest.
3. How many a noise well below the step should lose is said beside how many were (`expected_lost`).
"""

import math

from runtime.bundle.results.neighbours_json import Agreement, Search
from runtime.support.words import percent

# Where chance alone finds half of the neighbours, recall tells too little to fail a bundle.
_TELLING = 0.5
_REBUILT = "Index built with the bundle"
_KEPT = "Index built with PyTorch, queries from the bundle"


def explain_neighbours(agreement: Agreement) -> tuple[str, ...]:
    """Return the sentences, the most important first; one that starts with FAILED is a failure."""
    questions = _questions(agreement)
    sentences = _all_failures(agreement)
    failed = bool(sentences)
    sentences += [f"{name}: {_kept(search, agreement)}" for name, search in questions]
    worse = max(agreement.renewed, agreement.kept, key=lambda search: search.lost)
    if worse.lost and not failed:
        sentences += [_lost(worse, agreement), _cause(worse, agreement)]
    return (*sentences, *_cautions(agreement))


def _cautions(agreement: Agreement) -> tuple[str, ...]:
    """Return what the recalls do not say."""
    sentences = []
    if agreement.copies:
        sentences.append(
            f"{agreement.copies:,} images have a copy in the sample, or one that PyTorch cannot tell from it: any of"
            " the equals counts as right, and such neighbours are easy to keep."
        )
    for recall in agreement.renewed.recalls:
        if recall.chance >= _TELLING:
            sentences.append(
                f"Recall at {recall.k} says little here: among {agreement.images:,} images chance finds"
                f" {percent(recall.chance)} %; give more."
            )
    sentences.append(
        f"This is the recall among {agreement.images:,} images. In a larger gallery neighbours are closer together"
        " and fewer are kept; the intervals cover the draw of the queries, not that."
    )
    return tuple(sentences)


def explain_briefly(agreement: Agreement) -> tuple[str, ...]:
    """Return the sentences that change the reading of the recalls: why neighbours are lost, and what is not covered."""
    worse = max(agreement.renewed, agreement.kept, key=lambda search: search.lost)
    cause = [_cause(worse, agreement)] if worse.lost and not has_failed(agreement) else []
    return (*cause, *_cautions(agreement))


def describe_kept(agreement: Agreement) -> str:
    """Return how many neighbours are kept in either case, in one clause."""
    rebuilt, kept = (_mean_kept(search) for search in (agreement.renewed, agreement.kept))
    most = max(recall.k for recall in agreement.renewed.recalls)
    return (
        f"of {most} nearest neighbours {rebuilt:.2f} are kept where the index is built with the bundle,"
        f" {kept:.2f} where it is built with PyTorch"
    )


def _mean_kept(search: Search) -> float:
    """Return how many of the most neighbours asked for are kept; cut, not rounded: 9.998 of 10 are not 10.00."""
    most = max(search.recalls, key=lambda recall: recall.k)
    return math.floor(100 * most.k * most.recall) / 100


def has_failed(agreement: Agreement) -> bool:
    """Return whether recall is no better than chance; rule 1."""
    return bool(_all_failures(agreement))


def _questions(agreement: Agreement) -> tuple[tuple[str, Search], ...]:
    return ((_REBUILT, agreement.renewed), (_KEPT, agreement.kept))


def _all_failures(agreement: Agreement) -> list[str]:
    return [failure for name, search in _questions(agreement) for failure in _failures(name, search)]


def expected_lost(noise: float, step: float) -> float | None:
    """Return the share of first neighbours that a noise well below the step loses, or None for other noise.

    The distances to the first two neighbours are taken to move independently, by normal errors of `noise`, and the
    step to be exponential, as it is where images lie evenly: then P(lost) = ln 2 / sqrt(pi) * noise / step. Measured
    shares were 0.6 to 1.6 times that (docs/explanation/decisions.md).

    Args:
        noise: One standard deviation of the relative change of distances.
        step: Median of the relative difference between the first two distances.
    """
    if not noise < step:
        return None
    return math.log(2) / math.sqrt(math.pi) * noise / step


def _failures(name: str, search: Search) -> list[str]:
    blind = [recall for recall in search.recalls if recall.ci95[0] <= recall.chance < _TELLING]
    if not blind:
        return []
    ks = " and ".join(str(recall.k) for recall in blind)
    return [f"FAILED: {name}: recall at {ks} is no better than chance; run-ssl verify tells what is wrong."]


def _kept(search: Search, agreement: Agreement) -> str:
    """Return how many neighbours are kept, in whole numbers where one can picture them."""
    most = max(search.recalls, key=lambda recall: recall.k)
    kept = f"{_mean_kept(search):.2f} of {most.k} nearest neighbours are kept on average"
    if most.recall == 1:
        kept = f"all {most.k} nearest neighbours are kept"
    if not search.lost:
        return f"{kept}, and every search returns the right first image."
    share = 100 * search.lost / agreement.images
    if share < 1.5:
        return f"{kept}, and 1 of every {agreement.images / search.lost:,.0f} searches returns another first image."
    return f"{kept}, and {share:.0f} of every 100 searches return another first image."


def _lost(search: Search, agreement: Agreement) -> str:
    if search.farther_median is None or search.farther_most is None:
        how = "some of them copies, which the bundle takes for different images"
    else:
        how = (
            f"half of what was found instead is under {percent(search.farther_median)} % farther than the true one, the"
            f" farthest {percent(search.farther_most)} %"
        )
    return (
        f"Of {search.lost:,} lost first neighbours {search.near_ties:,} are near-ties, farther by less than usually"
        f" separates two neighbours here ({percent(agreement.step)} %): {how}. The first {agreement.depth} images hold"
        f" the true one in {percent(search.first_listed)} % of the searches."
    )


def _cause(search: Search, agreement: Agreement) -> str:
    """Return why first neighbours are lost, and what to do; rule 2."""
    if search.noise is None:
        return "The bundle gives one embedding to most neighbours that PyTorch tells apart: run-ssl verify."
    noise, step = f"{percent(search.noise)} %", f"{percent(agreement.step)} %"
    if 2 * search.near_ties >= search.lost:
        likely = expected_lost(search.noise, agreement.step)
        share = percent(search.lost / agreement.images)
        expected = f", for which {percent(likely)} % lost are expected; {share} % are" if likely is not None else ""
        return (
            f"The bundle moves distances by {noise}{expected}. Such losses change the order among images that are"
            f" about as near. Where the first must be exact, fetch {agreement.depth} and rank them by PyTorch's"
            " embeddings."
        )
    if search.noise >= agreement.step:
        return (
            f"The bundle moves distances by {noise}, more than the {step} between neighbours: the images are nearly"
            " alike, as frames of a film are, or the precision is too low for this search. Choose a higher one."
        )
    return (
        f"The bundle moves most distances by {noise} only, which does not explain this: some images moved far more than"
        f" the rest, to a cosine of {agreement.cosine_lowest:.6f} at the lowest. Suspect them, or a batch; run-ssl"
        " verify tells whether the engine is right."
    )
