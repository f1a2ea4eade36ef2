"""The writer of protobuf's text form, against protobuf's own parser."""

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from runtime.serving.pbtxt import Message, Word, quote, write_message


def parse(message):
    return text_format.Parse(write_message(message), model_config_pb2.ModelConfig())


@given(st.text())
def test_any_string_goes_through_the_text_form_and_back(text):
    assert parse(Message((("name", text),))).name == text


@given(st.dictionaries(st.text(), st.text(), max_size=4))
def test_any_map_of_strings_goes_through_and_back(texts):
    entries = tuple(
        ("parameters", Message((("key", key), ("value", Message((("string_value", value),))))))
        for key, value in texts.items()
    )
    found = parse(Message(entries)).parameters
    assert {key: found[key].string_value for key in found} == texts


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('say "hi"\\', '"say \\"hi\\"\\\\"'),
        ("a\nb\tc\r", '"a\\nb\\tc\\r"'),
        # é is C3 A9 in UTF-8, octal 303 251; the digit after it is no part of the escape.
        ("é7", '"\\303\\2517"'),
        ("\x007", '"\\0007"'),
        ("\x7f", '"\\177"'),
    ],
)
def test_what_is_not_plain_ascii_is_escaped_by_byte(text, quoted):
    assert quote(text) == quoted


def test_numbers_truth_and_enumerations_stand_without_quotes():
    policy = Message((("sequence_batching", Message()),))
    group = Message((("count", 3), ("kind", Word("KIND_GPU")), ("passive", True)))
    config = parse(
        Message((*policy.fields, ("max_batch_size", 0), ("instance_group", group), ("instance_group", group)))
    )
    assert config.HasField("sequence_batching")
    assert [(one.count, one.kind, one.passive) for one in config.instance_group] == [(3, 1, True)] * 2


def test_half_of_a_surrogate_pair_is_an_error_and_never_written():
    with pytest.raises(UnicodeEncodeError):
        quote("\ud800")
