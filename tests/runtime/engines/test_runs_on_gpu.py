"""Whether an engine leaves the cores to those who decode: one answer, which all that read ahead ask for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import runtime.bench.runners
from runtime.bench.runners import open_runner
from runtime.bench.subjects import Subject
from runtime.bundle.bundle import open_bundle
from runtime.compare.opening import OpenedEngines
from runtime.data.sources.entries import Listing
from runtime.embed.opening import describe_place, open_engine
from runtime.embed.output.identity import describe_job
from runtime.embed.request import EmbedRequest
from runtime.engines.contract import Engine
from runtime.engines.facts import describe_engine
from runtime.engines.open_engine import EngineOptions, load_engine, parse_engine
from runtime.engines.trt.trt_engine import TensorRtEngine
from runtime.support.ort_providers import PROVIDERS, Provider
from tests.conftest import Exported
from tests.helpers.embed_jobs import SumEngine


@pytest.fixture
def false_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `onnxruntime:cuda` open on the CPU, as no test has a GPU."""
    monkeypatch.setitem(PROVIDERS, "cuda", Provider("cuda", ("CPUExecutionProvider",), "gpu"))


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime:cpu", "openvino", "pytorch"])
def test_engine_on_the_cpu_says_so(exported: Exported, name: str) -> None:
    choice = parse_engine(name)
    assert not choice.runs_on_gpu("cpu")
    with load_engine(exported.fp32, choice.name, EngineOptions(provider=choice.provider)) as engine:
        assert engine.runs_on_gpu is False


def test_plan_runs_on_a_gpu() -> None:
    assert TensorRtEngine.runs_on_gpu is True
    assert parse_engine("tensorrt").runs_on_gpu("cpu")


@pytest.mark.parametrize(
    ("name", "device", "gpu"),
    [
        ("onnxruntime:cuda", "cpu", True),
        ("onnxruntime:tensorrt", "cpu", True),
        ("onnxruntime:cpu", "gpu", False),
        ("onnxruntime", "gpu", True),
        ("openvino", "gpu", True),
        ("pytorch:fp16", "gpu", True),
    ],
)
def test_provider_goes_before_the_device(name: str, device: str, gpu: bool) -> None:
    assert parse_engine(name).runs_on_gpu(device) is gpu


@pytest.mark.usefixtures("false_cuda")
def test_embedding_decodes_while_onnxruntime_computes_on_a_gpu(exported: Exported, tmp_path: Path) -> None:
    bundle = open_bundle(exported.fp32)
    asked = EmbedRequest(bundle=exported.fp32, images=(), output=tmp_path)
    overlaps = {}
    for name in ("onnxruntime:cuda", "onnxruntime"):
        request = replace(asked, engine=name)
        with open_engine(request, bundle) as engine:
            job = describe_job(request, bundle, describe_engine(engine), Listing(0, ""), hardware="")
            place = describe_place(request, bundle, job=job, source=None, engine=engine)
            overlaps[job.device] = place.overlap
    assert overlaps == {"gpu": True, "cpu": False}


@pytest.mark.usefixtures("false_cuda")
def test_benchmark_from_files_decodes_while_onnxruntime_computes_on_a_gpu(
    exported: Exported, class_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlaps = []
    load_batches = vars(runtime.bench.runners)["load_batches"]

    @contextmanager
    def watched(*given: Any, overlap: bool, **named: Any) -> Iterator[Any]:
        overlaps.append(overlap)
        with load_batches(*given, **named) as loader:
            yield loader

    monkeypatch.setattr(runtime.bench.runners, "load_batches", watched)
    for name in ("onnxruntime:cuda", "onnxruntime"):
        asked = Subject(
            name=name,
            kind="bundle",
            bundle=exported.fp32,
            engine=name,
            batch=7,
            scope="end-to-end",
            images=class_folders,
        )
        with open_runner(asked) as runner:
            runner.call()
    assert overlaps == [True, False]


@pytest.mark.parametrize(
    ("original", "engines", "expected"),
    [(True, (True, True), True), (False, (True, True), False), (True, (True, False), False), (True, (), True)],
)
def test_comparison_decodes_meanwhile_where_nothing_computes_on_the_cpu(
    original: bool, engines: tuple[bool, ...], expected: bool
) -> None:
    def on(gpu: bool) -> Engine:
        engine = SumEngine()
        engine.runs_on_gpu = gpu
        return engine

    opened = OpenedEngines(on(original), tuple(map(on, engines)), (0,) * len(engines))  # type: ignore[arg-type]
    assert opened.all_on_gpu is expected
