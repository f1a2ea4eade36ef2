"""What an export takes for its preprocessing: torchvision's and timm's own transforms say what is right."""

import re

import pytest
import torchvision
from timm.data import create_transform
from timm.models import get_deprecated_models, get_pretrained_cfg
from typer.testing import CliRunner

from exporter.cli import app
from exporter.models import resolve_model
from exporter.number_options import join_numbers, read_numbers, read_size
from exporter.preprocessing import describe_recipe, resolve_preprocessing, warn_of_assumptions
from exporter.request import Recipe
from runtime.bundle.bundle import open_bundle
from runtime.bundle.manifest import sides
from runtime.errors import UsageError
from runtime.health.verify import verify_bundle
from tests.helpers.command_lines import refused

# torchvision's networks of this family, which fine-tuning users begin with.
TORCHVISIONS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)
# timm's own table sends these to the 32x8d network.
TIMMS_SLIPS = {"ig_resnext101_32x16d", "ig_resnext101_32x32d", "ig_resnext101_32x48d"}
# An old name of an architecture, without a tag.
NOT_AN_OLD_PREFIX = {"seresnext26tn_32x4d"}


def differs(preprocessing, transforms):
    """Return what of a preprocessing is not as in torchvision's own weights' transforms."""
    expected = (
        transforms.crop_size * 2,
        transforms.resize_size[0],
        transforms.interpolation.value,
        tuple(transforms.mean),
        tuple(transforms.std),
    )
    p = preprocessing
    found = ([*sides(p.image_size)], p.resize_size, p.interpolation, p.mean, p.std)
    return [(one, other) for one, other in zip(found, expected, strict=True) if one != other]


@pytest.mark.parametrize("architecture", TORCHVISIONS)
def test_a_tv_name_has_the_recipe_of_torchvisions_first_weights(architecture):
    first = torchvision.models.get_model_weights(architecture)["IMAGENET1K_V1"]
    assert differs(resolve_preprocessing(resolve_model(f"tv_{architecture}")), first.transforms()) == []


@pytest.mark.parametrize("architecture", [one for one in TORCHVISIONS if one not in ("resnet18", "resnet34")])
def test_the_second_weights_are_named_tv2_and_the_note_on_them_leads_to_torchvisions_recipe(architecture):
    spec = resolve_model(f"tv2_{architecture}")
    (note,) = warn_of_assumptions(spec, Recipe(), own_weights=True)
    size, share = re.findall(r"--img-size (\d+) --crop-pct ([\d.]+)", note)[0]
    stated = Recipe(img_size=int(size), crop_pct=float(share))
    second = torchvision.models.get_model_weights(architecture)["IMAGENET1K_V2"]
    assert differs(resolve_preprocessing(spec, stated), second.transforms()) == []


def test_every_old_name_of_timms_means_what_timm_says():
    old = get_deprecated_models("resnet")
    for name in old.keys() - TIMMS_SLIPS - NOT_AN_OLD_PREFIX - {"gluon_senet154"}:
        assert resolve_model(name).timm_tag == old[name], name
    for name in TIMMS_SLIPS - {"ig_resnext101_32x48d"}:
        assert resolve_model(name).timm_tag == f"{name.removeprefix('ig_')}.fb_wsl_ig1b_ft_in1k"


@pytest.mark.parametrize("size", [(192, 256), (256, 192), (64, 320)])
@pytest.mark.parametrize("share", [0.875, 1.0])
def test_an_input_that_is_not_square_is_resized_as_timm_does(size, share):
    preprocessing = resolve_preprocessing(resolve_model("tv_resnet50"), Recipe(img_size=size, crop_pct=share))
    resize, crop, *_ = create_transform((3, *size), crop_pct=share, interpolation="bilinear").transforms
    assert preprocessing.resize_mode == "cover"
    assert preprocessing.resize_size == tuple(resize.size)
    assert preprocessing.image_size == tuple(crop.size)


def test_squash_crops_nothing_unless_a_share_or_a_size_says_so():
    spec = resolve_model("tv_resnet50")
    plain = resolve_preprocessing(spec, Recipe(img_size=(192, 256), resize_mode="squash"))
    assert (plain.resize_size, plain.crop_pct) == ((192, 256), 1.0)
    # floor(224 / 0.875) = 256
    assert resolve_preprocessing(spec, Recipe(resize_mode="squash", crop_pct=0.875)).resize_size == (256, 256)
    assert resolve_preprocessing(spec, Recipe(resize_mode="squash", resize_size=240)).resize_size == (240, 240)


def test_what_is_stated_replaces_timms():
    stated = Recipe(img_size=160, resize_size=200, mean=(0.5,), std=(0.1, 0.2, 0.3), interpolation="bicubic")
    found = resolve_preprocessing(resolve_model("tv_resnet50"), stated)
    assert (found.image_size, found.resize_size, found.resize_mode, found.crop_pct) == (160, 200, "short", 0.8)
    assert (found.mean, found.std, found.interpolation) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3), "bicubic")


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"mean": (123.7, 116.3, 103.5)}, r"--mean 123\.7 116\.3 103\.5: expected 1 or 3 numbers .* divide by 255"),
        ({"std": (0.0,)}, "--std 0: expected"),
        ({"std": (0.5, 0.5)}, "--std 0.5 0.5: expected 1 or 3 numbers"),
        ({"mean": (float("nan"),)}, "--mean nan: expected"),
        ({"resize_size": 200}, "--resize-size 200: expected at least the 224 px that are cropped"),
        ({"resize_size": 256, "crop_pct": 0.9}, "--resize-size 256 cannot be used with --crop-pct"),
        ({"resize_size": (256, 300)}, "--resize-size 256x300 has a height and a width"),
        ({"img_size": (192, 256), "resize_size": 224}, "--resize-size 224: expected at least the 192x256 px"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(stated, words):
    with pytest.raises(UsageError, match=words):
        resolve_preprocessing(resolve_model("tv_resnet50"), Recipe(**stated))


def test_the_line_says_size_resize_filter_crop_mean_std_and_the_tag():
    spec = resolve_model("tv_resnet50")
    assert describe_recipe(spec, Recipe(), resolve_preprocessing(spec)) == (
        "preprocessing: short side to 256 px (bilinear), centre crop 224x224, mean 0.485 0.456 0.406, "
        "std 0.229 0.224 0.225; from timm's resnet50.tv_in1k"
    )
    stated = Recipe(img_size=(192, 256), resize_mode="squash", mean=(0.5,), std=(0.5,), exif_rotate=True)
    assert describe_recipe(spec, stated, resolve_preprocessing(spec, stated)) == (
        "preprocessing: squashed to 192x256 px (bilinear), no crop, 192x256, mean 0.5 0.5 0.5, std 0.5 0.5 0.5, "
        "turned by EXIF; from timm's resnet50.tv_in1k, with --img-size, --resize-mode, --mean, --std as given"
    )


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "timm/resnet101"])
def test_own_weights_under_a_bare_name_are_warned_of_with_the_tag_that_was_assumed(name):
    spec = resolve_model(name)
    warning = warn_of_assumptions(spec, Recipe(), own_weights=True)[0]
    tag = get_pretrained_cfg(name.removeprefix("timm/")).tag
    assert f"size, resize and crop, filter, mean, std of timm's {spec.architecture}.{tag} were assumed" in warning


def test_nothing_is_assumed_of_hub_weights_of_a_tag_or_of_a_recipe_that_is_stated_whole():
    whole = Recipe(img_size=224, resize_size=256, interpolation="bilinear", mean=(0.5,), std=(0.5,))
    assert warn_of_assumptions(resolve_model("resnet50"), whole, own_weights=True) == ()
    assert warn_of_assumptions(resolve_model("tv_resnet50"), Recipe(), own_weights=True) == ()
    assert not any(
        "bare" in text for text in warn_of_assumptions(resolve_model("resnet50"), Recipe(), own_weights=False)
    )


@pytest.mark.parametrize(
    ("typed", "joined"),
    [
        (["--img-size", "192", "256", "--fp16"], ["--img-size", "192,256", "--fp16"]),
        (["--mean", "0.5", "-0.5", "0.5", "--std", "1"], ["--mean", "0.5,-0.5,0.5", "--std", "1"]),
        (["--mean", "0.5,0.5,0.5"], ["--mean", "0.5,0.5,0.5"]),
        (["--img-size", "--fp16"], ["--img-size", "--fp16"]),
        (["--img-size=64", "--seed", "1", "2"], ["--img-size=64", "--seed", "1", "2"]),
    ],
)
def test_an_option_takes_all_the_numbers_behind_it(typed, joined):
    assert join_numbers(typed) == joined


def test_sizes_and_numbers_are_read_or_refused():
    assert (read_size("--img-size", "192,256"), read_size("--img-size", "64")) == ((192, 256), 64)
    assert (read_size("--img-size", None), read_numbers("--std", None)) == (None, None)
    assert read_numbers("--mean", "0.5,-1e-3") == (0.5, -0.001)
    for text in ("31", "64,64,64", "64,", "6.5", "large"):
        with pytest.raises(UsageError, match=r"--img-size .*: expected one whole number, or a height and a width"):
            read_size("--img-size", text)
    with pytest.raises(UsageError, match=r"--std a,b: expected one number for all channels"):
        read_numbers("--std", "a,b")


@pytest.mark.slow
def test_a_network_with_other_normalisation_and_an_oblong_input_exports_verifies_and_says_what_was_done(tmp_path):
    arguments = [
        *("--model", "resnet18", "--weights", "random", "--num-classes", "5", "--output", str(tmp_path / "out")),
        *("--img-size", "32", "64", "--resize-mode", "squash", "--mean", "0.5", "0.5", "0.5", "--std", "0.5", "--json"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("preprocessing:"))
    assert "squashed to 32x64 px" in line
    assert "mean 0.5 0.5 0.5, std 0.5 0.5 0.5" in line
    bundle = open_bundle(tmp_path / "out")
    manifest = bundle.manifest
    verify_bundle(bundle, ("onnxruntime", "openvino"))
    assert manifest.input.shape == ("batch", 32, 64, 3)
    assert manifest.preprocessing.mean == (0.5, 0.5, 0.5)


def test_a_slip_on_the_command_line_ends_in_one_line(tmp_path):
    done = CliRunner().invoke(app, ["--model", "resnet18", "--mean", "123", "--output", str(tmp_path / "out")])
    refused(done, "error: --mean 123: expected", code=2)
