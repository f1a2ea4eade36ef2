"""A sample of a stream of unknown length, the same in any order."""

import hashlib
import heapq
from collections.abc import Iterable

from runtime.errors import UsageError


def sample_keys(keys: Iterable[str], *, size: int, seed: int) -> tuple[int, ...]:
    """Return the positions of a seeded sample of some keys, ascending.

    1. Chosen are the keys with the smallest sha256 of seed and key, as in rule 5 of `runtime/data/open_images.py`: no
       library's random numbers, and a larger sample holds the images of a smaller one.
    2. Order does not matter: the same keys are chosen from any order. Of equal keys the earlier counts first.
    3. Memory is bounded by `size`; the keys are read once. Fewer keys than that are all chosen.

    Args:
        keys: Names of the images, such as paths or the members of a tar file.
        size: Largest number of images.
        seed: Seed of the random sample.

    Raises:
        UsageError: `size` is less than 1.
    """
    if size < 1:
        raise UsageError(f"a sample of {size} images: expected at least 1")
    ranked = ((_rank(key, seed), position) for position, key in enumerate(keys))
    return tuple(sorted(position for _, position in heapq.nsmallest(size, ranked)))


def _rank(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{key}".encode(errors="surrogateescape")).digest()
