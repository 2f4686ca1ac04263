"""What bodies of TensorFlow Serving's REST API ask for: rows, columns, examples."""

import contextlib
import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.config import DataType
from repertory.errors import InvalidRequest
from repertory.http.signature import Signature
from repertory.http.tfs_request import read_examples, read_predict

PICTURE, WINE = "tests.fixtures.picture:Picture", "repertory.protos.winerecord_pb2:WineRecord"
# By name: what kinds of inputs a data type may have.
SIGNATURES = {
    name: Signature.of(DataType(message=message, features=tuple(features)))
    for name, message, features in (
        ("number", WINE, ["alcohol"]),
        ("text", WINE, ["dataType"]),
        ("vector", PICTURE, ["pixels[2]"]),
        ("numbers", WINE, ["pH", "alcohol"]),
        ("several", WINE, ["alcohol", "ts", "dataType"]),
        ("picture", PICTURE, ["exposure", "pixels[2]"]),
    )
}
HELLO = {"b64": "aGVsbG8="}


def read(kind: str, body: Any) -> list[dict[str, Any]]:
    """Return the records in the body of a predict."""
    signature = SIGNATURES[kind]
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return signature.records(read_predict(text, signature).tensors)


@pytest.mark.parametrize(
    ("kind", "instances", "records"),
    [
        ("number", [1, 2.5], [{"alcohol": 1.0}, {"alcohol": 2.5}]),
        ("number", [[1], [2]], [{"alcohol": 1.0}, {"alcohol": 2.0}]),
        ("number", [{"alcohol": 1}], [{"alcohol": 1.0}]),
        ("number", [1435774380], [{"alcohol": 1435774380.0}]),
        ("number", [math.nan], [{"alcohol": math.nan}]),
        ("text", ["foo", HELLO], [{"dataType": "foo"}, {"dataType": "hello"}]),
        ("text", [[HELLO], ["bar"]], [{"dataType": "hello"}, {"dataType": "bar"}]),
        ("text", [{"dataType": HELLO}], [{"dataType": "hello"}]),
        ("vector", [[1, 2], [3, 4]], [{"pixels": [1.0, 2.0]}, {"pixels": [3.0, 4.0]}]),
        ("numbers", [[1, 2], [3, 4]], [{"pH": 1.0, "alcohol": 2.0}, {"pH": 3.0, "alcohol": 4.0}]),
        ("numbers", [{"x": [1, 2]}], [{"pH": 1.0, "alcohol": 2.0}]),
        ("numbers", [{"alcohol": 7}], [{"alcohol": 7.0}]),
        (
            "several",
            [{"alcohol": 1, "ts": 2, "dataType": "a"}, {"dataType": "b", "ts": 3, "alcohol": 4}],
            [
                {"alcohol": 1.0, "ts": 2, "dataType": "a"},
                {"alcohol": 4.0, "ts": 3, "dataType": "b"},
            ],
        ),
        ("picture", [{"exposure": 1, "pixels": [2, 3]}], [{"exposure": 1.0, "pixels": [2.0, 3.0]}]),
    ],
)
def test_rows_are_read(kind: str, instances: Any, records: Any) -> None:
    np.testing.assert_equal(read(kind, {"instances": instances}), records)


@pytest.mark.parametrize(
    ("kind", "inputs", "records"),
    [
        ("number", [1, 2], [{"alcohol": 1.0}, {"alcohol": 2.0}]),
        ("number", {"alcohol": [1]}, [{"alcohol": 1.0}]),
        ("text", {"dataType": [HELLO, "bar"]}, [{"dataType": "hello"}, {"dataType": "bar"}]),
        ("vector", [[1, 2]], [{"pixels": [1.0, 2.0]}]),
        ("numbers", [[1, 2]], [{"pH": 1.0, "alcohol": 2.0}]),
        ("numbers", {"pH": [1], "alcohol": [[2]]}, [{"pH": 1.0, "alcohol": 2.0}]),
        (
            "several",
            {"alcohol": [1, 2], "ts": [3, 4], "dataType": ["a", "b"]},
            [
                {"alcohol": 1.0, "ts": 3, "dataType": "a"},
                {"alcohol": 2.0, "ts": 4, "dataType": "b"},
            ],
        ),
        (
            "picture",
            {"exposure": [1], "pixels": [[2, 3]]},
            [{"exposure": 1.0, "pixels": [2.0, 3.0]}],
        ),
    ],
)
def test_columns_are_read(kind: str, inputs: Any, records: Any) -> None:
    assert read(kind, {"inputs": inputs}) == records


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("number", b"", "the body is empty"),
        ("number", b"{", "the body is not JSON"),
        ("number", b'{"instances": [NaN, nix]}', "the body is not JSON: Expecting value"),
        ("number", b'{"instances": [Infinity]}', "beyond what FP64 can"),
        ("number", b"[NaN" * 5000, "the body is not JSON"),
        ("number", b'{"instances": [NaN, "\xff"]}', "the body is not JSON"),
        ("number", b'{"instances": [NaN, 1' + b"0" * 400 + b"]}", "int too large"),
        ("number", [], "the body must be"),
        ("number", {}, "the body has neither of instances and inputs"),
        ("number", {"instances": [1], "inputs": [1]}, "the body has both of instances and inputs"),
        ("number", {"signature_name": 5, "instances": [1]}, "signature_name must be a string"),
        ("number", {"signature_name": "x", "instances": [1]}, "there is no signature 'x'"),
        ("number", {"instances": []}, "instances is empty"),
        ("number", {"instances": 5}, "instances must be a list"),
        ("number", {"inputs": 5}, "must be a list, not 5"),
        ("number", {"instances": [1, [1]]}, "holds [1], not a number"),
        ("number", {"instances": [1, "a"]}, "holds 'a', not a number"),
        ("number", {"instances": [True]}, "holds True, not a number"),
        ("number", {"instances": [HELLO]}, "holds {'b64': 'aGVsbG8='}, not a number"),
        ("text", {"instances": [1]}, "holds 1, not a string"),
        ("text", {"instances": [{"b64": "?"}]}, "b64 in input 'dataType' is no text in base64"),
        ("text", {"instances": [{"b64": 5}]}, "b64 in input 'dataType' is no text in base64"),
        ("text", {"instances": [{"b64": "/w=="}]}, "b64 in input 'dataType' is no text in base64"),
        ("vector", {"instances": [[1, 2], [3]]}, "is ragged"),
        ("vector", {"instances": [[1, 2], 3]}, "is ragged"),
        ("vector", {"instances": [[1, 2, 3]]}, "has the shape [1, 3]; it must be [-1, 2]"),
        ("numbers", {"instances": [1, 2]}, "instances[0] must be an object, or a list of all feat"),
        ("numbers", {"instances": [[1, 2, 3]]}, "with all features in order it is [-1, 2]"),
        ("numbers", {"instances": [{"pH": 1}, [1]]}, "instances[1] must be an object, not [1]"),
        ("numbers", {"instances": [[1, 2], {"pH": 1}]}, "is ragged"),
        (
            "numbers",
            {"instances": [{"pH": 1}, {"pH": 1, "alcohol": 2}]},
            "instances[1] differs from instances[0] in its keys: 'alcohol'",
        ),
        ("several", {"instances": [[1, 2, 3]]}, "there is no input 'instances'"),
        ("several", {"inputs": {"ts": [1], "x": ["a"]}}, "there is no input 'x'"),
        ("several", {"inputs": {"ts": [1.5]}}, "holds 1.5, not a whole number"),
        ("several", {"inputs": {"ts": [1, 2], "alcohol": [1]}}, "differ in how many records"),
        ("several", {"inputs": {}}, "inputs is empty"),
    ],
)
def test_what_cannot_be_read_is_told(kind: str, body: Any, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(kind, body)
    assert why in str(refused.value)


def examples(kind: str, body: Any) -> list[dict[str, Any]]:
    """Return the records in the body of a classify or a regress."""
    signature = SIGNATURES[kind]
    return signature.records(read_examples(orjson.dumps(body), signature))


def test_features_of_examples_are_values_or_lists_and_the_context_is_shared() -> None:
    body = {"context": {"alcohol": 9}, "examples": [{"pH": [3.5]}, {"pH": 3}]}
    assert examples("numbers", body) == [
        {"pH": 3.5, "alcohol": 9.0},
        {"pH": 3.0, "alcohol": 9.0},
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "examples is missing"),
        ({"examples": {}}, "examples must be a list"),
        ({"examples": []}, "examples is empty"),
        ({"examples": [1]}, "examples[0] must be an object, not 1"),
        ({"examples": [{"pH": 1}], "context": [1]}, "context must be an object of features"),
        ({"examples": [{"pH": 1}], "context": {"pH": 1}}, "in context and in examples: pH"),
        ({"examples": [{"pH": "3"}]}, "holds '3', not a number"),
    ],
)
def test_what_is_no_list_of_examples_is_told(body: Any, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        examples("numbers", body)
    assert why in str(refused.value)


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(HELLO)
_NAMES = st.sampled_from(["alcohol", "ts", "dataType", "pH", "pixels", "b64", "x"])
_VALUES = st.recursive(
    _LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(_NAMES, each, max_size=3)
)
_KEYS = st.sampled_from(["instances", "inputs", "examples", "context", "signature_name"])


@given(
    kind=st.sampled_from(sorted(SIGNATURES)),
    body=st.dictionaries(_KEYS, _VALUES, max_size=3).map(lambda each: json.dumps(each).encode())
    | st.binary(max_size=60),
)
def test_whatever_is_sent_is_read_or_refused(kind: str, body: bytes) -> None:
    signature = SIGNATURES[kind]
    with contextlib.suppress(InvalidRequest):
        signature.records(read_predict(body, signature).tensors)
    with contextlib.suppress(InvalidRequest):
        signature.records(read_examples(body, signature))
