"""What a finished job prints."""

import json

from rich.console import Console
from rich.text import Text

from runtime.embed.job import JobResult
from runtime.embed.output.part_files import DATA
from runtime.images.formats import describe_passed_over
from runtime.images.losses import describe_repeats
from runtime.support.words import counted, verb_for


def as_json(result: JobResult) -> str:
    """Return the result as JSON."""
    missing = result.unreadable_file
    return json.dumps(
        {
            "output": str(result.output),
            "data": str(result.output / DATA),
            "images": result.images,
            "rows": result.rows,
            "unreadable": result.unreadable,
            "unreadable_file": str(missing) if missing is not None else None,
            "passed_over": dict(result.passed_over),
            "lost": result.lost.model_dump(),
            "repeated": result.repeated,
            "parts": result.parts,
            "images_before": result.images_before,
            "seconds": round(result.seconds, 3),
            "images_per_s": round(result.images_per_s, 1),
            "engine": result.engine,
            "executes": result.executes,
        },
        indent=2,
    )


def render(result: JobResult, console: Console) -> None:
    """Print the result in words."""

    def show(line: str) -> None:
        # Paths may be longer than a line, and hold what would be markup.
        console.print(Text(line), soft_wrap=True)

    embeddings, images, parts = (
        counted(number, noun)
        for number, noun in ((result.rows, "embedding"), (result.images, "image"), (result.parts, "part"))
    )
    show(f"{embeddings} of {images} in {parts}: {result.output / DATA}")
    if result.images_before == result.images:
        show("nothing was left to do: an earlier run had finished the job")
    else:
        before = f", {result.images_before:,} were done before" if result.images_before else ""
        rate = f"{result.images_per_s:,.0f}" if result.images_per_s >= 10 else f"{result.images_per_s:.1f}"
        show(f"{result.engine} ({result.executes}), {rate} images/s with decoding, {result.seconds:,.1f} s{before}")
    for sentence in (*result.lost.sentences(), *describe_repeats(result.repeated, result.rows, what="embedding")):
        show(f"warning: {sentence}")
    if result.unreadable_file is not None:
        count = result.unreadable
        show(f"{counted(count, 'image')} {verb_for(count, 'have')} no row: {result.unreadable_file} says why")
    if result.passed_over:
        show(describe_passed_over(result.passed_over))
