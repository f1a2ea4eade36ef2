"""Labelled images in Parquet files, tar shards and lists: which class each image has.

1. Parquet: the column of labels is the one that `--label-column` names, or the first of a usual name. Whole numbers are
   class indices of the network, unless the file names its classes as Hugging Face's `ClassLabel` does: then these names
   count, if they are the network's. Text is a name, an id or a number, by the rules of `runtime/data/labels.py`.
2. Tar shards, as WebDataset's: the class of `x.jpg` is in the member `x.cls`, or in a usual field of `x.json`. The
   image's own name counts (`photo.v2.0001.jpg`, `photo.v2.0001.cls`), then WebDataset's key, which ends at the first
   dot (`x.input.jpg`, `x.cls`). Of several images with one key the one with the fewest dots in its name is read.
3. Lists: `path label` lines or a table with a column of labels (`runtime/data/sources/list_rows.py`).
4. A network without a classifier takes the data's own classes: whole numbers as they are, else names in sorted order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from runtime.data.dataset import Dataset, LabelledImage
from runtime.data.labels import match_classes
from runtime.data.sources.entries import Entry, Source, names_in_keys
from runtime.data.sources.list_rows import LABEL_COLUMNS, read_rows
from runtime.data.sources.open_source import open_list
from runtime.data.sources.parquet_table import column_values, open_parquet, read_schema
from runtime.data.sources.tar_shards import TarSource, read_entry, walk_shard
from runtime.errors import DataError, UsageError
from runtime.images.formats import PassedOver, describe_passed_over
from runtime.support.json_file import parse_json
from runtime.support.words import counted, first_few, printable, verb_for

_MEMBERS_SHOWN = 6
Label = int | str


def read_tables(
    files: Sequence[Path], labels: Sequence[str], *, image: str | None, label: str | None, root: Path | None
) -> Dataset:
    """Return the images of Parquet files; rule 1.

    Args:
        files: The files.
        labels: Lines of the bundle's labels.txt.
        image: The column of images; None finds it.
        label: The column of labels; None finds it.
        root: Where paths in the column of images start.

    Raises:
        UsageError: There is no such column.
        DataError: A file is damaged, or a label is not a class of the network.
    """
    source = open_parquet(files, image=image, key=None, root=root)
    schema = read_schema(files[0])
    column = _label_column(files[0], schema, label, source.image)
    entries = list(source.entries())
    values = [value for file in files for value in column_values(file, column)]
    named = zip(entries, _checked(values, entries, f"column {column}"), strict=True)
    return _dataset(source, list(named), labels, what=f"labels of {files[0]}", names=_class_names(schema, column))


def read_shards(shards: Sequence[Path], labels: Sequence[str]) -> Dataset:
    """Return the images of tar shards; rule 2.

    Raises:
        DataError: A shard is damaged, or an image has no class of the network.
    """
    source, passed_over, others = TarSource(tuple(shards)), PassedOver(), list[str]()
    named: list[tuple[Entry, Label]] = []
    for shard, name in zip(shards, names_in_keys(shards), strict=True):
        named += _Shard.read(shard, name, passed_over).labelled(others)
    notes = [f"{counted(len(others), 'more image')} of samples that have several, not read ({first_few(others)})"]
    # What holds the classes was read.
    rest = {ending: count for ending, count in passed_over.items() if ending not in (".cls", ".json")}
    notes = [*(notes if others else []), *filter(None, [describe_passed_over(rest)])]
    return _dataset(source, named, labels, what=f"classes of {source.what}", notes=notes)


def read_list(file: Path, labels: Sequence[str], root: Path | None) -> Dataset:
    """Return the images of a list; rule 3.

    Raises:
        DataError: The list has no labels, or one is not a class of the network.
    """
    source = open_list(file, root)
    values: list[object] = [row.label for row in read_rows(file, source.layout)]
    if not any(values):
        raise DataError(
            f"{file} lists paths without classes: expected `path label` lines, or a CSV table with a column such as "
            "label; or pass a folder with one folder per class"
        )
    entries = list(source.entries())
    named = list(zip(entries, _checked(values, entries, str(file)), strict=True))
    return _dataset(source, named, labels, what=f"labels of {file}")


def _dataset(
    source: Source,
    named: Sequence[tuple[Entry, Label]],
    labels: Sequence[str],
    *,
    what: str,
    names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Dataset:
    """Return a data set of entries with labels as written."""
    if not named:
        raise DataError(f"{source.what} has no image: expected at least one; check the path")
    distinct = dict.fromkeys(label for _, label in named)
    if not labels:
        own, own_names = _own_classes(list(distinct), names, what)
        images = tuple(LabelledImage(entry.key, own[label], entry) for entry, label in named)
        return Dataset(images, tuple(notes), source, own_names)
    numbers = [label for label in distinct if isinstance(label, int)]
    classes: dict[Label, int] = {}
    if numbers:
        by_number, note = _match_numbers(numbers, names, labels, what)
        classes.update((number, index) for number, index in by_number.items())
        notes = [*notes, *([note] if note else [])]
    by_name = match_classes([label for label in distinct if isinstance(label, str)], labels, what=what)
    classes.update((name, index) for name, index in by_name.items())
    images = tuple(LabelledImage(entry.key, classes[label], entry) for entry, label in named)
    return Dataset(images, tuple(notes), source)


def _own_classes(
    distinct: Sequence[Label], names: Sequence[str], what: str
) -> tuple[dict[Label, int], tuple[str, ...]]:
    """Return the class of every label, and the names of the classes where they have some; rule 4.

    Raises:
        DataError: A number is less than 0, or has no name among `names`.
    """
    numbers = [label for label in distinct if isinstance(label, int)]
    if len(numbers) == len(distinct):
        most = len(names) or max(0, *numbers) + 1
        _require_classes(numbers, most, what)
        return {number: number for number in numbers}, tuple(names)
    by_name = match_classes(list(dict.fromkeys(str(label) for label in distinct)), (), what=what)
    return {label: by_name[str(label)] for label in distinct}, tuple(by_name)


def _match_numbers(
    numbers: Sequence[int], names: Sequence[str], labels: Sequence[str], what: str
) -> tuple[dict[int, int], str]:
    """Return the network's class of every number, and a note or an empty string; rule 1.

    Raises:
        DataError: A number is no class.
    """
    note = ""
    _require_classes(numbers, len(names) or len(labels), what)
    if names and not _same_order(names, labels):
        try:
            known = match_classes([names[number] for number in numbers], labels, what=f"class names in {what}")
            return {number: known[names[number]] for number in numbers}, ""
        except DataError:
            if len(names) != len(labels):
                raise
            note = (
                f"the data's classes are {first_few(list(names))}, the network's {first_few(_descriptions(labels))}: "
                "their numbers are taken to mean the same"
            )
    return {number: number for number in numbers}, note


def _require_classes(numbers: Sequence[int], classes: int, what: str) -> None:
    """Raise a DataError where a number is not that of one of so many classes."""
    wrong = [number for number in numbers if not 0 <= number < classes]
    if wrong:
        shown = first_few([str(one) for one in wrong])
        then = "use the data that the network was trained for"
        if wrong[0] == -1:
            then = "-1 means that they are not known: pass a split that has labels"
        raise DataError(
            f"{counted(len(wrong), 'number')} among the {what} {verb_for(len(wrong), 'are')} no class ({shown}): "
            f"expected 0 to {classes - 1}; {then}"
        )


def _same_order(names: Sequence[str], labels: Sequence[str]) -> bool:
    """Return whether names are the network's, class by class; ImageNet's two cranes are then told apart."""
    return len(names) == len(labels) and all(
        name in (label, *label.partition("\t")[::2]) for name, label in zip(names, labels, strict=True)
    )


def _descriptions(labels: Sequence[str]) -> list[str]:
    return [label.partition("\t")[2] or label for label in labels]


def _checked(values: Sequence[object], entries: Sequence[Entry], where: str) -> Iterator[Label]:
    for value, entry in zip(values, entries, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            raise DataError(
                f"{entry.key} has the label {value!r} in {where}, expected a class number or name in every row"
            )
        yield value


def _label_column(file: Path, schema: Any, given: str | None, image: str) -> str:
    columns: list[str] = [name for name in schema.names if name != image]
    if given is not None and given in columns:
        return given
    usual = [name for usual in LABEL_COLUMNS for name in columns if name.lower() == usual]
    if given is None and usual:
        return usual[0]
    asked = f"--label-column {given}" if given else "a column of labels such as label"
    raise UsageError(
        f"{file}: expected {asked}, found the columns {first_few(columns, shown=_MEMBERS_SHOWN) or 'of images alone'}: "
        "name the one of classes with --label-column"
    )


def _class_names(schema: Any, column: str) -> list[str]:
    """Return the names that Hugging Face's metadata give a column's classes; none where they give none."""
    try:
        told = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = told["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return []
    return [str(name) for name in names]


@dataclass
class _Shard:
    """What one shard holds, by name; see rule 2.

    Attributes:
        path: The shard.
        images: Entry and name in the archive.
        classes: Name of a `.cls` or `.json` member without that ending, to its place.
    """

    path: Path
    images: list[tuple[Entry, str]] = field(default_factory=list)
    classes: dict[str, dict[str, Entry]] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, name: str, passed_over: PassedOver) -> "_Shard":
        shard = cls(path)
        for member, entry, is_picture in walk_shard(path, name, passed_over):
            shard.members.setdefault(_key(member), []).append(PurePosixPath(member).name)
            if is_picture:
                shard.images.append((entry, member))
            elif PurePosixPath(member).suffix in (".cls", ".json"):
                shard.classes.setdefault(_stem(member), {})[PurePosixPath(member).suffix] = entry
        return shard

    def labelled(self, others: list[str]) -> Iterator[tuple[Entry, Label]]:
        """Yield the images with their labels; add to `others` the images of samples that have several."""
        chosen: dict[str, tuple[Entry, str]] = {}
        for entry, member in self.images:
            sample = _stem(member) if _stem(member) in self.classes else _key(member)
            first = chosen.setdefault(sample, (entry, member))
            if first[1] != member:
                plainer = member.count(".") < first[1].count(".")
                chosen[sample] = (entry, member) if plainer else first
                others.append(printable(first[1] if plainer else member))
        for sample, (entry, member) in sorted(chosen.items(), key=lambda item: item[1][0].start):
            yield entry, self._label(sample, member)

    def _label(self, sample: str, member: str) -> Label:
        held = self.classes.get(sample, {})
        if ".cls" in held:
            return _as_label(read_entry(held[".cls"]).decode("utf-8", "replace").strip())
        if ".json" in held:
            label = _field(read_entry(held[".json"]))
            if label is not None:
                return label
        raise DataError(
            f"{self.path}: {printable(member)} has no class: expected {printable(sample)}.cls with a class number or "
            f"name, or a field label in {printable(sample)}.json; its sample has "
            f"{first_few(self.members[_key(member)], shown=_MEMBERS_SHOWN)}"
        )


def _field(content: bytes) -> Label | None:
    """Return the class in the JSON of a sample; None where it has none."""
    try:
        told = parse_json(content)
    except ValueError:
        return None
    values: Iterable[object] = (told[name] for name in LABEL_COLUMNS if name in told) if isinstance(told, dict) else ()
    return next((value for value in values if isinstance(value, int | str) and not isinstance(value, bool)), None)


def _as_label(text: str) -> Label:
    return int(text) if text.removeprefix("-").isdecimal() else text


def _key(member: str) -> str:
    """Return WebDataset's key: up to the first dot of the name."""
    folder, slash, name = member.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _stem(member: str) -> str:
    """Return a name without its last ending."""
    folder, slash, name = member.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0]}"
