"""The example programs classify, embed and latency, against the Python runtime on the same files."""

import json
import shutil
import struct
import subprocess
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.bundle.bundle import open_bundle
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.images.preprocessing import preprocess
from runtime.images.reading import open_image
from tests.conftest import crops
from tests.helpers.cpp.build import build_example, build_library, require_tools
from tests.helpers.exported import copy_bundle

# A few float32 roundings, as a share of the largest logit: see test_library.py.
ROUNDINGS = 1e-5
# Pillow brings its own libjpeg-turbo and the system has another; between releases the upsampling of chroma and the
# inverse transform may round a level differently, which moves logits of drawn weights by less than this share.
JPEG_DIFFERENCE = 0.02
TOP = 5


@pytest.fixture(scope="module")
def programs():
    require_tools()
    prefix = build_library()
    return {name: build_example(name, prefix) for name in ("classify", "embed", "latency")}


def run(program, *words):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, 1, 2), f"{done.returncode}: {done.stderr}"
    return done


def failed(done, *words, code=1):
    """Check that a program ended with one line of reason and no result."""
    assert done.returncode == code
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "licence of the weights" not in line]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


def png(kind, rows, width, height, *, depth=8, chunks=()):
    """A PNG from its raw rows, for kinds that Pillow does not write. Source: PNG specification, third edition."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", header), *(chunk(*pair) for pair in chunks), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def interlaced(picture):
    """An RGB picture as an Adam7 PNG, which Pillow reads but does not write."""
    pixels = np.asarray(picture)
    rows = b""
    starts = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    for left, top, across, down in starts:
        part = pixels[top::down, left::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    content = png(2, [], picture.width, picture.height)
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 1)
    data = zlib.compress(rows)
    parts = [content[:8]]
    for name, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
        parts.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
    return b"".join(parts)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """One file of every kind that classify takes."""
    folder = tmp_path_factory.mktemp("kinds")
    picture = crops()[0]
    width, height = picture.size
    rng = np.random.default_rng(1)
    picture.save(folder / "rgb.png")
    picture.convert("L").save(folder / "grey.png")
    picture.convert("1").save(folder / "one_bit.png")
    picture.convert("LA").save(folder / "grey_alpha.png")
    picture.quantize(200).save(folder / "palette.png")
    picture.quantize(5).save(folder / "palette_4_bit.png", bits=4)
    picture.quantize(200).save(folder / "palette_transparent.png", transparency=bytes(range(200)))
    picture.save(folder / "rgb_transparent.png", transparency=(1, 2, 3))
    rgba = picture.convert("RGBA")
    rgba.putalpha(Image.fromarray(rng.integers(0, 256, (height, width), np.uint8)))
    rgba.save(folder / "rgba.png")
    wide = (rng.integers(0, 2**9, (height, width))).astype(">u2")
    (folder / "grey_16_bit.png").write_bytes(png(0, [row.tobytes() for row in wide], width, height, depth=16))
    for name, kind, channels in (("rgb", 2, 3), ("rgba", 6, 4), ("grey_alpha", 4, 2)):
        values = rng.integers(0, 2**16, (height, width, channels)).astype(">u2")
        rows = [row.tobytes() for row in values]
        (folder / f"{name}_16_bit.png").write_bytes(png(kind, rows, width, height, depth=16))
    grey = np.asarray(picture.convert("L")) >> 4
    packed = (grey[:, 0 : width // 2 * 2 : 2] << 4) | grey[:, 1 : width // 2 * 2 : 2]
    rows = [row.tobytes() for row in packed]
    (folder / "grey_4_bit.png").write_bytes(png(0, rows, width // 2 * 2, height, depth=4))
    gamma = [(b"gAMA", struct.pack(">I", 100000))]
    rows = [row.tobytes() for row in np.asarray(picture)]
    (folder / "gamma.png").write_bytes(png(2, rows, width, height, chunks=gamma))
    (folder / "interlaced.png").write_bytes(interlaced(picture))
    picture.save(folder / "baseline.jpg", quality=90)
    picture.save(folder / "progressive.jpg", progressive=True, quality=85)
    picture.save(folder / "full_chroma.jpeg", subsampling=0, quality=95)
    picture.convert("L").save(folder / "grey.jpg", quality=90)
    content = (folder / "baseline.jpg").read_bytes()
    (folder / "extra_bytes.jpg").write_bytes(content[:-2] + bytes(5) + content[-2:])
    Image.new("RGB", (1, 1), (9, 99, 199)).save(folder / "one_pixel.png")
    return folder


KINDS = [
    "rgb.png", "grey.png", "one_bit.png", "grey_alpha.png", "palette.png", "palette_4_bit.png",
    "palette_transparent.png", "rgb_transparent.png", "rgba.png", "grey_16_bit.png", "rgb_16_bit.png",
    "rgba_16_bit.png", "grey_alpha_16_bit.png", "grey_4_bit.png", "gamma.png", "interlaced.png", "one_pixel.png",
    "baseline.jpg", "progressive.jpg", "full_chroma.jpeg", "grey.jpg",
    "extra_bytes.jpg",
]  # fmt: skip


def parse_classify(text):
    """The lines of classify: {file: [(share, logit, class, label)]}."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if not line.startswith("  "):
            rows = found[line] = []
            continue
        share, rest = line.strip().split(" %  ")
        logit, number, label = rest.split("  ", 2)
        rows.append((float(share), float(logit), int(number), label))
    return found


def test_classify_gives_the_python_runtimes_classes_for_every_kind_of_file(programs, exported, pictures):
    files = [pictures / name for name in KINDS]
    done = run(programs["classify"], exported.fp32, *files)
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(exported.fp32)
    assert bundle.manifest.licence.spdx in done.stderr
    found, labels = parse_classify(done.stdout), bundle.labels()
    assert list(found) == [str(file) for file in files]
    with load_engine(bundle, "openvino", EngineOptions(threads=1)) as engine:
        for file in files:
            pixels = preprocess(open_image(file), bundle.manifest.preprocessing)
            logits = engine.infer(pixels[None]).logits[0].astype(np.float64)
            shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            near = JPEG_DIFFERENCE if file.suffix.startswith(".j") else ROUNDINGS
            order = np.argsort(-logits)[:TOP]
            rows = found[str(file)]
            assert len(rows) == TOP
            assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
            np.testing.assert_allclose(
                [row[1] for row in rows], logits[order], atol=near * np.abs(logits).max(), err_msg=str(file)
            )
            for share, logit, number, label in rows:
                assert logit == pytest.approx(logits[number], abs=near * np.abs(logits).max()), file
                assert label == labels[number]
                if near == ROUNDINGS:
                    # Printed with one decimal.
                    assert share == pytest.approx(100 * shares[number], abs=0.06)


def test_classify_refuses_a_network_without_a_classifier_and_embed_takes_it(programs, backbone, pictures, tmp_path):
    done = run(programs["classify"], backbone.fp32, pictures / "rgb.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        f"error: {backbone.fp32} has no classifier, so there is no class to print: run the example `embed` on it, or "
        "export it with its classifier"
    )
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.copy(pictures / "rgb.png", folder)
    done = run(programs["embed"], backbone.fp32, folder, tmp_path / "out.npy")
    assert done.returncode == 0, done.stderr
    pixels = preprocess(open_image(pictures / "rgb.png"), open_bundle(backbone.fp32).manifest.preprocessing)
    with load_engine(backbone.fp32, "openvino", EngineOptions(threads=1)) as engine:
        expected = engine.infer(pixels[None]).embedding
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=ROUNDINGS * np.abs(expected).max())


def test_classify_refuses_damaged_files_and_goes_on(programs, exported, pictures, tmp_path):
    picture = crops()[0]
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    for name in ("baseline.jpg", "rgb.png", "progressive.jpg"):
        content = (pictures / name).read_bytes()
        (tmp_path / f"cut_{name}").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("not an image, in spite of its name")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "short.png").write_bytes(b"\x89PNG")
    (tmp_path / "magic.jpg").write_bytes(b"\xff\xd8" + b"\0" * 40)
    content = bytearray((pictures / "rgb.png").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "checksum.png").write_bytes(content)
    picture.save(tmp_path / "picture.webp")
    (tmp_path / "folder.png").mkdir()
    bad = [*sorted(tmp_path.iterdir()), tmp_path / "absent.png"]
    for file in bad:
        failed(run(programs["classify"], exported.fp32, file), str(file))
    done = run(programs["classify"], exported.fp32, bad[0], pictures / "rgb.png")
    assert done.returncode == 1
    assert list(parse_classify(done.stdout)) == [str(pictures / "rgb.png")]


@pytest.mark.parametrize(
    ("width", "height"), [(10**6, 10**6), (2**31 - 1, 1), (1, 2**31 - 1), (60_000, 60_000), (0, 9)]
)
def test_a_file_that_claims_to_be_enormous_is_refused(programs, exported, tmp_path, width, height):
    (tmp_path / "huge.png").write_bytes(png(2, [b"\0" * 12], width, height))
    failed(run(programs["classify"], exported.fp32, tmp_path / "huge.png"), "huge.png")
    if 0 < max(width, height) <= 60_000:
        crops()[0].save(tmp_path / "huge.jpg")
        content = bytearray((tmp_path / "huge.jpg").read_bytes())
        at = content.index(b"\xff\xc0") + 5
        content[at : at + 4] = struct.pack(">HH", height, width)
        (tmp_path / "huge.jpg").write_bytes(content)
        failed(run(programs["classify"], exported.fp32, tmp_path / "huge.jpg"), "huge.jpg")


def test_embed_writes_the_python_runtimes_embeddings_sorted_by_path(programs, exported, class_folders, tmp_path):
    shutil.copytree(class_folders, tmp_path / "pictures")
    (tmp_path / "pictures/notes.txt").write_text("no picture")
    (tmp_path / "pictures/SHOUT.PNG").write_bytes(next(class_folders.rglob("*.png")).read_bytes())
    done = run(programs["embed"], exported.fp32, tmp_path / "pictures", tmp_path / "out.npy")
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npy")
    names = (tmp_path / "out.npy.txt").read_text(encoding="utf-8").splitlines()
    files = sorted(path for path in (tmp_path / "pictures").rglob("*") if path.suffix in (".png", ".PNG"))
    assert names == [str(file) for file in files]
    assert (found.shape, found.dtype) == ((len(files), 512), np.float32)
    bundle = open_bundle(exported.fp32)
    with load_engine(bundle, "openvino", EngineOptions(threads=1)) as engine:
        for row, file in zip(found, files, strict=True):
            pixels = preprocess(open_image(file), bundle.manifest.preprocessing)
            expected = engine.infer(pixels[None]).embedding[0]
            np.testing.assert_allclose(row, expected, atol=ROUNDINGS * np.abs(expected).max())
    assert bundle.manifest.licence.spdx in done.stdout


def test_embed_takes_the_high_byte_of_16_bit_grey_where_the_bundle_says_so(programs, exported, tmp_path):
    (tmp_path / "pictures").mkdir()
    values = np.random.default_rng(0).integers(0, 1 << 16, (70, 90)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "pictures" / "deep.png")
    Image.fromarray((values >> 8).astype(np.uint8)).save(tmp_path / "shallow.png")
    scaling = copy_bundle(
        exported.fp32, tmp_path / "scaling", edit=lambda manifest: manifest["preprocessing"].update(depth16="scale")
    )
    done = run(programs["embed"], scaling, tmp_path / "pictures", tmp_path / "out.npy")
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(exported.fp32)
    pixels = preprocess(open_image(tmp_path / "shallow.png"), bundle.manifest.preprocessing)
    with load_engine(bundle, "openvino", EngineOptions(threads=1)) as engine:
        expected = engine.infer(pixels[None]).embedding
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=ROUNDINGS * np.abs(expected).max())


def test_embed_writes_nothing_where_a_picture_is_damaged(programs, exported, pictures, tmp_path):
    (tmp_path / "pictures").mkdir()
    shutil.copy(pictures / "rgb.png", tmp_path / "pictures/a.png")
    (tmp_path / "pictures/b.png").write_bytes((pictures / "rgb.png").read_bytes()[:200])
    failed(run(programs["embed"], exported.fp32, tmp_path / "pictures", tmp_path / "out.npy"), "b.png")
    (tmp_path / "empty").mkdir()
    failed(run(programs["embed"], exported.fp32, tmp_path / "empty", tmp_path / "out.npy"), "no JPEG or PNG")
    failed(run(programs["embed"], exported.fp32, tmp_path / "absent", tmp_path / "out.npy"), "not a directory")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "pictures"]
    (tmp_path / "pictures/b.png").unlink()
    target = tmp_path / "absent/out.npy"
    failed(run(programs["embed"], exported.fp32, tmp_path / "pictures", target), "cannot be written")


@pytest.mark.parametrize("batch", [1, 2])
def test_latency_prints_ordered_figures_of_at_least_200_runs(programs, exported, batch):
    done = run(programs["latency"], exported.fp32, "--batch", batch, "--seconds", "0.1", "--threads", "1")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["batch"], found["backend"], found["precision"]) == (batch, "openvino", "fp32")
    assert found["runs"] >= 200
    ordered = [found[f"{name}_ms"] for name in ("min", "median", "p90", "p99", "max")]
    assert ordered == sorted(ordered)
    assert 0 < found["min_ms"] <= found["mean_ms"] <= found["max_ms"]
    assert found["images_per_s"] == pytest.approx(1000 * batch / found["mean_ms"], rel=1e-3)
    assert found["open_ms"] > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("classify", ()), ("classify", ("bundle",)), ("embed", ()), ("embed", ("bundle", "folder")),
        ("embed", ("bundle", "folder", "out", "more")), ("latency", ()), ("latency", ("bundle", "--batch")),
        ("latency", ("bundle", "--batch", "0")), ("latency", ("bundle", "--batch", "0.5")),
        ("latency", ("bundle", "--batch", "2x")), ("latency", ("bundle", "--threads", "nan")),
        ("latency", ("bundle", "--backend", "tflite")), ("latency", ("bundle", "--unknown", "1")),
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2(programs, name, words):
    failed(run(programs[name], *words), f"usage: {name}", code=2)


@pytest.mark.parametrize("name", ["classify", "embed", "latency"])
def test_a_bundle_that_is_none_ends_with_1(programs, tmp_path, name):
    words = {"classify": ("x.png",), "embed": (tmp_path, "out.npy"), "latency": ()}[name]
    failed(run(programs[name], tmp_path, *words), "bundle.json", "export-ssl")
