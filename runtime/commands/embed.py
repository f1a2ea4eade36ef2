"""The `run-ssl embed` command. Nothing heavy is imported until it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from runtime.commands.console import message_console, one_line_errors, result_console
from runtime.commands.image_options import Depth16Option, ExifRotateOption
from runtime.commands.ray_options import RayAddressOption, RayCpusOption, RayGpusOption, RayOption, RayWorkersOption
from runtime.errors import UsageError
from runtime.support.engine_names import DISTRIBUTIONS

if TYPE_CHECKING:
    from runtime.embed.neighbours.check_job import CheckChoice
    from runtime.embed.request import EmbedRequest
    from runtime.on_ray.choice import RayChoice

*_FIRST_NAMES, _LAST_NAME = DISTRIBUTIONS
# Headings of the help.
_IMAGES = "Images"
_ENGINE = "Engine"
_INSTEAD_OF_WRITING = "Instead of writing"
_FLOAT16 = (
    "note: float16 halves the files, but Spark refuses them, and DuckDB and chDB show the numbers as float32; all "
    "readers take --dtype float32"
)


def embed(
    bundle: Annotated[Path, typer.Argument(help="A bundle's directory.")],
    images: Annotated[
        list[Path],
        typer.Argument(help="A folder of images at any depth, a list of paths, .tar shards, or .parquet files."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Directory for the embeddings. If it holds an unfinished job, that job is resumed.",
            show_default="required",
        ),
    ] = None,
    output_format: Annotated[
        Literal["parquet", "lance", "npy"],
        typer.Option(
            "--format",
            help="File format of the output parts. `lance`: when the job has ended, the output is a Lance data set.",
        ),
    ] = "parquet",
    dtype: Annotated[
        Literal["float32", "float16"],
        typer.Option(help="Number type of the embeddings. Spark cannot read Parquet files with float16."),
    ] = "float32",
    normalise: Annotated[
        bool, typer.Option("--normalise", "--normalize", help="Divide each embedding by its L2 norm.")
    ] = False,
    top_k: Annotated[
        int, typer.Option(min=0, help="Also write this many of the most likely classes, with their probabilities.")
    ] = 0,
    engine: Annotated[
        str,
        typer.Option(
            help=f"Engine: {', '.join(_FIRST_NAMES)} or {_LAST_NAME}. `:bf16` after a name sets the precision, as in "
            "`run-ssl compare`.",
            rich_help_panel=_ENGINE,
        ),
    ] = "auto",
    device: Annotated[
        Literal["cpu", "gpu"], typer.Option(help="Where the engine runs.", rich_help_panel=_ENGINE)
    ] = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per inference.", rich_help_panel=_ENGINE)] = 32,
    part_images: Annotated[
        int | None, typer.Option(min=1, help="Images per output part; a multiple of --batch-size.", show_default="8192")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Threads that decode images.", show_default="one per core", rich_help_panel=_IMAGES),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads for one inference.", show_default="the engine's choice", rich_help_panel=_ENGINE
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder where the relative paths of a list, or of a Parquet column, start.",
            show_default="the folder of the list or table",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(
            help="Column of a Parquet file that holds the images: bytes, paths or base64 text.",
            show_default="found by name and type",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    key_column: Annotated[
        str | None,
        typer.Option(
            help="Column of a Parquet file that holds the keys. A key is the name of an image.",
            show_default="found by its name; without one, row numbers",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint for `--engine pytorch`.",
            show_default="the one named in the manifest",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    native: Annotated[
        Path | None,
        typer.Option(
            help="Path of libresnet_engine.so, the C library that `make cpp` builds. It preprocesses the images "
            "faster, with the same result.",
            show_default="Pillow",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    exif_rotate: ExifRotateOption = False,
    depth16: Depth16Option = None,
    ray: RayOption = False,
    ray_address: RayAddressOption = None,
    ray_workers: RayWorkersOption = None,
    ray_cpus: RayCpusOption = 2,
    ray_gpus: RayGpusOption = 0,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Write nothing. Compare the nearest neighbours of a sample with those that PyTorch finds.",
            rich_help_panel=_INSTEAD_OF_WRITING,
        ),
    ] = False,
    sample: Annotated[
        int,
        typer.Option(min=1, help="With --check: number of images in the sample.", rich_help_panel=_INSTEAD_OF_WRITING),
    ] = 2000,
    seed: Annotated[
        int, typer.Option(help="With --check: seed of the random sample.", rich_help_panel=_INSTEAD_OF_WRITING)
    ] = 0,
    metric: Annotated[
        Literal["cosine", "euclidean"],
        typer.Option(
            help="With --check: the distance that your search index uses.", rich_help_panel=_INSTEAD_OF_WRITING
        ),
    ] = "cosine",
    min_recall: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="With --check: exit with 1 if recall at 10 is below this.",
            show_default="none",
            rich_help_panel=_INSTEAD_OF_WRITING,
        ),
    ] = None,
    save: Annotated[
        bool,
        typer.Option(
            "--save",
            help="With --check: keep the result in the bundle's `results` folder, for `run-ssl report`.",
            rich_help_panel=_INSTEAD_OF_WRITING,
        ),
    ] = False,
    details: Annotated[
        bool,
        typer.Option("--details", help="With --check: print every explanation.", rich_help_panel=_INSTEAD_OF_WRITING),
    ] = False,
    append: Annotated[
        bool,
        typer.Option(
            "--append",
            help="Add new images to a finished output. Only the new images are embedded; the existing parts stay as "
            "they are.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete an existing output and start over, instead of resuming it.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the embeddings of any number of images, as Parquet parts in a folder that readers take as one table.

    The parts are in the folder `data` of the output. If the job stops for any reason, run the same command again to
    resume it. Exits with 1 if some images could not be read; `_unreadable.csv` in the output lists them. Examples:

      run-ssl embed ssl_resnet50-int8 photos/ -o embeddings

      run-ssl embed ssl_resnet50-int8 shards/*.tar -o embeddings --normalise --dtype float16 --top-k 5

      python -c "import pandas; print(pandas.read_parquet('embeddings/data'))"

      run-ssl embed ssl_resnet50-int8 photos/ --check
    """
    with one_line_errors():
        from runtime.data.sources.open_source import InputChoice
        from runtime.embed.neighbours.check_job import CheckChoice
        from runtime.embed.request import EmbedRequest, OutputChoice
        from runtime.on_ray.choice import RayChoice

        if check == (output is not None):
            raise UsageError(
                f"--check writes nothing: leave --output {output} out"
                if check
                else "no output directory: pass --output DIRECTORY"
            )
        on_ray = ray or ray_address is not None
        _refuse("--min-recall", min_recall, "it needs --check", unless=check)
        _refuse("--save", save or None, "it needs --check", unless=check)
        _refuse("--details", details or None, "it needs --check", unless=check)
        _refuse("--ray-workers", ray_workers, "it needs --ray", unless=on_ray)
        _refuse("--ray-gpus", ray_gpus or None, "it needs --ray", unless=on_ray)
        _refuse("--append", append or None, "--check writes nothing", unless=not check)
        _refuse("--append", append or None, "--overwrite deletes what is there", unless=not overwrite)
        _refuse("--ray", on_ray or None, "--append runs on this machine", unless=not append)
        _refuse("--ray", on_ray or None, "--check runs on this machine", unless=not check)
        request = EmbedRequest(
            bundle=bundle,
            images=tuple(images),
            output=output or Path(),
            reading=InputChoice(root=root, image_column=image_column, key_column=key_column),
            writing=OutputChoice(output_format, dtype, normalise, top_k),
            engine=engine,
            batch_size=batch_size,
            part_images=part_images,
            workers=workers,
            threads=threads,
            device=device,
            weights=weights,
            native=native,
            exif_rotate=exif_rotate,
            depth16=depth16,
            overwrite=overwrite,
            append=append,
        )
        if check:
            passed = _check(
                request, CheckChoice(sample, seed, metric, save), min_recall, details=details, json_output=json_output
            )
        else:
            cluster = RayChoice(ray_address, ray_workers, ray_cpus, ray_gpus) if on_ray else None
            passed = _embed(request, cluster, json_output=json_output)
    if not passed:
        raise typer.Exit(1)


def _refuse(option: str, given: object, why: str, *, unless: bool) -> None:
    """Refuse an option that would have no effect.

    Raises:
        UsageError: The option is given where it has no effect.
    """
    if given is not None and not unless:
        raise UsageError(f"{option} has no effect here, {why}: leave it out")


def _embed(request: "EmbedRequest", cluster: "RayChoice | None", *, json_output: bool) -> bool:
    """Do a job, print what was done, and return whether every image has a row."""
    from runtime.commands.embed_bar import job_bar
    from runtime.embed.job import run_embedding
    from runtime.embed.job_table import as_json, render
    from runtime.embed.ray_job import run_on_ray

    if request.writing.format == "parquet" and request.writing.dtype == "float16":
        message_console().print(_FLOAT16)
    with job_bar(message_console()) as listener:
        result = run_on_ray(request, cluster, listener) if cluster else run_embedding(request, listener)
    if json_output:
        print(as_json(result))
    else:
        render(result, result_console())
    return not result.unreadable


def _check(
    request: "EmbedRequest", choice: "CheckChoice", least: float | None, *, details: bool, json_output: bool
) -> bool:
    """Compare neighbours, print what was found, and return whether enough of them are the same."""
    from runtime.commands.embed_bar import job_bar
    from runtime.embed.neighbours.check_job import run_check
    from runtime.embed.neighbours.explain import has_failed
    from runtime.embed.neighbours.result_table import render_check

    with job_bar(message_console()) as listener:
        result = run_check(request, choice, listener)
    if json_output:
        print(result.check.model_dump_json(indent=2))
    else:
        render_check(result.check, result_console(), least=least, details=details)
    for sentence in result.lost.sentences():
        message_console().print(f"warning: {sentence}", markup=False)
    if result.unreadable:
        message_console().print(f"warning: {result.unreadable} images of the sample cannot be read and were left out")
    return not has_failed(result.check.agreement) and (least is None or result.check.recall(10) >= least)
