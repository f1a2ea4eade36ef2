"""The report's parts: the decision, the front, what changed, the plots, and a plan's layers."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from runtime.errors import BundleError, UsageError
from runtime.report.build_report import build_report
from runtime.report.candidates import find_candidates, pareto_front
from runtime.report.certainty import speed_ratio
from runtime.report.decision import describe_decision
from runtime.report.document import Figure, Gallery, Table, Text, format_bytes, format_cell, format_ms
from runtime.report.html_page import write_html
from runtime.report.inputs import ReportRequest, read_inputs
from runtime.report.markdown_page import write_markdown
from runtime.report.style import precision_colour, series_styles, span_axis
from tests.helpers.plans import plan_bytes, put_plan, put_rtx_plan, sidecar_fields
from tests.helpers.report_samples import (
    FP32_MS,
    INT8_MS,
    PYTORCH_MS,
    sample_bench,
    sample_changes,
    sample_comparison,
    sample_measured,
    sample_neighbours,
    write_bundles,
    write_everything,
    write_plan,
)

# The sample's calls scatter by some per cent, so do the ratios of their medians.
SCATTER = 0.1


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return write_everything(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def report(bundles):
    return build_report(ReportRequest(bundles))


def sections(report):
    return {section.name: section for section in report.sections}


def blocks(report, kind):
    return [block for section in report.sections for block in section.blocks if isinstance(block, kind)]


def decide(request):
    inputs = read_inputs(request)
    return describe_decision(inputs, find_candidates(inputs))


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (None, "ms", "-"),
        (0.72618, "percent", "72.62 %"),
        (-0.0000001, "points", "+0.00 pp"),
        (-0.0083, "points", "-0.83 pp"),
        (148_050_944, "count", "148,050,944"),
        (2.5349, "ratio", "2.53 x"),
        (22.918, "ratio", "22.9 x"),
        (33.44, "db", "33.4 dB"),
        (0.020787, "number", "0.02079"),
        (42.06, "rate", "42.1"),
        (1234.4, "rate", "1,234"),
        ("name", "text", "name"),
    ],
)
def test_a_cell_is_printed_with_its_unit(value, form, text):
    assert format_cell(value, form) == text


def test_times_and_sizes_have_three_digits():
    assert [format_ms(ms) for ms in (0.0, 0.0046, 0.4969, 4.2149, 42.149, 421.49, 42149.0)] == [
        *("0 ms", "4.60 µs", "497 µs", "4.21 ms", "42.1 ms", "421 ms", "42.1 s"),
    ]
    assert [format_bytes(size) for size in (20, 999, 1000, 44_720_256)] == ["20 B", "999 B", "1.00 kB", "44.7 MB"]


def test_the_fastest_bundle_within_the_budget_is_taken(bundles):
    # By hand: INT8 loses 5 of 1000 hits and gains 2: 0.30 pp; its interval ends at 0.70 pp.
    take, cost, gain = decide(ReportRequest(bundles))
    assert take.startswith("Take tiny-int8 on openvino, which executes int8")
    assert "loses 0.30 pp" in cost
    assert "-0.10 to +0.70 pp" in cost
    assert "as fast as the fastest FP32 engine (openvino)" in gain
    assert "as fast as PyTorch (pytorch eager)" in gain


def test_a_drop_above_the_budget_makes_the_float_bundle_the_choice(bundles):
    take, cost, _ = decide(ReportRequest(bundles, max_drop=0.002))
    assert take.startswith("Take tiny-fp32 on openvino")
    assert "changes nothing" in cost
    # Even equal hits leave an interval, here of 0.4 pp, that does not exclude 0.2 pp.
    assert "does not exclude a drop above 0.20 pp" in cost


def test_a_bundle_that_is_too_wrong_is_not_taken_alone(bundles):
    take, *_ = decide(ReportRequest(bundles[1:], max_drop=0.002))
    assert take.startswith("Take none of these")


# An SQNR of 3 dB is none that INT8 explains, though no image of the few changed its class.
@pytest.mark.parametrize("fault", [{"non_finite_logits": 1}, {"sqnr_db": 3.0}])
def test_logits_that_are_not_finite_or_too_far_are_never_taken(bundles, tmp_path, fault):
    comparison = sample_comparison(*bundles)
    fp32, int8 = comparison.engines
    broken = comparison.model_copy(update={"engines": (fp32, int8.model_copy(update=fault))})
    (tmp_path / "compare.json").write_text(broken.model_dump_json())
    assert decide(ReportRequest(bundles, compare=tmp_path / "compare.json"))[0].startswith("Take tiny-fp32")


def test_a_report_on_one_bundle_recommends_no_other(bundles):
    # tiny-int8 is three times as fast, and in no result of a report on tiny-fp32 alone it is meant.
    bench, compare = (bundles[1] / "results" / name for name in ("bench.json", "compare.json"))
    report = build_report(ReportRequest(bundles[:1], bench=bench, compare=compare))
    assert report.decision[0].startswith("Take tiny-fp32")
    tables = [table.title for table in blocks(report, Table) if table.title.startswith("All layers")]
    assert tables == ["All layers: tiny-fp32, openvino (fp32), batch 1"]


@pytest.mark.parametrize(
    ("present", "said"),
    [
        ((), "Nothing was measured yet"),
        (("compare.json",), "latency is not"),
        (("bench.json",), "accuracy is not"),
    ],
)
def test_what_is_missing_for_a_decision_is_said_with_its_command(tmp_path, present, said):
    fp32, int8 = write_everything(tmp_path)
    for file in (int8 / "results").iterdir():
        if file.name not in present:
            file.unlink()
    sentences = " ".join(decide(ReportRequest((fp32, int8))))
    assert said in sentences
    commands = {"compare.json": "run-ssl compare", "bench.json": "run-ssl bench"}
    assert all((command in sentences) == (name not in present) for name, command in commands.items())


def test_the_front_holds_what_nothing_beats(bundles):
    candidates = find_candidates(read_inputs(ReportRequest(bundles)))
    assert [one.label for one in candidates] == [
        "tiny-int8, openvino (int8)",
        "tiny-fp32, openvino (fp32)",
        "pytorch eager (fp32)",
    ]
    # 69.7 % at 1 ms, 70 % at 3 ms; PyTorch has 70 % too, at 8 ms.
    assert pareto_front(candidates) == candidates[:2]


def test_a_ratio_is_of_pairs_and_has_an_interval():
    slow, fast = sample_measured("a", "fp32", 8.0), sample_measured("b", "int8", 2.0)
    # Drift that both share leaves the ratio of every round as it is.
    drift = np.linspace(1, 3, len(slow.rounds_ms))
    steady = [tuple((np.full(5, ms * factor)).tolist() for factor in drift) for ms in (8.0, 2.0)]
    slow, fast = (
        one.model_copy(update={"rounds_ms": rounds}) for one, rounds in zip((slow, fast), steady, strict=True)
    )
    ratio, interval = speed_ratio(slow, fast)
    assert interval is not None
    assert (ratio, interval.low, interval.high) == pytest.approx((4.0, 4.0, 4.0))


def test_a_single_round_gives_a_ratio_without_an_interval():
    slow, fast = (sample_measured("a", "fp32", ms).model_copy(update={"rounds_ms": ((ms,),)}) for ms in (8.0, 2.0))
    ratio, interval = speed_ratio(slow, fast)
    assert interval is None
    assert ratio == pytest.approx(4.0, rel=SCATTER)


def test_the_gains_are_the_ratios_of_the_samples(bundles):
    candidates = find_candidates(read_inputs(ReportRequest(bundles)))
    int8, fp32, pytorch = (one.measured for one in candidates)
    assert speed_ratio(fp32, int8)[0] == pytest.approx(FP32_MS / INT8_MS, rel=SCATTER)
    assert speed_ratio(pytorch, int8)[0] == pytest.approx(PYTORCH_MS / INT8_MS, rel=SCATTER)


def test_plotly_knows_every_property_of_every_plot(report):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    figures = blocks(report, Figure)
    assert {figure.name for figure in figures} >= {
        *("pareto-plot", "latency-boxes", "latency-drift", "throughput-plot", "against-bars", "layer-bars-1"),
        *("roofline-plot", "sensitivity-1", "ranges-1", "tried-1"),
    }
    for figure in figures:
        # The page's colours are put in when it is drawn; plotly's check takes plain ones only.
        drawn = re.sub(r"var\(--[a-z0-9]+\)", "#123456", json.dumps({"data": figure.traces, "layout": figure.layout}))
        graph_objects.Figure(json.loads(drawn))


def test_templates_of_plots_hold_no_text_from_files(report):
    for figure in blocks(report, Figure):
        for trace in figure.traces:
            assert "tiny" not in trace.get("hovertemplate", "")
            assert "conv1" not in trace.get("hovertemplate", "")


def test_two_bundles_stand_side_by_side(report):
    found = sections(report)
    assert [column.name for column in found["bundles"].blocks[0].columns] == ["", "A: tiny-fp32", "B: tiny-int8"]
    table = next(block for block in found["layers-against"].blocks if isinstance(block, Table))
    rows = {row[0]: row for row in table.rows}
    # Half of 3 ms and of 1 ms.
    assert rows["conv1"][1:5] == (1.5, 0.5, -1.0, 3.0)


def test_tables_of_unlike_rows_are_not_sorted(report):
    text = write_html(report)
    facts = text[text.index("<h3>Network, size and fastest engine</h3>") :]
    assert facts.index("<table>") < facts.index("</table>")


def test_the_figure_of_the_card_is_explained(report):
    paragraphs = " ".join(sections(report)["flops"].blocks[1].paragraphs)
    assert "The card's 7 is not 2 x 5" in paragraphs
    assert "exactly" in paragraphs


def test_results_of_two_machines_are_refused(tmp_path):
    fp32, int8 = write_everything(tmp_path)
    bench = sample_bench(fp32, int8)
    other = bench.model_copy(update={"machine": bench.machine.model_copy(update={"cpu": "Another processor"})})
    (fp32 / "results").mkdir()
    (fp32 / "results" / "bench.json").write_text(other.model_dump_json())
    with pytest.raises(UsageError, match=r"different machines .*Another processor"):
        read_inputs(ReportRequest((fp32, int8)))


def test_comparisons_on_other_images_are_refused(tmp_path):
    fp32, int8 = write_everything(tmp_path)
    comparison = sample_comparison(fp32, int8)
    data = comparison.data.model_copy(update={"images": 50})
    (fp32 / "results").mkdir()
    (fp32 / "results" / "compare.json").write_text(comparison.model_copy(update={"data": data}).model_dump_json())
    with pytest.raises(UsageError, match="different images"):
        read_inputs(ReportRequest((fp32, int8)))


@pytest.mark.parametrize("name", ["calibration.json", "sensitivity.json"])
def test_a_damaged_file_of_the_export_is_named(tmp_path, name):
    _, int8 = write_everything(tmp_path)
    (int8 / name).write_text("{}")
    with pytest.raises(BundleError, match=name):
        read_inputs(ReportRequest((int8,)))


def test_files_of_a_newer_export_are_shown_as_far_as_they_are_known(tmp_path):
    bundles = write_everything(tmp_path)
    known = read_inputs(ReportRequest(bundles)).bundles[1]
    for name, inner in (("calibration.json", "convergence"), ("sensitivity.json", "sensitivity")):
        raw = json.loads((bundles[1] / name).read_text())
        newer = {**raw, "schema_version": 2, "more": [1], inner: {**raw[inner], "more": {"a": 1}}}
        if name == "sensitivity.json":
            newer["evaluations"] = [{"top5_lost": 3}]
        (bundles[1] / name).write_text(json.dumps(newer))
    assert read_inputs(ReportRequest(bundles)).bundles[1] == known


def test_markup_of_markdown_is_text(tmp_path):
    fp32, int8 = write_everything(tmp_path)
    name = "a|b_c`d`<b>\n# x"
    (int8 / "results" / "changed.json").write_text(sample_changes(int8, name=name).model_dump_json())
    text = write_markdown(build_report(ReportRequest((fp32, int8))))
    assert r"a\|b\_c\`d\`&lt;b&gt; \# x" in text


def test_names_of_layers_cannot_end_the_script(tmp_path):
    fp32, int8 = write_everything(tmp_path)
    bench = sample_bench(fp32, int8)
    evil = "</script><script>alert(1)</script>"
    first, second = bench.limits
    layers = (first.layers[0].model_copy(update={"name": evil}), *first.layers[1:])
    changed = bench.model_copy(update={"limits": (first.model_copy(update={"layers": layers}), second)})
    (int8 / "results" / "bench.json").write_text(changed.model_dump_json())
    text = write_html(build_report(ReportRequest((fp32, int8))))
    assert "<script>alert" not in text
    # Styles apart, the page has three scripts: the figures, plotly and its own.
    assert text.count("</script>") == 3


def test_the_layers_of_a_plan_have_their_formats(tmp_path):
    _, bundle = write_bundles(tmp_path)
    plan = plan_bytes()
    (bundle / "model.plan").write_bytes(plan)
    (bundle / "model.plan.json").write_text(json.dumps(sidecar_fields(bundle, plan)))
    tensor = {"Name": "x", "Dimensions": [-1, 64, 32, 32], "Format/Datatype": "Row major linear FP32"}
    half = {**tensor, "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}
    layer = {"Name": "conv1", "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": [half], "TacticName": "k"}
    (bundle / "model.plan.layers.json").write_text(json.dumps({"Layers": [layer], "Bindings": ["x"]}))
    table = sections(build_report(ReportRequest((bundle,))))["tensorrt"].blocks[-1]
    assert table.rows == (
        (
            *("conv1", "CaskConvolution", "fp32", "fp32 Nx64x32x32, Row major linear"),
            *("fp16 Nx64x32x32, Channel major format where channel % 8 == 0", "k", None),
        ),
    )


def test_a_plan_has_its_certificate_and_how_it_was_built(tmp_path):
    _, bundle = write_bundles(tmp_path)
    write_plan(bundle)
    section = sections(build_report(ReportRequest((bundle,))))["tensorrt"]
    tables = {block.title: block for block in section.blocks if isinstance(block, Table)}
    facts = {row[0]: row[1] for row in tables["The plans"].rows}
    assert facts["certificate"] == "passed"
    assert facts["layers that keep their precision"] == "1 of 2, required 50 %"
    assert facts["multiply-accumulates in it"] == "75.00 %"
    assert facts["golden images"] == (
        "2 of 2 with PyTorch's top-1; logits 110.0 dB, embedding equal, required 100.0 dB"
    )
    assert (facts["library"], facts["CUDA, driver"]) == ("TensorRT 10.16.1.11", "13.0, 13.0")
    assert facts["batch sizes (MIN:OPT:MAX)"] == "1:8:32"
    assert tables["Layers that break their promise: tiny-int8"].rows == (
        ("fc", "int8", "fp32", 25, "fc", "its input is FP32"),
    )
    became = " ".join(text for block in section.blocks if isinstance(block, Text) for text in block.paragraphs)
    assert "1 layer copies a tensor to another format, 0 only quantise or dequantise." in became
    assert "FP32 islands, which compute in FP32 though less is promised: fc (CaskConvolution)." in became
    figure = next(block for block in section.blocks if isinstance(block, Figure))
    # Both layers are named, the slowest on top, each in the colour of what it computes in.
    assert figure.layout["yaxis"]["ticktext"] == ["fc", "conv1"]
    assert {trace["name"]: trace["x"] for trace in figure.traces} == {"fp32": [0.02], "int8": [0.06]}


def test_plans_of_both_libraries_stand_side_by_side(tmp_path):
    _, bundle = write_bundles(tmp_path)
    write_plan(bundle)
    put_rtx_plan(bundle, compute_capabilities=["8.9"])
    section = sections(build_report(ReportRequest((bundle,))))["tensorrt"]
    tables = {block.title: block for block in section.blocks if isinstance(block, Table)}
    assert [column.name for column in tables["The plans"].columns] == ["", "tiny-int8", "tiny-int8, TensorRT for RTX"]
    facts = {row[0]: row[2] for row in tables["The plans"].rows}
    assert facts["golden images"] == "not run: the build needs no GPU"
    assert facts["GPU"] == "Ada (compute capability 8.9)"
    assert facts["library"] == "TensorRT for RTX 1.7.1.116"
    assert (facts["optimisation level"], facts["loads on other GPUs"]) == ("-", "all of those above")


def test_a_plan_of_another_graph_is_a_warning(tmp_path):
    _, bundle = write_bundles(tmp_path)
    put_plan(bundle, onnx_sha256="0" * 64)
    section = sections(build_report(ReportRequest((bundle,))))["tensorrt"]
    (warning,) = [block for block in section.blocks if isinstance(block, Text) and block.tone == "warning"]
    assert "the plan was built from another model.onnx" in warning.paragraphs[0]
    # Nor is the list of layers there, which is said and is no error.
    assert "list of layers is not beside the plan" in section.blocks[-1].paragraphs[0]


def test_what_the_benchmark_measured_of_plans_stands_beside_them(bundles, tmp_path):
    fp32, int8 = write_everything(tmp_path)
    write_plan(int8)
    bench = sample_bench(fp32, int8)
    plan = sample_measured(str(int8), "int8", 0.25, engine="tensorrt")
    changed = bench.model_copy(update={"measured": (*bench.measured, plan)})
    (int8 / "results" / "bench.json").write_text(changed.model_dump_json())
    found = sections(build_report(ReportRequest((fp32, int8))))["tensorrt"].blocks
    table = next(block for block in found if isinstance(block, Table) and "benchmark" in block.title)
    assert table.rows[0][:5] == ("tiny-int8", "tensorrt", "int8", 1, plan.latency.median_ms)
    # Without it the command is named.
    untimed = sections(build_report(ReportRequest((int8,), bench=bundles[1] / "results" / "bench.json")))["tensorrt"]
    words = [text for block in untimed.blocks if isinstance(block, Text) for text in block.paragraphs]
    assert any("--engines tensorrt" in text for text in words)


def test_recalls_stand_with_their_intervals_and_why_first_ones_are_lost(report):
    section = sections(report)["neighbours"]
    table = next(block for block in section.blocks if isinstance(block, Table))
    names = [column.name for column in table.columns]
    rebuilt, kept = (dict(zip(names, row, strict=True)) for row in table.rows)
    assert (rebuilt["searched in"], kept["searched in"]) == ("index from the bundle", "index from PyTorch")
    # The sample loses 47 and 12 of 1000 first neighbours.
    assert (rebuilt["recall at 1"], kept["recall at 1"]) == (0.953, 0.988)
    assert (rebuilt["recall at 10"], rebuilt["first ones lost"], rebuilt["of these near-ties"]) == (0.961, 47, 46)
    text = " ".join(sentence for block in section.blocks if isinstance(block, Text) for sentence in block.paragraphs)
    assert "among 1,000 images of photos by cosine distance" in text
    assert "47 lost first neighbours" in text
    figure = next(block for block in section.blocks if isinstance(block, Figure))
    assert sorted(value for trace in figure.traces for value in trace["x"]) == pytest.approx([95.3, 96.1, 98.2, 98.8])


def test_neighbours_that_nobody_checked_have_their_command(tmp_path):
    fp32, _ = write_bundles(tmp_path)
    section = sections(build_report(ReportRequest((fp32,))))["neighbours"]
    assert section.missing == f"run-ssl embed {fp32} IMAGES --check --save"


def test_checks_on_other_samples_are_not_to_be_compared(tmp_path):
    fp32, int8 = write_everything(tmp_path)
    other = sample_neighbours(fp32).model_copy(update={"source": "others"})
    (fp32 / "results").mkdir()
    (fp32 / "results" / "neighbours.json").write_text(other.model_dump_json())
    first = sections(build_report(ReportRequest((fp32, int8))))["neighbours"].blocks[0]
    assert first.paragraphs[-1] == "The bundles were checked on different samples: do not compare their recalls."


def test_every_plot_has_its_figures_in_a_table_of_its_section(tmp_path):
    fp32, int8 = write_everything(tmp_path)
    write_plan(int8)
    for section in build_report(ReportRequest((fp32, int8))).sections:
        kinds = [type(block) for block in section.blocks]
        assert kinds.count(Figure) <= kinds.count(Table), section.name
        assert all(figure.summary.endswith(".") for figure in section.blocks if isinstance(figure, Figure))


def test_looks_differ_and_precisions_are_whole_words():
    styles = series_styles([f"series {number}" for number in range(100)])
    assert len(set(styles.values())) == 100
    assert precision_colour("uint8") == precision_colour("unknown") != precision_colour("int8")
    assert precision_colour("int8 weights, fp32 execution") == precision_colour("int8")


def test_an_axis_that_spans_a_lot_is_logarithmic_with_round_ticks():
    assert span_axis("ms", 1.0, 5.0)["rangemode"] == "tozero"
    axis = span_axis("ms", 0.8, 19.0)
    assert axis["type"] == "log"
    assert {"0.5", "1", "2", "5", "10", "20"} <= set(axis["ticktext"])


def test_the_gallery_says_who_was_right(report):
    (gallery,) = blocks(report, Gallery)
    assert gallery.title == "tiny-int8, openvino (int8): 1 of 1,000 images"
    assert gallery.pictures[0].lines == (
        *("label: a", "original: b (margin 0.21)", "engine: c (margin 0.05)", "both wrong"),
    )


def test_two_bundles_of_one_name_are_refused(bundles, tmp_path):
    again, _ = write_bundles(tmp_path)
    with pytest.raises(UsageError, match="two bundles are named tiny-fp32"):
        read_inputs(ReportRequest((bundles[0], again)))


def test_layers_of_other_networks_are_not_put_side_by_side(bundles, tmp_path):
    bench = sample_bench(*bundles)
    first, second = bench.limits
    layers = tuple(layer.model_copy(update={"macs": 2 * layer.macs}) for layer in second.layers)
    other = bench.model_copy(update={"limits": (first, second.model_copy(update={"layers": layers}))})
    (tmp_path / "bench.json").write_text(other.model_dump_json())
    report = build_report(replace(ReportRequest(bundles), bench=tmp_path / "bench.json"))
    assert "layers-against" not in sections(report)


def test_what_calibration_tried_stands_with_the_interval_of_its_gain(report):
    table = next(table for table in blocks(report, Table) if table.title.startswith("Tried and kept"))
    gains = {row[0]: row[3] for row in table.rows}
    # The candidate of the sample is from a file that has no interval.
    assert gains == {"max, as it is": None, "bias correction": "+0.04 to +0.31 dB"}
