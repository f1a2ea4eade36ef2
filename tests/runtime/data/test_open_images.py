"""Folders, labels files and timm's data sets become the images and class indices that a person expects."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from runtime.data.dataset import Dataset, Stream
from runtime.data.open_images import open_images
from runtime.data.timm_names import TimmSample, create_timm_dataset
from runtime.errors import DataError, UsageError
from tests.helpers.image_folders import picture, write_picture

WNIDS = ("n01440764\ttench, Tinca tinca", "n01443537\tgoldfish", "n02012849\tcrane", "n03126707\tcrane", "n1\ta b")
NAMES = ("ant", "bee", "cat")


def tree(folder: Path, *files: str) -> Path:
    for seed, file in enumerate(files):
        write_picture(folder / file, seed)
    return folder


def pairs(dataset: Dataset | Stream) -> list[tuple[str, int]]:
    assert isinstance(dataset, Dataset)
    return [(image.name, image.label) for image in dataset.images]


def refuse(source: Path | str, labels: tuple[str, ...], message: str, labels_file: Path | None = None) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_images(str(source), labels, labels_file=labels_file)
    assert "\n" not in str(caught.value)


def test_all_class_folders_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    tree(tmp_path, "bee/2.png", "bee/1.PNG", "ant/deep/er/x.jpg", "cat/y.JPeG", "ant/a.png")
    theirs = [(Path(path).relative_to(tmp_path).as_posix(), label) for path, label in ImageFolder(tmp_path).samples]
    assert sorted(pairs(open_images(str(tmp_path), NAMES))) == sorted(theirs)


@pytest.mark.parametrize("labels", [("class_0000", "class_0001", "class_0002"), ()], ids=["unnamed", "no-classifier"])
def test_where_the_bundle_knows_no_names_folders_are_classes_in_torchvisions_order(
    tmp_path: Path, labels: tuple[str, ...]
) -> None:
    tree(tmp_path, "bee/2.png", "Zebra/1.png", "ant/a.png")
    theirs = [(Path(path).relative_to(tmp_path).as_posix(), label) for path, label in ImageFolder(tmp_path).samples]
    found = open_images(str(tmp_path), labels)
    assert sorted(pairs(found)) == sorted(theirs)
    assert isinstance(found, Dataset)
    (note,) = found.notes or ("",)
    assert bool(labels) == note.startswith("the bundle knows no class names: the 3 class folders of ")
    assert found.classes == (() if labels else ("Zebra", "ant", "bee"))


def test_fewer_folders_than_unnamed_classes_and_other_names_than_known_ones_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "bee/a.png", "dog/a.png")
    refuse(tmp_path, ("class_0000", "class_0001", "class_0002"), r"2 of 2 class folders of .* \(bee, dog\)")
    refuse(tmp_path, ("ant", "bee"), r"1 of 2 class folders of .* \(dog\)")


def test_index_and_class_folders_of_unnamed_classes_are_read_as_before(tmp_path: Path) -> None:
    tree(tmp_path / "numbers", "1/a.png", "0/a.png")
    assert pairs(open_images(str(tmp_path / "numbers"), ("class_0000", "class_0001"))) == [
        ("0/a.png", 0),
        ("1/a.png", 1),
    ]
    tree(tmp_path / "names", "class_0001/a.png")
    assert pairs(open_images(str(tmp_path / "names"), ("class_0000", "class_0001"))) == [("class_0001/a.png", 1)]


def test_a_labels_file_without_a_classifier_names_the_classes(tmp_path: Path) -> None:
    tree(tmp_path / "flat", "a.png", "b.png", "c.png")
    (tmp_path / "labels.csv").write_text("a.png,dog\nb.png,cat\nc.png,dog\n")
    found = open_images(str(tmp_path / "flat"), (), labels_file=tmp_path / "labels.csv")
    assert pairs(found) == [("a.png", 1), ("b.png", 0), ("c.png", 1)]
    assert isinstance(found, Dataset)
    assert found.classes == ("cat", "dog")


def test_a_subset_of_wnid_folders_keeps_its_imagenet_indices(tmp_path: Path) -> None:
    tree(tmp_path, "n03126707/a.png", "n01443537/b.png")
    assert pairs(open_images(str(tmp_path), WNIDS)) == [("n01443537/b.png", 1), ("n03126707/a.png", 3)]


def test_order_is_sorted_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "bee/b.png", "bee/a.png", "bee/._a.png", ".cache/x.png", "ant/.thumbs/x.png", "ant/z.png")
    (tmp_path / "ant" / "notes.txt").write_text("not an image")
    assert [name for name, _ in pairs(open_images(str(tmp_path), NAMES))] == ["ant/z.png", "bee/a.png", "bee/b.png"]


def test_folders_that_are_no_class_are_named(tmp_path: Path) -> None:
    tree(tmp_path, "dog/a.png", "elk/a.png")
    refuse(tmp_path, NAMES, r"2 of 2 class folders of .* \(dog, elk\): expected names such as ant, bee, cat; ")


def test_a_mixture_of_known_and_unknown_folders_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "ant/a.png", "dog/a.png")
    refuse(tmp_path, NAMES, r"1 of 2 class folders of .* \(dog\)")


def test_a_mixture_of_names_and_indices_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "ant/a.png", "1/a.png")
    refuse(tmp_path, NAMES, r"1 of 2 class folders of .* \(1\)")


def test_index_folders_count_where_no_label_is_a_number(tmp_path: Path) -> None:
    tree(tmp_path, "0/a.png", "002/b.png")
    assert pairs(open_images(str(tmp_path), NAMES)) == [("0/a.png", 0), ("002/b.png", 2)]
    assert pairs(open_images(str(tmp_path), WNIDS)) == [("0/a.png", 0), ("002/b.png", 2)]


def test_index_folders_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "0/a.png", "3/b.png")
    refuse(tmp_path, NAMES, "not among the network's 3 classes")


def test_labels_that_are_numbers_are_names_and_not_indices(tmp_path: Path) -> None:
    tree(tmp_path, "1/a.png", "3/b.png")
    assert pairs(open_images(str(tmp_path), ("1", "2", "3"))) == [("1/a.png", 0), ("3/b.png", 2)]
    tree(tmp_path, "0/a.png")
    refuse(tmp_path, ("1", "2", "3"), r"1 of 3 class folders of .* \(0\)")


def test_a_folder_of_splits_points_at_the_split(tmp_path: Path) -> None:
    tree(tmp_path, "train/ant/a.png", "val/ant/b.png")
    refuse(tmp_path, NAMES, r"val holds the class folders, pass that one")


def test_missing_empty_and_flat_folders_say_what_to_do(tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", NAMES, r"nowhere is not a folder: expected a folder of class folders")
    refuse(tmp_path, NAMES, "holds no image: expected one folder per class")
    file = write_picture(tmp_path / "a.png")
    refuse(file, NAMES, r"a\.png is not a folder")
    refuse(tmp_path, NAMES, r"is flat: 1 images and no class folder.*--labels FILE")


def test_empty_class_folders_and_loose_images_are_noted(tmp_path: Path) -> None:
    tree(tmp_path, "ant/a.png", "loose.png")
    (tmp_path / "bee").mkdir()
    assert open_images(str(tmp_path), NAMES).notes == (
        "1 class folders without an image (bee)",
        "1 images beside the class folders, not read (loose.png)",
    )


@pytest.mark.parametrize(
    "text",
    [
        "b c.png 1\na.png 0\n",
        "b c.png\tn01443537\na.png\tn01440764\n",
        'filename,label\nb c.png,goldfish\na.png,"tench, Tinca tinca"\n',
        "\ufeffb c.png;1\n\na.png ; 0\n",
        '"b c.png",n01443537\n"a.png","n01440764"\n',
    ],
    ids=["spaces and indices", "TSV and wnids", "CSV with header and names", "semicolons and BOM", "quotes"],
)
def test_a_flat_folder_takes_its_classes_from_a_labels_file(text: str, tmp_path: Path) -> None:
    tree(tmp_path / "data", "a.png", "b c.png")
    (tmp_path / "labels").write_text(text, encoding="utf-8")
    dataset = open_images(str(tmp_path / "data"), WNIDS, labels_file=tmp_path / "labels")
    assert pairs(dataset) == [("b c.png", 1), ("a.png", 0)]


def test_ground_truth_of_one_column_is_refused_with_the_reason(tmp_path: Path) -> None:
    tree(tmp_path / "data", "a.png")
    (tmp_path / "truth.txt").write_text("490\n361\n")
    refuse(tmp_path / "data", WNIDS, r"one column of numbers.*devkit's own order", tmp_path / "truth.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png 0\ngone.png 1\n", r"names 1 files that are not in .* \(gone\.png\)"),
        ("a.png 0\na.png 1\n", r"names 1 files twice \(a\.png\)"),
        ("a.png 0\nb.png\n", r"line 2: 'b\.png' is not 'filename label'"),
        ("a.png dog\n", r"1 of 1 labels of .* \(dog\)"),
        ("a.png crane\n", r"1 of 1 labels of .* \(crane\)"),
        ("a.png 5\n", r"1 of 1 labels of .* \(5\)"),
        ("\n", "holds no line"),
    ],
)
def test_a_wrong_labels_file_is_refused_with_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    tree(tmp_path / "data", "a.png", "b.png")
    (tmp_path / "labels.txt").write_text(text)
    refuse(tmp_path / "data", WNIDS, message, tmp_path / "labels.txt")


def test_an_unreadable_labels_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.bin").write_bytes(b"\xff\xfe\x00\x01")
    refuse(tmp_path, WNIDS, r"labels\.bin cannot be read", tmp_path / "labels.bin")
    refuse(tmp_path, WNIDS, r"absent\.txt cannot be read", tmp_path / "absent.txt")


def test_images_that_a_labels_file_does_not_name_are_noted(tmp_path: Path) -> None:
    tree(tmp_path / "data", "a.png", "b.png")
    (tmp_path / "labels.txt").write_text("a.png 0\n")
    dataset = open_images(str(tmp_path / "data"), NAMES, labels_file=tmp_path / "labels.txt")
    assert dataset.notes == ("1 images that labels.txt does not name, not read (b.png)",)


def test_files_that_are_no_image_are_counted_by_their_ending(tmp_path: Path) -> None:
    tree(tmp_path, "ant/a", "bee/b.jfif")
    for name in ("ant/a.heic", "bee/b.heic", "bee/b.txt"):
        (tmp_path / name).write_text("no image")
    dataset = open_images(str(tmp_path), NAMES)
    assert pairs(dataset) == [("ant/a", 0), ("bee/b.jfif", 1)]
    assert dataset.notes == ("3 files are no image that Pillow reads, and passed over: 2 .heic, 1 .txt",)
    refuse(tmp_path / "ant" / "..", ("ant",), "1 of 2 class folders")
    for name in ("ant/a", "bee/b.jfif"):
        (tmp_path / name).unlink()
    refuse(tmp_path, NAMES, r"holds no image: expected one folder per class .*, found 2 \.heic, 1 \.txt; check")


def test_limit_is_balanced_seeded_and_keeps_order(tmp_path: Path) -> None:
    files = [f"{name}/{index}.png" for name, count in zip(NAMES, (9, 9, 2), strict=True) for index in range(count)]
    tree(tmp_path, *files)

    def take(limit: int, seed: int = 0) -> list[tuple[str, int]]:
        return pairs(open_images(str(tmp_path), NAMES, limit=limit, seed=seed))

    assert Counter(label for _, label in take(6)) == {0: 2, 1: 2, 2: 2}
    assert Counter(label for _, label in take(10)) == {0: 4, 1: 4, 2: 2}
    assert take(7) == take(7) == sorted(take(7))
    assert take(7) != take(7, seed=1)
    assert set(take(7)) < set(take(8))
    assert take(20) == take(99) == pairs(open_images(str(tmp_path), NAMES))
    assert open_images(str(tmp_path), NAMES, limit=6).notes == ("6 of 20 images, balanced over the classes, seed 0",)


def test_a_limit_below_one_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--limit 0: expected at least 1 image"):
        open_images(str(tmp_path), NAMES, limit=0)


def test_a_torchvision_data_set_is_opened_by_timms_name(tmp_path: Path) -> None:
    tree(tmp_path, "val/a/0.png", "val/b/1.png", "val/c/2.png", "train/a/9.png")
    dataset = open_images("torch/image_folder", NAMES, root=tmp_path)
    assert isinstance(dataset, Dataset)
    assert [image.label for image in dataset.images] == [0, 1, 2]
    for seed, image in enumerate(dataset.images):
        np.testing.assert_array_equal(np.asarray(image.read().picture), picture(seed))
    limited = open_images("Torch/image_folder", NAMES, root=tmp_path, limit=2)
    assert len(pairs(limited)) == 2


def test_a_damaged_sample_of_a_named_data_set_is_named_and_not_replaced(tmp_path: Path) -> None:
    tree(tmp_path, "val/a/0.png", "val/b/1.png", "val/c/2.png")
    (tmp_path / "val" / "b" / "1.png").write_bytes(b"nothing")
    dataset = open_images("torch/image_folder", NAMES, root=tmp_path)
    assert isinstance(dataset, Dataset)
    with pytest.raises(DataError, match=r"torch/image_folder\[validation\]\[1\] cannot be read as an image"):
        dataset.images[1].read()


def test_named_data_sets_with_other_classes_and_unknown_names_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "val/a/0.png", "val/b/1.png")
    with pytest.raises(DataError, match=r"has 2 classes \(labels 0 to 1\), expected the network's 3"):
        open_images("torch/image_folder", NAMES, root=tmp_path)
    with pytest.raises(DataError, match="timm cannot open torch/nonesuch, split validation"):
        open_images("torch/nonesuch", NAMES, root=tmp_path)
    with pytest.raises(UsageError, match="has its own labels: leave it out"):
        open_images("torch/image_folder", NAMES, root=tmp_path, labels_file=tmp_path / "labels.txt")


@pytest.mark.parametrize("name", ["hfds/food101", "hfids/food101"])
def test_what_timm_and_datasets_disagree_about_is_told_with_the_versions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_named: object) -> None:
        # datasets 5.2.0, asked by timm 1.0.30 for a folder of images.
        raise ValueError("BuilderConfig ImageFolderConfig(name='default') doesn't have a 'trust_remote_code' key.")

    monkeypatch.setattr("timm.data.create_dataset", refuse)
    monkeypatch.setattr("runtime.data.timm_names._PACKAGES", {})
    with pytest.raises(DataError) as refused:
        create_timm_dataset(name, "validation", None)
    assert str(refused.value) == (
        f"timm cannot open {name}: timm before 1.0.31 passes trust_remote_code, which datasets no longer takes from "
        "version 4 on; pip install 'timm>=1.0.31', or 'datasets<4'"
    )


def test_a_data_set_that_gives_open_files_is_decoded_and_closed(tmp_path: Path) -> None:
    from timm.data import ImageDataset

    from runtime.data.dataset import LabelledImage

    tree(tmp_path, "a/0.png")
    reader = ImageDataset(str(tmp_path)).reader
    image = LabelledImage("sample", 0, TimmSample(reader, 0, 0)).read()
    np.testing.assert_array_equal(np.asarray(image.picture), picture(0))
