"""The judge of the delivery tests finds what is wrong."""

import pytest
from tests.system.outcomes import Outcomes
from tests.system.wine_input import POISON_EVERY, poison_code

POISON = POISON_EVERY // 2
NUMBERS = {0: [7, POISON, 8, 9]}  # by partition and offset
GOOD, BAD = [0, 2, 3], [1]


def wrong(results: list[int], letters: list[int], *, once: bool = True) -> list[str]:
    return Outcomes({0: results}, {0: letters}).compare(NUMBERS, once=once)


def test_one_in_so_many_records_is_poison() -> None:
    assert sum(poison_code(number) is not None for number in range(10 * POISON_EVERY)) == 10


@pytest.mark.parametrize("once", [True, False])
def test_each_record_once_and_in_order_is_right(once: bool) -> None:
    assert wrong(GOOD, BAD, once=once) == []


@pytest.mark.parametrize(
    ("results", "letters", "told"),
    [
        ([0, 2], BAD, "missing 1"),
        ([0, 3, 2], BAD, "1 times not in order"),
        ([0, 1, 2, 3], BAD, "strangers"),
        (GOOD, [], "missing 1"),
    ],
)
@pytest.mark.parametrize("once", [True, False])
def test_what_is_missing_not_in_order_or_on_the_other_topic_is_told(
    results: list[int], letters: list[int], told: str, once: bool
) -> None:
    assert told in wrong(results, letters, once=once)[0]


def test_a_doubled_record_is_wrong_for_exactly_once_only() -> None:
    again = [0, 2, 0, 2, 3]
    assert "doubled 2" in wrong(again, BAD)[0]
    assert wrong(again, BAD, once=False) == []
    assert "doubled 1" in wrong(GOOD, [1, 1])[0]
