"""The decision where the machine was noisy: what is too near to tell, what is named, and what to do next."""

import numpy as np
import pytest

from runtime.bundle.results.bench_json import Gpu, Interval
from runtime.report.build_report import build_report
from runtime.report.candidates import find_candidates
from runtime.report.certainty import measure_lead
from runtime.report.decision import describe_decision
from runtime.report.document import Text
from runtime.report.inputs import ReportRequest, read_inputs
from tests.helpers.report_samples import sample_bench, sample_measured, write_everything

ROUNDS = 12
QUIET = {"busy_share": 0.001, "steal_share": 0.0, "drift": 1.02, "load_before": 0.1, "warnings": ()}


def timed(measured, rounds_ms):
    """What was timed, with the medians of its rounds; every round is five equal calls."""
    rounds = tuple((float(ms),) * 5 for ms in rounds_ms)
    median = float(np.median(rounds))
    latency = measured.latency.model_copy(
        update={"median_ms": median, "median_ci95": Interval(low=0.98 * median, high=1.02 * median)}
    )
    return measured.model_copy(update={"rounds_ms": rounds, "latency": latency})


def one_run(bundles, int8_ms, fp32_ms, **noise):
    """A benchmark of both bundles at batch 1 with these medians by round."""
    bench = sample_bench(*bundles)
    measured = (
        timed(sample_measured(str(bundles[0]), "fp32", 1.0), fp32_ms),
        timed(sample_measured(str(bundles[1]), "int8", 1.0), int8_ms),
    )
    return bench.model_copy(
        update={"measured": measured, "limits": (), "noise": bench.noise.model_copy(update={**QUIET, **noise})}
    )


@pytest.fixture
def decide(tmp_path):
    bundles = write_everything(tmp_path)

    def decided(int8_ms, fp32_ms, change=lambda bench: bench, **noise):
        bench = change(one_run(bundles, int8_ms, fp32_ms, **noise))
        (bundles[1] / "results" / "bench.json").write_text(bench.model_dump_json())
        inputs = read_inputs(ReportRequest(bundles))
        return describe_decision(inputs, find_candidates(inputs))

    return decided


def apart(*factors):
    """Medians of twelve rounds: about 1 ms, times the factors in turns."""
    return [factors[index % len(factors)] for index in range(ROUNDS)]


def test_a_lead_beyond_the_noise_is_a_decision(decide):
    lead, *rest = decide(apart(1.0), apart(1.3), busy_share=0.2)
    assert lead.startswith("Take tiny-int8 on openvino")
    assert not any("quiet machine" in sentence for sentence in rest)


def test_a_ratio_whose_interval_holds_1_on_a_busy_machine_is_too_noisy(decide):
    # The ratios are 0.8 and 1.25 in turns. Student's interval by hand: the logs are -0.2231 and 0.2231, their mean 0,
    # their deviation over 12 rounds 0.2331; exp(2.201 * 0.2331 / sqrt(12)) = 1.16.
    lead, step, accuracy = decide(apart(1.0), apart(0.8, 1.25), busy_share=0.12)
    assert lead.startswith("The machine was too noisy to decide between tiny-")
    assert "(0.86 to 1.16), does not exclude 1" in lead
    assert "other processes took 12.00 % of the cores' time (quiet: 5%)" in lead
    assert step.startswith("Run again on a quiet machine with `run-ssl bench ")
    assert "--runs" not in step
    # By hand: INT8 loses 5 of 1000 hits and gains 2; FP32 loses none.
    assert "-0.30 pp" in accuracy
    assert "+0.00 pp" in accuracy


def test_a_lead_that_other_processes_explain_is_too_noisy(decide):
    # Every round says 1.1, but who shared a fifth of the cores was slowed by up to 1 / 0.8 = 1.25.
    lead, *_ = decide(apart(1.0), apart(1.1), busy_share=0.2)
    assert "decide between tiny-int8, openvino (int8), 1.00 ms, and tiny-fp32, openvino (fp32), 1.10 ms" in lead
    assert "1.10 (1.10 to 1.10), is not above the 1.25 that other work on the machine can explain" in lead


def test_equal_times_on_a_quiet_machine_are_said_to_be_equal(decide):
    lead, equal, *_ = decide(apart(1.0), apart(0.99, 1.02))
    assert lead.startswith("Take tiny-")
    assert equal.startswith("As fast, as far as was measured: tiny-")


def test_calls_that_scatter_on_a_quiet_machine_ask_for_more_calls(decide):
    lead, step, _ = decide(apart(1.0), apart(0.8, 1.25))
    assert "too noisy" in lead
    assert "quiet:" not in lead
    # Four times the 200 calls of the sample halve the interval.
    assert step.endswith("--runs 800`.")


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"steal_share": 0.03}, "the hypervisor took 3.00 % of the cores' time (quiet: 1%)"),
        ({"drift": 1.2}, "rounds of even the steadiest engine differ by a factor of 1.20 (quiet: 1.05)"),
        ({"busy_share": None, "load_before": 1.5}, "1.5 processes wanted one of 2 cores just before"),
    ],
)
def test_every_recorded_disturbance_is_named_with_its_figure(decide, noise, said):
    assert said in decide(apart(1.0), apart(0.8, 1.25), **noise)[0]


def test_a_throttled_gpu_is_named(decide):
    gpu = Gpu(name="NVIDIA A100", compute_capability="8.0", memory_mb=81920, throttling="SW power cap")

    def throttled(bench):
        return bench.model_copy(update={"machine": bench.machine.model_copy(update={"gpus": (gpu,)})})

    lead, *_ = decide(apart(1.0), apart(0.8, 1.25), throttled)
    assert "the GPU NVIDIA A100 was slowed down (SW power cap)" in lead


def test_runs_one_after_the_other_are_held_against_the_drift_between_them(tmp_path):
    bundles = write_everything(tmp_path)
    both = one_run(bundles, apart(1.0), apart(1.04))
    slow, fast = both.measured
    apart_runs = tuple(both.model_copy(update={"measured": (one,)}) for one in both.measured)
    assert measure_lead(slow, fast, (both,)).shown
    lead = measure_lead(slow, fast, apart_runs)
    # Medians are known to 2 %: 1.04 * 0.98 / 1.02 / 1.05 is the least that the ratio can be.
    assert lead.interval.low == pytest.approx(1.04 * 0.98 / 1.02 / 1.05)
    assert not lead.shown


def test_plans_are_not_slowed_by_busy_cores(tmp_path):
    bundles = write_everything(tmp_path)
    both = one_run(bundles, apart(1.0), apart(1.1), busy_share=0.2)
    plans = tuple(one.model_copy(update={"engine": "tensorrt"}) for one in both.measured)
    result = both.model_copy(update={"measured": plans})
    assert measure_lead(plans[0], plans[1], (result,)).shown
    assert not measure_lead(both.measured[0], both.measured[1], (both,)).shown


def test_an_engine_that_is_faster_and_was_never_compared_is_named(decide):
    def with_a_plan(bench):
        plan = timed(bench.measured[1].model_copy(update={"engine": "tensorrt", "name": "plan"}), apart(0.2))
        return bench.model_copy(update={"measured": (*bench.measured, plan)})

    lead, *_, last = decide(apart(1.0), apart(1.3), with_a_plan)
    assert lead.startswith("Take tiny-int8 on openvino")
    assert last.startswith("Faster, but its accuracy was not compared: tiny-int8, tensorrt (int8), 200 µs;")
    assert "--engines tensorrt --save`" in last


def test_the_front_says_what_was_timed_and_not_compared(tmp_path):
    bundles = write_everything(tmp_path)
    bench = one_run(bundles, apart(1.0), apart(1.3))
    plan = timed(bench.measured[1].model_copy(update={"engine": "tensorrt", "name": "plan"}), apart(0.2))
    result = bench.model_copy(update={"measured": (*bench.measured, plan)})
    (bundles[1] / "results" / "bench.json").write_text(result.model_dump_json())
    section = next(one for one in build_report(ReportRequest(bundles)).sections if one.name == "pareto")
    last = section.blocks[-1]
    assert isinstance(last, Text)
    assert "not above: tiny-int8, tensorrt (int8), 200 µs." in last.paragraphs[0]


def test_one_engine_alone_is_not_the_fastest_of_one(tmp_path):
    bundles = write_everything(tmp_path)
    results = bundles[1] / "results"
    request = ReportRequest(bundles[:1], bench=results / "bench.json", compare=results / "compare.json")
    inputs = read_inputs(request)
    lead, *_ = describe_decision(inputs, find_candidates(inputs))
    assert lead.endswith("executes fp32: no other has a known accuracy and latency, and it is accurate enough.")
