import pytest

from benchmarks.documents.update_documents import is_wanted, renew, section_names

DOCUMENT = """# Title

<!-- output: run-ssl verify a -->
```text
old a
```

<!-- output: run-ssl doctor a -->
```text
old doctor
```
"""


def printed(command):
    return f"what {command} prints\n"


def test_the_sections_of_a_document_are_its_commands_and_tables_in_order():
    assert section_names(f"{DOCUMENT}\n<!-- int8 -->\n<!-- /int8 -->\n") == [
        "run-ssl verify a",
        "run-ssl doctor a",
        "int8",
    ]


def test_one_section_is_renewed_and_the_rest_stays_as_it_is():
    renewed = renew(DOCUMENT, ["run-ssl doctor"], printed=printed)
    assert renewed == DOCUMENT.replace("old doctor\n", "what run-ssl doctor a prints\n")


def test_without_a_name_every_section_is_renewed():
    renewed = renew(DOCUMENT, [], printed=printed)
    assert "old" not in renewed
    assert "what run-ssl verify a prints\n" in renewed


def test_nothing_is_run_for_a_section_that_is_not_wanted():
    def fail(command):
        raise AssertionError(command)

    assert renew(DOCUMENT, ["figures"], printed=fail) == DOCUMENT


@pytest.mark.parametrize(
    ("section", "wanted", "expected"),
    [
        ("run-ssl verify a", ["run-ssl verify"], True),
        ("run-ssl verify a", ["run-ssl verify a"], True),
        ("run-ssl verify a", ["run-ssl ver"], False),
        ("run-ssl verify a", ["figures", "run-ssl"], True),
        ("figures", ["int8"], False),
        ("figures", [], True),
    ],
)
def test_a_section_is_named_by_the_first_words_of_its_command(section, wanted, expected):
    assert is_wanted(section, wanted) is expected
