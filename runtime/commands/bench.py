"""The `run-ssl bench` command. Nothing heavy is imported until it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from runtime.commands.console import message_console, one_line_errors, result_console, step_bar


def bench(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles of the same network, in any precision.")],
    engines: Annotated[
        str,
        typer.Option(
            help="Engines, comma-separated, with the same names as in `run-ssl compare`. `pytorch` is the original.",
            show_default="all that can run the bundle",
        ),
    ] = "",
    batch: Annotated[str, typer.Option(help="Images per call; one or more numbers, such as 1,8,32.")] = "1",
    threads: Annotated[
        str,
        typer.Option(
            help="Threads for one call; one or more numbers, such as 1,4.",
            show_default="the engine's choice",
        ),
    ] = "",
    scope: Annotated[
        Literal["model", "copies", "end-to-end"],
        typer.Option(
            help="What to time. `model`: only the engine's call; on a GPU, only its kernels. `copies`: also the "
            "copies between host and device. `end-to-end`: everything from image files (see --data) to outputs."
        ),
    ] = "model",
    data: Annotated[
        Path | None, typer.Option(help="Folder with one folder of images per class, for `--scope end-to-end`.")
    ] = None,
    runs: Annotated[
        int, typer.Option(min=6, help="Smallest number of timed calls per measurement. A p99 needs at least 200.")
    ] = 200,
    seconds: Annotated[
        float, typer.Option(min=0, help="Shortest time per measurement. Calls are repeated until this time has passed.")
    ] = 0,
    rounds: Annotated[
        int, typer.Option(min=2, help="Number of rounds. In each round every engine and bundle takes its turn.")
    ] = 10,
    peers: Annotated[
        str,
        typer.Option(
            help="Other tools to time on the same network, comma-separated, or `all`: pytorch-eager, pytorch-compile, "
            "raw-openvino, raw-onnxruntime, benchmark_app, trtexec.",
            show_default="none",
        ),
    ] = "",
    budget_ms: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Highest p99 latency that you accept. Of the batches that stay within it, the one with the most "
            "images/s is recommended.",
        ),
    ] = None,
    limit: Annotated[
        bool,
        typer.Option(
            help="Also time each layer, and measure the best that this machine can do, to show how far the network is "
            "from this limit."
        ),
    ] = True,
    against: Annotated[
        Path | None, typer.Option(help="Earlier result to compare with, measured on the same hardware.")
    ] = None,
    gate: Annotated[
        str,
        typer.Option(
            help="With --against: exit with 1 if anything is slower by more than this, and the difference is "
            "significant."
        ),
    ] = "5%",
    force: Annotated[
        bool, typer.Option("--force", help="Compare with --against even if it comes from another machine.")
    ] = False,
    details: Annotated[
        bool,
        typer.Option(
            "--details",
            help="Show what limits the speed, layer by layer, and the commands that repeat each measurement.",
        ),
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint of the original.", show_default="the one named in the manifest")
    ] = None,
    device: Annotated[str, typer.Option(help="Where the engines run: `cpu` or `gpu`.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed for the bootstrap that computes the confidence intervals.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="File to write the result to.", show_default="results/bench.json in each bundle")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure latency and throughput reproducibly, and show how far they are from the machine's limit.

    Engines and bundles take turns, each in a process of its own. Examples:

      run-ssl bench r50-fp32 r50-int8

      run-ssl bench r50-int8 --batch 1,2,4,8,16,32 --budget-ms 20 --peers all

      run-ssl bench r50-int8 --against last.json --gate 5%
    """
    with one_line_errors():
        from runtime.bench.gate import (
            compare_results,
            gate_changes,
            left_out,
            parse_gate,
            read_result,
            render_changes,
            require_comparable,
        )
        from runtime.bench.job import BenchRequest, run_bench
        from runtime.bench.machine.describe import describe_machine
        from runtime.bench.save import check_places, save_result
        from runtime.bench.table import render
        from runtime.bench.turns import Effort
        from runtime.bundle.bundle import read_manifest
        from runtime.commands.parsing import parse_counts, split_list
        from runtime.support.progress import Listener

        most = parse_gate(gate)
        before = read_result(against) if against is not None else None
        if before is not None:
            # Refused now, not after the minutes that measuring takes.
            model = read_manifest(bundles[0]).model.name
            require_comparable(before, scope=scope, model=model, machine=describe_machine(), force=force)
        request = BenchRequest(
            bundles=tuple(bundles),
            engines=split_list(engines),
            peers=split_list(peers),
            batches=parse_counts(batch, option="--batch"),
            threads=parse_counts(threads, option="--threads") if threads else (None,),
            scope=scope,
            device=device,
            weights=weights,
            images=data,
            effort=Effort(rounds=rounds, runs=runs, seconds=seconds),
            budget_ms=budget_ms,
            limits=limit,
            seed=seed,
        )
        check_places(request.bundles, output)
        messages = message_console()
        with step_bar("bench", messages) as bar:
            result = run_bench(request, Listener(on_stage=bar.start, on_steps=bar.advance))
        paths = save_result(result, request.bundles, output)
        if json_output:
            print(result.model_dump_json(indent=2))
        else:
            render(result, result_console(), details=details)
        messages.print(f"result: {', '.join(str(path) for path in paths)}", markup=False, soft_wrap=True)
        failed = False
        if before is not None:
            changes = compare_results(before, result, force=force)
            worse = gate_changes(changes, limit=most)
            render_changes(changes, worse, limit=most, console=messages if json_output else result_console())
            for name in left_out(before, result):
                messages.print(f"not compared: {name}", markup=False, soft_wrap=True)
            failed = bool(worse)
    if failed:
        raise typer.Exit(1)
