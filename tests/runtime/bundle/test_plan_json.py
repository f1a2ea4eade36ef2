"""model.plan.json: what is in it, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.plan_json import Sidecar, read_sidecar
from runtime.errors import BundleError
from tests.helpers.bundles import write_hand_made
from tests.helpers.plans import plan_bytes, put_plan, sidecar_fields


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_hand_made(tmp_path / "bundle")


def rewrite(bundle: Path, change: Any) -> None:
    file = bundle / "model.plan.json"
    fields = json.loads(file.read_text(encoding="utf-8"))
    change(fields)
    file.write_text(json.dumps(fields), encoding="utf-8")


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as refused:
        read_sidecar(bundle)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_everything_that_was_written_is_read(bundle: Path) -> None:
    plan = put_plan(bundle, hardware_compatibility="ampere+", workspace_mib=512)
    sidecar = read_sidecar(bundle)
    assert (sidecar.tensorrt, sidecar.gpu, sidecar.compute_capability) == (
        "10.16.1.11",
        "NVIDIA A100 80GB PCIe",
        "8.0",
    )
    assert sidecar.plan_bytes == len(plan)
    assert (sidecar.options.profile.min, sidecar.options.profile.opt, sidecar.options.profile.max) == (1, 8, 32)
    assert (sidecar.options.hardware_compatibility, sidecar.options.workspace_mib) == ("ampere+", 512)
    assert sidecar.golden.embedding_db is None
    assert sidecar.certificate.passed


def test_licence_of_the_weights_stands_beside_the_plan(bundle: Path) -> None:
    put_plan(bundle)
    licence = read_sidecar(bundle).licence
    assert (licence.spdx, licence.notice) == ("MIT", "Do what you like.")


def test_what_is_written_again_is_the_same_json(bundle: Path) -> None:
    fields = sidecar_fields(bundle, plan_bytes())
    written = json.loads(Sidecar.model_validate_json(json.dumps(fields)).model_dump_json())
    # These have defaults that the file may leave out.
    assert (written["certificate"].pop("formats_known"), written["certificate"].pop("layer_times_ms")) == (True, {})
    assert written == fields


@pytest.mark.parametrize(
    "where",
    [(), ("options",), ("options", "profile"), ("certificate",), ("golden",), ("licence",)],
    ids=lambda where: ".".join(where) or "top",
)
def test_unknown_key_is_refused_by_name(bundle: Path, where: tuple[str, ...]) -> None:
    put_plan(bundle)

    def change(fields: dict[str, Any]) -> None:
        for key in where:
            fields = fields[key]
        fields["calibrator"] = "entropy"

    rewrite(bundle, change)
    text = refusal(bundle)
    assert "does not describe a plan" in text
    assert ".".join((*where, "calibrator")) in text
    assert f"run-ssl build {bundle}" in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plan_sha256", "abc"),
        ("onnx_sha256", "Z" * 64),
        ("plan_bytes", 0),
        ("precision", "int4"),
        ("licence", None),
        ("built_at", 5),
    ],
)
def test_impossible_value_is_refused_by_its_fields_name(bundle: Path, field: str, value: Any) -> None:
    put_plan(bundle, **{field: value})
    text = refusal(bundle)
    assert "does not describe a plan" in text
    assert field in text


@pytest.mark.parametrize("field", ["licence", "certificate", "plan_sha256", "options", "golden", "platform"])
def test_missing_field_is_refused_by_name(bundle: Path, field: str) -> None:
    put_plan(bundle)
    rewrite(bundle, lambda fields: fields.pop(field))
    assert f"({field}: " in refusal(bundle)


def test_newer_schema_asks_for_an_upgrade_and_not_for_a_build(bundle: Path) -> None:
    put_plan(bundle, schema_version=2, something_new=True)
    text = refusal(bundle)
    assert "has schema version 2, this run-ssl reads up to 1" in text
    assert "pip install --upgrade export-ssl" in text
    assert "run-ssl build" not in text


def test_absent_description_names_the_build(bundle: Path) -> None:
    put_plan(bundle)
    (bundle / "model.plan.json").unlink()
    text = refusal(bundle)
    assert "no readable model.plan.json beside it (No such file or directory)" in text
    assert f"run-ssl build {bundle}" in text


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\x00", b"[" * 200_000], ids=["empty", "cut", "bytes", "deep"])
def test_what_is_no_json_is_one_line(bundle: Path, text: bytes) -> None:
    put_plan(bundle)
    (bundle / "model.plan.json").write_bytes(text)
    refused = refusal(bundle)
    assert "is not JSON" in refused
    assert f"run-ssl build {bundle}" in refused


@pytest.mark.parametrize("text", ["[]", "null", "3", '"plan"'])
def test_json_that_is_no_object_describes_no_plan(bundle: Path, text: str) -> None:
    put_plan(bundle)
    (bundle / "model.plan.json").write_text(text, encoding="utf-8")
    assert "does not describe a plan" in refusal(bundle)
