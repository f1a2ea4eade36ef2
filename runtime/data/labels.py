"""From the names that data use for classes to the network's class indices.

Class i is line i of the bundle's `labels.txt`: `name`, or `id<TAB>description` (for ImageNet the id is
the wnid). One set of names, all class folders or all labels of a file, is read in one way:

1. Every name is an id, a whole line, or a description. What two classes share (ImageNet has two cranes) names
   neither. Spaces around names do not count, nor how Unicode composes a letter: macOS stores `é` as two characters.
2. Or, where no name is known by rule 1 and no label's id is itself a number: every name is a class index
   in decimal, 0 to classes - 1. Labels that are numbers settle by rule 1 what a number means.
3. Or, of class folders: where the bundle knows no names (`class_0000` and so on, or no labels at all) and there are
   as many folders as classes, the folders in sorted order are the classes.
   Source: torchvision's `ImageFolder`, which most training scripts read their data with (`find_classes`).
4. A network without a classifier has no labels. The names in sorted order are then the classes, however many.
5. Anything else is an error, also a mixture: it means that the data are not this network's.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runtime.errors import DataError
from runtime.images.formats import IMAGE_SUFFIXES
from runtime.support.files import read_plain
from runtime.support.words import first_few

# How many names an error or a note spells out.
# A file name ends at the first image suffix that a separator follows, so names may hold spaces.
_SUFFIXES = "|".join(sorted(re.escape(suffix) for suffix in IMAGE_SUFFIXES))
_ROW = re.compile(rf"""^"?(?P<filename>.+?(?:{_SUFFIXES}))"?\s*[\s,;]\s*"?(?P<label>[^"]+?)"?$""", re.IGNORECASE)
_HEADER = re.compile(r'^"?(file|filename|file_name|image|path|name)"?[\s,;]', re.IGNORECASE)


class LabelRow(NamedTuple):
    """One line of a labels file: a path below the data folder, and the class as written."""

    filename: str
    label: str


class Matched(NamedTuple):
    """Names with their classes.

    Attributes:
        classes: Class index of every name.
        note: What a person should know about how they were found, or an empty string.
    """

    classes: dict[str, int]
    note: str = ""


def unnamed_labels(classes: int) -> tuple[str, ...]:
    """Return the labels of a network whose class names nobody stated."""
    return tuple(f"class_{index:04d}" for index in range(classes))


def match_folders(names: Sequence[str], labels: Sequence[str], *, what: str, hint: str = "") -> Matched:
    """Return the classes of class folders, by all rules; arguments and errors are those of `match_classes`."""
    try:
        return Matched(match_classes(names, labels, what=what, hint=hint))
    except DataError:
        if tuple(labels) != unnamed_labels(len(labels)) or len(names) != len(labels):
            raise
    return Matched(
        match_classes(names, (), what=what),
        f"the bundle knows no class names: the {len(names)} {what}, in sorted order, are its classes, as torchvision's "
        "ImageFolder has them",
    )


def match_classes(names: Sequence[str], labels: Sequence[str], *, what: str, hint: str = "") -> dict[str, int]:
    """Return the class index of every name, by rules 1, 2 and 4.

    Args:
        names: Distinct names.
        labels: Lines of `labels.txt`.
        what: What the names are, for messages.
        hint: A further next step, for messages.

    Raises:
        DataError: A name has no class, or names two.
    """
    if not labels:
        return {name: index for index, name in enumerate(sorted(names))}
    known = _known_names(labels)
    unknown = [name for name in names if _plain(name) not in known]
    if not unknown:
        return {name: known[_plain(name)] for name in names}
    ids_are_numbers = any(_identifier(label).isdecimal() for label in labels)
    indices = {name: int(name) for name in names if name.isascii() and name.isdecimal()}
    if (
        len(unknown) == len(names) == len(indices)
        and not ids_are_numbers
        and all(index < len(labels) for index in indices.values())
    ):
        return indices
    several = _shared_names(labels)
    shared = [name for name in unknown if _plain(name) in several]
    if shared:
        raise DataError(
            f"{len(shared)} of {len(names)} {what} stand for several of the network's classes ({first_few(shared)}): "
            f"expected names that only one class has; write the class's id or number instead{hint}"
        )
    raise DataError(
        f"{len(unknown)} of {len(names)} {what} are not among the network's {len(labels)} classes "
        f"({first_few(unknown)}): expected names such as {first_few([_identifier(label) for label in labels])}; "
        f"use data with these classes, or rename them{hint}"
    )


def read_labels_file(path: Path) -> tuple[LabelRow, ...]:
    """Return the lines of a labels file: text, CSV or TSV, `filename label`, with or without a header.

    Raises:
        DataError: The file cannot be read, has one column, or a line that is not `filename label`, or names a
            file twice.
    """
    try:
        lines = read_plain(path).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--labels {path} cannot be read ({error}): expected UTF-8 lines 'filename label'") from error
    rows: list[LabelRow] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (not rows and _HEADER.match(line.strip())):
            continue
        match = _ROW.match(line.strip())
        if match is None:
            raise DataError(_bad_line(path, number, line))
        rows.append(LabelRow(match["filename"].strip(), match["label"].strip()))
    twice = [name for name, count in Counter(row.filename for row in rows).items() if count > 1]
    if twice or not rows:
        given = f"names {len(twice)} files twice ({first_few(twice)})" if twice else "holds no line"
        raise DataError(f"--labels {path} {given}: expected one line 'filename label' per image; correct the list")
    return tuple(rows)


def _known_names(labels: Sequence[str]) -> dict[str, int]:
    """Return class indices by id, whole line and description; rule 1. What two classes share is left out."""
    shared = _shared_names(labels)
    known: dict[str, int] = {}
    for index, label in enumerate(labels):
        known.update({name: index for name in _names_of(label) if name not in shared})
    # An id that is another class's description stays that id.
    known.update({_identifier(label): index for index, label in enumerate(labels) if _identifier(label) not in shared})
    return known


def _shared_names(labels: Sequence[str]) -> set[str]:
    """Return what names several classes: an id that two have, and of the others what two have."""
    ids = Counter(_identifier(label) for label in labels)
    further = Counter(name for label in labels for name in _names_of(label))
    return {name for name, count in further.items() if count > 1 and ids[name] != 1} | {
        name for name, count in ids.items() if count > 1
    }


def _names_of(label: str) -> set[str]:
    """Return what may name a label's class."""
    return {name for name in (_plain(label), _identifier(label), _plain(label.partition("\t")[2])) if name}


def _identifier(label: str) -> str:
    """Return the part of a label line before the tab."""
    return _plain(label.partition("\t")[0])


def _plain(name: str) -> str:
    """Return a name without what nobody sees: spaces around it, a byte order mark, and how letters are composed."""
    return unicodedata.normalize("NFC", name.replace("\ufeff", "")).strip()


def _bad_line(path: Path, number: int, line: str) -> str:
    """Return the error for a line that is not `filename label`."""
    if len(line.split()) == 1 and line.strip().isdecimal():
        return (
            f"--labels {path} has one column of numbers, expected lines 'filename label': the ILSVRC devkit's ground "
            "truth counts classes in the devkit's own order, not in this network's, so it would score the wrong "
            "classes; sort the images into folders named by wnid, or write 'filename wnid' lines"
        )
    return (
        f"--labels {path}, line {number}: {line.strip()[:80]!r} is not 'filename label': expected an image's "
        "file name with its suffix, then a class index, id or name"
    )
