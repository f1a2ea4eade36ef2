"""The `run-ssl embed` command. Nothing heavy is imported until it runs."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from runtime.console import message_console, one_line_errors, result_console


class FormatChoice(str, Enum):
    """What the output's parts are."""

    parquet = "parquet"
    npy = "npy"


class DtypeChoice(str, Enum):
    """What an embedding's numbers are."""

    float32 = "float32"
    float16 = "float16"


class DeviceChoice(str, Enum):
    """Where the engine runs."""

    cpu = "cpu"
    gpu = "gpu"


def embed(
    bundle: Annotated[Path, typer.Argument(help="A bundle's directory.")],
    images: Annotated[
        list[Path],
        typer.Argument(help="A folder of images at any depth, a list of paths, .tar shards, or .parquet files."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The directory to make, or to go on with.")],
    output_format: Annotated[FormatChoice, typer.Option("--format", help="What the parts are.")] = FormatChoice.parquet,
    dtype: Annotated[DtypeChoice, typer.Option(help="Of the embeddings.")] = DtypeChoice.float32,
    normalise: Annotated[
        bool, typer.Option("--normalise", "--normalize", help="Divide each embedding by its L2 norm.")
    ] = False,
    top_k: Annotated[int, typer.Option(min=0, help="Write so many best classes with their probabilities too.")] = 0,
    engine: Annotated[
        str, typer.Option(help="tensorrt, openvino, onnxruntime or pytorch, with `:bf16` and the like as in compare.")
    ] = "auto",
    device: Annotated[DeviceChoice, typer.Option(help="Where the engine runs.")] = DeviceChoice.cpu,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per inference.")] = 32,
    part_images: Annotated[
        int | None, typer.Option(min=1, help="Images per part, a multiple of --batch-size.", show_default="8192")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Decoding threads.", show_default="one per core")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads for one inference.", show_default="the engine's")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where a list's relative paths start.", show_default="the list's folder")
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="Of Parquet files: the column of encoded images.", show_default="found")
    ] = None,
    key_column: Annotated[
        str | None, typer.Option(help="Of Parquet files: the column of keys.", show_default="found, or row numbers")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint, for `--engine pytorch`.", show_default="the manifest's")
    ] = None,
    native: Annotated[
        Path | None,
        typer.Option(
            help="The C library, libresnet_engine.so of `make cpp`: preprocesses faster, to the same bytes.",
            show_default="Pillow",
        ),
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run on Ray: RAY_ADDRESS's cluster where that is set, else this machine.")
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Run on the Ray cluster at HOST:PORT, ray://HOST:PORT or auto.", show_default="none"),
    ] = None,
    ray_workers: Annotated[
        int | None, typer.Option(min=1, help="So many workers, for good.", show_default="as Ray finds room")
    ] = None,
    ray_cpus: Annotated[int, typer.Option(min=1, help="CPUs of each worker.")] = 2,
    ray_gpus: Annotated[float, typer.Option(min=0, help="GPUs of each worker; with some, the engine runs there.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin an output that is there anew, where else it is gone on with.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the embeddings of any number of images, as Parquet parts that pandas, DuckDB and Spark read as a table.

    A job that was stopped, in whichever way, goes on with the same command. Exits with 1 when images could not be
    read; `_unreadable.csv` in the output names them. Examples:

      run-ssl embed ssl_resnet50-int8 photos/ -o embeddings

      run-ssl embed ssl_resnet50-int8 shards/*.tar -o embeddings --normalise --dtype float16 --top-k 5

      python -c "import pandas; print(pandas.read_parquet('embeddings'))"
    """
    with one_line_errors():
        from runtime.embed.embed_bar import job_bar
        from runtime.embed.job import run_embedding
        from runtime.embed.job_report import as_json, render
        from runtime.embed.open_source import InputChoice
        from runtime.embed.ray_job import RayChoice, run_on_ray
        from runtime.embed.request import EmbedRequest, OutputChoice

        request = EmbedRequest(
            bundle=bundle,
            images=tuple(images),
            output=output,
            reading=InputChoice(root=root, image_column=image_column, key_column=key_column),
            writing=OutputChoice(output_format.value, dtype.value, normalise, top_k),
            engine=engine,
            batch_size=batch_size,
            part_images=part_images,
            workers=workers,
            threads=threads,
            device=device.value,
            weights=weights,
            native=native,
            overwrite=overwrite,
        )
        cluster = RayChoice(ray_address, ray_workers, ray_cpus, ray_gpus) if ray or ray_address else None
        with job_bar(message_console()) as listener:
            result = run_on_ray(request, cluster, listener) if cluster else run_embedding(request, listener)
        if json_output:
            print(as_json(result))
        else:
            render(result, result_console())
    if result.unreadable:
        raise typer.Exit(1)
