"""The collector answers each batch once, with what had arrived, and keeps nothing after that."""

from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.actors.policies.worlds import (
    FAILED,
    FAILURE,
    NOT_ASKED,
    Cell,
    Said,
    Table,
    answer_of,
    answers_of,
    tables,
)

from repertory.actors.batch import Label, ScoredColumns, SlotState
from repertory.actors.policies.answers import NOBODY
from repertory.actors.policies.collector import Collector, Decided
from repertory.actors.policies.deadline import BestInTime
from repertory.actors.policies.majority import Majority
from repertory.actors.policies.merging import UNANSWERED, merge

A, B = Said("a", 0.5), Said("b", 0.75)
LABEL = st.builds(Said, st.sampled_from(["a", "b", "c"]), st.sampled_from([0.25, 0.5, 1.0]))


@dataclass
class Clock:
    """Time that passes when it is told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector(clock: Clock) -> Collector:
    return Collector(BestInTime(), clock)


def columns(*row: Cell) -> ScoredColumns:
    return answer_of(list(row)).columns


def everybody(slots: int, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.ones((slots, count), np.bool_)


def labels(decided: Decided | None) -> list[str]:
    assert decided is not None
    assert decided.columns is not None
    return [each.label if isinstance(each, Label) else "-" for each in decided.columns.outcomes()]


def test_the_first_slot_settles_it(collector: Collector) -> None:
    collector.begin(1, 2, everybody(2, 2), deadline=None)
    decided = collector.arrived(1, 0, columns(A, B))
    assert labels(decided) == ["a", "b"]
    assert decided is not None
    assert decided.states == (SlotState.ARRIVED, SlotState.NOT_NEEDED)
    assert decided.slack_seconds is None
    assert len(collector) == 0


def test_what_comes_after_the_answer_changes_nothing(collector: Collector) -> None:
    collector.begin(1, 1, everybody(2, 1), deadline=None)
    assert collector.arrived(1, 0, columns(A)) is not None
    assert collector.arrived(1, 1, columns(B)) is None
    assert collector.failed(1, 1, FAILED) is None


def test_at_the_deadline_the_best_that_is_there_answers(collector: Collector, clock: Clock) -> None:
    collector.begin(1, 2, everybody(3, 2), deadline=100.5)
    assert collector.next_deadline() == 100.5
    assert collector.arrived(1, 2, columns(A, FAILURE)) is None
    assert collector.arrived(1, 1, columns(FAILURE, B)) is None
    assert list(collector.due()) == []
    clock.now = 100.75
    (decided,) = collector.due()
    assert labels(decided) == ["a", "b"]
    assert decided.choice is not None
    assert decided.choice.slots.tolist() == [2, 1]
    assert decided.choice.fallback.all()
    assert decided.states == (SlotState.LATE, SlotState.ARRIVED, SlotState.ARRIVED)
    assert decided.slack_seconds == pytest.approx(-0.25)
    assert collector.next_deadline() is None


def test_a_batch_that_nobody_answers_fails_at_its_deadline(
    collector: Collector, clock: Clock
) -> None:
    collector.begin(1, 1, everybody(2, 1), deadline=101)
    clock.now = 101
    (decided,) = collector.due()
    assert decided.columns is None
    assert decided.failure is None


def test_a_slot_that_dies_is_not_waited_for(collector: Collector) -> None:
    for number in (1, 2):
        collector.begin(number, 1, everybody(2, 1), deadline=None)
    collector.arrived(2, 1, columns(B))
    assert collector.failed(1, 0, FAILED) is None
    decided = collector.failed(2, 0, FAILED)
    assert decided is not None
    assert labels(decided) == ["b"]
    assert decided.states == (SlotState.FAILED, SlotState.ARRIVED)
    assert labels(collector.arrived(1, 1, columns(A))) == ["a"]


def test_a_batch_whose_slots_all_fail_has_the_failure_of_the_best(collector: Collector) -> None:
    collector.begin(1, 1, everybody(2, 1), deadline=None)
    assert collector.failed(1, 1, UNANSWERED) is None
    decided = collector.failed(1, 0, FAILED)
    assert decided is not None
    assert decided.columns is None
    assert decided.failure == FAILED


def test_a_slot_that_was_asked_for_nothing_is_not_waited_for(collector: Collector) -> None:
    asked = np.array([[True, True], [False, False]])
    collector.begin(1, 2, asked, deadline=None)
    decided = collector.arrived(1, 0, columns(A, FAILURE))
    assert labels(decided) == ["a", "-"]
    assert decided is not None
    assert decided.states == (SlotState.ARRIVED, SlotState.NOT_ASKED)


@given(tables(LABEL, late=False), st.randoms(use_true_random=False), st.integers(0, 5))
def test_each_batch_is_answered_once_with_what_had_arrived(
    table: Table, random: Random, patience: int
) -> None:
    clock = Clock()
    collector = Collector(Majority(2), clock)
    collector.begin(7, len(table[0]), everybody(len(table), len(table[0])), deadline=101)
    order = list(range(len(table)))
    random.shuffle(order)
    decisions = []
    for slot in order[:patience]:
        decisions.append(collector.arrived(7, slot, columns(*table[slot])))
    clock.now = 102
    decisions += collector.due()
    decisions += [collector.arrived(7, slot, columns(*table[slot])) for slot in order[patience:]]
    (decided,) = [each for each in decisions if each is not None]
    assert len(collector) == 0
    if decided.columns is None:
        assert patience == 0
        return
    assert decided.choice is not None
    for place, (slot, outcome) in enumerate(
        zip(decided.choice.slots.tolist(), decided.columns.outcomes(), strict=True)
    ):
        if slot == NOBODY:
            assert place in decided.columns.failures
        else:
            cell = table[slot][place]
            assert isinstance(cell, Said)
            assert isinstance(outcome, Label)
            assert outcome.label == cell.score
            assert outcome.probabilities[outcome.label] == cell.confidence


def test_merged_values_are_those_of_the_chosen_slots() -> None:
    answers = answers_of([[Said(1.0), FAILURE], [Said(2.0), Said(3.0)]])
    merged = merge(answers, BestInTime().choose(answers))
    assert merged.values is not None
    assert merged.values.tolist() == [1.0, 3.0]
    assert merged.failures == {}


def test_a_record_that_nobody_scored_has_the_failure_of_the_best_that_tried() -> None:
    answers = answers_of([[NOT_ASKED, A], [FAILURE, NOT_ASKED]])
    merged = merge(answers, BestInTime().choose(answers))
    assert merged.failures == {0: FAILED}
