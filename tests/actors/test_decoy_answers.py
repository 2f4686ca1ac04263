"""Answers beside each other: the same bits, the same but for rounding, or different."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.decoy_answers import Answer, Comparison, Likeness, likeness


def label(name: str, **probabilities: float) -> Answer:
    return Answer(None, name, tuple(probabilities), tuple(probabilities.values()))


@given(st.floats())
def test_a_value_is_identical_to_itself(value: float) -> None:
    assert likeness(Answer(value), Answer(value))[0] is Likeness.IDENTICAL


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_one_bit_is_seen(value: float) -> None:
    neighbour = math.nextafter(value, math.inf)
    assert likeness(Answer(value), Answer(neighbour))[0] is Likeness.CLOSE


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Answer(1.0), Answer(1.00001), Likeness.DIFFERENT),
        (Answer(0.0), Answer(-0.0), Likeness.CLOSE),
        (Answer(1.0), label("5"), Likeness.DIFFERENT),
        (label("5"), label("6"), Likeness.DIFFERENT),
        (label("5"), label("5"), Likeness.IDENTICAL),
        (label("5", a=0.5, b=0.5), label("5", a=0.5, b=0.5), Likeness.IDENTICAL),
        (label("5", a=0.5, b=0.5), label("5", b=0.5, a=0.5, c=0.0), Likeness.IDENTICAL),
        (label("5", a=0.5, b=0.5), label("5", a=0.6, b=0.4), Likeness.DIFFERENT),
        (Answer(error="invalid_record"), Answer(error="invalid_record"), Likeness.IDENTICAL),
        (Answer(error="invalid_record"), Answer(error="missing_feature"), Likeness.DIFFERENT),
        (Answer(error="invalid_record"), Answer(1.0), Likeness.DIFFERENT),
    ],
)
def test_likeness(one: Answer, other: Answer, expected: Likeness) -> None:
    assert likeness(one, other)[0] is expected
    assert likeness(other, one)[0] is expected


def test_a_comparison_counts_and_keeps_the_first_that_differ() -> None:
    comparison = Comparison()
    for number in range(30):
        comparison.add(f"b:{number}", label("5", a=1.0), label("5", a=1.0 - number / 100))
    comparison.add("b:30", label("5"), label("6"))
    assert (comparison.identical, comparison.different, comparison.agreed) == (1, 30, 30)
    assert comparison.confusion == {("5", "5"): 30, ("5", "6"): 1}
    assert comparison.largest == pytest.approx(0.29)
    assert comparison.largest_at == "b:29"
    assert [each.record for each in comparison.examples] == [f"b:{n}" for n in range(1, 21)]
