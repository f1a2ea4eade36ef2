import gc
import mmap
import sys
import weakref
from pathlib import Path

import pytest

from runtime.support import memory


def test_giving_memory_back_is_safe_at_any_time():
    memory.trim_heap()
    memory.trim_heap()


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_freed_pieces_of_the_heap_go_back_to_the_system():
    # Blocks below M_MMAP_THRESHOLD come from the heap; each second one stays, so that its end never moves.
    blocks = [bytearray(100_000) for _ in range(2000)]
    kept = blocks[1::2]
    del blocks
    before = _resident_mb()
    memory.trim_heap()
    assert before - _resident_mb() > 50
    assert len(kept) == 1000


class Cycle:
    def __init__(self):
        self.itself = self


def test_garbage_in_cycles_goes_where_the_collector_is_off():
    gc.collect()
    gc.disable()
    try:
        lost, alive = Cycle(), Cycle()
        watched, kept = weakref.ref(lost), weakref.ref(alive)
        del lost
        memory.free_memory()
        assert watched() is None
        assert kept() is alive
    finally:
        gc.unfreeze()
        gc.enable()


def test_a_collector_that_is_on_is_left_to_itself(monkeypatch):
    monkeypatch.setattr("runtime.support.memory.gc.collect", lambda: pytest.fail("collected"))
    memory.free_memory()


def test_nothing_is_called_elsewhere(monkeypatch):
    monkeypatch.setattr("runtime.support.memory.sys.platform", "win32")
    monkeypatch.setattr("runtime.support.memory.ctypes.CDLL", lambda _name: pytest.fail("a library was opened"))
    memory.trim_heap()


def _resident_mb():
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * mmap.PAGESIZE / 2**20
