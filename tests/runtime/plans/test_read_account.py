"""What `run-ssl explain` takes a name for: a bundle's plans, of either library or of both."""

import json
from pathlib import Path

import pytest

from runtime.bundle.layout import PLANS
from runtime.errors import BundleError
from runtime.plans.layer_log import layer_information
from runtime.plans.read_account import read_accounts
from runtime.support.engine_names import PlanEngine
from tests.helpers import rtx_layers
from tests.helpers.bundles import write_hand_made
from tests.helpers.plans import plan_bytes, sidecar_fields


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_hand_made(tmp_path / "tiny")


def describe(bundle: Path, engine: PlanEngine, layers: str) -> None:
    """Write what stands beside a plan, with the layers of a real build."""
    files = PLANS[engine]
    fields = sidecar_fields(bundle, plan_bytes(), engine=engine)
    (bundle / files.sidecar).write_text(json.dumps(fields), encoding="utf-8")
    text = layer_information([rtx_layers.read(layers).log])
    (bundle / files.layers).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("engine", PLANS)
def test_the_one_plan_of_a_bundle_is_meant_whoever_built_it(engine: PlanEngine, bundle: Path) -> None:
    describe(bundle, engine, "digits-fp16")
    (found,) = read_accounts(str(bundle))
    assert found.label == "tiny"
    assert found.group("FP16 convolutions").count == 21


def test_of_two_plans_both_are_read_and_told_apart(bundle: Path) -> None:
    describe(bundle, "tensorrt", "digits-int8")
    describe(bundle, "tensorrt-rtx", "digits-fp16")
    found = read_accounts(str(bundle))
    assert [one.label for one in found] == ["tiny (tensorrt)", "tiny (tensorrt-rtx)"]
    assert [one.group("INT8 convolutions").count for one in found] == [20, 0]


def test_a_bundle_without_a_plan_is_sent_to_build(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.plan has no readable model\.plan\.json beside it.*`run-ssl build"):
        read_accounts(str(bundle))


def test_the_layers_of_a_rejected_plan_are_read_by_their_file(bundle: Path) -> None:
    file = bundle / PLANS["tensorrt-rtx"].rejected
    file.write_text(layer_information([rtx_layers.read("digits-int8").log]), encoding="utf-8")
    (found,) = read_accounts(str(file))
    assert found.group("INT8 convolutions").count == 20


def test_what_describes_a_plan_of_rtx_and_cannot_be_read_names_the_command_for_it(bundle: Path) -> None:
    describe(bundle, "tensorrt-rtx", "digits-fp16")
    (bundle / "model.rtx.plan.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match=r"`run-ssl build .*tiny --engine tensorrt-rtx`"):
        read_accounts(str(bundle))
