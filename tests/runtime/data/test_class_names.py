"""Class names are read from the files that people have, and data are matched to them by what a person sees."""

import json
import os
from pathlib import Path

import pytest

from runtime.data.class_names import describe_shared_names, read_class_names
from runtime.data.labels import match_classes
from runtime.errors import DataError

NAMES = ("ant", "bumble bee", "cat")
KERAS = {"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"], "2": ["n02012849", "crane"]}
WITH_IDS = ("n01440764\ttench", "n01443537\tgoldfish", "n02012849\tcrane")


def read(folder: Path, text: str | bytes, name: str = "labels.txt", classes: int = 3) -> tuple[str, ...]:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_class_names(file, classes)


@pytest.mark.parametrize(
    "text",
    [
        "ant\nbumble bee\ncat\n",
        "ant\r\nbumble bee\r\ncat",
        b"\xef\xbb\xbfant\nbumble bee\ncat\n",
        "ant\nbumble bee\ncat\n".encode("utf-16"),
        "  ant\n\tbumble bee  \ncat \n",
        "ant\nbumble bee\ncat\n\n\n",
        "0 ant\n1 bumble bee\n2 cat\n",
        "0: ant\n1: bumble bee\n2: cat\n",
        "1,ant\n2,bumble bee\n3,cat\n",
    ],
)
def test_lines_are_names_whatever_stands_around_them(text: str | bytes, tmp_path: Path) -> None:
    assert read(tmp_path, text) == NAMES


@pytest.mark.parametrize(
    "value",
    [
        ["ant", "bumble bee", "cat"],
        {"2": "cat", "0": "ant", "1": "bumble bee"},
        {"cat": 2, "ant": 0, "bumble bee": 1},
        {"id2label": {"0": "ant", "1": "bumble bee", "2": "cat"}, "label2id": {"wrong": 0}, "model_type": "resnet"},
        {"class_to_idx": {"ant": 0, "bumble bee": 1, "cat": 2}},
        {"names": ["ant", "bumble bee", "cat"], "nc": 3},
        {"categories": [{"id": 1, "name": "ant"}, {"id": 2, "name": "bumble bee"}, {"id": 3, "name": "cat"}]},
    ],
)
def test_json_is_read_as_frameworks_write_it(value: object, tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(value), "config.json") == NAMES
    # A name says nothing about what is inside.
    assert read(tmp_path, json.dumps(value, indent=1), "labels.txt") == NAMES


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("index,name\n2,cat\n0,ant\n1,bumble bee\n", "classes.csv"),
        ("name,index\ncat,2\nant,0\nbumble bee,1\n", "classes.csv"),
        ('"ant"\n"bumble bee"\n"cat"\n', "classes.csv"),
        ("class_name\nant\nbumble bee\ncat\n", "classes.csv"),
        ("id;label\n0;ant\n1;bumble bee\n2;cat\n", "classes.csv"),
        ("0\tant\n1\tbumble bee\n2\tcat\n", "classes.tsv"),
        ("\ufeffid,color,name\n0,red,ant\n1,black,bumble bee\n2,grey,cat\n", "classes.CSV"),
    ],
)
def test_tables_are_read_by_their_columns(text: str, name: str, tmp_path: Path) -> None:
    assert read(tmp_path, text, name) == NAMES


def test_ids_of_imagenet_stand_before_the_names(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(KERAS), "imagenet_class_index.json") == WITH_IDS
    assert read(tmp_path, "n01440764 tench\nn01443537 goldfish\nn02012849 crane\n", "synset_words.txt") == WITH_IDS
    assert read(tmp_path, "\n".join(WITH_IDS)) == WITH_IDS


def test_a_number_that_does_not_count_the_lines_is_a_part_of_the_name(tmp_path: Path) -> None:
    assert read(tmp_path, "7 up\n1 dollar\n2 euros\n") == ("7 up", "1 dollar", "2 euros")
    assert read(tmp_path, "0\n1\n2\n") == ("0", "1", "2")


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (
            "ant\ncat\n",
            "a.txt",
            r"has 2 names \(ant, cat\), but the network has 3 classes: expected one class",
        ),
        ("", "a.txt", r"has 0 names \(none\), but the network has 3 classes"),
        ("ant\n\ncat\n", "a.txt", r"has no name for class 1: expected 3 names; fill the gap"),
        (b"\xff\xfa\x00", "a.txt", r"cannot be read \(.*\): expected one class per line, .*, in UTF-8"),
        ('["ant", "bee"', "a.json", r"is not JSON \(.*\): expected one class per line"),
        ('{"architectures": ["x"], "a": 1}', "a.json", r"holds JSON without class names \(architectures, a\)"),
        ("[1, 2, 3]", "a.json", r"holds JSON without class names \(list\)"),
        ('{"1": "a", "2": "b", "3": "c"}', "a.json", r"numbers its 3 classes 1 to 3, expected 0 to 2, each once"),
        ('{"a": 0, "b": 1, "c": 1}', "a.json", r"numbers its 3 classes 0 to 1, expected 0 to 2, each once"),
    ],
)
def test_a_file_that_names_no_classes_says_what_it_holds(
    text: str | bytes, name: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, text, name)
    assert "\n" not in str(caught.value)


def test_two_classes_may_share_a_name_and_then_data_tell_them_by_number_or_id(tmp_path: Path) -> None:
    labels = read(tmp_path, "crane\nant\ncrane\n")
    assert labels == ("crane", "ant", "crane")
    assert describe_shared_names(labels) == (
        "1 label stands for several classes (crane): data must name these classes by number"
    )
    assert describe_shared_names(NAMES) == ""
    assert match_classes(("0", "2"), labels, what="folders") == {"0": 0, "2": 2}
    assert match_classes(("ant",), labels, what="folders") == {"ant": 1}
    with pytest.raises(DataError, match=r"1 of 2 folders stand for several of the network's classes \(crane\): exp"):
        match_classes(("ant", "crane"), labels, what="folders")


@pytest.mark.parametrize("label", ["\ufeffant", " ant", "ant\t", "ant "])
def test_labels_of_an_older_bundle_match_what_looks_the_same(label: str) -> None:
    assert match_classes(("ant", "cat"), (label, "bumble bee", "cat"), what="folders") == {"ant": 0, "cat": 2}


def test_names_match_however_their_letters_are_composed() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert match_classes((decomposed,), (composed, "x"), what="folders") == {decomposed: 0}
    assert match_classes((composed,), (decomposed, "x"), what="folders") == {composed: 0}


@pytest.mark.parametrize("name", [b"a\nb", b"a\xff"])
def test_a_class_folder_whose_name_is_no_line_of_text_is_refused(name: bytes, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / os.fsdecode(name)).mkdir()
    with pytest.raises(DataError, match="has class folders whose names are not UTF-8 or have line feeds"):
        read_class_names(tmp_path, 2)


def test_names_of_json_are_lines_of_text_too(tmp_path: Path) -> None:
    names = read(tmp_path, r'["a\u2028b", "c\nd", "\ud800e"]')
    assert names == ("a b", "c d", r"\ud800e")
