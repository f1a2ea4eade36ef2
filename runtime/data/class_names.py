"""Class names as people have them: lines, JSON or a table, with or without numbers, or class folders.

1. Lines: one class a line, in the order of the network's outputs. Numbers in front are dropped where they only count
   the lines, from 0 or 1; an ImageNet id in front (`n01440764 tench`) becomes the label's id.
2. JSON: a list of names; an object from number to name (also below `id2label`, as in Hugging Face's config.json) or
   from name to number (`label2id`, `class_to_idx`); a name may be [id, name], as in Keras's class index.
3. Tables (`.csv`, `.tsv`), with or without a header: a column of names, and one of the numbers 0 to classes - 1, which
   decides the order where it is there.
4. A folder: the sorted names of its class folders, torchvision's rule, by which its classes were numbered in training.
5. A byte order mark, spaces around names and empty lines at the end are no part of a name. Two classes may share a
   name: only data whose classes are told by name need to tell them apart (`runtime/data/labels.py`).
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import DataError
from runtime.support.files import read_plain
from runtime.support.json_file import parse_json
from runtime.support.words import counted, first_few, printable, verb_for

# Objects in which the names stand one level down, the surest first.
_NESTED = ("id2label", "names", "class_names", "classes", "labels", "categories", "label2id", "class_to_idx")
# What headers call the column of names, the surest first.
_NAME_COLUMNS = ("name", "class_name", "label_name", "display_name", "description", "class", "label", "category")
_HEADER_WORDS = frozenset({*_NAME_COLUMNS, "id", "index", "idx", "number", "class_id", "label_id", "wnid", "synset"})
_NUMBERED = re.compile(r"(\d+)[\s,:;]+(\S.*)")
_WNID = re.compile(r"(n\d{8})[\s,:;]+(\S.*)")
_EXPECTED = "one class per line, a JSON list or object of names, or a CSV table"


def read_class_names(path: Path, classes: int) -> tuple[str, ...]:
    """Return the class names of a file or folder, in the order of the outputs: `name`, or `id<TAB>description`.

    Args:
        path: The file or folder; see the module.
        classes: Number of classes of the network.

    Raises:
        DataError: The file is unreadable, has another number of names, or a class without one; or the folder has
            another number of class folders, or one whose name is no line of text.
    """
    if path.is_dir():
        return _from_folder(path, classes)
    text = _read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        names = _from_json(path, text)
    elif path.suffix.lower() in (".csv", ".tsv"):
        names = _from_table(path, text)
    else:
        names = _from_lines(text)
    names = [one_line(name) for name in names]
    if len(names) != classes:
        raise DataError(
            f"--labels {path} has {counted(len(names), 'name')} ({first_few(names) or 'none'}), but the network has "
            f"{classes} classes: expected {_EXPECTED}, with a name for each class"
        )
    if "" in names:
        raise DataError(
            f"--labels {path} has no name for class {names.index('')}: expected {classes} names; fill the gap"
        )
    return tuple(names)


def one_line(name: str) -> str:
    """Return a name as a line of `labels.txt` can hold it, in UTF-8."""
    return printable(" ".join(name.splitlines())).strip()


def describe_shared_names(labels: Sequence[str]) -> str:
    """Return what a person should know where several classes have one label; empty where all differ."""
    shared = [name for name, count in Counter(labels).items() if count > 1]
    if not shared:
        return ""
    return (
        f"{counted(len(shared), 'label')} {verb_for(len(shared), 'stand')} for several classes ({first_few(shared)}): "
        "data must name these classes by number"
    )


def _from_folder(path: Path, classes: int) -> tuple[str, ...]:
    """Return the sorted names of a folder's folders.

    Source: torchvision 0.29, `torchvision.datasets.folder.find_classes`; hidden folders, which it counts, are passed
    over here, as they are wherever class folders are read.
    """
    names = tuple(sorted(child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")))
    strange = [name for name in names if "\n" in name or printable(name) != name]
    if strange:
        raise DataError(
            f"--labels {path} has class folders whose names are not UTF-8 or have line feeds ({first_few(strange)}): "
            "expected names that are one line of text; rename them"
        )
    if len(names) != classes:
        raise DataError(
            f"--labels {path} has {len(names)} class folders, but the network has {classes} classes: expected one "
            "folder per class, as in its training"
        )
    return names


def _read_text(path: Path) -> str:
    try:
        content = read_plain(path)
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--labels {path} cannot be read ({error}): expected {_EXPECTED}, in UTF-8") from error


def _from_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    for start in (0, 1):
        if len(lines) > 1 and all(
            match and int(match[1]) == number for number, match in enumerate(numbered, start=start)
        ):
            lines = [match[2] for match in numbered if match]
            break
    ids = [_WNID.fullmatch(line) for line in lines]
    return [f"{match[1]}\t{match[2]}" for match in ids if match] if all(ids) else lines


def _from_json(path: Path, text: str) -> list[str]:
    try:
        value = parse_json(text)
    except ValueError as error:
        raise DataError(f"--labels {path} is not JSON ({error}): expected {_EXPECTED}") from error
    while isinstance(value, dict) and (below := next((name for name in _NESTED if name in value), None)):
        value = value[below]
    if isinstance(value, list):
        names = [_as_name(one) for one in value]
    elif isinstance(value, dict) and value and all(str(key).isdecimal() for key in value):
        names = _in_order(path, ((int(key), _as_name(name)) for key, name in value.items()))
    elif isinstance(value, dict) and value and all(type(number) is int for number in value.values()):
        names = _in_order(path, ((number, name) for name, number in value.items()))
    else:
        names = [None]
    found = [name for name in names if name is not None]
    if len(found) < len(names):
        shown = first_few(list(value)) if isinstance(value, Mapping) else type(value).__name__
        raise DataError(
            f"--labels {path} holds JSON without class names ({shown}): expected a list of names, or an object from "
            "number to name such as id2label"
        )
    return found


def _as_name(value: Any) -> str | None:
    """Return a name as JSON has it: text, [id, name], or an object with a `name`; None for anything else."""
    if isinstance(value, Mapping):
        value = value.get("name")
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return f"{value[0].strip()}\t{value[1].strip()}"
    return value if isinstance(value, str) else None


def _from_table(path: Path, text: str) -> list[str]:
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter)]
    rows = [row for row in rows if any(row)]
    header: list[str] = []
    if rows and _HEADER_WORDS.intersection(cell.lower() for cell in rows[0]):
        header = [cell.lower() for cell in rows.pop(0)]
    width = max((len(row) for row in rows), default=0)
    columns = [[row[index] if index < len(row) else "" for row in rows] for index in range(width)]
    counting = next((index for index, column in enumerate(columns) if _counts(column)), None)
    others = [index for index in range(width) if index != counting] or [0]
    if not columns:
        return []
    usual = (header.index(word) for word in _NAME_COLUMNS if word in header and header.index(word) in others)
    names = columns[next(usual, others[0])]
    if counting is None:
        return _from_lines("\n".join(names))
    numbers = [int(cell) for cell in columns[counting]]
    return [name or "" for name in _in_order(path, zip(numbers, names, strict=True))]


def _counts(column: Sequence[str]) -> bool:
    """Return whether a column holds numbers that could be the classes': all different, from 0 or 1 on."""
    if not all(cell.isascii() and cell.isdecimal() for cell in column):
        return False
    numbers = {int(cell) for cell in column}
    return len(numbers) == len(column) and min(numbers) in (0, 1)


def _in_order(path: Path, numbered: Iterable[tuple[int, str | None]]) -> list[str | None]:
    """Return names by their numbers.

    Raises:
        DataError: The numbers are not 0 to their count - 1, each once.
    """
    pairs = sorted(numbered, key=lambda pair: pair[0])
    numbers = [number for number, _ in pairs]
    if numbers != list(range(len(numbers))):
        raise DataError(
            f"--labels {path} numbers its {len(numbers)} classes {numbers[0]} to {numbers[-1]}, expected 0 to "
            f"{len(numbers) - 1}, each once: number them as the network's outputs are"
        )
    return [name for _, name in pairs]
