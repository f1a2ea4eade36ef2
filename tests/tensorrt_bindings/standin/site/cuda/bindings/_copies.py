"""Copies between host and device: the checks of their direction and range, and when they happen."""

import ctypes
from dataclasses import dataclass

from cuda.bindings._machine import MACHINE, CudaFault
from cuda.bindings._streams import Stream
from cuda.bindings._types import cudaError_t, cudaMemcpyKind

_PLACES = {0: ("host", "host"), 1: ("device", "host"), 2: ("host", "device"), 3: ("device", "device")}


@dataclass(frozen=True)
class Copy:
    """`count` bytes from `src` to `dst`, both checked when the copy was asked for."""

    dst: int
    src: int
    count: int

    def run(self) -> None:
        """Copy now; a block that was freed meanwhile is an illegal address."""
        for address in (self.dst, self.src):
            block = MACHINE.find(address)
            if block is not None and address + self.count > block.address + block.size:
                raise CudaFault(cudaError_t.cudaErrorIllegalAddress)
        ctypes.memmove(self.dst, self.src, self.count)


def check_copy(dst: int, src: int, count: int, kind: cudaMemcpyKind) -> Copy:
    """Return the copy after checking both ranges against what is allocated.

    Raises:
        CudaFault: cudaErrorInvalidValue: a pointer of the other kind, out of range, freed or null.
    """
    if count == 0:
        return Copy(dst, src, 0)
    if kind == cudaMemcpyKind.cudaMemcpyDefault:
        places = tuple("host" if (b := MACHINE.find(p)) is None else b.place for p in (dst, src))
    else:
        places = _PLACES[kind]
    for address, place in zip((dst, src), places, strict=True):
        MACHINE.check_range(address, count, place)
    return Copy(dst, src, count)


def copy_async(copy: Copy, stream: Stream) -> None:
    """Queue a copy.

    Pageable host memory cannot be read or written later: a copy from it is staged now, a copy to it waits for the
    stream, and a capture refuses both. Source: CUDA Runtime API, "API synchronization behavior".
    """
    pageable_src, pageable_dst = (copy.count > 0 and MACHINE.find(p) is None for p in (copy.src, copy.dst))
    if (pageable_src or pageable_dst) and stream.capture is not None:
        stream.refuse_capture()
    if pageable_src:
        staged = ctypes.create_string_buffer(ctypes.string_at(copy.src, copy.count), copy.count)
        stream.put(lambda: _from_stage(copy, staged))
    else:
        stream.put(copy.run)
    if pageable_dst:
        stream.run()


def _from_stage(copy: Copy, staged: "ctypes.Array[ctypes.c_char]") -> None:
    ctypes.memmove(copy.dst, ctypes.addressof(staged), copy.count)
