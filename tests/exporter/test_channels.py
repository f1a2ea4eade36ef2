"""Bundles of networks of one and four channels and with the 3x3 stem, from the checkpoint to every consumer."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from calibration.options import QuantizeOptions
from exporter.cli import app
from exporter.request import Int8Request
from exporter.writing.cpp_project import write_cpp_project
from runtime.bundle.bundle import open_bundle
from runtime.commands.run_ssl import app as run_ssl
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.images.preprocessing import preprocess
from tests.helpers.channel_bundles import CLASSES, COLOURS, MEAN, SIZE, STD, draw_picture, export_channels, timm_network
from tests.helpers.command_lines import refused
from tests.helpers.serving import parsed
from tests.helpers.standin_commands import run as run_on_standin

# Engines differ from PyTorch by float32 rounding alone: some 1e-5 of the largest logit.
ROUNDINGS = 1e-4
# Of INT8 with drawn weights the exporter asks for 10 dB.
NOISE_SHARE = 0.1
PICTURES = 12


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return {colour: export_channels(tmp_path_factory.mktemp("channels"), colour) for colour in COLOURS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A class folder for each class, with pictures in the network's mode."""
    root = tmp_path_factory.mktemp("pictures")
    for colour in COLOURS:
        for number in range(PICTURES):
            folder = root / colour / f"class_{number % CLASSES:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            draw_picture(colour, number, (48, 40)).save(folder / f"{number}.png")
    return root


def invoke(command, *arguments):
    done = CliRunner().invoke(command, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize("engine", ["pytorch", "onnxruntime", "openvino"])
@pytest.mark.parametrize("colour", COLOURS)
def test_every_engine_gives_timms_logits(bundles, colour, engine):
    held = bundles[colour]
    manifest = open_bundle(held.path).manifest
    assert manifest.input.shape == ("batch", SIZE, SIZE, len(colour))
    assert manifest.preprocessing.colour == colour
    pictures = [held.picture(seed) for seed in range(3)]
    pixels = np.stack([preprocess(picture, manifest.preprocessing) for picture in pictures])
    expected = held.expected(pictures)
    with load_engine(held.path, engine, EngineOptions(weights=held.checkpoint)) as opened:
        found = opened.infer(pixels).logits
    assert np.abs(found - expected).max() <= ROUNDINGS * np.abs(expected).max()


@pytest.mark.parametrize("colour", COLOURS)
def test_verify_compare_embed_and_a_repository_take_the_bundle(bundles, folders, colour, tmp_path):
    held, data = bundles[colour], folders / colour
    invoke(run_ssl, "verify", held.path)
    invoke(run_ssl, "compare", held.path, "--data", data, "--weights", held.checkpoint)
    invoke(run_ssl, "embed", held.path, data, "--output", tmp_path / "embeddings")
    invoke(run_ssl, "repo", held.path, tmp_path / "repository")
    config = parsed(next((tmp_path / "repository").iterdir()))
    assert list(config.input[0].dims) == [SIZE, SIZE, len(colour)]


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
@pytest.mark.parametrize("colour", COLOURS)
def test_int8_of_one_and_four_channels_is_calibrated_checked_and_built(folders, colour, target, tmp_path):
    options = QuantizeOptions(method="max", rounding=False, bias_correction=False, target=target)
    held = export_channels(tmp_path, colour, int8=Int8Request(images=folders / colour, options=options))
    # Neither of grey nor of missing bands.
    assert json.loads((held.path / "calibration.json").read_text(encoding="utf-8"))["warnings"] == []
    invoke(run_ssl, "verify", held.path)
    pictures = [held.picture(seed) for seed in range(4)]
    pixels = np.stack([np.asarray(picture).reshape(SIZE, SIZE, -1) for picture in pictures])
    expected = held.expected(pictures)
    for engine in ("onnxruntime", "openvino"):
        with load_engine(held.path, engine) as opened:
            noise = np.square(opened.infer(pixels).logits - expected).sum()
        assert noise <= NOISE_SHARE * np.square(expected).sum()
    if target == "tensorrt":
        built = run_on_standin("run-ssl", "build", held.path, cache=tmp_path / "cache")
        assert built.exit_code == 0, built.output
        assert any(line.split()[:5] == ["promised", "INT8", "or", "FP16", "20"] for line in built.stdout.splitlines())
    write_cpp_project(held.path, tmp_path / "project")
    assert (tmp_path / "project/bundle/bundle.json").read_bytes() == (held.path / "bundle.json").read_bytes()


def test_a_3x3_stem_needs_its_kind_and_its_size_and_gives_timms_logits(tmp_path):
    network = timm_network(3, padding=2)
    torch.save(network.state_dict(), tmp_path / "ckpt.pth")
    given = ("--model", "resnet18", "--weights", tmp_path / "ckpt.pth", "--output", tmp_path / "bundle")
    run = CliRunner().invoke
    refused(run(app, [*map(str, given), "--img-size", "32"]), "begins with one 3x3 convolution", "--stem solo-learn")
    refused(run(app, [*map(str, given), "--stem", "cifar"]), "--stem cifar without --img-size", code=2)
    done = invoke(app, *given, "--img-size", "32", "--stem", "solo-learn", "--mean", "0.5", "--std", "0.25")
    assert "short side to 32 px" in done.stderr
    assert "with --stem, --img-size, --mean, --std as given" in done.stderr
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert (manifest.model.stem, manifest.preprocessing.resize_size) == ("solo-learn", 32)
    pictures = [draw_picture("RGB", seed) for seed in range(2)]
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        expected = network((planes - MEAN) / STD).numpy()
    for engine in ("pytorch", "onnxruntime"):
        with load_engine(tmp_path / "bundle", engine, EngineOptions(weights=tmp_path / "ckpt.pth")) as opened:
            assert np.abs(opened.infer(pixels).logits - expected).max() <= ROUNDINGS * np.abs(expected).max()


def test_channels_are_the_checkpoints_and_of_random_weights_those_that_are_asked_for(bundles, tmp_path):
    given = ["--model", "resnet18", "--img-size", str(SIZE), "--output", str(tmp_path / "bundle")]
    run = CliRunner().invoke
    weights = ["--weights", str(bundles["L"].checkpoint)]
    refused(run(app, [*given, *weights, "--in-chans", "3"]), "--in-chans 3, but L.pth has 1", code=2)
    refused(run(app, [*given, "--weights", "random", "--in-chans", "2"]), "--in-chans 2: expected 1 (grey)", code=2)
    refused(
        run(app, [*given, *weights, "--mean", "0.4", "0.5", "0.6"]), "--mean 0.4 0.5 0.6: expected 1 number", code=2
    )
    two = timm_network(2).state_dict()
    torch.save(two, tmp_path / "two.pth")
    refused(run(app, [*given, "--weights", str(tmp_path / "two.pth")]), "two.pth takes 2 channels")
    invoke(app, *given, "--weights", "random", "--in-chans", "1")
    assert open_bundle(tmp_path / "bundle").manifest.preprocessing.pixels_shape == (SIZE, SIZE, 1)
