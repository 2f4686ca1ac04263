"""A repeated field of numbers gives as many features, from protobuf and from JSON alike."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.fixtures.picture import Picture

from repertory.config import DataType
from repertory.errors import ConfigError, ModelRejected
from repertory.models.inputs import Inputs
from repertory.models.model import (
    Columns,
    FeatureKind,
    InputFeature,
    InputTensor,
    Interval,
    OnMissing,
    Schema,
    Signature,
    Task,
)
from repertory.models.onnx_inputs import Shape, match_tensors
from repertory.models.records import RecordDecoder
from repertory.models.schema import schema_of

PICTURE = "tests.fixtures.picture:Picture"
MIXED = ("exposure", "pixels[3]", "camera", "counts[2]")
GOOD: dict[str, Any] = {
    "exposure": 0.5,
    "pixels": [1, 2.5, 3],
    "camera": "left",
    "counts": [7, -8],
}


def schema(*features: str) -> Schema:
    return schema_of("picture", DataType(message=PICTURE, features=features))


def decoder(*features: str) -> RecordDecoder:
    return RecordDecoder(schema(*features), Picture)


def matrix(columns: Columns) -> np.ndarray[Any, Any]:
    assert columns.numbers is not None
    return columns.numbers.matrix


def protobuf(**fields: Any) -> bytes:
    return Picture(**fields).SerializeToString()


def as_json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


# --- the schema


def test_a_vector_is_as_many_features_in_its_place() -> None:
    found = schema("exposure", "pixels[3]", "camera")
    names = ["exposure", "pixels[0]", "pixels[1]", "pixels[2]", "camera"]
    assert [feature.name for feature in found.features] == names
    assert [feature.kind for feature in found.features][-2:] == [
        FeatureKind.NUMBER,
        FeatureKind.TEXT,
    ]
    assert found.described() == "exposure, pixels[3], camera"


@pytest.mark.parametrize("field", ["pixels", "depths", "counts", "flags"])
def test_all_kinds_of_numbers_give_vectors(field: str) -> None:
    columns, failures = decoder(f"{field}[2]").decode([protobuf(**{field: [0, 1]})], json=False)
    assert not failures
    assert matrix(columns).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        ("pixels", "is a repeated field; say how many numbers it has, as in pixels\\[784\\]"),
        ("exposure[3]", "is not a repeated field; without a width it is one value"),
        ("words[3]", "is a repeated field, but not of numbers"),
        ("words", "is a repeated field, but not of numbers"),
        ("pixel[3]", "is not a field of Picture; it has pixels, depths"),
    ],
)
def test_a_feature_that_does_not_fit_its_field_is_explained(feature: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"data_types\.picture\.features: '.*' {reason}"):
        schema(feature)


def test_a_number_of_a_vector_and_a_field_that_are_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'pixels\[1\]' and 'pixels1' are one name to models"):
        schema("pixels[2]", "pixels1")


def test_numbers_of_wide_vectors_are_told_apart() -> None:
    assert len(set(schema("pixels[1200]").numbers)) == 1200


# --- records


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(0, 5), st.integers(1, 40)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_vectors_are_read_as_they_were_written(vectors: np.ndarray[Any, Any]) -> None:
    decode = decoder(f"depths[{vectors.shape[1]}]").decode
    rows = vectors.tolist()
    for records, is_json in (
        ([protobuf(depths=row) for row in rows], False),
        ([as_json(depths=row) for row in rows], True),
    ):
        columns, failures = decode(records, json=is_json)
        assert not failures
        np.testing.assert_array_equal(matrix(columns), vectors)


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)
            ),
            min_size=3,
            max_size=3,
        ),
        max_size=5,
    )
)
def test_whole_numbers_and_fractions_may_stand_side_by_side(rows: list[list[float]]) -> None:
    records = [as_json(pixels=row) for row in rows]
    columns, failures = decoder("pixels[3]").decode(records, json=True)
    assert not failures
    expected = np.array([list(map(float, row)) for row in rows]).reshape(-1, 3)
    np.testing.assert_array_equal(matrix(columns), expected)


@pytest.mark.parametrize("is_json", [False, True])
def test_scalars_texts_and_vectors_are_mixed(is_json: bool) -> None:
    record = as_json(**GOOD) if is_json else protobuf(**GOOD)
    columns, failures = decoder(*MIXED).decode([record] * 2, json=is_json)
    assert not failures
    assert matrix(columns).tolist() == [[0.5, 1, 2.5, 3, 7, -8]] * 2
    assert columns.features["camera"].tolist() == ["left", "left"]
    assert columns.features["pixels[1]"].tolist() == [2.5, 2.5]


@pytest.mark.parametrize("is_json", [False, True])
def test_no_records_give_empty_columns_of_vectors(is_json: bool) -> None:
    columns, failures = decoder(*MIXED).decode([], json=is_json)
    assert (columns.count, failures) == (0, {})
    assert all(len(column) == 0 for column in columns.features.values())


def test_a_vector_of_zeros_is_a_record() -> None:
    columns, failures = decoder("pixels[3]").decode([protobuf(pixels=[0, 0, 0])], json=False)
    assert not failures
    assert matrix(columns).tolist() == [[0, 0, 0]]


def unpacked(values: Sequence[float]) -> bytes:
    """Return a message whose numbers are written one by one, as proto2 does."""
    return b"".join(b"\x0d" + np.float32(value).tobytes() for value in values)


def test_vectors_may_be_written_unpacked() -> None:
    columns, failures = decoder("pixels[2]").decode([unpacked([1, 2])], json=False)
    assert not failures
    assert matrix(columns).tolist() == [[1, 2]]


WIDE = (0.5,) * 783
HOSTILE_MESSAGES = [
    (protobuf(pixels=WIDE), "invalid_feature: pixels has 783 values; 784 are due"),
    (protobuf(pixels=[*WIDE, 1, 2]), "invalid_feature: pixels has 785 values; 784 are due"),
    (protobuf(exposure=1), "invalid_feature: pixels has 0 values; 784 are due"),
    (b"", "invalid_record: an empty record"),
    (b"\xfa\x3f\x01x", "invalid_record: the record has none of the fields of Picture"),
    (protobuf(pixels=[*WIDE, 1])[:-1], "invalid_record: not a Picture message"),
    (protobuf(pixels=[*WIDE, 1], dataType="wine"), "wrong_data_type: "),
    (protobuf(pixels=[1], dataType="wine"), "wrong_data_type: "),
]
HOSTILE_OBJECTS = [
    (as_json(pixels=WIDE), "invalid_feature: pixels has 783 values; 784 are due"),
    (as_json(pixels=[]), "invalid_feature: pixels has 0 values; 784 are due"),
    (as_json(pixels=[*WIDE, "1"]), 'invalid_feature: pixels[783] is a string ("1"), not a number'),
    (as_json(pixels=[True, *WIDE]), "invalid_feature: pixels[0] is a truth value (true), not a"),
    (as_json(pixels=[*WIDE, False]), "invalid_feature: pixels[783] is a truth value (false), not"),
    (as_json(pixels=[[1], *WIDE]), "invalid_feature: pixels[0] is a list ([1]), not a number"),
    (as_json(pixels=[[0.5] * 28] * 28), "invalid_feature: pixels has 28 values; 784 are due"),
    (as_json(pixels=[{}] * 784), "invalid_feature: pixels[0] is an object ({}), not a number"),
    (as_json(pixels="0" * 784), "invalid_feature: pixels is a string ("),
    (as_json(pixels=3), "invalid_feature: pixels is a number (3), not a list of 784 numbers"),
    (as_json(pixels=[1], Pixels=[1]), "invalid_record: 'pixels' and 'Pixels' are one feature"),
    (b'{"pixels": [NaN]}', "invalid_record: not JSON: "),
    (b"[1]", "invalid_record: a JSON object is due, not a list"),
    (b"", "invalid_record: an empty record"),
    (as_json(pixels=[*WIDE, 1], dataType="wine"), "wrong_data_type: "),
]


def fails_alone(bad: bytes, good: bytes, *, is_json: bool) -> str:
    """Return why a record fails, and see that its neighbours do not."""
    columns, failures = decoder("pixels[784]").decode([good, bad, good], json=is_json)
    assert list(failures) == [1]
    assert matrix(columns)[[0, 2]].tolist() == [[*WIDE, 1.0]] * 2
    assert np.isnan(matrix(columns)[1]).all()
    return f"{failures[1].code}: {failures[1].message}"


@pytest.mark.parametrize(("bad", "reason"), HOSTILE_MESSAGES)
def test_a_bad_message_fails_alone(bad: bytes, reason: str) -> None:
    good = protobuf(pixels=[*WIDE, 1], dataType="picture")
    assert fails_alone(bad, good, is_json=False).startswith(reason)


@pytest.mark.parametrize(("bad", "reason"), HOSTILE_OBJECTS)
def test_a_bad_object_fails_alone(bad: bytes, reason: str) -> None:
    good = as_json(pixels=[*WIDE, 1], dataType="picture")
    assert fails_alone(bad, good, is_json=True).startswith(reason)


def test_null_is_missing_wherever_it_stands() -> None:
    rows: list[dict[str, Any]] = [{"pixels": [1, None, 3]}, {"pixels": None}, {}]
    columns, failures = decoder("pixels[3]").decode([as_json(**row) for row in rows], json=True)
    assert not failures
    nan = float("nan")
    np.testing.assert_array_equal(matrix(columns), [[1, nan, 3], [nan] * 3, [nan] * 3])


@pytest.mark.parametrize("other", [True, "true", "false", None, [False]])
def test_what_else_an_object_holds_does_not_matter(other: object) -> None:
    columns, failures = decoder("pixels[2]").decode([as_json(pixels=[1, 2], x=other)], json=True)
    assert not failures
    assert matrix(columns).tolist() == [[1, 2]]


# --- what models take


def feed(columns: Columns, *tensors: InputTensor) -> Any:
    return Inputs(Signature(Task.REGRESSION, tensors)).feed(columns)


def tensor(names: Sequence[str], dtype: str = "float32", **how: Any) -> InputTensor:
    return InputTensor("x", dtype, tuple(InputFeature(name, **how) for name in names))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize(
    "names", [["pixels[0]", "pixels[1]", "pixels[2]"], ["pixels[2]", "exposure", "pixels[0]"]]
)
def test_a_tensor_takes_numbers_in_its_own_order(dtype: str, names: list[str]) -> None:
    fields = {"exposure": 9, "pixels": [1, 2, 3]}
    columns, _ = decoder("exposure", "pixels[3]").decode([protobuf(**fields)] * 2, json=False)
    given = {"exposure": 9, "pixels[0]": 1, "pixels[1]": 2, "pixels[2]": 3}
    fed = feed(columns, tensor(names, dtype))
    assert fed.tensors["x"].tolist() == [[given[name] for name in names]] * 2
    assert fed.tensors["x"].dtype == dtype


HARD = [0.0, -1.0, 1e39, float("nan"), float("inf"), float("-inf")]


@given(
    st.lists(st.lists(st.sampled_from(HARD), min_size=4, max_size=4), max_size=6),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(OnMissing),
)
def test_a_matrix_is_judged_as_columns_are(
    rows: list[list[float]], dtype: str, on_missing: OnMissing
) -> None:
    found, _ = decoder("depths[4]").decode([protobuf(depths=row) for row in rows], json=False)
    alone = Columns(found.count, found.features)  # without the matrix

    def fed_by(columns: Columns, *intervals: Interval) -> Any:
        how: dict[str, Any] = {"on_missing": on_missing, "intervals": intervals}
        return feed(
            columns,
            tensor(["depths[3]", "depths[0]"], dtype, **how),
            InputTensor("y", dtype, (InputFeature("depths[1]", **how),), rank=1),
        )

    # An interval without bounds has each column judged by itself, and changes nothing else.
    fed, due = fed_by(found), fed_by(alone, Interval())
    assert (fed.failures, fed.count) == (due.failures, due.count)
    for name in ("x", "y"):
        np.testing.assert_array_equal(fed.tensors[name], due.tensors[name])


def test_the_first_fault_of_each_record_is_told() -> None:
    rows = [[1, 2], [float("inf"), float("nan")], [0, float("nan")], [0, 1e39]]
    columns, _ = decoder("depths[2]").decode([protobuf(depths=row) for row in rows], json=False)
    fed = feed(columns, tensor(["depths[0]", "depths[1]"]))
    assert {row: failed.message for row, failed in fed.failures.items()} == {
        1: "depths[0] = inf is infinite",
        2: "depths[1] is missing",
        3: "depths[1] = 1e+39 is too large for a float32",
    }
    assert fed.rows.tolist() == [0]
    assert fed.tensors["x"].tolist() == [[1, 2]]


def matched(*inputs: tuple[str, Shape]) -> list[tuple[str, ...]]:
    given = [(name, "float32", shape) for name, shape in inputs]
    found = match_tensors(given, schema("exposure", "pixels[3]"), {})
    return [tuple(feature.name for feature in each.features) for each in found]


PIXELS = ("pixels[0]", "pixels[1]", "pixels[2]")


def test_inputs_are_matched_to_vectors_by_name() -> None:
    found = matched(("Pixels", [None, 3]), ("exposure", [None, 1]), ("pixels_2", [None]))
    assert found == [PIXELS, ("exposure",), ("pixels[2]",)]
    assert matched(("pixels:0", [None, 3])) == [PIXELS]


def test_one_input_of_all_numbers_takes_vectors_in_their_place() -> None:
    assert matched(("x", [None, 4])) == [("exposure", *PIXELS)]
    assert matched(("pixels", [None, 4])) == [("exposure", *PIXELS)]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([("x", [None, 5])], r"takes 5 features, but picture has 4: exposure, pixels\[3\]$"),
        ([("light", [None, 1]), ("y", [None])], r"which has exposure, pixels\[3\]$"),
        ([("pixels", [None, 2]), ("exposure", [None])], r"2\]; pixels\[3\] has \[n, 3\]$"),
        ([("pixels", [None, 3]), ("exposure", [3, 3])], r"3\]; one feature has \[n, 1\] or"),
    ],
)
def test_inputs_that_do_not_fit_are_told_the_fields(inputs: Any, reason: str) -> None:
    with pytest.raises(ModelRejected, match=reason):
        matched(*inputs)
