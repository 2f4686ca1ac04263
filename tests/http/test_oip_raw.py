"""Requests of the Open Inference Protocol that are one tensor, without a word of JSON."""

import numpy as np
import pytest

from repertory.config import DataType
from repertory.errors import InvalidRequest
from repertory.http.oip_binary import raw_tensor
from repertory.http.signature import Signature

VALUE = "google.protobuf.struct_pb2:Value"  # a message with a number, a text and a truth value


def signature(*features: str, message: str = VALUE) -> Signature:
    return Signature.of(DataType(message=message, features=features))


def test_a_vector_is_a_row_for_each_record() -> None:
    picture = signature("pixels[4]", message="tests.fixtures.picture:Picture")
    tensor = raw_tensor(picture, np.arange(8, dtype=np.float32).tobytes())
    assert (tensor.name, tensor.values.tolist()) == ("pixels", [[0, 1, 2, 3], [4, 5, 6, 7]])
    assert len(picture.records([tensor])) == 2


def test_one_feature_is_a_number_for_each_record() -> None:
    number = signature("number_value")
    tensor = raw_tensor(number, np.array([1.5, 2.5]).tobytes())
    assert number.records([tensor]) == [{"number_value": 1.5}, {"number_value": 2.5}]


def test_bytes_are_one_element_without_its_length() -> None:
    text = signature("string_value")
    assert text.records([raw_tensor(text, b"red")]) == [{"string_value": "red"}]


@pytest.mark.parametrize(
    ("features", "body", "why"),
    [
        (("number_value", "string_value"), b"", r"number_value \(FP64\), string_value \(BYTES\)"),
        (("number_value", "bool_value"), b"", "holds one tensor, of one datatype of numbers"),
        (("number_value",), b"", "has 0 bytes: no whole number of records, which have 8 each"),
        (("number_value",), b"x" * 12, "has 12 bytes"),
    ],
)
def test_what_is_no_tensor_of_records_is_refused(
    features: tuple[str, ...], body: bytes, why: str
) -> None:
    with pytest.raises(InvalidRequest, match=why):
        raw_tensor(signature(*features), body)
