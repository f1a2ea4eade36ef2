"""Labelled images in Parquet, tar shards and lists have the classes that their libraries wrote."""

import base64
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.data.dataset import Dataset
from runtime.data.open_images import open_images
from runtime.data.pieces import cut_dataset
from runtime.errors import DataError, UsageError
from tests.helpers.image_folders import picture, write_picture

NAMES = ("ant", "bee", "cat")
WNIDS = ("n01440764\ttench, Tinca tinca", "n02012849\tcrane", "n03126707\tcrane")


@pytest.fixture
def png(tmp_path: Path) -> list[bytes]:
    """Return the encoded pictures of seeds 0 to 5."""
    return [write_picture(tmp_path / "made" / f"{seed}.png", seed).read_bytes() for seed in range(6)]


def table(path: Path, columns: Mapping[str, Any], features: Mapping[str, Any] | None = None) -> Path:
    made = pa.table(dict(columns))
    if features is not None:
        # As Hugging Face datasets writes it.
        told = json.dumps({"info": {"features": features}})
        made = made.replace_schema_metadata({"huggingface": told})
    pq.write_table(made, path, row_group_size=2)
    return path


def shard(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def opened(path: Path, labels: tuple[str, ...] = NAMES, **options: Any) -> Dataset:
    dataset = open_images(str(path), labels, **options)
    assert isinstance(dataset, Dataset)
    return dataset


def classes(dataset: Dataset) -> list[int]:
    return [image.label for image in dataset.images]


def seeds(dataset: Dataset) -> list[int]:
    """Return which pictures a data set gives, in its order."""
    wanted = [picture(seed) for seed in range(6)]
    given = [np.asarray(image.read().picture) for image in dataset]
    return [next(seed for seed in range(6) if np.array_equal(one, wanted[seed])) for one in given]


def test_a_table_of_bytes_has_the_classes_of_its_numbers_and_is_read_in_order(tmp_path: Path, png: list[bytes]) -> None:
    file = table(tmp_path / "t.parquet", {"image": png, "label": [2, 0, 1, 1, 0, 2]})
    dataset = opened(file)
    assert classes(dataset) == [2, 0, 1, 1, 0, 2]
    assert seeds(dataset) == [0, 1, 2, 3, 4, 5]
    limited = opened(file, limit=3)
    assert sorted(classes(limited)) == [0, 1, 2]
    assert limited.notes == ("3 of 6 images, balanced over the classes, seed 0",)
    assert [classes(dataset)[seed] for seed in seeds(limited)] == classes(limited)


def test_pieces_of_a_table_read_what_the_whole_reads(tmp_path: Path, png: list[bytes]) -> None:
    dataset = opened(table(tmp_path / "t.parquet", {"image": png, "label": [0] * 6}))
    found = [np.asarray(image.read().picture) for piece in cut_dataset(dataset, 4) for image in piece]
    assert [np.array_equal(one, picture(seed)) for seed, one in enumerate(found)] == [True] * 6


def test_a_column_of_hugging_face_tells_classes_by_the_names_in_the_metadata(tmp_path: Path, png: list[bytes]) -> None:
    images = [{"bytes": one, "path": None} for one in png]
    columns = {"image": images, "label": pa.array([0, 1, 2, 0, 1, 2])}

    def named(*names: str) -> dict[str, Any]:
        return {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}

    # In another order than the network's.
    dataset = opened(table(tmp_path / "a.parquet", columns, named("cat", "ant", "bee")))
    assert (classes(dataset), dataset.notes) == ([2, 0, 1, 2, 0, 1], ())
    assert seeds(dataset) == [0, 1, 2, 3, 4, 5]
    # Two classes of one name, where all stand in the network's order.
    dataset = opened(table(tmp_path / "b.parquet", columns, named("tench, Tinca tinca", "crane", "crane")), WNIDS)
    assert (classes(dataset), dataset.notes) == ([0, 1, 2, 0, 1, 2], ())
    # Names that are not the network's.
    dataset = opened(table(tmp_path / "c.parquet", columns, named("x", "y", "z")))
    assert classes(dataset) == [0, 1, 2, 0, 1, 2]
    assert dataset.notes == (
        "the data's classes are x, y, z, the network's ant, bee, cat: their numbers are taken to mean the same",
    )
    with pytest.raises(DataError, match=r"3 of 3 class names in labels of .* are not among the network's 3 classes"):
        opened(table(tmp_path / "d.parquet", columns, named("x", "y", "z", "w")))


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [(["bee", "ant", "cat"], [1, 0, 2]), (["2", "0", "1"], [2, 0, 1])],
)
def test_labels_that_are_text_are_names_or_numbers(
    labels: list[str], wanted: list[int], tmp_path: Path, png: list[bytes]
) -> None:
    assert classes(opened(table(tmp_path / "t.parquet", {"img": png[:3], "class": labels}))) == wanted


def test_columns_of_paths_and_of_base64_are_images_too(tmp_path: Path, png: list[bytes]) -> None:
    paths = [f"made/{seed}.png" for seed in range(6)]
    assert seeds(opened(table(tmp_path / "p.parquet", {"path": paths, "label": [0] * 6}))) == [0, 1, 2, 3, 4, 5]
    (tmp_path / "far").mkdir()
    far = table(tmp_path / "far" / "p.parquet", {"path": paths, "label": [0] * 6})
    assert seeds(opened(far, root=tmp_path)) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(UsageError, match=r"has no column of images: .* found path \(string\), label \(int64\); pass"):
        opened(far)
    texts = [base64.b64encode(one).decode() for one in png]
    texts[1] = f"data:image/png;base64,{texts[1]}"
    texts[2] = base64.urlsafe_b64encode(png[2]).decode().rstrip("=")
    assert seeds(opened(table(tmp_path / "b.parquet", {"data": texts, "label": [0] * 6}))) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("columns", "options", "kind", "words"),
    [
        ({"label": [3]}, {}, DataError, r"1 number among the labels of .* is no class \(3\): expected 0 to 2; use the"),
        ({"label": [-1]}, {}, DataError, r"is no class \(-1\): expected 0 to 2; -1 means that they are not known"),
        ({"label": [None]}, {}, DataError, r"t\.parquet:0 has the label None in column label, expected a class"),
        ({"label": [1.5]}, {}, DataError, r"t\.parquet:0 has the label 1\.5 in column label"),
        ({"label": ["dog"]}, {}, DataError, r"1 of 1 labels of .* are not among the network's 3 classes \(dog\)"),
        ({"text": ["a"]}, {}, UsageError, r"expected a column of labels such as label, found the columns text: name"),
        ({"a": [1]}, {"label_column": "b"}, UsageError, r"expected --label-column b, found the columns a: name the"),
    ],
)
def test_labels_that_are_no_classes_are_errors_of_one_line(
    columns: dict[str, Any], options: dict[str, Any], kind: type, words: str, tmp_path: Path, png: list[bytes]
) -> None:
    with pytest.raises(kind, match=words) as caught:
        opened(table(tmp_path / "t.parquet", {"image": png[:1], **columns}), **options)
    assert "\n" not in str(caught.value)


def test_shards_have_the_classes_of_their_cls_members_by_number_or_name(tmp_path: Path, png: list[bytes]) -> None:
    (tmp_path / "shards").mkdir()
    first = {"a.png": png[0], "a.cls": b"2", "b.jpeg": png[1], "b.txt": b"caption", "b.cls": b"1\n"}
    shard(tmp_path / "shards" / "0.tar", first)
    shard(tmp_path / "shards" / "1.tar", {"d/c.cls": b"0", "d/c.png": png[2]})
    dataset = opened(tmp_path / "shards")
    assert [image.name for image in dataset.images] == ["0.tar/a.png", "0.tar/b.jpeg", "1.tar/d/c.png"]
    assert (classes(dataset), seeds(dataset)) == ([2, 1, 0], [0, 1, 2])
    assert dataset.notes == ("1 file is no image that Pillow reads, and passed over: 1 .txt",)
    named = shard(tmp_path / "n.tar", {"a.png": png[0], "a.cls": b"bee"})
    assert classes(opened(named)) == [1]


def test_names_with_several_dots_are_told_apart(tmp_path: Path, png: list[bytes]) -> None:
    """The key of WebDataset ends at the first dot; where every name has its own class member, the whole name counts."""
    by_name = {f"photo.v2.{seed:04}.{end}": (png[seed], b"%d" % (seed % 3)) for seed in range(6) for end in ("png",)}
    members: dict[str, bytes] = {}
    for name, (contents, label) in by_name.items():
        members |= {name: contents, name.replace(".png", ".cls"): label}
    dataset = opened(shard(tmp_path / "a.tar", members))
    assert (classes(dataset), seeds(dataset)) == ([0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 4, 5])
    by_key = {"x.mask.crop.png": png[5], "x.input.png": png[0], "x.cls": b"1", "y.png": png[1], "y.seg.png": png[5]}
    dataset = opened(shard(tmp_path / "b.tar", {**by_key, "y.cls": b"2"}))
    assert (classes(dataset), seeds(dataset)) == ([1, 2], [0, 1])
    assert dataset.notes == ("2 more images of samples that have several, not read (x.mask.crop.png, y.seg.png)",)


def test_the_class_in_the_json_of_a_sample_counts_where_there_is_no_cls(tmp_path: Path, png: list[bytes]) -> None:
    members = {
        "a.png": png[0],
        "a.json": b'{"caption": "x", "label": 2}',
        "b.png": png[1],
        "b.json": b'{"class": "bee"}',
    }
    assert classes(opened(shard(tmp_path / "a.tar", members))) == [2, 1]


def test_a_sample_without_a_class_names_its_first_members_in_a_short_line(tmp_path: Path, png: list[bytes]) -> None:
    members = {f"photo.v2.{number:05}.png": png[0] for number in range(2000)}
    with pytest.raises(DataError, match=r"photo\.v2\.00000\.png has no class: expected photo\.cls") as caught:
        opened(shard(tmp_path / "a.tar", members))
    assert "and 1,994 more" in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 400


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "made/1.png 1\nmade/0.png 0  \n\nmade/2.png 2\n"),
        ("list.txt", "made/1.png\tbee\nmade/0.png\tant\nmade/2.png\tcat\n"),
        ("list.csv", "path,label\nmade/1.png,bee\nmade/0.png,ant\nmade/2.png,cat\n"),
        ("list.csv", "id,class,image_path\n7,1,made/1.png\n8,0,made/0.png\n9,2,made/2.png\n"),
        ("list.csv", "made/1.png,1\nmade/0.png,0\nmade/2.png,2\n"),
        ("list", "\ufefffilename;class\r\nmade/1.png;bee\r\nmade/0.png;ant\r\nmade/2.png;cat\r\n"),
    ],
)
@pytest.mark.usefixtures("png")
def test_lists_have_a_path_and_a_class_a_line(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    dataset = opened(tmp_path / name)
    assert (classes(dataset), seeds(dataset)) == ([1, 0, 2], [1, 0, 2])


@pytest.mark.usefixtures("png")
def test_a_list_without_classes_says_what_a_list_needs(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("made/1.png\nmade/0.png\n")
    with pytest.raises(DataError, match=r"list\.txt lists paths without classes: expected `path label` lines"):
        opened(tmp_path / "list.txt")


def test_an_image_of_a_table_that_cannot_be_read_is_named_by_its_key(tmp_path: Path, png: list[bytes]) -> None:
    file = table(tmp_path / "t.parquet", {"image": [png[0], None, b"broken"], "label": [0, 1, 2]})
    first, *others = list(opened(file))
    first.read()
    for image, words in zip(others, (r"t\.parquet:1 .*the row has no image", r"t\.parquet:2 cannot be"), strict=True):
        with pytest.raises(DataError, match=words):
            image.read()


def test_options_without_effect_are_usage_errors(tmp_path: Path) -> None:
    write_picture(tmp_path / "ant" / "a.png")
    with pytest.raises(UsageError, match="--label-column x cannot be used with images: it is for Parquet files; leave"):
        opened(tmp_path, label_column="x")
    with pytest.raises(UsageError, match="--image-column x cannot be used with images"):
        opened(tmp_path, image_column="x")


def test_a_network_without_classes_takes_the_numbers_and_names_of_tables(tmp_path: Path, png: list[bytes]) -> None:
    numbers = opened(table(tmp_path / "n.parquet", {"image": png, "label": [7, 0, 7, 3, 0, 3]}), ())
    assert (classes(numbers), numbers.classes) == ([7, 0, 7, 3, 0, 3], ())
    words = opened(table(tmp_path / "w.parquet", {"image": png, "label": list("cabbac")}), ())
    assert (classes(words), words.classes) == ([2, 0, 1, 1, 0, 2], ("a", "b", "c"))
    features = {"label": {"names": list(NAMES), "_type": "ClassLabel"}}
    named = opened(table(tmp_path / "h.parquet", {"image": png, "label": [2, 0, 1, 1, 0, 2]}, features), ())
    assert (classes(named), named.classes) == ([2, 0, 1, 1, 0, 2], NAMES)
    with pytest.raises(DataError, match=r"no class \(-1\): .*-1 means that they are not known"):
        opened(table(tmp_path / "u.parquet", {"image": png, "label": [-1] * 6}), ())
