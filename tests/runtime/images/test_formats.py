"""What Pillow opens is read by its contents, in every kind of source; all else is counted by its ending."""

import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from runtime.errors import MachineError
from runtime.images.formats import IMAGE_SUFFIXES, SPECIAL, PassedOver, describe_passed_over, is_image
from runtime.images.listing import list_images, walk_images
from tests.helpers.image_folders import write_picture

# Pillow writes what it reads of these.
WRITTEN = {
    "AVIF": "photo.avif",
    "JPEG": "photo.jfif",
    "JPEG2000": "photo.jp2",
    "TGA": "photo.tga",
    "ICO": "photo.ico",
    "QOI": "photo.qoi",
    "PCX": "photo.pcx",
}
# Recognised and not decoded, or not without a program: named here as an independent list.
NOT_READ = {".eps", ".ps", ".wmf", ".emf", ".mpg", ".mpeg", ".bufr", ".grib", ".h5", ".hdf"}


def encoded(kind: str) -> bytes:
    contents = io.BytesIO()
    Image.new("RGB", (16, 12), (200, 30, 60)).save(contents, kind)
    return contents.getvalue()


def named(folder: Path, passed_over: PassedOver | None = None) -> list[str]:
    return list(walk_images(folder, passed_over))


def test_the_endings_are_those_of_the_formats_that_pillow_opens() -> None:
    opened = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    # IPTC is captions. Multi-picture JPEG is registered for writing, and opened as JPEG.
    assert opened - NOT_READ - {".iim"} <= IMAGE_SUFFIXES
    assert {suffix for suffix in IMAGE_SUFFIXES - opened if suffix not in (".mpo", ".qoi", ".pfm")} == set()


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_format_of_pillow_is_found_by_its_ending(kind: str, tmp_path: Path) -> None:
    (tmp_path / WRITTEN[kind]).write_bytes(encoded(kind))
    assert named(tmp_path) == [WRITTEN[kind]]


@pytest.mark.parametrize("kind", ["AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP"])
@pytest.mark.parametrize("name", ["no ending", "b3f2", "photo.jpg_original", "photo.bak", "photo.0001"])
def test_an_image_without_a_known_ending_is_found_by_its_contents(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded(kind))
    assert named(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("notes", b"Some words.\n"),
        ("numbers", bytes(range(256)) * 8),
        ("zeros", bytes(4096)),
        ("empty", b""),
        ("header.h", b"#define WIDTH 3\nint f(void);\n"),
        ("P3 or not", b"P3 is the name of a place\n"),
        ("drawing.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"),
        # What a TGA file's header may be: Pillow takes it for one, since the format has no signature.
        ("model.bin", encoded("TGA")),
        ("film.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        # A TIFF file by its contents, of which Pillow shows the thumbnail.
        ("raw.NEF", encoded("TIFF")),
        ("caption.txt", encoded("PNG")),
    ],
)
def test_what_is_no_image_is_passed_over_and_counted(name: str, contents: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(contents)
    passed_over = PassedOver()
    assert named(tmp_path, passed_over) == []
    assert sum(passed_over.values()) == 1


def test_a_damaged_image_with_an_images_ending_stays_an_image_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    assert named(tmp_path) == ["a.jpg", "gone.png"]


def test_a_recognised_picture_that_is_too_large_to_decode_is_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_bytes(encoded("PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16 * 12 - 1)
    assert named(tmp_path) == ["large"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16 * 12 // 2 - 1)
    assert named(tmp_path) == ["large"]


def test_a_pipe_a_dead_link_and_a_file_without_permission_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dead").symlink_to("nowhere")
    passed_over = PassedOver()
    assert named(tmp_path, passed_over) == []
    assert passed_over == {"": 1, SPECIAL: 1}


def test_a_machine_without_open_files_is_not_taken_for_a_file_that_is_no_image() -> None:
    def full() -> io.BytesIO:
        raise OSError(24, "Too many open files")

    with pytest.raises(MachineError, match="Too many open files"):
        is_image("thing", full)


def test_what_was_passed_over_is_counted_by_ending_the_most_first(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    for name in ("1.heic", "2.HEIC", "3.heic", "c/1.txt", "2.txt", "README", "x.0001", ".hidden.heic", "b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"text\n")
    passed_over = PassedOver()
    assert list_images(tmp_path, passed_over) == (tmp_path / "a.png",)
    assert describe_passed_over(passed_over) == (
        "8 files are no image that Pillow reads, and passed over: 3 .heic, 2 without an ending, 2 .txt, 1 .mp4"
    )


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, ""),
        ({".txt": 1}, "1 file is no image that Pillow reads, and passed over: 1 .txt"),
        (
            {f".e{number}": 1000 for number in range(7)},
            "7,000 files are no image that Pillow reads, and passed over: "
            "1,000 .e0, 1,000 .e1, 1,000 .e2, 1,000 .e3, 1,000 .e4 and 2 more",
        ),
    ],
)
def test_words_for_what_was_passed_over_stay_one_line(counts: dict[str, int], words: str) -> None:
    assert describe_passed_over(counts) == words


def test_contents_are_not_opened_where_the_ending_decides() -> None:
    def never(name: str) -> io.BytesIO:
        raise AssertionError(name)

    decided: list[tuple[str, Callable[[], io.BytesIO]]] = [(name, partial(never, name)) for name in ("a.jpg", "b.json")]
    assert [is_image(name, contents) for name, contents in decided] == [True, False]
