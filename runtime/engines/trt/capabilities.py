"""The GPUs that a plan of TensorRT for RTX can be built for, by generation or by compute capability.

Source: `ComputeCapability` of version 1.7. What NVIDIA takes where none is named is Ampere and later: of a plan's
header, byte 32 has a bit for each, from 7.5 in bit 0 to 12.1 in bit 5, and bit 6 only where none was named.
"""

import re

from runtime.errors import UsageError

GENERATIONS = {"turing": ("7.5",), "ampere": ("8.0", "8.6"), "ada": ("8.9",), "blackwell": ("12.0", "12.1")}
CAPABILITIES = tuple(one for several in GENERATIONS.values() for one in several)
TURING = "7.5"
# Version 1.7 wrote Half for every convolution of an INT8 graph where Turing was named, alone or with others.
INT8_ON_TURING = "with Turing among its GPUs, TensorRT for RTX computes INT8 convolutions in floats on all of them"
# GPUs of boards and servers, which TensorRT builds for and TensorRT for RTX does not.
_OF_TENSORRT = {
    "8.7": "Jetson Orin",
    "9.0": "H100 and H200",
    "10.0": "B200",
    "10.3": "B300",
    "11.0": "Jetson Thor",
}


def parse_capabilities(gpus: str, capabilities: str) -> tuple[str, ...]:
    """Return the compute capabilities that the options of a build name, such as `("8.6", "8.9")`, lowest first.

    Args:
        gpus: `--gpu`: generations, comma-separated; empty for none.
        capabilities: `--compute-capability`: such as `86,89` or `8.6,8.9`; empty for none.

    Returns:
        What was named, each once; () where nothing was.

    Raises:
        UsageError: Both are given, or one names what there is not or TensorRT for RTX does not support.
    """
    if gpus and capabilities:
        raise UsageError("--gpu and --compute-capability say the same in two ways: give one of them")
    if gpus:
        named = {one for name in gpus.split(",") for one in _of_generation(name.strip())}
    else:
        named = {_capability(text.strip()) for text in capabilities.split(",")} if capabilities else set()
    return tuple(one for one in CAPABILITIES if one in named)


def is_supported(capability: str) -> bool:
    """Return whether TensorRT for RTX runs on GPUs of a compute capability; of a later one than it names, it does."""
    return capability in CAPABILITIES or _numbers(capability) > _numbers(CAPABILITIES[-1])


def is_among(capability: str, capabilities: tuple[str, ...]) -> bool:
    """Return whether a plan for some compute capabilities, () for NVIDIA's own choice, is for a supported GPU."""
    return capability in capabilities if capabilities else _numbers(capability) >= _numbers(GENERATIONS["ampere"][0])


def describe_capabilities(capabilities: tuple[str, ...]) -> str:
    """Return for which GPUs a plan is, in words."""
    if not capabilities:
        return "Ampere and later RTX GPUs"
    several = "capabilities" if len(capabilities) > 1 else "capability"
    names = [name.capitalize() for name, own in GENERATIONS.items() if {*own} & {*capabilities}]
    return f"{', '.join(names)} (compute {several} {', '.join(capabilities)})"


def _numbers(capability: str) -> tuple[int, ...]:
    return tuple(int(number) for number in capability.split("."))


def _of_generation(name: str) -> tuple[str, ...]:
    if name.lower() not in GENERATIONS:
        raise UsageError(f"--gpu {name}: expected some of {', '.join(GENERATIONS)}, comma-separated")
    return GENERATIONS[name.lower()]


def _capability(text: str) -> str:
    found = re.fullmatch(r"(\d{1,2})\.?(\d)", text, re.ASCII)
    capability = f"{found[1]}.{found[2]}" if found else text
    if capability in CAPABILITIES:
        return capability
    expected = ", ".join(one.replace(".", "") for one in CAPABILITIES)
    if capability in _OF_TENSORRT:
        raise UsageError(
            f"--compute-capability {text} is {_OF_TENSORRT[capability]}, which TensorRT for RTX does not support: "
            f"build with TensorRT on that machine, without --engine tensorrt-rtx; TensorRT for RTX has {expected}"
        )
    raise UsageError(f"--compute-capability {text}: TensorRT for RTX has {expected}, comma-separated")
