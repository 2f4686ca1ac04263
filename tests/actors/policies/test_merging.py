"""What is said beside the answers follows them when they are merged."""

import numpy as np
from tests.actors.policies.worlds import FAILURE, NOT_ASKED, Cell, Said, answers_of

from repertory.actors.batch import ScoredColumns, decode_columns, encode_columns
from repertory.actors.policies.choice import Choice
from repertory.actors.policies.merging import merge


def merged(slots: list[int], *rows: list[Cell]) -> ScoredColumns:
    """Return the answers of the chosen slots, as they arrive behind a door."""
    choice = Choice(np.array(slots, np.intp), np.zeros(len(slots), np.bool_))
    columns = merge(answers_of(list(rows)), choice)
    return decode_columns(encode_columns(columns), len(slots))


def sure(score: str | float, **beside: float) -> Said:
    return Said(score, None, tuple(beside.items()))


def test_each_record_has_the_extras_of_the_slot_that_was_chosen() -> None:
    columns = merged(
        [0, 1, 1, -1],
        [sure("a", x=1.0), sure("a", x=2.0), NOT_ASKED, FAILURE],
        [sure("b", x=3.0, y=4.0), sure("b", x=5.0, y=6.0), sure("b", y=7.0), FAILURE],
    )
    np.testing.assert_array_equal(columns.extras["x"], [1, 5, np.nan, np.nan])
    np.testing.assert_array_equal(columns.extras["y"], [np.nan, 6, 7, np.nan])


def test_values_have_theirs_and_without_any_there_are_none() -> None:
    columns = merged([1, 0], [sure(1.0), sure(2.0)], [sure(3.0, x=0.5), sure(4.0, x=0.75)])
    assert columns.values is not None
    assert columns.values.tolist() == [3.0, 2.0]
    np.testing.assert_array_equal(columns.extras["x"], [0.5, np.nan])
    assert merged([0], [sure("a")], [sure("b")]).extras == {}
