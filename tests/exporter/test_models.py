import warnings

import pytest
from timm.data import create_transform, resolve_data_config
from timm.models import get_deprecated_models, get_pretrained_cfg

from exporter.models import (
    SSL_MODELS,
    ModelSpec,
    default_labels,
    describe_labels,
    licence_of,
    resolve_model,
)
from exporter.preprocessing import resolve_preprocessing
from exporter.request import Recipe
from runtime.errors import UnknownModelError, UsageError


@pytest.mark.parametrize("model", SSL_MODELS, ids=lambda model: model.name)
def test_the_table_agrees_with_timms_registry(model):
    assert get_deprecated_models()[model.name] == model.timm_tag
    config = get_pretrained_cfg(model.timm_tag)
    assert config.architecture == model.architecture
    assert config.hf_hub_id == f"timm/{model.timm_tag}"


def test_the_table_has_all_of_timms_semi_supervised_models():
    old_names = {name for name in get_deprecated_models() if name.startswith(("ssl_", "swsl_"))}
    assert {model.name for model in SSL_MODELS} == old_names
    assert len(SSL_MODELS) == 12


def test_card_figures_of_the_two_main_models_are_those_of_the_model_cards():
    # Typed from timm's model cards, in percent there.
    small, large = resolve_model("ssl_resnet18"), resolve_model("ssl_resnet50")
    assert (small.top1, small.top5, small.card_flops) == (0.7262, 0.9142, 2337073152)
    assert (large.top1, large.top5, large.card_flops) == (0.7924, 0.9483, 5282531328)


@pytest.mark.parametrize("prefix", ["", "timm/", "hf_hub:timm/", "hf-hub:timm/"])
@pytest.mark.parametrize("model", SSL_MODELS, ids=lambda model: model.name)
def test_old_and_new_names_mean_the_same_model(model, prefix):
    assert resolve_model(prefix + model.timm_tag) == resolve_model(model.name)


def test_resolving_an_old_name_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve_model("swsl_resnext101_32x8d")


def test_a_bare_name_gets_timms_default_weights():
    spec = resolve_model("resnet50")
    assert spec.timm_tag == f"resnet50.{get_pretrained_cfg('resnet50').tag}"
    assert (spec.name, spec.top1, spec.card_flops) == ("resnet50", None, None)


def test_an_architecture_without_trained_weights_has_no_hub_name():
    assert resolve_model("resnet50t").timm_tag is None


def test_a_misspelt_name_brings_the_nearest_ones():
    with pytest.raises(UnknownModelError, match="ssl_resnet18") as caught:
        resolve_model("ssl_resnet19")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["", "vit_base_patch16_224", "resnet18.no_such_tag", "resnetv2_50", "../resnet18"])
def test_a_name_outside_the_family_is_unknown(name):
    with pytest.raises(UnknownModelError) as caught:
        resolve_model(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", SSL_MODELS, ids=lambda model: model.name)
def test_the_twelve_are_for_non_commercial_use(model):
    licence = resolve_model(model.name).licence
    assert licence.spdx == "CC-BY-NC-4.0"
    assert "non-commercial" in licence.notice
    assert "1905.00546" in licence.notice


@pytest.mark.parametrize(
    ("name", "spdx"),
    [("resnet50.a1_in1k", "Apache-2.0"), ("resnet50.tv_in1k", "BSD-3-Clause"), ("resnet50.ram_in1k", "Apache-2.0")],
)
def test_licences_have_spdx_spelling(name, spdx):
    assert resolve_model(name).licence.spdx == spdx


def test_weights_of_the_users_carry_no_licence_that_nobody_stated():
    own = resolve_model("resnet18")
    assert licence_of(own, "file").spdx == "NOASSERTION"
    assert licence_of(own, "file", stated="mit").spdx == "MIT"
    assert licence_of(own, "hub").spdx == "Apache-2.0"
    assert licence_of(resolve_model("resnext101_32x16d"), "file").spdx == "NOASSERTION"


def test_an_ssl_model_keeps_its_licence_whatever_weights_are_given_for_it():
    spec = resolve_model("ssl_resnet18")
    assert licence_of(spec, "file").spdx == "CC-BY-NC-4.0"
    assert licence_of(spec, "random").spdx == "CC-BY-NC-4.0"
    assert licence_of(resolve_model("resnet18"), "random").spdx == "NOASSERTION"
    with pytest.raises(UsageError, match=r"--licence MIT: weights of ssl_resnet18 are under CC-BY-NC-4\.0"):
        licence_of(spec, "file", stated="MIT")


@pytest.mark.parametrize("name", ["ssl_resnet18", "resnet50.a1_in1k", "resnet18.a1_in1k", "resnetrs50.tf_in1k"])
def test_preprocessing_is_that_of_timms_own_transform(name):
    spec = resolve_model(name)
    preprocessing = resolve_preprocessing(spec)
    config = resolve_data_config(pretrained_cfg=get_pretrained_cfg(spec.timm_tag).to_dict())
    resize, crop, _, normalise = create_transform(**config).transforms
    assert preprocessing.resize_size == resize.size
    assert (preprocessing.image_size,) * 2 == tuple(crop.size)
    assert preprocessing.interpolation == resize.interpolation.value
    assert preprocessing.mean == pytest.approx(normalise.mean.tolist())
    assert preprocessing.std == pytest.approx(normalise.std.tolist())


def test_ssl_preprocessing_is_224_of_256_bilinear():
    preprocessing = resolve_preprocessing(resolve_model("ssl_resnet50"))
    assert (preprocessing.image_size, preprocessing.resize_size) == (224, 256)
    assert (preprocessing.crop_pct, preprocessing.interpolation) == (0.875, "bilinear")


def test_overrides_replace_timms_configuration():
    spec = resolve_model("ssl_resnet18")
    preprocessing = resolve_preprocessing(spec, Recipe(img_size=200, crop_pct=0.95, interpolation="bicubic"))
    # floor(200 / 0.95) = floor(210.5)
    assert (preprocessing.image_size, preprocessing.resize_size, preprocessing.interpolation) == (200, 210, "bicubic")


@pytest.mark.parametrize(
    ("override", "option"),
    [
        ({"img_size": 0}, "--img-size"),
        ({"img_size": 9000}, "--img-size"),
        ({"crop_pct": 0.0}, "--crop-pct"),
        ({"crop_pct": 1.1}, "--crop-pct"),
        ({"crop_pct": 1e-9}, "--crop-pct"),
        ({"crop_pct": float("nan")}, "--crop-pct"),
        ({"interpolation": "lanczos"}, "--interpolation"),
    ],
)
def test_impossible_overrides_are_named(override, option):
    with pytest.raises(UsageError, match=option):
        resolve_preprocessing(resolve_model("ssl_resnet18"), Recipe(**override))


def test_every_model_of_the_family_resolves_and_has_a_preprocessing():
    import timm

    for name in [*timm.list_models(module="resnet"), *timm.list_models(module="resnet", pretrained=True)]:
        spec = resolve_model(name)
        assert spec.architecture == name.partition(".")[0]
        assert resolve_preprocessing(spec).crop_pct == get_pretrained_cfg(name).crop_pct


def test_imagenet_labels_are_wnid_and_description():
    labels = default_labels(1000, resolve_model("ssl_resnet18"))
    assert len(labels) == len(set(labels)) == 1000
    # ImageNet-1k's well-known first and last classes.
    assert labels[0] == "n01440764\ttench, Tinca tinca"
    assert labels[999].startswith("n15075141\ttoilet tissue")


def test_other_class_counts_get_numbered_labels():
    spec = resolve_model("ssl_resnet18")
    assert default_labels(3, spec) == ("class_0000", "class_0001", "class_0002")
    assert default_labels(11821, spec)[0] == "class_0000"
    assert describe_labels(default_labels(3, spec), spec).startswith(
        f"{spec.name}: the 3 classes have no names, labels.txt says class_0000 to class_0002: pass them with --labels"
    )
    assert describe_labels(default_labels(1000, resolve_model("ssl_resnet18")), spec) == ""
    assert describe_labels((), spec) == ""
    assert default_labels(11821, resolve_model("resnetaa50d.sw_in12k"))[0].startswith("n")


def test_a_spec_cannot_be_changed():
    spec = resolve_model("ssl_resnet18")
    assert isinstance(spec, ModelSpec)
    with pytest.raises(AttributeError):
        spec.name = "other"  # type: ignore[misc]
