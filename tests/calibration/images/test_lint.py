import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calibration.images.lint import Finding, PixelLint, hash_images, lint_sample, lint_unreadable, raise_refusals
from calibration.images.sampling import sample_images
from runtime.data.batches import Unreadable
from runtime.data.dataset import Dataset, LabelledImage
from runtime.errors import DataError, MachineError

RNG = np.random.default_rng(0)
CLEAN = RNG.integers(0, 256, (12, 6, 6, 3)).astype(np.uint8)


def write(root: Path, contents: dict[str, bytes]) -> Path:
    """Files that are hashed and never decoded."""
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def many(count: int, *, classes: int = 2) -> dict[str, bytes]:
    return {f"class{number % classes}/{number:03}.png": f"picture {number}".encode() for number in range(count)}


def lint(folder: Path, *, count: int = 512, eval_data: Path | None = None) -> tuple[Finding, ...]:
    sample = sample_images(folder, count=count)
    return lint_sample(sample, hash_images(sample.dataset), eval_data=eval_data)


def only(findings: tuple[Finding, ...]) -> tuple[str, str]:
    assert len(findings) == 1, findings
    return findings[0].severity, findings[0].text


def lint_pixels(*batches: np.ndarray) -> tuple[Finding, ...]:
    found = PixelLint()
    for batch in batches:
        found.add(batch)
    return found.finish()


def test_clean_images_give_no_finding(tmp_path: Path) -> None:
    folder = write(tmp_path / "train", many(120))
    other = write(tmp_path / "val", {"class0/1.png": b"another"})
    assert lint(folder, count=110, eval_data=other) == ()
    assert lint_unreadable([], folder=folder, remaining=110) == ()
    assert lint_pixels(CLEAN[:5], CLEAN[5:]) == ()


@pytest.mark.parametrize(("count", "severity"), [(7, "refusal"), (8, "warning"), (99, "warning")])
def test_fewer_than_8_images_are_refused_and_fewer_than_100_warned_about(
    tmp_path: Path, count: int, severity: str
) -> None:
    given, text = only(lint(write(tmp_path, many(count))))
    assert given == severity
    assert f"gave {count} different calibration images" in text
    assert "512" in text


def test_one_hundred_images_are_enough_but_that_fewer_were_found_than_asked_for_is_said(tmp_path: Path) -> None:
    severity, text = only(lint(write(tmp_path, many(100)), count=101))
    assert severity == "warning"
    assert "has 100 images to calibrate on, 101 were requested: all are used" in text
    assert lint(tmp_path, count=100) == ()


def test_copies_do_not_count_towards_the_images_that_are_needed(tmp_path: Path) -> None:
    contents = many(7) | {f"class0/copy{number}.png": b"picture 0" for number in range(200)}
    found = lint(write(tmp_path, contents))
    assert found[0].severity == "refusal"
    assert "gave 7 different calibration images" in found[0].text


def test_copies_are_counted_and_one_pair_is_named(tmp_path: Path) -> None:
    contents = many(120) | {"class1/twin.png": b"picture 0", "class1/triplet.png": b"picture 0"}
    severity, text = only(lint(write(tmp_path, contents), count=122))
    assert severity == "warning"
    assert "2 calibration images are copies of others (class0/000.png and class1/triplet.png, for one)" in text


def test_images_of_one_class_are_warned_about(tmp_path: Path) -> None:
    severity, text = only(lint(write(tmp_path, many(120, classes=1)), count=120))
    assert severity == "warning"
    assert "all 120 calibration images are of one class (class0)" in text
    assert "pass the folder above it" in text


def test_a_flat_folder_is_not_taken_for_one_class(tmp_path: Path) -> None:
    assert lint(write(tmp_path, {f"{n}.png": str(n).encode() for n in range(120)}), count=120) == ()


def test_some_images_shared_with_the_evaluation_are_warned_about_whatever_they_are_called(tmp_path: Path) -> None:
    folder = write(tmp_path / "train", many(120))
    evaluated = write(tmp_path / "val", {"renamed.png": b"picture 5", "other.png": b"picture X", "more.png": b"?"})
    severity, text = only(lint(folder, count=120, eval_data=evaluated))
    assert severity == "warning"
    assert f"1 of 120 calibration images are also in {evaluated} (class1/005.png, for one)" in text
    assert "take them out of one of the two" in text


def test_calibrating_on_the_evaluation_images_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, many(120))
    severity, text = only(lint(folder, count=120, eval_data=folder))
    assert severity == "refusal"
    assert "120 of 120" in text
    assert "calibrate on training images" in text


def test_an_evaluation_folder_that_is_absent_is_refused_and_not_taken_for_one_without_overlap(tmp_path: Path) -> None:
    severity, text = only(lint(write(tmp_path / "train", many(120)), count=120, eval_data=tmp_path / "absent"))
    assert severity == "refusal"
    assert "absent is not there: expected labelled images; correct the path" in text


def test_dead_links_are_in_no_overlap_and_no_copies_of_each_other(tmp_path: Path) -> None:
    folder, evaluated = write(tmp_path / "train", many(120)), write(tmp_path / "val", {"class0/1.png": b"picture X"})
    for place in (folder, evaluated):
        for name in ("dead.png", "gone.png"):
            (place / "class0" / name).symlink_to(tmp_path / "nowhere.png")
    assert lint(folder, count=122, eval_data=evaluated) == ()
    hashes = hash_images(sample_images(folder, count=122).dataset)
    assert len(hashes) == 120
    assert hashes["class0/000.png"] == hashlib.sha256(b"picture 0").hexdigest()


def test_dead_links_do_not_count_towards_the_images_that_are_needed(tmp_path: Path) -> None:
    folder = write(tmp_path, many(7))
    for number in range(5):
        (folder / "class0" / f"dead{number}.png").symlink_to(tmp_path / "nowhere.png")
    severity, text = only(lint(folder))
    assert severity == "refusal"
    assert "gave 7 different calibration images" in text


def test_a_file_that_the_machine_cannot_open_now_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path, many(120))

    def open_none(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", open_none)
    with pytest.raises(MachineError, match=r"000\.png cannot be read now \(Too many open files\)"):
        hash_images(sample_images(folder, count=120).dataset)


def test_images_that_are_not_files_are_refused_rather_than_left_out() -> None:
    class InMemory:
        def open(self) -> Image.Image:
            return Image.new("RGB", (2, 2))

    with pytest.raises(DataError, match=r"torch/x\[0\] is not a file: expected a folder of images"):
        hash_images(Dataset((LabelledImage("torch/x[0]", 0, InMemory()),)))


def test_unreadable_images_are_warned_about_without_the_path_of_this_machine() -> None:
    broken = [Unreadable("a/1.png", "/data/train/a/1.png cannot be read: truncated"), Unreadable("a/2.png", "?")]
    severity, text = only(lint_unreadable(broken, folder=Path("/data/train"), remaining=8))
    assert severity == "warning"
    assert text == "2 calibration images cannot be read (a/1.png cannot be read: truncated); they were left out"


def test_too_few_readable_images_are_refused() -> None:
    severity, text = only(lint_unreadable([Unreadable("1.png", "broken")], folder=Path("/data"), remaining=7))
    assert severity == "refusal"
    assert "only 7 are left, expected 8 or more: replace them" in text


def test_pictures_that_are_all_grey_are_warned_about() -> None:
    grey = np.repeat(CLEAN[..., :1], 3, axis=-1)
    severity, text = only(lint_pixels(grey[:4], grey[4:]))
    assert severity == "warning"
    assert "all 12 calibration images are grey" in text
    assert "calibrate on colour images" in text


def test_networks_of_one_and_four_channels_are_not_told_of_missing_colours() -> None:
    assert lint_pixels(CLEAN[..., :1]) == ()
    assert lint_pixels(np.concatenate([CLEAN, CLEAN[..., :1]], axis=-1)) == ()
    severity, text = only(lint_pixels(np.concatenate([CLEAN[..., :1]] * 3 + [CLEAN[..., 1:2]], axis=-1)))
    assert (severity, "calibration images are grey" in text) == ("warning", True)


def test_some_grey_pictures_among_coloured_ones_are_fine() -> None:
    assert lint_pixels(np.concatenate([np.repeat(CLEAN[:6, ..., :1], 3, axis=-1), CLEAN[6:]])) == ()


def test_pictures_that_are_all_flat_are_refused() -> None:
    flat = np.broadcast_to(CLEAN[:, :1, :1], CLEAN.shape)
    severity, text = only(lint_pixels(flat))
    assert severity == "refusal"
    assert text == "all 12 calibration images are one flat colour: pass real images"


def test_some_flat_pictures_are_counted_and_not_called_copies() -> None:
    black = np.zeros((3, 6, 6, 3), np.uint8)
    severity, text = only(lint_pixels(CLEAN, black))
    assert severity == "warning"
    assert "3 calibration images are one flat colour" in text


def test_pictures_with_equal_pixels_are_counted_across_batches() -> None:
    severity, text = only(lint_pixels(CLEAN, CLEAN[3:5]))
    assert severity == "warning"
    assert "2 calibration images are the same as others after cropping" in text


def test_flat_pictures_of_several_colours_do_not_hide_copies() -> None:
    flat = np.broadcast_to(CLEAN[:3, :1, :1], (3, 6, 6, 3))
    texts = [finding.text for finding in lint_pixels(CLEAN, CLEAN[:1], flat)]
    assert len(texts) == 2
    assert texts[0].startswith("3 calibration images are one flat colour")
    assert texts[1].startswith("1 calibration images are the same as others after cropping")


def test_a_refusal_is_raised_with_its_text_and_warnings_are_not() -> None:
    raise_refusals([Finding("warning", "mind this")])
    with pytest.raises(DataError, match=r"^not this$"):
        raise_refusals([Finding("warning", "mind this"), Finding("refusal", "not this")])
