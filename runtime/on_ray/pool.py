"""A pool of workers, each in a process of its own, that answer rows one by one."""

from collections.abc import Callable, Generator
from typing import Any

from runtime.on_ray.answers import Row
from runtime.on_ray.choice import RayChoice


def pool_answers(
    rows: list[Row], worker: Callable[..., Any], task: object, choice: RayChoice
) -> Generator[Row, None, None]:
    """Yield the workers' answers as they come, one for each row, in any order.

    A worker that dies is replaced, and its row given to another, without end. Close it before the connection: what is
    left of Ray Data's threads would open one of their own, to whichever Ray of this machine they find.

    Args:
        rows: What to do, plain values by column.
        worker: A class, made with `task` and called with rows.
        task: What every worker is given.
        choice: How many workers, and of what size.
    """
    if not rows:
        return
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    # A block for each row, so that workers share them out one by one.
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    pool = ray.data.ActorPoolStrategy(size=choice.workers) if choice.workers else ray.data.ActorPoolStrategy(min_size=1)
    made = dataset.map(
        worker, fn_constructor_args=(task,), compute=pool, num_cpus=choice.cpus, num_gpus=choice.gpus or None
    )
    yield from made.iter_rows()
