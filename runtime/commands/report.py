"""The `run-ssl report` command. Nothing heavy is imported until it runs."""

from pathlib import Path
from typing import Annotated

import typer

from runtime.commands.console import message_console, one_line_errors


def report(
    bundles: Annotated[
        list[Path], typer.Argument(help="One bundle, or several of the same network to show side by side.")
    ],
    bench: Annotated[
        Path | None, typer.Option(help="Result of `run-ssl bench`.", show_default="BUNDLE/results/bench.json")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Result of `run-ssl compare`.", show_default="BUNDLE/results/compare.json")
    ] = None,
    changed: Annotated[
        Path | None,
        typer.Option(help="Changed images from `run-ssl compare --save`.", show_default="BUNDLE/results/changed.json"),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(min=0, help="Largest top-1 drop that you accept for more speed, in percentage points.")
    ] = 1.0,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the numbers as Markdown to this file.", show_default="none")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the numbers as JSON to this file.", show_default="none")
    ] = None,
) -> None:
    """Write one HTML page with everything that was measured for the bundles; it can be read offline.

    It reads what `run-ssl bench`, `run-ssl compare --save` and the export have stored in the bundles. Examples:

      run-ssl report r50-int8

      run-ssl report r50-fp16 r50-int8 -o report.html --markdown report.md
    """
    with one_line_errors():
        from runtime.report.build_report import build_report
        from runtime.report.document import as_json
        from runtime.report.html_page import write_html
        from runtime.report.inputs import ReportRequest
        from runtime.report.markdown_page import write_markdown
        from runtime.support.files import atomic_file
        from runtime.support.words import printable

        request = ReportRequest(tuple(bundles), bench, compare, changed, max_drop / 100)
        with message_console().status("report"):
            made = build_report(request)
            texts = {output: write_html(made)}
            if markdown is not None:
                texts[markdown] = write_markdown(made)
            if json_file is not None:
                texts[json_file] = as_json(made)
            for path, text in texts.items():
                with atomic_file(path) as file:
                    file.write(printable(text).encode())
        for sentence in made.decision:
            print(sentence)
        print(f"report: {', '.join(str(path) for path in texts)}")
