"""What the processor has that decides how fast a network runs on it."""

import os
import platform
from pathlib import Path

# What makes INT8 or bf16 fast on x86 and ARM, as Linux names it in /proc/cpuinfo.
_X86 = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
_ARM = ("asimddp", "i8mm", "sve")
INT8_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
# ARM's alone: x86's avx512_fp16 is used by no engine here.
FP16_ARITHMETIC = frozenset({"asimdhp"})
BF16_ARITHMETIC = frozenset({"avx512_bf16", "amx_bf16"})


def usable_cores() -> int:
    """Return how many cores this process may run on; at least 1."""
    # macOS and Windows have no affinity that can be asked for.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_arm64() -> bool:
    """Return whether this process runs on a 64-bit ARM processor."""
    # Linux's name and Apple's; Windows has capitals.
    return platform.machine().lower() in {"aarch64", "arm64"}


def read_cpuinfo(root: Path = Path("/")) -> dict[str, str]:
    """Return the first value of each key in Linux's /proc/cpuinfo; empty on other systems.

    Args:
        root: The folder that holds `proc`.
    """
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def cpu_flags(cpuinfo: dict[str, str]) -> frozenset[str]:
    """Return the processor's features by Linux's names; empty where there are none to read.

    Args:
        cpuinfo: What `read_cpuinfo` returned. x86 lists them as `flags`, ARM as `Features`.
    """
    return frozenset((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())


def fast_instructions(flags: frozenset[str]) -> tuple[str, ...]:
    """Return those of the features that make INT8 or bf16 fast, in one order for all machines."""
    return tuple(name for name in (*_X86, *_ARM) if name in flags)


def int8_sums_saturate(flags: frozenset[str] | None = None) -> bool:
    """Return whether INT8 kernels on this processor add products in 16 bits, where sums overflow and are clipped.

    x86 before VNNI has one instruction for products of bytes, PMADDUBSW: it adds two products of an unsigned and a
    signed byte, up to 2 x 255 x 128 in magnitude, into a signed 16-bit integer that saturates at 32,767. The kernels of
    OpenVINO and onnxruntime use it there. VNNI's and AMX's instructions, and ARM's, add in 32 bits.

    Args:
        flags: The processor's features by Linux's names; None reads this machine's. Where a system has none to read,
            the answer is False, because nobody can tell.

    Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, PMADDUBSW and VPDPBUSD.
    """
    if flags is None:
        flags = cpu_flags(read_cpuinfo())
    return "ssse3" in flags and not flags & INT8_DOT_PRODUCTS
