import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calibration.images.fingerprint import make_fingerprint
from calibration.search.calibration_cache import check_cache_target, read_cache, write_cache
from runtime.bundle.calibration_json import Activation, Calibration, Convergence, Tried
from runtime.bundle.manifest import Preprocessing
from runtime.errors import BundleError, CalibrationError
from tests.helpers.resnet_graphs import basic_block

PREPROCESSING = Preprocessing(
    image_size=16, resize_size=18, crop_pct=0.875, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)
)
HASHES = {"a/1.png": "0" * 64, "b/2.png": "1" * 64}
FINGERPRINT = make_fingerprint(basic_block(), HASHES, preprocessing=PREPROCESSING, options={"seed": "0"})
CALIBRATION = Calibration(
    fingerprint=FINGERPRINT,
    target="tensorrt",
    method="mse",
    candidates=(Tried(name="mse", sqnr_db=31.25, kept=True),),
    techniques=(Tried(name="weights: largest magnitude", sqnr_db=30.5, kept=True),),
    activations=(Activation(name="x", scale=0.1, unsigned=False, clip=12.7, low=-3, high=12.7, amax_before=12.7),),
    layers=("conv1", "blocks/0/conv"),
    float_layers=("fc",),
    images=24,
    held_out=6,
    held_out_sqnr_db=30.5,
    convergence=Convergence(median=0.01, worst=0.25, worst_tensor="x"),
    warnings=("all pictures are of Zürich",),
)
RNG = np.random.default_rng(0)
ARRAYS: dict[str, np.ndarray] = {
    "factors/act1": RNG.uniform(0.5, 2, 4),
    "weight/conv1": RNG.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
    "weight_scale/conv1": RNG.uniform(0.01, 0.1, 4).astype(np.float32),
    "weight/blocks/0/conv": np.asfortranarray(RNG.integers(-127, 128, (5, 4)).astype(np.int8)),
    "weight_scale/blocks/0/conv": RNG.uniform(0.01, 0.1, 5).astype(np.float32),
    "bias/conv1": RNG.normal(size=4).astype(np.float32),
}


def written(folder: Path) -> Path:
    write_cache(folder / "cache.zip", CALIBRATION, ARRAYS)
    return folder / "cache.zip"


def rewrite(path: Path, *, replace: dict[str, bytes | None]) -> None:
    """Replace members of the archive, or leave them out where None is given, with Python's zipfile alone."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | replace).items():
            if content is not None:
                archive.writestr(name, content)


def test_a_cache_gives_back_what_was_written(tmp_path: Path) -> None:
    calibration, arrays = read_cache(written(tmp_path), FINGERPRINT)
    assert calibration == CALIBRATION
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_the_same_calibration_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = written(tmp_path).read_bytes()
    write_cache(tmp_path / "other" / "name", CALIBRATION, dict(reversed(ARRAYS.items())))
    assert (tmp_path / "other" / "name").read_bytes() == first


def test_a_cache_is_a_zip_of_plain_numpy_files_and_readable_json(tmp_path: Path) -> None:
    with zipfile.ZipFile(written(tmp_path)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(["calibration.json", *(f"{name}.npy" for name in ARRAYS)])
        found = np.load(io.BytesIO(archive.read("weight/conv1.npy")), allow_pickle=False)
        assert "of Zürich" in archive.read("calibration.json").decode("utf-8")
    np.testing.assert_array_equal(found, ARRAYS["weight/conv1"])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit_of_a_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(ARRAYS["weight/conv1"].tobytes()) + 5] ^= 1
    path.write_bytes(content)


def sizes_beyond_the_end(path: Path) -> None:
    # The last entry of the central directory claims more bytes, stored and compressed, than the file has.
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    struct.pack_into("<II", content, entry + 20, len(content), len(content))
    path.write_bytes(content)


def impossible_shape(path: Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**13,)})
    rewrite(path, replace={"bias/conv1.npy": file.getvalue()})


def foreign_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.txt", "sun")


def pickled_objects(path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    rewrite(path, replace={"bias/conv1.npy": file.getvalue()})


def bare_pickle(path: Path) -> None:
    rewrite(path, replace={"bias/conv1.npy": pickle.dumps([1.0])})


def empty_array(path: Path) -> None:
    rewrite(path, replace={"bias/conv1.npy": b""})


def archive_in_place_of_an_array(path: Path) -> None:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    rewrite(path, replace={"bias/conv1.npy": file.getvalue()})


def missing_weight(path: Path) -> None:
    rewrite(path, replace={"weight/blocks/0/conv.npy": None})


def missing_scale(path: Path) -> None:
    rewrite(path, replace={"weight_scale/conv1.npy": None})


def other_json(path: Path) -> None:
    rewrite(path, replace={"calibration.json": b'{"scales": [1, 2]}'})


def no_json(path: Path) -> None:
    rewrite(path, replace={"calibration.json": b"\xff\xfe"})


def newer_schema(path: Path) -> None:
    changed = CALIBRATION.to_bytes().replace(b'"schema_version": 1', b'"schema_version": 2')
    rewrite(path, replace={"calibration.json": changed})


def damaged_compression(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("calibration.json", CALIBRATION.to_bytes())
    content = bytearray(path.read_bytes())
    content[44:80] = b"\xff" * 36
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        empty,
        flip_a_bit_of_a_weight,
        sizes_beyond_the_end,
        impossible_shape,
        foreign_zip,
        pickled_objects,
        bare_pickle,
        empty_array,
        archive_in_place_of_an_array,
        missing_weight,
        missing_scale,
        other_json,
        no_json,
        newer_schema,
        damaged_compression,
    ],
)
def test_a_damaged_or_foreign_file_is_refused_with_the_next_step(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = written(tmp_path)
    damage(path)
    with pytest.raises(CalibrationError, match=r"cache.zip is not a calibration cache \(.+\): delete it, and the next"):
        read_cache(path, FINGERPRINT)


def test_no_corrupted_byte_changes_what_is_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    refused = 0
    # Every seventh, to be quick.
    for position in range(0, len(whole), 7):
        content = bytearray(whole)
        content[position] ^= 0x5A
        path.write_bytes(content)
        try:
            calibration, arrays = read_cache(path, FINGERPRINT)
        except CalibrationError:
            refused += 1
            continue
        # Some bytes, such as a member's date, say nothing.
        assert calibration == CALIBRATION
        assert arrays.keys() == ARRAYS.keys()
        assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)
    assert refused > len(whole) // 14


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    path = written(tmp_path)

    class Touch:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "was_run",)

    file = io.BytesIO()
    np.save(file, np.array([Touch()], dtype=object), allow_pickle=True)
    rewrite(path, replace={"bias/conv1.npy": file.getvalue()})
    with pytest.raises(CalibrationError):
        read_cache(path, FINGERPRINT)
    assert not (tmp_path / "was_run").exists()


def test_a_cache_of_something_else_names_what_differs_and_the_next_step(tmp_path: Path) -> None:
    other = make_fingerprint(basic_block(), HASHES, preprocessing=PREPROCESSING, options={"seed": "1"})
    with pytest.raises(
        CalibrationError,
        match=r"cache.zip is the calibration of something else: options: seed is 1 now, 0 in the file; pass another "
        r"--calib-cache, or delete it to calibrate again",
    ):
        read_cache(written(tmp_path), other)


def test_an_interrupted_write_keeps_the_old_cache_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written(tmp_path).read_bytes()

    def interrupt(_path: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    # The latest moment: all is written, and not yet renamed.
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_cache(tmp_path / "cache.zip", CALIBRATION, ARRAYS)
    assert (tmp_path / "cache.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["cache.zip"]


def test_a_folder_that_is_absent_is_refused_before_the_work_and_at_the_writing(tmp_path: Path) -> None:
    with pytest.raises(
        CalibrationError, match=r"absent is not a directory: create it first, or pass another --calib-cache"
    ):
        check_cache_target(tmp_path / "absent" / "cache.zip")
    with pytest.raises(BundleError, match="cannot write"):
        write_cache(tmp_path / "absent" / "cache.zip", CALIBRATION, ARRAYS)
    check_cache_target(tmp_path / "cache.zip")


def test_a_directory_in_place_of_the_cache_is_refused_and_not_to_be_deleted(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"is a directory: expected a file; pass --calib-cache") as caught:
        check_cache_target(tmp_path)
    assert "delete" not in str(caught.value)


def test_a_read_only_folder_is_refused_unless_the_cache_is_there_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As root, every folder can be written: only the answer of the system is replaced.
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)
    with pytest.raises(
        CalibrationError, match=r"cannot write into .*: change its permissions, or pass another --calib-cache"
    ):
        check_cache_target(tmp_path / "cache.zip")
    check_cache_target(written(tmp_path))
