"""Images of folders, lists, archives and tables come in an order that names alone decide, none left out in silence."""

import base64
import gzip
import hashlib
import io
import os
import tarfile
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from runtime.data.sources.entries import Listing, Source, list_entries
from runtime.data.sources.open_source import InputChoice, open_source
from runtime.errors import DataError, UsageError
from runtime.images.formats import PassedOver
from tests.helpers.image_folders import picture


def encoded_picture() -> bytes:
    contents = io.BytesIO()
    Image.fromarray(picture(0)).save(contents, "PNG")
    return contents.getvalue()


PNG = encoded_picture()
# Not a character in UTF-8; Linux takes it in a name.
LATIN_NAME = b"caf\xe9.png"


def write(folder: Path, *names: str | bytes) -> Path:
    """Write files whose contents are their own names, and the folders above them."""
    for name in names:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))  # noqa: PTH118 - pathlib takes no bytes
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        Path(os.fsdecode(path)).write_bytes(os.fsencode(name))
    return folder


def opened(*paths: Path, **choice: object) -> Source:
    return open_source(paths, InputChoice(**choice))  # type: ignore[arg-type]


def keys(*paths: Path, **choice: object) -> list[str]:
    return [entry.key for entry in opened(*paths, **choice).entries()]


def contents(source: Source) -> list[bytes]:
    return [read() for _, read in source.opened(source.entries())]


def tar(path: Path, members: Iterable[tuple[str | tarfile.TarInfo, bytes]], **options: object) -> Path:
    """Write an archive with the standard library alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def table(path: Path, columns: dict[str, pa.Array], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_a_folder_is_read_in_byte_order_at_any_depth_without_dot_files(tmp_path: Path) -> None:
    # By bytes: capitals before small letters, "é" (C3 A9) after "z", and a folder where its own name stands.
    names = ("B.png", "a/0.png", "a/c/0.webp", "a-.png", "a.JPG", "a0.png", "z.tiff", "é.png")
    write(tmp_path, *reversed(names), ".hidden.png", ".git/x.png", "notes.txt", "a/list.csv", "png")
    assert keys(tmp_path) == list(names)
    assert contents(opened(tmp_path)) == [name.encode() for name in names]


def test_names_that_are_no_text_or_hold_quotes_and_newlines_are_keys_that_can_be_written(tmp_path: Path) -> None:
    names = (b"a\nb.png", b'a"b,c.png', b"a'b.png", LATIN_NAME, "ü.png".encode())
    write(tmp_path, *names)
    found = keys(tmp_path)
    assert found == ["a\nb.png", 'a"b,c.png', "a'b.png", "caf\\xe9.png", "ü.png"]
    assert contents(opened(tmp_path)) == list(names)
    assert list_entries(opened(tmp_path)).images == 5


def test_several_folders_and_files_keep_their_order_and_keys_say_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "two/a.png", "one/a.png", "one/b.png", "c.png")
    monkeypatch.chdir(tmp_path)
    assert keys(Path("two"), Path("c.png"), Path("one")) == ["two/a.png", "c.png", "one/a.png", "one/b.png"]
    source = opened(Path("two"), Path("c.png"), Path("one"))
    assert contents(source) == [b"two/a.png", b"c.png", b"one/a.png", b"one/b.png"]


def test_links_are_followed_and_dead_or_self_made_ones_are_images_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, "pictures/a.png", "elsewhere/b.png")
    folder = tmp_path / "pictures"
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "gone.png").symlink_to(tmp_path / "nothing.png")
    (folder / "self.png").symlink_to("self.png")
    assert keys(folder) == ["a.png", "gone.png", "linked/b.png", "self.png"]
    for entry, read in opened(folder).opened(opened(folder).entries()):
        if entry.key in ("gone.png", "self.png"):
            with pytest.raises(OSError, match=r"No such file|Too many levels"):
                read()


def test_a_link_to_a_folder_above_it_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c.png")
    (tmp_path / "a" / "b" / "round").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"a/b/round is a link to a folder above it: .*remove the link"):
        keys(tmp_path)


def test_a_folder_without_images_is_read_for_shards_and_one_without_these_for_tables(tmp_path: Path) -> None:
    tar(tmp_path / "shards" / "b.tar", [("x.png", b"")])
    tar(tmp_path / "shards" / "a.tar", [("x.png", b"")])
    assert keys(tmp_path / "shards") == ["a.tar/x.png", "b.tar/x.png"]
    table(tmp_path / "tables" / "deep" / "t.parquet", {"image": pa.array([b"1"])})
    assert keys(tmp_path / "tables") == ["t.parquet:0"]
    write(tmp_path, "shards/one.png")
    assert keys(tmp_path / "shards") == ["one.png"]


@pytest.mark.parametrize(
    ("content", "found"), [((), "nothing"), (("notes.txt", ".a.png", "a.heic", "b.heic"), r"2 \.heic, 1 \.txt")]
)
def test_a_folder_of_nothing_is_an_error(tmp_path: Path, content: tuple[str, ...], found: str) -> None:
    write(tmp_path, *content)
    words = rf"holds no image, no \.tar and no \.parquet file: expected files such as .*, found {found}; check"
    with pytest.raises(DataError, match=words):
        opened(tmp_path)


def test_an_absent_path_is_an_error_and_two_kinds_are_a_usage_error(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.tar", "list.txt")
    with pytest.raises(DataError, match="gone does not exist: expected a folder of images, a list"):
        opened(tmp_path / "a.png", tmp_path / "gone")
    with pytest.raises(UsageError, match=r"a\.png \(images\) and .*b\.tar \(tar shards\) are of two kinds"):
        opened(tmp_path / "a.png", tmp_path / "b.tar")
    with pytest.raises(UsageError, match=r"a\.png \(images\) and .*list\.txt \(lists\) are of two kinds"):
        opened(tmp_path / "a.png", tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("choice", "path", "words"),
    [
        (
            {"root": Path()},
            "a.png",
            r"--root \. cannot be used with images: it is for lists and Parquet files; l",
        ),
        ({"image_column": "x"}, "a.png", r"--image-column x cannot be used with images: it is for Parquet files"),
        ({"key_column": "x"}, "list.txt", r"--key-column x cannot be used with lists: it is for Parquet files"),
    ],
)
def test_options_without_effect_are_usage_errors(
    tmp_path: Path, choice: dict[str, object], path: str, words: str
) -> None:
    write(tmp_path, "a.png", "list.txt")
    with pytest.raises(UsageError, match=words):
        opened(tmp_path / path, **choice)


def test_a_list_has_a_path_per_line_from_its_own_folder_on(tmp_path: Path) -> None:
    write(tmp_path, "in/a.png", "in/b c.png", "in/ü.png", b"in/" + LATIN_NAME, "other/a.png")
    lines = (
        b"\xef\xbb\xbfa.png\r\n",
        b"\r\n",
        b"b c.png\n",
        b"   \n",
        b"../other/a.png\n",
        os.fsencode(tmp_path) + b"/in/a.png\n",
        "ü.png\n".encode(),
        LATIN_NAME + b"\n",
        b"gone.png",
    )
    (tmp_path / "in" / "list.txt").write_bytes(b"".join(lines))
    source = opened(tmp_path / "in" / "list.txt")
    wanted = ["a.png", "b c.png", "../other/a.png", f"{tmp_path}/in/a.png", "ü.png", "caf\\xe9.png", "gone.png"]
    assert [entry.key for entry in source.entries()] == wanted
    readable = [entry for entry in source.entries() if entry.key != "gone.png"]
    found = [read() for _, read in source.opened(readable)]
    assert found == [b"in/a.png", b"in/b c.png", b"other/a.png", b"in/a.png", "in/ü.png".encode(), b"in/" + LATIN_NAME]


def test_root_moves_where_a_list_starts_and_keys_stay(tmp_path: Path) -> None:
    write(tmp_path, "far/a.png")
    (tmp_path / "list").write_text("a.png\n")
    with pytest.raises(DataError, match=r"none of the first 1 lines leads to a file \(.a\.png.\): .*say where"):
        opened(tmp_path / "list")
    assert keys(tmp_path / "list", root=tmp_path / "far") == ["a.png"]
    assert contents(opened(tmp_path / "list", root=tmp_path / "far")) == [b"far/a.png"]


def test_several_lists_are_read_one_after_the_other(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    (tmp_path / "1.txt").write_text("b.png\na.png\n")
    (tmp_path / "2.lst").write_text("a.png\n")
    assert keys(tmp_path / "2.lst", tmp_path / "1.txt") == ["a.png", "b.png", "a.png"]


def test_a_compressed_archive_is_not_taken_for_a_list(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", [("x.png", b"x")])
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes(), mtime=0))
    with pytest.raises(
        DataError, match=r"a\.tar\.gz is not a text file: expected a list of paths, .* \.tar, \.parquet .*unpack it"
    ):
        opened(packed)


LONG = "d/" * 80 + "long é.jpg"


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_shards_are_read_at_their_places_whatever_the_headers(tmp_path: Path, kind: int) -> None:
    members: list[tuple[str | tarfile.TarInfo, bytes]] = [
        ("s0.png", b"first"),
        ("s0.cls", b"1"),
        ("s0.json", b"{}"),
        (LONG, b"x" * 1000),
        ("caf\udce9.PNG", b"latin"),
        ("empty.png", b""),
        ("no suffix", b"not read"),
    ]
    folder = tarfile.TarInfo("folder.png")
    folder.type = tarfile.DIRTYPE
    link = tarfile.TarInfo("link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "s0.png"
    shard = tar(tmp_path / "a.tar", [*members, (folder, b""), (link, b"")], format=kind)
    source = opened(shard)
    wanted = {"s0.png": b"first", LONG: b"x" * 1000, "caf\\xe9.PNG": b"latin", "empty.png": b""}
    assert [entry.key for entry in source.entries()] == [f"a.tar/{name}" for name in wanted]
    assert contents(source) == list(wanted.values())


def test_shards_of_one_name_are_told_apart_by_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("train", "val"):
        tar(Path(folder) / "0.tar", [("x.png", folder.encode())])
        table(Path(folder) / "0.parquet", {"image": pa.array([folder.encode()])})
    shards = (Path("train/0.tar"), Path("val/0.tar"))
    assert keys(*shards) == ["train/0.tar/x.png", "val/0.tar/x.png"]
    assert contents(opened(*shards)) == [b"train", b"val"]
    assert keys(Path("train/0.parquet"), Path("val/0.parquet")) == ["train/0.parquet:0", "val/0.parquet:0"]


def test_a_damaged_shard_is_an_error_before_any_of_its_images(tmp_path: Path) -> None:
    shard = tar(tmp_path / "a.tar", [("x.png", b"x" * 600), ("y.png", b"y" * 600)])
    whole = shard.read_bytes()
    # A member is 1536 bytes: its header and two blocks.
    noise = b"\xa5" * 512
    for damaged in (
        b"",
        b"text, not an archive",
        whole[:700],
        whole[:1536],
        whole[:2000],
        noise + whole[512:],
        whole[:1536] + noise + whole[2048:],
        gzip.compress(whole, mtime=0),
    ):
        shard.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.tar cannot be read as a tar archive \(.*\): expected a whole one"):
            list_entries(opened(shard))


@pytest.mark.parametrize("record", [512, 10240, 3 << 20])
def test_archives_joined_by_cat_are_refused_and_what_fills_a_record_is_not(tmp_path: Path, record: int) -> None:
    # Source: POSIX.1-2017, pax: after the two blocks of zeros, the rest of the last record is undefined.
    shard = tar(tmp_path / "a.tar", [("x.png", b"x" * 600)])
    whole = shard.read_bytes()[: 3 * 512 + 2 * 512]
    for filling in (b"", bytes(record), b"\xa5" * record):
        shard.write_bytes(whole + filling)
        assert keys(shard) == ["a.tar/x.png"]
        shard.write_bytes(whole + filling + whole)
        begins = rf"a\.tar': a second archive begins at byte {len(whole + filling)}, .*tar --concatenate"
        with pytest.raises(DataError, match=begins):
            list_entries(opened(shard))


def test_a_size_beyond_64_bits_in_a_header_is_a_damaged_shard(tmp_path: Path) -> None:
    shard = tar(tmp_path / "a.tar", [("x.png", b"x")])
    header = bytearray(shard.read_bytes())
    # GNU's base-256 numbers: 0x80, then the number, big end first. Source: GNU tar manual, "Extensions".
    header[124:136] = b"\x80" + b"\x7f" * 11
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    shard.write_bytes(header)
    with pytest.raises(DataError, match="cannot be read as a tar archive"):
        list_entries(opened(shard))


def test_a_shard_that_was_cut_off_after_it_was_listed_has_unreadable_images_without_its_path(tmp_path: Path) -> None:
    shard = tar(tmp_path / "a.tar", [("x.png", b"x" * 600), ("y.png", b"y" * 600)])
    source = opened(shard)
    entries = list(source.entries())
    shard.write_bytes(shard.read_bytes()[:2500])
    (_, first), (_, second) = source.opened(entries)
    assert first() == b"x" * 600
    with pytest.raises(EOFError, match=r"^the archive ends within it: it was cut off after it was listed$"):
        second()


IMAGES = [b"one", b"two", None, b"four", b"five"]


BYTES = (pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary()))


@pytest.mark.parametrize("kind", BYTES)
@pytest.mark.parametrize("rows_per_group", [1, 2, 100])
def test_bytes_of_any_arrow_type_are_read_over_row_groups(
    tmp_path: Path, kind: pa.DataType, rows_per_group: int
) -> None:
    file = table(
        tmp_path / "t.parquet",
        {"id": pa.array([5, 6, 7, 8, 9]), "jpg": pa.array(IMAGES, kind)},
        row_group_size=rows_per_group,
    )
    source = opened(file)
    assert [entry.key for entry in source.entries()] == ["5", "6", "7", "8", "9"]
    every = [read for _, read in source.opened(source.entries())]
    assert [read() for index, read in enumerate(every) if index != 2] == [b"one", b"two", b"four", b"five"]
    with pytest.raises(ValueError, match=r"^the row has no image$"):
        every[2]()
    # As a resumed job reads it: some rows left out.
    some = [entry for entry in source.entries() if entry.start in (1, 4)]
    assert [read() for _, read in source.opened(some)] == [b"two", b"five"]


def test_categories_of_text_are_paths_and_keys(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(name.encode())
    category = pa.dictionary(pa.int8(), pa.string())
    source = opened(table(tmp_path / "t.parquet", {"path": pa.array(["a.png", "b.png", "a.png"], category)}))
    assert [entry.key for entry in source.entries()] == ["a.png", "b.png", "a.png"]
    assert [read() for _, read in source.opened(source.entries())] == [b"a.png", b"b.png", b"a.png"]


def test_structs_of_hugging_face_are_images_without_their_bytes_or_without_themselves(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [{"bytes": b"one", "path": "a.png"}, {"bytes": None, "path": "b.png"}, None]
    file = table(tmp_path / "t.parquet", {"image": pa.array(values, kind), "label": pa.array([0, 1, 2])})
    source = opened(file)
    assert [entry.key for entry in source.entries()] == ["t.parquet:0", "t.parquet:1", "t.parquet:2"]
    first, *others = [read for _, read in source.opened(source.entries())]
    assert first() == b"one"
    for read in others:
        with pytest.raises(ValueError, match="the row has no image"):
            read()


def test_a_column_is_read_by_its_name_also_beside_one_that_is_named_as_a_part_of_it(tmp_path: Path) -> None:
    columns = {"image.bytes": pa.array([b"no"]), "image": pa.array([{"bytes": b"yes"}]), "id": pa.array(["k"])}
    source = opened(table(tmp_path / "t.parquet", columns), image_column="image")
    assert [entry.key for entry in source.entries()] == ["k"]
    assert contents(source) == [b"yes"]


@pytest.mark.parametrize(
    ("columns", "choice", "found"),
    [
        ({"image": b"i", "thumbnail": b"t"}, {}, b"i"),
        ({"whatever": b"w", "n": 3}, {}, b"w"),
        ({"image": b"i", "thumbnail": b"t"}, {"image_column": "thumbnail"}, b"t"),
    ],
)
def test_the_column_of_images_is_found_or_named(
    tmp_path: Path, columns: dict[str, object], choice: dict[str, object], found: bytes
) -> None:
    file = table(tmp_path / "t.parquet", {name: pa.array([value]) for name, value in columns.items()})
    assert contents(opened(file, **choice)) == [found]


@pytest.mark.parametrize(
    ("choice", "found"),
    [({}, "name.png"), ({"key_column": "n"}, "7"), ({"key_column": "sentence"}, "a ü")],
)
def test_the_column_of_keys_is_found_or_named(tmp_path: Path, choice: dict[str, object], found: str) -> None:
    columns = {"n": 7, "sentence": "a ü", "url": "http", "Path": "name.png", "image": b"i"}
    file = table(tmp_path / "t.parquet", {name: pa.array([value]) for name, value in columns.items()})
    assert keys(file, **choice) == [found]


@pytest.mark.parametrize(
    ("columns", "choice", "words"),
    [
        ({"a": b"", "b": b""}, {}, r"has 2 columns of bytes \(a, b\): name one with --image-column"),
        ({"image": b"", "png": b""}, {}, r"has 2 columns of bytes \(image, png\): name one"),
        ({"a": "text"}, {}, r"has no column of images: expected bytes, paths .*, found a \(string\); pass a file"),
        (
            {"a": b"", "n": 1},
            {"image_column": "n"},
            r"--image-column n: expected .* bytes, .*, found n \(int64\)",
        ),
        ({"a": b"", "n": 1.5}, {"key_column": "n"}, r"--key-column n: expected one of .* \(there is none\)"),
    ],
)
def test_columns_that_cannot_be_chosen_are_usage_errors(
    tmp_path: Path, columns: dict[str, object], choice: dict[str, object], words: str
) -> None:
    file = table(tmp_path / "t.parquet", {name: pa.array([value]) for name, value in columns.items()})
    with pytest.raises(UsageError, match=words):
        opened(file, **choice)


def test_several_tables_must_have_the_columns_of_the_first(tmp_path: Path) -> None:
    for name, image in (("a", pa.array([b"1", b"2"])), ("b", pa.array([b"3"])), ("c", pa.array(["text"]))):
        table(tmp_path / f"{name}.parquet", {"image": image})
    table(tmp_path / "d.parquet", {"other": pa.array([b"1"])})
    both = opened(tmp_path / "b.parquet", tmp_path / "a.parquet")
    assert [entry.key for entry in both.entries()] == ["b.parquet:0", "a.parquet:0", "a.parquet:1"]
    assert contents(both) == [b"3", b"1", b"2"]
    for other in ("c", "d"):
        with pytest.raises(DataError, match=rf"{other}\.parquet has no column image of .*a\.parquet, expected"):
            opened(tmp_path / "a.parquet", tmp_path / f"{other}.parquet")


def test_keys_that_are_missing_or_no_text_are_errors_that_name_the_file(tmp_path: Path) -> None:
    images = pa.array([b"1", b"2"])
    with pytest.raises(DataError, match=r"t\.parquet: row 1 has no key in column key: expected one in every row"):
        keys(table(tmp_path / "t.parquet", {"key": pa.array(["a", None]), "image": images}))
    raw = pa.array([b"\xff", b"b"])
    latin = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    with pytest.raises(DataError, match=r"u\.parquet cannot be read as Parquet \(.*decode byte 0xff"):
        keys(table(tmp_path / "u.parquet", {"key": latin, "image": images}))


def test_a_damaged_table_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = table(tmp_path / "t.parquet", {"image": pa.array([bytes(5000)])}, compression="NONE")
    whole = file.read_bytes()
    for damaged in (b"", b"text", whole[:-30], b"\0" * len(whole)):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"t\.parquet cannot be read as Parquet \(.*\): expected a whole file"):
            opened(file)
    file.write_bytes(whole[:4] + b"\xff" * 40 + whole[44:])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        contents(opened(file))


def test_two_passes_give_the_same_entries_and_a_listing_that_depends_on_keys_and_order(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "ab").write_text("a/1.png\nb/1.png\n")
    (tmp_path / "ba").write_text("b/1.png\na/1.png\n")
    source = opened(tmp_path / "ab")
    assert list(source.entries()) == list(source.entries())
    wanted = hashlib.sha256(b"a/1.png\0b/1.png\0").hexdigest()
    assert list_entries(source) == Listing(2, wanted)
    assert list_entries(source) != list_entries(opened(tmp_path / "ba"))


def test_rows_of_a_large_row_group_are_not_all_in_memory_at_once(tmp_path: Path) -> None:
    # 400 images of 100 kB in one row group, in pages of 16: pyarrow itself would put 1,024 rows into a page.
    count, size = 400, 100_000
    images = pa.array([os.urandom(size) for _ in range(count)])
    file = table(
        tmp_path / "t.parquet",
        {"image": images},
        compression="NONE",
        row_group_size=count,
        write_batch_size=16,
    )
    del images
    source, pool = opened(file), pa.default_memory_pool()
    # tracemalloc sees Python's bytes objects; Arrow's pool is asked itself.
    tracemalloc.start()
    before, most = pool.bytes_allocated(), 0
    for _, read in source.opened(source.entries()):
        assert len(read()) == size
        most = max(most, pool.bytes_allocated() - before)
    python_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A batch is 32 images, of which two may be there as one follows the other, and some pages of 1.6 MB.
    assert most < count * size / 3
    assert python_bytes < count * size / 3


def test_paths_of_hugging_face_count_where_the_bytes_are_null(tmp_path: Path) -> None:
    write(tmp_path, "pictures/b.png")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [
        {"bytes": b"one", "path": "a.png"},
        {"bytes": None, "path": "pictures/b.png"},
        {"bytes": None, "path": None},
    ]
    first, second, third = [
        read
        for _, read in opened(table(tmp_path / "t.parquet", {"image": pa.array(values, kind)})).opened(
            opened(tmp_path / "t.parquet").entries()
        )
    ]
    assert (first(), second()) == (b"one", b"pictures/b.png")
    with pytest.raises(ValueError, match="the row has no image"):
        third()
    # As pyarrow writes a column of which every cell has a path alone.
    alone = table(tmp_path / "p.parquet", {"image": pa.array([{"bytes": None, "path": "pictures/b.png"}])})
    assert contents(opened(alone)) == [b"pictures/b.png"]


def test_columns_of_paths_and_base64_are_found_and_urls_are_refused_in_one_line(tmp_path: Path) -> None:
    write(tmp_path, "pictures/a.png", "pictures/b.png")
    paths = {"caption": pa.array(["x", "y"]), "file": pa.array(["pictures/a.png", "pictures/b.png"])}
    source = opened(table(tmp_path / "p.parquet", paths))
    assert contents(source) == [b"pictures/a.png", b"pictures/b.png"]
    coded = {"text": pa.array(["x"]), "b64": pa.array([base64.b64encode(PNG).decode()])}
    assert contents(opened(table(tmp_path / "b.parquet", coded))) == [PNG]
    assert contents(opened(tmp_path / "b.parquet", image_column="b64")) == [PNG]
    links = {"url": pa.array(["https://example.org/a.jpg"]), "caption": pa.array(["x"])}
    words = r"has URLs in column url \(https://example\.org/a\.jpg\) and no images: download them first"
    with pytest.raises(UsageError, match=words) as caught:
        opened(table(tmp_path / "u.parquet", links))
    assert "\n" not in str(caught.value)


def test_a_cell_that_is_not_base64_is_one_unreadable_image(tmp_path: Path) -> None:
    cells = pa.array([base64.b64encode(PNG).decode(), "not base64!", None])
    source = opened(table(tmp_path / "t.parquet", {"image": cells}))
    first, second, third = [read for _, read in source.opened(source.entries())]
    assert first() == PNG
    for read, words in ((second, "text that is not base64"), (third, "the row has no image")):
        with pytest.raises(ValueError, match=words):
            read()


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("l.txt", "a.png  \n  b c.png\t\n", ["a.png", "b c.png"]),
        ("l.txt", "a.png 3\nb c.png 4\n", ["a.png", "b c.png"]),
        ("l.txt", "a.png,cat\nb c.png,black dog\n", ["a.png", "b c.png"]),
        ("l.txt", "noending 1\na.png 2\n", ["noending", "a.png"]),
        ("l.csv", "path,label\na.png,1\nb c.png,2\n", ["a.png", "b c.png"]),
        ("l.csv", 'id,filename\n1,"b c.png"\n2,a.png\n', ["b c.png", "a.png"]),
        ("l.csv", "a.png\nb c.png\n", ["a.png", "b c.png"]),
        ("l.tsv", "image\tcaption\na.png\tone, two\n", ["a.png"]),
        ("l.txt", "filename;class\nb c.png;x\n", ["b c.png"]),
    ],
)
def test_lists_are_read_with_labels_tables_and_spaces(name: str, text: str, wanted: list[str], tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b c.png", "noending")
    (tmp_path / name).write_text(text)
    source = opened(tmp_path / name)
    assert [entry.key for entry in source.entries()] == wanted
    assert contents(source) == [one.encode() for one in wanted]


def test_a_list_that_leads_nowhere_shows_a_line_and_where_it_looked(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("photos/a.jpg 1\nphotos/b.jpg 2\n")
    words = rf"none of the first 2 lines leads to a file \(.photos/a\.jpg.\): .*, from {tmp_path} on; if paths"
    with pytest.raises(DataError, match=words):
        opened(tmp_path / "l.txt")
    (tmp_path / "u.txt").write_text("https://example.org/a.jpg\n")
    with pytest.raises(DataError, match=r"u\.txt lists URLs \(https://example\.org/a\.jpg\): download the"):
        opened(tmp_path / "u.txt")


def test_images_in_archives_are_known_by_their_contents_too(tmp_path: Path) -> None:
    members = [("a.input.jpg", b"a"), ("b", PNG), ("b.cls", b"1"), ("c.json", b"{}"), ("d.bin", b"no image")]
    passed_over = PassedOver()
    source = opened(tar(tmp_path / "a.tar", members))
    assert [entry.key for entry in source.entries(passed_over)] == ["a.tar/a.input.jpg", "a.tar/b"]
    assert passed_over == {".cls": 1, ".json": 1, ".bin": 1}


def test_the_files_of_img2dataset_are_read_as_the_shards_that_they_are(tmp_path: Path) -> None:
    """Its output: shards, and beside each a table of what became of every URL, and statistics."""
    members = [("000000000.jpg", PNG), ("000000000.json", b'{"status": "success"}'), ("000000000.txt", b"a caption")]
    tar(tmp_path / "00000.tar", members)
    status = {"url": pa.array(["u"] * 2), "status": pa.array(["success", "failed_to_download"])}
    table(tmp_path / "00000.parquet", {"key": pa.array(["000000000", "000000001"]), **status})
    (tmp_path / "00000_stats.json").write_text("{}")
    source = opened(tmp_path)
    assert [entry.key for entry in source.entries()] == ["00000.tar/000000000.jpg"]
    # Its output as Parquet: what failed has no image.
    columns = {"key": pa.array(["0", "1"]), "jpg": pa.array([PNG, None], pa.binary()), **status}
    source = opened(table(tmp_path / "as_table" / "00000.parquet", columns))
    assert [entry.key for entry in source.entries()] == ["0", "1"]
    first, second = [read for _, read in source.opened(source.entries())]
    assert first() == PNG
    with pytest.raises(ValueError, match="the row has no image"):
        second()


@pytest.mark.parametrize("group_rows", [1, 2, 8])
def test_rows_that_are_not_there_are_a_damaged_file(tmp_path, group_rows):
    def write(rows):
        pq.write_table(pa.table({"image": [b"x"] * rows}), tmp_path / "t.parquet", row_group_size=group_rows)

    write(5)
    source = opened(tmp_path / "t.parquet")
    entries = list(source.entries())
    write(3)
    read = source.opened(entries)
    assert [next(read)[1]() for _ in range(3)] == [b"x"] * 3
    with pytest.raises(DataError, match=r"t\.parquet has no row 3, expected one: it is damaged"):
        next(read)
