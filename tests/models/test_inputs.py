"""What a record may hold is judged before an engine sees it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from repertory.models.inputs import Feed, Inputs
from repertory.models.model import (
    Columns,
    InputFeature,
    InputTensor,
    Interval,
    OnInvalid,
    OnMissing,
    Signature,
    Task,
)

NAN = float("nan")


def feed(feature: InputFeature, values: list[Any], dtype: str = "float64", rank: int = 2) -> Feed:
    signature = Signature(Task.REGRESSION, (InputTensor("x", dtype, (feature,), rank),))
    numbers = all(isinstance(value, int | float) for value in values)
    column: NDArray[Any] = np.array(values, np.float64 if numbers else np.object_)
    return Inputs(signature).feed(Columns(len(values), {"a": column}))


def judged(feature: InputFeature, values: list[Any], dtype: str = "float64") -> list[Any]:
    """Return what the engine gets for each record, or the reason why it gets nothing."""
    found = feed(feature, values, dtype)
    rows = range(len(values)) if found.rows is None else found.rows.tolist()
    good = dict(zip(rows, found.tensors["x"][:, 0].tolist(), strict=True))
    return [good[i] if i in good else found.failures[i].message for i in range(len(values))]


def test_a_missing_feature_is_refused_by_name() -> None:
    assert judged(InputFeature("a"), [1.0, NAN]) == [1.0, "a is missing"]


def test_a_model_may_accept_missing_features() -> None:
    values = judged(InputFeature("a", on_missing=OnMissing.ACCEPT), [1.0, NAN])
    assert values[0] == 1.0
    assert np.isnan(values[1])


def test_infinity_is_invalid_even_where_missing_is_accepted() -> None:
    feature = InputFeature("a", on_missing=OnMissing.ACCEPT, on_invalid=OnInvalid.AS_IS)
    assert judged(feature, [-np.inf]) == ["a = -inf is infinite"]


def test_a_value_outside_the_intervals_is_invalid() -> None:
    intervals = (Interval(0, 1), Interval(5, None, low_closed=False))
    fault = "is outside what the model declares valid"
    found = judged(InputFeature("a", intervals=intervals), [0.0, 1.0, 2.0, 5.0, 5.5])
    assert found == [0.0, 1.0, f"a = 2.0 {fault}", f"a = 5.0 {fault}", 5.5]


def test_an_invalid_value_may_be_taken_for_missing_or_as_it_is() -> None:
    intervals = (Interval(0, 1),)
    as_missing = InputFeature("a", on_invalid=OnInvalid.AS_MISSING, intervals=intervals)
    assert judged(as_missing, [7.0]) == ["a is missing"]
    as_is = InputFeature("a", on_invalid=OnInvalid.AS_IS, intervals=intervals)
    assert judged(as_is, [7.0]) == [7.0]


def test_categories_reach_the_engine_as_their_index() -> None:
    feature = InputFeature("a", categories=("red", "white"))
    assert judged(feature, ["white", "red", "blue", None]) == [
        1.0,
        0.0,
        "a = 'blue' is not a category that the model knows",
        "a is missing",
    ]


def test_an_unknown_category_may_reach_the_engine_as_minus_one() -> None:
    feature = InputFeature("a", categories=("red",), on_invalid=OnInvalid.AS_IS)
    assert judged(feature, ["blue"]) == [-1.0]


def test_numbers_may_be_categories() -> None:
    assert judged(InputFeature("a", categories=("1", "2", "x")), [2.0, 1.0]) == [1.0, 0.0]


def test_integers_must_be_whole_and_in_range() -> None:
    assert judged(InputFeature("a"), [3.0, 2.5, 1e30], "int64") == [
        3,
        "a = 2.5 is not a int64, which the model takes",
        "a = 1e+30 is not a int64, which the model takes",
    ]


def test_a_missing_integer_fails_even_where_missing_is_accepted() -> None:
    feature = InputFeature("a", on_missing=OnMissing.ACCEPT)
    assert judged(feature, [NAN], "int32") == ["a is missing"]


def test_truth_values_are_nought_and_one() -> None:
    found = judged(InputFeature("a"), [0.0, 1.0, 2.0], "bool")
    assert found[:2] == [False, True]
    assert "is not a bool" in found[2]


def test_what_float32_cannot_hold_is_invalid() -> None:
    assert judged(InputFeature("a"), [1e39], "float32") == ["a = 1e+39 is too large for a float32"]


def test_text_for_a_number_is_invalid() -> None:
    assert judged(InputFeature("a"), ["red"]) == ["a = 'red' is text, where a number is due"]


@pytest.mark.parametrize("value", ["red", 1.5])
def test_an_engine_of_objects_gets_values_as_they_are(value: object) -> None:
    assert judged(InputFeature("a"), [value], "object") == [value]


def test_a_tensor_of_rank_one_has_no_second_dimension() -> None:
    assert feed(InputFeature("a"), [1.0, 2.0], rank=1).tensors["x"].shape == (2,)
    assert feed(InputFeature("a"), [1.0, NAN], rank=1).tensors["x"].shape == (1,)
