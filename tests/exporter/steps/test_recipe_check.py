"""Labelled images tell of another preprocessing where that is clearly the network's own."""

import numpy as np
import pytest
import torch
from PIL import Image

from exporter.checks.choose_golden import GoldenImages
from exporter.models import resolve_model
from exporter.preprocessing import resolve_preprocessing
from exporter.request import Recipe
from exporter.steps.recipe_check import compare_recipes
from exporter.steps.subject import Subject
from runtime.data.dataset import Dataset

LABELS = ("dark", "bright")
# Between the mean grey levels of the two classes, as the right normalisation (0.5, 0.5) has it.
THRESHOLD = 0.0


class Brightness(torch.nn.Module):
    """A network that looks at nothing but whether a normalised image is above `THRESHOLD` on the whole."""

    def __init__(self):
        super().__init__()
        self.global_pool = type("Pool", (), {"pool_type": "avg"})()
        self.classifier = torch.nn.Linear(3, 2)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[-1.0] * 3, [1.0] * 3]))
            self.classifier.bias.fill_(THRESHOLD)

    def forward_features(self, images):
        return images

    def get_classifier(self):
        return self.classifier


def subject(**stated):
    spec = resolve_model("resnet18")
    preprocessing = resolve_preprocessing(spec, Recipe(img_size=32, **stated))
    given = dict.fromkeys(("weights", "module", "feed", "golden"))
    images = GoldenImages(Dataset(()), "none")
    return Subject(spec=spec, preprocessing=preprocessing, network=Brightness(), golden_images=images, **given)


@pytest.fixture
def folder(tmp_path):
    """Pictures of grey levels 118 to 124 and 131 to 137: 127.5, which is 0.5, lies between."""
    rng = np.random.default_rng(0)
    for name, middle in (("dark", 121), ("bright", 134)):
        (tmp_path / name).mkdir()
        for number in range(12):
            grey = np.full((40, 40), middle) + rng.integers(-3, 4, (40, 40))
            Image.fromarray(grey.astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_the_normalisation_of_training_is_named_where_another_is_given(folder):
    (sentence,) = compare_recipes(subject(mean=(0.44,), std=(0.5,)), folder, LABELS)
    # 121 / 255 = 0.475 is above 0.44: every dark picture is called bright, half of all are right.
    assert "of 24 labelled images" in sentence
    assert (
        "gets 50.00 % right with this preprocessing, and 100.00 % with --mean 0.5 0.5 0.5 --std 0.5 0.5 0.5" in sentence
    )


def test_imagenets_is_named_where_neither_usual_one_is_given(tmp_path):
    # By ImageNet's means, 0.449 on average, 114.5 lies between; by 0.9 and by 0.5 all pictures are dark.
    for name, grey in (("dark", 106), ("bright", 122)):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.new("RGB", (40, 40), (grey + number % 3,) * 3).save(tmp_path / name / f"{number}.png")
    (sentence,) = compare_recipes(subject(mean=(0.9,), std=(0.1,)), tmp_path, LABELS)
    assert "100.00 % with --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225" in sentence


def test_nothing_is_said_of_the_right_one(folder):
    assert compare_recipes(subject(mean=(0.5,), std=(0.5,)), folder, LABELS) == ()


def test_nothing_is_said_without_labels(folder):
    assert compare_recipes(subject(), folder / "dark", LABELS) == ()
    assert compare_recipes(subject(), folder, ("cat", "dog")) == ()


def test_squashing_is_named_where_the_crop_hides_what_decides(tmp_path):
    for name, edge in (("dark", 60), ("bright", 190)):
        (tmp_path / name).mkdir()
        for number in range(12):
            # The middle, all that a crop keeps, is the same; the ends differ.
            grey = np.full((40, 160), edge, np.uint8)
            grey[:, 55:105] = 120 + number % 2
            Image.fromarray(grey).save(tmp_path / name / f"{number}.png")
    (sentence,) = compare_recipes(subject(mean=(0.5,), std=(0.5,)), tmp_path, LABELS)
    assert "and 100.00 % with --resize-mode squash --img-size 32" in sentence
