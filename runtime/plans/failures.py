"""Why a build failed, in words: TensorRT's refusals, and processes that did not come back."""

import re
import signal

from runtime.engines.trt.library import TENSORRT, Library
from runtime.support.engine_names import PlanEngine

# TensorRT's message: "Error Code 10: Internal Error (Could not find any implementation for node A + PWN(B).)"; newer
# ones say where after the full stop. Names have parentheses too.
_NO_IMPLEMENTATION = re.compile(
    r"[Cc]ould not find any implementation for node (?P<layer>.+?)(?:\.\)|\. |\.\s*$|(?<!\))\)\s*$|\s*$)"
)
_OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|insufficient memory", re.IGNORECASE)
# "Cannot compile operation 'fc' for Turing (SM75): FP32 GEMM is not supported."
_FP32_ON_TURING = re.compile(r"operation '(?P<layer>.+?)' for Turing \(SM75\): FP32 GEMM is not supported")
# A plan is built all the same, for a batch that no tensor can hold: "Profile kMAX values are not self-consistent. bn1:
# tensor volume exceeds 1099511627776, dimensions are [batch,64,32,32] Condition '<' violated: 100000000 >= 16777217."
_BATCH_TOO_LARGE = re.compile(
    r"Profile kMAX values are not self-consistent\. (?P<tensor>\S+?): tensor volume exceeds (?P<most>\d+)"
)
_REQUESTED = re.compile(r"Requested size was (?P<bytes>\d+) bytes")
_NEXT_STEPS: dict[PlanEngine, str] = {
    "tensorrt": "update the NVIDIA driver and TensorRT, or lower --optimization-level",
    "tensorrt-rtx": "pass a smaller --profile, or update TensorRT for RTX",
}


def is_refusal(message: str) -> bool:
    """Return whether a warning means that the plan is of no use, though one is built."""
    return _BATCH_TOO_LARGE.search(message) is not None


def explain_refusal(errors: list[str], *, name: str, library: Library = TENSORRT) -> str:
    """Return why a library could not build a plan, in one line with what to try.

    Args:
        errors: Error messages of TensorRT, oldest first.
        name: The graph's file name.
        library: The library that was asked.
    """
    text = [" ".join(error.split()) for error in errors]
    layer = next((found["layer"] for error in text if (found := _NO_IMPLEMENTATION.search(error))), None)
    memory = any(_OUT_OF_MEMORY.search(error) for error in text)
    said = f" ({text[-1]})" if text else ""
    own = _explain_own(text, name=name, library=library)
    if own:
        return own
    if layer is not None:
        return (
            f"TensorRT found no kernel for {layer!r} of {name}{said}: "
            + ("the GPU's memory ran out while it tried: free some, or " if memory else "")
            + "allow more scratch memory with --workspace, or a smaller --profile; drop --hardware-compatible and "
            "--version-compatible, which exclude kernels; if it is an INT8 layer with groups, keep it float with "
            "`export-ssl --max-drop`"
        )
    if memory:
        return (
            f"the GPU's memory ran out while {name} was built{said}: free some (`nvidia-smi` shows who holds it), or "
            "lower --workspace and --profile"
        )
    if not text:
        return f"{library.label} could not build a plan of {name} and gave no reason: see its log with --verbose"
    return f"{library.label} could not build a plan of {name}: {'; '.join(text[-3:])}"


def _explain_own(errors: list[str], *, name: str, library: Library) -> str:
    """Return why a build failed that needs no GPU, or refused a batch; empty for every other reason."""
    last = errors[-1] if errors else ""
    if turing := _FP32_ON_TURING.search(last):
        return (
            f"{library.label} has no FP32 matrix product for Turing, and {turing['layer']!r} of {name} is one: "
            "export the bundle with `export-ssl --fp16`, or leave Turing out of --gpu"
        )
    if large := next((found for error in errors if (found := _BATCH_TOO_LARGE.search(error))), None):
        return (
            f"the largest batch of --profile is too large for {name}: tensor {large['tensor']} would have more than "
            f"{int(large['most']):,} elements; lower it"
        )
    if not library.builds_on_gpu and _OUT_OF_MEMORY.search(last):
        wanted = _REQUESTED.search(last)
        needs = f"{int(wanted['bytes']) / 1e6:,.1f} MB" if wanted else "more"
        return (
            f"{name} needs {needs} of scratch memory at the largest batch of --profile, more than --workspace allows: "
            "raise --workspace, or lower --profile"
        )
    return ""


def explain_death(returncode: int, *, stage: str, last_words: str, library: Library = TENSORRT) -> str:
    """Return why the building process ended without a word, in one line with what to try.

    Args:
        returncode: Exit code as subprocess has it; -N for signal N.
        stage: What it was doing.
        last_words: The end of what it wrote to stderr, or its last message.
        library: Which one it built with.
    """
    said = f"; its last output: {last_words}" if last_words else ""
    # By name: Windows has no SIGKILL.
    signals = {-one.value: one.name for one in signal.Signals}
    if signals.get(returncode) == "SIGKILL":
        return (
            f"the build was killed while it was at {stage!r}, most likely for using up this machine's memory{said}: "
            "free some, lower --workspace, or pass a smaller --profile; nothing was changed"
        )
    if returncode < 0:
        return (
            f"{library.label} crashed ({signals.get(returncode, f'signal {-returncode}')}) while it was at "
            f"{stage!r}{said}: {_NEXT_STEPS[library.engine]}; nothing was changed"
        )
    return f"the build ended with exit code {returncode} while it was at {stage!r}{said}: run it with --verbose"
