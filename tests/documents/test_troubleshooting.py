"""Every message of the code leads to a paragraph of docs/how-to/troubleshooting.md, which quotes messages alone."""

import ast
import re

import pytest

from benchmarks.documents.reference.c_statuses import HEADER, c_statuses
from benchmarks.documents.reference.messages import VALUE, Message, all_messages
from benchmarks.documents.reference.troubleshooting import PAGE, is_quoted, letters, paragraph_for, paragraphs
from tests.helpers.paths import ROOT

TEXT = PAGE.read_text(encoding="utf-8")
PARAGRAPHS = paragraphs()
QUOTATIONS = [quotation for paragraph in PARAGRAPHS for quotation in paragraph.quotations]
# Shorter pieces of a message would be found anywhere.
SHORTEST_PIECE = 6
# A quotation of fewer letters, or one that fits more messages, would be a paragraph for everything.
FEWEST_LETTERS, MOST_MESSAGES = 8, 25
# Messages of the libraries below: Typer's usage errors.
NOT_OURS = frozenset({"Usage: ", "Invalid value for "})
# What these say is told elsewhere: by the C library.
PASSED_ON = {"runtime/images/native.py"}


def texts_of_the_code() -> str:
    """Return every string of the packages, a new line each, with a new line for each value in it, and the C library."""
    found: list[str] = []
    for package in ("runtime", "calibration", "exporter"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "\n" for part in node.values)
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    library = [file.read_text(encoding="utf-8") for file in (HEADER, *sorted((HEADER.parents[1] / "src").iterdir()))]
    return "\n".join([*found, *library])


@pytest.fixture(scope="module")
def texts() -> str:
    return texts_of_the_code()


def test_every_message_of_the_code_leads_to_a_paragraph() -> None:
    lost = [message for message in all_messages() if message.text != VALUE and not paragraph_for(message, PARAGRAPHS)]
    assert [f"{message.file}: {message.kind}: {message.text}" for message in lost] == []


def test_a_message_without_a_paragraph_is_found() -> None:
    assert paragraph_for(Message("UsageError", "--moon …: expected a full one; wait for it", ""), PARAGRAPHS) is None


def test_of_several_paragraphs_the_one_that_quotes_most_is_led_to() -> None:
    text = "… is a directory: expected a file; pass --calib-cache …"
    found = paragraph_for(Message("CalibrationError", text, ""), PARAGRAPHS)
    assert found is not None
    assert found.heading == "The calibration belongs to something else"


def test_every_status_of_the_c_library_leads_to_a_paragraph() -> None:
    statuses = {status.name for status in c_statuses()}
    assert len(statuses) == HEADER.read_text(encoding="utf-8").split("typedef enum rne_status")[1].split("}")[0].count(
        "="
    )
    assert statuses - set(QUOTATIONS) == {"RNE_OK"}


def test_the_words_of_every_message_are_known() -> None:
    assert {message.file for message in all_messages() if message.text == VALUE} == PASSED_ON


@pytest.mark.parametrize("message", QUOTATIONS)
def test_a_quoted_message_is_one_of_the_code(message: str, texts: str) -> None:
    if any(is_quoted(message, one.text) for one in all_messages()):
        return
    # What is printed without being raised.
    pieces = {piece for piece in message.split(VALUE) if len(piece.strip()) >= SHORTEST_PIECE} - NOT_OURS
    assert {piece for piece in pieces if piece.strip() not in texts} == set()


def test_no_quotation_fits_everything() -> None:
    messages = all_messages()
    fitted = {one: sum(is_quoted(one, message.text) for message in messages) for one in QUOTATIONS}
    assert {
        one for one in QUOTATIONS if letters(one) < FEWEST_LETTERS and one not in {f"{text}…" for text in NOT_OURS}
    } == set()
    assert {one: count for one, count in fitted.items() if count > MOST_MESSAGES} == {}


def test_no_message_is_quoted_twice() -> None:
    assert len(QUOTATIONS) > 100
    assert [one for one in QUOTATIONS if QUOTATIONS.count(one) > 1] == []


def test_every_heading_is_of_one_paragraph_that_says_what_to_do() -> None:
    headings = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
    assert [paragraph.heading for paragraph in PARAGRAPHS] == headings
    assert [one for one in headings if headings.count(one) > 1] == []
    assert [paragraph.heading for paragraph in PARAGRAPHS if len(paragraph.text.split()) < 8] == []


# Read off the sources by hand: where the words of a message are not written where it is raised.
@pytest.mark.parametrize(
    ("kind", "text", "file"),
    [
        # A parameter, read_versioned(otherwise=…).
        ("BundleError", "… is not a manifest (…: …): export the bundle again", "runtime/support/json_file.py"),
        # A helper's return.
        (
            "CheckpointError",
            "… is truncated, damaged or no checkpoint (…): …; fetch or save it again",
            "runtime/original/checkpoint_files.py",
        ),
        # A property, which returns a field, which is one of two values that a function returns.
        (
            "EngineError",
            "… cannot be loaded (…): reinstall it, and check LD_LIBRARY_PATH",
            "runtime/engines/trt/machine.py",
        ),
        # A field of a dataclass.
        (
            "DataError",
            "all … calibration images are one flat colour…: pass real images",
            "calibration/images/lint.py",
        ),
        # A constant of the module.
        (
            "DataError",
            "the images changed while the job ran: expected the same ones from start to end; "
            "pass --overwrite to start over",
            "runtime/embed/job.py",
        ),
        # One of two, by a condition.
        ("UsageError", "no output directory: pass --output DIRECTORY", "runtime/commands/embed.py"),
    ],
)
def test_words_from_elsewhere_are_found(kind: str, text: str, file: str) -> None:
    assert Message(kind, text, file) in all_messages()


def test_another_class_of_the_same_name_is_not_mistaken() -> None:
    doctor = "not installed; only the comparison with the original needs it: pip install 'export-ssl[export,cpu]'"
    assert doctor not in {message.text for message in all_messages()}


def test_a_quotation_leaves_out_what_differs() -> None:
    message = Message("BundleError", "… has schema version …, this run-ssl reads up to …: upgrade", "")
    assert is_quoted("has schema version …, this run-ssl", message.text)
    assert is_quoted("… has schema … upgrade", message.text)
    assert not is_quoted("has schema version 3", message.text)
    assert not is_quoted("upgrade … has schema", message.text)
