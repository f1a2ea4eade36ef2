"""Give memory back to the system that nothing uses any more, where Python or the C library keeps it for later."""

import ctypes
import gc
import sys


def free_memory() -> None:
    """Collect garbage where the collector is off, as in `export-ssl`, and let the heap give back what is free.

    A graph of onnx-ir refers to itself, so without the collector no copy of one goes, nor do the weights that it alone
    holds. The first call looks at everything there is, which takes up to a second behind PyTorch's tracer, and sets it
    aside; the next ones look at what is new. What they find alive is not set aside: graphs come and go.
    """
    if not gc.isenabled():
        first = not gc.get_freeze_count()
        gc.collect()
        if first:
            gc.freeze()
    trim_heap()


def trim_heap() -> None:
    """Let glibc give back the pages that it holds free; other C libraries are left to themselves.

    Blocks of up to 32 MB, such as a layer's weights, come from glibc's heap once such a block was freed; what is freed
    there stays with the process, in pieces that the next large block does not fit into.

    Source: malloc_trim(3), mallopt(3), M_MMAP_THRESHOLD.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
