"""Results of work on items, made ahead in threads, in batches and in order, in turn with their use or beside it.

1. Batch k holds the results of items k * batch_size and on: batches depend on the items alone, not on the workers.
2. Some batches ahead (`prefetch` + 1, or more if that is under `_ITEMS_PER_WORKER` per worker) are worked on at a
   time; memory is bounded by them. The asking thread takes the items one after the other, so that they may be a
   stream of any length.
3. In turn, the default: all workers work on those batches, then sleep until the last one is used up. Right for
   engines on the CPU; why, and the measurements, are in `runtime/data/batches.py`.
4. With `overlap`, workers go on while batches are used. Right for engines on a GPU, which would wait.
5. Leaving early, also by an exception or Ctrl-C, ends the threads after the item at hand.
6. An exception of the work is raised in the asking thread, at its item's batch.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

# Workers finish their share within one item of each other: with 8 items each, under 1/8 of a turn is lost.
_ITEMS_PER_WORKER = 8

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Ahead:
    """How far ahead, and how.

    Attributes:
        batch_size: Results per batch; the last one may be smaller.
        workers: Threads.
        prefetch: Batches worked on ahead of the one that is next.
        overlap: Work while batches are used, which is right only where that leaves the cores free.
    """

    batch_size: int
    workers: int
    prefetch: int = 3
    overlap: bool = False

    @property
    def items(self) -> int:
        """Items that are worked on ahead, in whole batches; rule 2."""
        batches = max(self.prefetch + 1, -(-_ITEMS_PER_WORKER * self.workers // self.batch_size))
        return batches * self.batch_size


def read_ahead(
    items: Iterable[_Item], work: Callable[[_Item], _Result], ahead: Ahead
) -> Generator[list[_Result], None, None]:
    """Yield the results in batches; the threads live as long as the iteration.

    Args:
        items: What is worked on. An item is let go as soon as its work is done.
        work: Called in worker threads.
        ahead: How far ahead, and how.
    """
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(ahead.workers, "decode")
    try:
        source = iter(items)
        while True:
            if ahead.overlap or not waiting:
                waiting.extend(pool.submit(work, item) for item in islice(source, ahead.items - len(waiting)))
            if not waiting:
                break
            if not ahead.overlap:
                wait(waiting)
            yield [waiting.popleft().result() for _ in range(min(ahead.batch_size, len(waiting)))]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
