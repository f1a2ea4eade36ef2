"""Why a build failed, in words: TensorRT's refusals, and processes that did not come back."""

import re
import signal

# TensorRT's message: "Error Code 10: Internal Error (Could not find any implementation for node A + PWN(B).)"; newer
# ones say where after the full stop. Names have parentheses too.
_NO_IMPLEMENTATION = re.compile(
    r"[Cc]ould not find any implementation for node (?P<layer>.+?)(?:\.\)|\. |\.\s*$|(?<!\))\)\s*$|\s*$)"
)
_OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|insufficient memory", re.IGNORECASE)


def explain_refusal(errors: list[str], *, name: str) -> str:
    """Return why TensorRT could not build a plan, in one line with what to try.

    Args:
        errors: Error messages of TensorRT, oldest first.
        name: The graph's file name.
    """
    text = [" ".join(error.split()) for error in errors]
    layer = next((found["layer"] for error in text if (found := _NO_IMPLEMENTATION.search(error))), None)
    memory = any(_OUT_OF_MEMORY.search(error) for error in text)
    said = f" ({text[-1]})" if text else ""
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
        return f"TensorRT could not build a plan of {name} and gave no reason: see its log with --verbose"
    return f"TensorRT could not build a plan of {name}: {'; '.join(text[-3:])}"


def explain_death(returncode: int, *, stage: str, last_words: str) -> str:
    """Return why the building process ended without a word, in one line with what to try.

    Args:
        returncode: Exit code as subprocess has it; -N for signal N.
        stage: What it was doing.
        last_words: The end of what it wrote to stderr, or its last message.
    """
    said = f"; its last output: {last_words}" if last_words else ""
    # By name: Windows has no SIGKILL.
    signals = {-one.value: one.name for one in signal.Signals}
    if signals.get(returncode) == "SIGKILL":
        return (
            f"the build was killed while it was at {stage!r}, most likely for using up this machine's memory{said}: "
            "free some, lower --workspace, or pass a smaller --profile; the bundle is as it was"
        )
    if returncode < 0:
        return (
            f"TensorRT crashed ({signals.get(returncode, f'signal {-returncode}')}) while it was at {stage!r}{said}: "
            "update the NVIDIA driver and TensorRT, or lower --optimization-level; the bundle is as it was"
        )
    return f"the build ended with exit code {returncode} while it was at {stage!r}{said}: run it with --verbose"
