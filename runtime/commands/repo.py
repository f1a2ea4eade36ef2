"""The `run-ssl repo` command. Nothing heavy is imported until it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from runtime.commands.console import message_console, one_line_errors
from runtime.commands.parsing import parse_counts

_STANDING = "the served model's, or"


def repo(
    bundle: Annotated[Path, typer.Argument(help="A bundle's directory.")],
    repository: Annotated[Path, typer.Argument(metavar="DIR", help="Model repository, new or existing.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the model in the repository.", show_default="the bundle's")
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="Number of the new version.", show_default="one above the highest")
    ] = None,
    backend: Annotated[
        Literal["auto", "tensorrt", "onnxruntime", "openvino"],
        typer.Option(
            help="`auto` keeps the backend of a model that is already served. For a new model it chooses tensorrt if "
            "the bundle has a plan. Without a plan it chooses openvino for int8-fp16 on CPUs, where onnxruntime gives "
            "wrong results, and else onnxruntime."
        ),
    ] = "auto",
    device: Annotated[
        Literal["auto", "cpu", "gpu"],
        typer.Option(help="`auto`: a GPU if Triton finds one; openvino always runs on CPUs."),
    ] = "auto",
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Largest batch that Triton makes.", show_default=f"{_STANDING} the plan's profile, or 32"
        ),
    ] = None,
    instances: Annotated[
        int | None, typer.Option(min=1, help="Instances of the model per device.", show_default=f"{_STANDING} 1")
    ] = None,
    max_queue_delay_us: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Longest time that a request may wait for others to share its batch, in microseconds.",
            show_default=f"{_STANDING} 0",
        ),
    ] = None,
    preferred_batch: Annotated[
        str,
        typer.Option(
            help="Batch sizes that Triton runs at once, without waiting for more requests, such as 8,16,32.",
            show_default=f"{_STANDING} none",
        ),
    ] = "",
    keep: Annotated[
        Literal["latest", "all"] | None,
        typer.Option(help="Which versions Triton serves.", show_default=f"{_STANDING} latest"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing version.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Put a bundle into a model repository for NVIDIA Triton; OpenVINO Model Server reads it too, except plans.

    The new version is added beside the existing ones, and appears only when it is complete. Examples:

      run-ssl repo ssl_resnet50-int8 models

      run-ssl repo ssl_resnet50-int8-fp16 models --name resnet50 --backend tensorrt --max-queue-delay-us 500
    """
    with one_line_errors():
        from runtime.serving.next_steps import as_json, as_lines
        from runtime.serving.repository import write_repository
        from runtime.serving.request import RepositoryRequest

        request = RepositoryRequest(
            bundle=bundle,
            repository=repository,
            name=name,
            version=version,
            backend=backend,
            device=device,
            max_batch=max_batch,
            instances=instances,
            max_queue_delay_us=max_queue_delay_us,
            preferred_batch=parse_counts(preferred_batch, option="--preferred-batch") if preferred_batch else None,
            keep=keep,
            overwrite=overwrite,
        )
        with message_console().status(f"repo {repository}"):
            written = write_repository(request)
        print(as_json(written) if json_output else "\n".join(as_lines(written)))
