import json

import pytest

from benchmarks.documents.scale_costs import (
    DOCUMENT,
    GPU_IMAGES_PER_S,
    bytes_per_s,
    core_hours,
    core_seconds,
    cores_at_limit,
    duration,
    feeding_cores,
    fill,
    make_tables,
    read_measured,
    read_tables,
    size,
)

# By hand: 4 cores decode 2,000 images/s and infer 500, so an image takes 4/2000 + 4/500 = 0.002 + 0.008 = 0.01 core-s.
CORES, DECODING, INFERENCE, SECONDS = 4, 2000.0, 500.0, 0.01
# With 50 kB an image, one core makes 100 images/s and reads 5 MB/s.
IMAGE_BYTES = 50_000
RESULT = {
    "cpu": "a CPU",
    "cores": CORES,
    "versions": {"openvino": "1", "onnxruntime": "2", "pillow": "3"},
    "model": "ssl_resnet18",
    "engine": "openvino (int8)",
    "image_size": 224,
    "images": 5000,
    "mean_jpeg_bytes": IMAGE_BYTES,
    "median": {"decoding": DECODING, "inference": INFERENCE, "embed": 380.0, "others": 0.0, "share": 0.95},
    "share": 0.95,
    "rates": {
        "median": {
            "decoding_one_worker": 520.0,
            "decoding_native": 4000.0,
            "inference openvino (fp32)": 100.0,
            "listing_entries_per_s": 250_000.0,
            "sha256_mb_per_s": 1500.0,
            "others": 0.0,
        }
    },
    "row_bytes": {"float32": 1600.0, "float16": 800.0},
}


def rows(table: str) -> list[list[str]]:
    """Return a table's cells without its headings and what stands below it."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def tables(ray: dict[str, float] | None = None) -> dict[str, str]:
    return make_tables(read_measured(json.loads(json.dumps(RESULT))), ray, (1000.0,))


def test_an_image_takes_its_decoding_and_its_inference_one_after_the_other() -> None:
    assert core_seconds(CORES, DECODING, INFERENCE) == pytest.approx(SECONDS)


def test_a_billion_images_at_a_hundredth_of_a_second_are_2778_core_hours() -> None:
    assert core_hours(10**9, SECONDS) == pytest.approx(10**7 / 3600)


def test_a_core_that_makes_100_images_of_50_kb_reads_5_mb() -> None:
    assert bytes_per_s(1, SECONDS, IMAGE_BYTES) == pytest.approx(5e6)
    assert bytes_per_s(64, SECONDS, IMAGE_BYTES) == pytest.approx(320e6)


def test_200_mb_per_s_are_the_limit_of_40_such_cores() -> None:
    assert cores_at_limit(200e6, SECONDS, IMAGE_BYTES) == pytest.approx(40)


def test_1000_images_per_s_of_a_gpu_are_fed_by_two_cores_that_decode_500_each() -> None:
    assert feeding_cores(1000, CORES, DECODING) == pytest.approx(2)


def test_the_tables_hold_what_the_model_says() -> None:
    made = tables()
    # 0.01 core-s; with the C library 4/4000 + 4/500 = 0.009; OpenVINO FP32 4/2000 + 4/100 = 0.042.
    assert rows(made["costs"])[:3] == [
        ["openvino (int8)", "Pillow", "100", "20 %", "2.8", "278", "2,778"],
        ["openvino (int8)", "C library", "111", "11 %", "2.5", "250", "2,500"],
        ["openvino (fp32)", "Pillow", "24", "5 %", "12", "1,167", "11,667"],
    ]
    assert rows(made["storage"])[0] == ["a million", "50 GB", "1.6 GB", "800 MB", "4.0 s"]
    assert rows(made["storage"])[2] == ["a billion", "50 TB", "1.6 TB", "800 GB", "1.1 h"]
    assert rows(made["network"])[0][2:] == ["0.04 Gbit/s", "0.64 Gbit/s", "2.56 Gbit/s", "5.12 Gbit/s"]
    assert rows(made["limits"])[0][2:] == ["40", "400", "250", "625", "2,500"]
    assert rows(made["gpu"]) == [["1,000 images/s", "2.0", "1.0", "0.40 Gbit/s"]]


def test_measured_points_stand_beside_what_the_model_says_of_them() -> None:
    spread, job = rows(tables()["points"])
    # 4 threads at 520 images/s each; 1 / (1/2000 + 1/500) = 400.
    assert spread[1:] == ["2,080 images/s", "2,000 images/s", "96.2 %"]
    assert job[1:] == ["400 images/s", "380 images/s", "95.0 %"]


RAY = {
    "single_s": 20.0,
    "ray_s": 30.0,
    "start_s": 8.0,
    "per_piece_s": 0.012,
    "stop_s": 1.5,
    "pieces": 40,
    "part_images": 512,
}


def test_ray_has_a_section_only_where_it_was_measured() -> None:
    assert tables()["ray"] == ""
    section = tables(RAY)["ray"]
    assert rows(section) == [
        ["one process", "20.0 s", ""],
        ["Ray, with its start", "30.0 s", "1.50"],
        ["Ray, without", "22.0 s", "1.10"],
        ["of it, each piece more than in one process", "0.012 s", ""],
        ["of it, to end", "1.5 s", ""],
    ]


def test_a_result_without_a_quiet_round_is_refused() -> None:
    with pytest.raises(ValueError, match="no round of the result was quiet"):
        read_measured({**RESULT, "median": None})


def test_units_suit_the_number() -> None:
    assert [size(2e6), size(2.5e9), size(40e12), size(3e15)] == ["2.0 MB", "2.5 GB", "40 TB", "3.0 PB"]
    assert [duration(3), duration(90), duration(7200)] == ["3.0 s", "1.5 min", "2.0 h"]


def test_filling_replaces_old_tables_and_refuses_a_document_with_others() -> None:
    document = "a\n<!-- table: costs -->\nold\n<!-- /table -->\nb\n"
    assert fill(document, {"costs": "new\n"}) == "a\n<!-- table: costs -->\nnew\n<!-- /table -->\nb\n"
    with pytest.raises(ValueError, match=r"tables are \['costs'\]: expected \['gpu'\]"):
        fill(document, {"gpu": "new\n"})


def test_the_document_is_what_the_recorded_results_make_it() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert fill(document, read_tables(GPU_IMAGES_PER_S)) == document, "run benchmarks/documents/scale_costs.py --write"
