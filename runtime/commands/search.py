"""The `run-ssl search` command. Nothing heavy is imported until it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from runtime.commands.console import message_console, one_line_errors, result_console


def search(
    output: Annotated[Path, typer.Argument(help="The output of a `run-ssl embed` job that is finished.")],
    queries: Annotated[list[Path], typer.Argument(help="Images to search for.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Number of nearest images to find for each query.")] = 10,
    metric: Annotated[
        Literal["cosine", "euclidean"], typer.Option(help="Distance to search by. `cosine` is 1 minus the cosine.")
    ] = "cosine",
    index: Annotated[
        bool,
        typer.Option(
            "--index",
            help="Search with a faiss index: faster, but approximate. The index is made once and kept in the output.",
        ),
    ] = False,
    unpack: Annotated[
        bool,
        typer.Option(
            "--unpack",
            help="Keep an uncompressed copy of the embeddings in the output. From then on, exact searches of Parquet "
            "and Lance read this copy, and take a fraction of the time.",
        ),
    ] = False,
    bundle: Annotated[
        Path | None, typer.Option(help="The bundle that made the output.", show_default="where the job had it")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Engine that embeds the queries.", show_default="the job's")
    ] = None,
    device: Annotated[
        Literal["cpu", "gpu"] | None, typer.Option(help="Where the engine runs.", show_default="where the job's ran")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Checkpoint for `--engine pytorch`.", show_default="the one named in the manifest"),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the pictures.", show_default="none")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Find the images of an embedding job that are nearest to a picture, and print their keys and distances.

    The picture is embedded with the bundle that made the output. All rows are compared, in bounded memory. Examples:

      run-ssl search embeddings query.jpg

      run-ssl search embeddings query.jpg -k 50 --json

      run-ssl search embeddings query.jpg --unpack

      run-ssl search embeddings query.jpg --index --html page.html
    """
    with one_line_errors():
        from runtime.search.job import run_search
        from runtime.search.request import SearchRequest
        from runtime.search.result_table import as_json, render

        request = SearchRequest(
            output=output,
            queries=tuple(queries),
            k=k,
            metric=metric,
            bundle=bundle,
            engine=engine,
            device=device,
            weights=weights,
            index=index,
            unpack=unpack,
        )
        with message_console().status("search") as status:
            result = run_search(request, on_stage=lambda stage: status.update(f"search: {stage}"))
            if html is not None:
                from runtime.search.page import write_page
                from runtime.support.files import atomic_file
                from runtime.support.words import printable

                status.update("search: find the pictures")
                with atomic_file(html) as file:
                    file.write(printable(write_page(result)).encode())
        if json_output:
            print(as_json(result))
        else:
            render(result, result_console())
            if html is not None:
                print(f"page: {html}")
