"""Records become columns, and each bad one fails alone."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repertory.errors import FailureCode
from repertory.models.model import Feature, Schema
from repertory.models.records import RecordDecoder
from repertory.protos.winerecord_pb2 import WineRecord

GOOD = WineRecord(fixed_acidity=7.4, pH=3.5, alcohol=9.4, dataType="wine", ts=1)


@pytest.fixture
def decoder(wine: Schema) -> RecordDecoder:
    return RecordDecoder(wine, WineRecord)


def decode_json(
    decoder: RecordDecoder, *records: str
) -> tuple[dict[str, list[float]], dict[int, str]]:
    columns, failures = decoder.decode([record.encode() for record in records], json=True)
    values = {name: column.tolist() for name, column in columns.features.items()}
    return values, {row: f"{failed.code}: {failed.message}" for row, failed in failures.items()}


def codes(decoder: RecordDecoder, records: Sequence[bytes]) -> dict[int, FailureCode]:
    _, failures = decoder.decode(records, json=False)
    return {row: failed.code for row, failed in failures.items()}


def test_a_protobuf_record_becomes_a_row(decoder: RecordDecoder) -> None:
    columns, failures = decoder.decode([GOOD.SerializeToString()] * 3, json=False)
    assert not failures
    assert columns.count == 3
    assert columns.features["pH"].tolist() == [3.5] * 3
    assert columns.features["chlorides"].tolist() == [0.0] * 3


def test_confluents_wire_format_is_named_as_the_reason(decoder: RecordDecoder) -> None:
    framed = b"\0" + (17).to_bytes(4, "big") + b"\0" + GOOD.SerializeToString()
    _, failures = decoder.decode([framed], json=False)
    assert "Confluent's wire format (schema 17)" in failures[0].message


def test_no_records_give_empty_columns(decoder: RecordDecoder) -> None:
    for as_json in (False, True):
        columns, failures = decoder.decode([], json=as_json)
        assert columns.count == 0
        assert not failures
        assert all(len(column) == 0 for column in columns.features.values())


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\xff\xff\xff", FailureCode.INVALID_RECORD),
        (b"", FailureCode.INVALID_RECORD),
        (GOOD.SerializeToString()[:-3], FailureCode.INVALID_RECORD),
        (b"\xfa\x3f\x01x", FailureCode.INVALID_RECORD),  # a field that no wine has
        (WineRecord(pH=3, dataType="beer").SerializeToString(), FailureCode.WRONG_DATA_TYPE),
    ],
)
def test_a_bad_record_fails_alone(decoder: RecordDecoder, bad: bytes, code: FailureCode) -> None:
    good = GOOD.SerializeToString()
    columns, failures = decoder.decode([good, bad, good], json=False)
    assert {row: failed.code for row, failed in failures.items()} == {1: code}
    assert columns.features["alcohol"][[0, 2]].tolist() == [9.4, 9.4]
    assert np.isnan(float(columns.features["alcohol"][1]))


def test_a_record_without_a_data_type_is_of_the_type_that_it_was_sent_as(
    decoder: RecordDecoder,
) -> None:
    assert codes(decoder, [WineRecord(pH=3).SerializeToString()]) == {}


def test_a_record_of_zeros_that_says_its_type_is_a_record(decoder: RecordDecoder) -> None:
    assert codes(decoder, [WineRecord(dataType="wine").SerializeToString()]) == {}


@pytest.mark.parametrize("spelling", ["fixed_acidity", "fixed acidity", "fixedAcidity"])
def test_json_keys_are_matched_however_they_are_spelled(
    decoder: RecordDecoder, spelling: str
) -> None:
    values, failures = decode_json(decoder, json.dumps({spelling: 7, "other": "ignored"}))
    assert not failures
    assert values["fixed_acidity"] == [7.0]
    assert np.isnan(values["pH"][0])


def test_null_and_absent_are_missing(decoder: RecordDecoder) -> None:
    values, failures = decode_json(decoder, '{"pH": null, "alcohol": 9}', "{}")
    assert not failures
    assert np.isnan(values["pH"]).all()
    assert values["alcohol"][0] == 9.0


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ('{"pH": "3.5"}', 'invalid_feature: pH is a string ("3.5"), not a number'),
        ('{"pH": true}', "invalid_feature: pH is a truth value (true), not a number"),
        ('{"pH": [3]}', "invalid_feature: pH is a list ([3]), not a number"),
        ('{"pH": 1, "PH": 2}', "invalid_record: 'pH' and 'PH' are one feature, given twice"),
        ("[1]", "invalid_record: a JSON object is due, not a list"),
        ("", "invalid_record: an empty record"),
        ('{"pH": 3', "invalid_record: not JSON: "),
        ('{"pH": NaN}', "invalid_record: not JSON: "),
        ('{"pH": 1e999}', "invalid_record: not JSON: "),
        ('{"dataType": "beer", "pH": 1}', "wrong_data_type: "),
        ("\x00\xff", "invalid_record: not JSON: "),
    ],
)
def test_a_bad_json_record_says_what_is_wrong(
    decoder: RecordDecoder, record: str, reason: str
) -> None:
    values, failures = decode_json(decoder, '{"pH": 3.5}', record, '{"pH": 4}')
    assert list(failures) == [1]
    assert failures[1].startswith(reason)
    assert [values["pH"][0], values["pH"][2]] == [3.5, 4.0]


def test_a_json_fault_is_located(decoder: RecordDecoder) -> None:
    _, failures = decode_json(decoder, '{"pH": 3,\n "alcohol" 9}')
    assert "line 2 column 12" in failures[0]


def test_a_number_beyond_64_bits_is_read_as_a_double(decoder: RecordDecoder) -> None:
    values, failures = decode_json(decoder, '{"pH": 123456789012345678901234567890}')
    assert not failures
    assert values["pH"] == [1.2345678901234568e29]


def test_many_layouts_of_keys_do_not_fill_memory(decoder: RecordDecoder) -> None:
    records = [json.dumps({f"k{i}": 1, "pH": i}) for i in range(1000)]
    values, failures = decode_json(decoder, *records)
    assert not failures
    assert values["pH"] == list(map(float, range(1000)))


KEYS = st.sampled_from(["pH", "PH", "alcohol", "dataType", "other"])
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [1, 2.5, -0.0, 2**64, None, True, "wine", "", "beer", [1], {}]
)
OBJECTS = st.one_of(
    st.dictionaries(KEYS, VALUES),
    st.fixed_dictionaries({"pH": VALUES, "alcohol": st.just(1)}),
    st.fixed_dictionaries({"alcohol": st.just(1), "dataType": VALUES, "pH": st.just(2)}),
)
BODIES = st.one_of(OBJECTS.map(json.dumps), st.sampled_from(["", "[]", "1", "{", "null"]))
PAIR = Schema("wine", (Feature("pH"), Feature("alcohol")))


@given(st.lists(BODIES, min_size=1, max_size=4))
@example(['{"pH": 1, "alcohol": 2}', '{"pH": 3, "alcohol": 4}'])
@example(['{"pH": 1, "alcohol": 2, "other": 3}', '{"pH": 1, "alcohol": 2, "PH": 3}'])
def test_json_records_are_read_together_as_they_are_alone(bodies: list[str]) -> None:
    records = [body.encode() for body in bodies]
    together = RecordDecoder(PAIR, WineRecord)
    together.decode(records, json=True)  # now the sets of keys are known
    columns, failures = together.decode(records, json=True)
    for row, record in enumerate(records):
        alone, failed = RecordDecoder(PAIR, WineRecord).decode([record], json=True)
        assert failures.get(row) == failed.get(0)
        for name, column in alone.features.items():
            np.testing.assert_array_equal(columns.features[name][row], column[0])
