"""Policies choose as their plain definitions do, and never change what they chose."""

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.actors.policies import reference
from tests.actors.policies.worlds import (
    FAILURE,
    LABELS,
    NOT_ASKED,
    WAITING,
    Cell,
    Said,
    Table,
    answers_of,
    tables,
)

from repertory.actors.policies.answers import NOBODY
from repertory.actors.policies.canary import CANARY, REFERENCE, ByShare, Canary
from repertory.actors.policies.choice import Policy
from repertory.actors.policies.deadline import BestInTime
from repertory.actors.policies.majority import Majority
from repertory.actors.policies.quality import AS_STATED, BestQuality, Calibration

SURE = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
LABEL = st.builds(Said, st.sampled_from(LABELS))
SURE_LABEL = st.builds(Said, st.sampled_from(LABELS), SURE)
BESIDE = st.sampled_from([math.nan, -3.0, 0.0, 0.5, 0.75, 1.0, 7.5])
CONFIDENT = st.builds(
    lambda label, probability, stated: Said(label, probability, (("Confidence", stated),)),
    *(st.sampled_from(LABELS), SURE, BESIDE),
)
MARGIN = st.builds(
    lambda label, probability, stated: Said(label, probability, (("margin", stated),)),
    *(st.sampled_from(LABELS), SURE, BESIDE),
)
SURE_VALUE = st.builds(
    lambda value, stated, margin: Said(value, None, (("Confidence", stated), ("margin", margin))),
    *(st.sampled_from([-1.5, 2.0]), BESIDE, BESIDE),
)
VALUE = st.builds(Said, st.sampled_from([-1.5, 0.0, 1.0, 2.0, 7.25]))
A, B, C = (Said(label) for label in LABELS)


def chosen(policy: Policy, *rows: list[Cell]) -> list[int]:
    """Return whom a policy chooses for each record."""
    slots: list[int] = policy.choose(answers_of(list(rows))).slots.tolist()
    return slots


def fallbacks(policy: Policy, *rows: list[Cell]) -> list[bool]:
    fallback: list[bool] = policy.choose(answers_of(list(rows))).fallback.tolist()
    return fallback


def quality(slots: int) -> BestQuality:
    return BestQuality([Calibration()] * slots)


def by_margin(slots: int) -> BestQuality:
    return BestQuality([AS_STATED] * slots, ["margin"] * slots)


def sure(score: str | float, **beside: float) -> Said:
    return Said(score, None, tuple(beside.items()))


# --- the best in time


@given(tables(LABEL))
def test_the_best_in_time_is_the_best_ranked_that_nobody_better_can_replace(table: Table) -> None:
    slots = BestInTime().choose(answers_of(table)).slots
    assert slots.tolist() == [reference.best(cells) for cells in reference.records(table)]


def test_whoever_is_not_first_is_a_fallback() -> None:
    assert fallbacks(BestInTime(), [A, FAILURE], [A, A]) == [False, True]


def test_a_record_that_nobody_scored_has_no_answer() -> None:
    choice = BestInTime().choose(answers_of([[FAILURE], [FAILURE]]))
    assert choice.slots.tolist() == [NOBODY]
    assert not choice.fallback.any()
    assert not choice.complete


# --- majority


@given(tables(LABEL, late=False), st.integers(1, 5))
def test_a_majority_says_what_most_say_and_else_what_the_best_says(
    table: Table, quorum: int
) -> None:
    choice = Majority(quorum).choose(answers_of(table))
    for cells, slot, fallback in zip(
        reference.records(table), choice.slots, choice.fallback, strict=True
    ):
        votes = len(reference.said(cells))
        assert fallback == (0 < votes < quorum)
        if votes >= quorum:
            cell = cells[slot]
            assert isinstance(cell, Said)
            assert cell.score == reference.most_said(cells)
        else:
            assert slot == reference.best(cells)


@given(tables(VALUE, late=False))
def test_of_values_it_is_the_median(table: Table) -> None:
    slots = Majority(1).choose(answers_of(table)).slots
    due = [
        reference.median(cells) if reference.said(cells) else NOBODY
        for cells in reference.records(table)
    ]
    assert slots.tolist() == due


@given(tables(VALUE))
def test_a_median_waits_for_all(table: Table) -> None:
    slots = Majority(1).choose(answers_of(table)).slots
    for cells, slot in zip(reference.records(table), slots, strict=True):
        assert (slot == NOBODY) == (WAITING in cells or not reference.said(cells))


@settings(max_examples=300)
@given(tables(LABEL), st.integers(1, 3))
def test_a_label_is_certain_exactly_when_no_further_vote_can_change_it(
    table: Table, quorum: int
) -> None:
    slots = Majority(quorum).choose(answers_of(table)).slots
    for cells, slot in zip(reference.records(table), slots, strict=True):
        if len(reference.said(cells)) < quorum:
            continue  # it may yet be a fallback
        options = [[*LABELS, "never said"] if cell == WAITING else [None] for cell in cells]
        ends = {
            reference.most_said(
                reference.later(cells, [FAILURE if o is None else Said(o) for o in each])
            )
            for each in itertools.product(*options)
        }
        assert (slot != NOBODY) == (len(ends) == 1)
        if slot != NOBODY:
            cell = cells[slot]
            assert isinstance(cell, Said)
            assert {cell.score} == ends


def test_a_majority_of_two_does_not_wait_for_the_third() -> None:
    assert chosen(Majority(2), [A, A], [A, B], [WAITING, WAITING]) == [0, NOBODY]


def test_equal_votes_go_with_the_best_rank() -> None:
    assert chosen(Majority(1), [FAILURE], [B], [C], [C], [B]) == [1]


# --- quality


@given(tables(SURE_LABEL, late=False))
def test_quality_is_the_surest(table: Table) -> None:
    slots = quality(len(table)).choose(answers_of(table)).slots
    assert slots.tolist() == [reference.surest(cells) for cells in reference.records(table)]


@given(tables(SURE_LABEL, CONFIDENT, MARGIN, LABEL, late=False), st.data())
def test_quality_goes_by_the_output_that_is_named_or_else_by_what_there_is(
    table: Table, data: st.DataObject
) -> None:
    output = st.sampled_from([None, "margin", "Confidence"])
    outputs = [data.draw(output) for _ in table]
    calibrations = [Calibration() if each is None else AS_STATED for each in outputs]
    slots = BestQuality(calibrations, outputs).choose(answers_of(table)).slots
    due = [reference.surest(cells, outputs) for cells in reference.records(table)]
    assert slots.tolist() == due


@given(tables(SURE_VALUE, VALUE, late=False), st.booleans())
def test_regressions_are_compared_by_what_they_say_beside(table: Table, named: bool) -> None:
    policy = by_margin(len(table)) if named else quality(len(table))
    outputs: list[str | None] = ["margin" if named else None] * len(table)
    choice = policy.choose(answers_of(table))
    for cells, slot, fallback in zip(
        reference.records(table), choice.slots, choice.fallback, strict=True
    ):
        assert slot == reference.surest(cells, outputs)
        stated = [reference.sureness(cell, outputs[0]) for _, cell in reference.said(cells)]
        assert fallback == bool(stated and set(stated) == {None})


def test_a_confidence_that_is_nan_is_silent() -> None:
    nan = sure("a", margin=math.nan)
    assert chosen(by_margin(2), [nan], [sure("b", margin=-5.0)]) == [1]
    assert chosen(by_margin(2), [nan], [sure("b", margin=-math.inf)]) == [1]
    assert fallbacks(by_margin(2), [nan], [nan]) == [True]


def test_a_slot_whose_named_output_is_gone_does_not_speak_by_its_probabilities() -> None:
    assert chosen(by_margin(2), [Said("a", 1.0)], [sure("b", margin=0.1)]) == [1]


def test_of_several_outputs_that_are_called_like_a_confidence_the_first_counts() -> None:
    twice = sure("b", head_confidence=0.75, confidence=0.25)
    assert chosen(quality(2), [Said("a", 0.5)], [twice]) == [1]
    other = BestQuality([Calibration()] * 2, [None, "confidence"])
    assert chosen(other, [Said("a", 0.5)], [twice]) == [0]


def test_a_scale_that_nobody_knows_is_waited_for() -> None:
    table: list[list[Cell]] = [[sure("a", margin=1e9)], [WAITING]]
    assert chosen(by_margin(2), *table) == [NOBODY]
    assert chosen(BestQuality([AS_STATED, Calibration()], ["margin", None]), *table) == [0]


def test_a_calibration_table_bounds_a_scale_of_its_own() -> None:
    to_ten = Calibration(stated=(0.0, 10.0), right=(0.5, 0.9))
    policy = BestQuality([to_ten, to_ten], ["margin", "margin"])
    assert chosen(policy, [sure("a", margin=4.0)], [sure("b", margin=6.0)]) == [1]
    assert chosen(policy, [sure("a", margin=12.0)], [sure("b", margin=15.0)]) == [0]
    assert chosen(policy, [sure("a", margin=10.0)], [WAITING]) == [0]
    assert chosen(policy, [sure("a", margin=9.0)], [WAITING]) == [NOBODY]


def test_quality_of_slots_that_do_not_say_how_sure_they_are_goes_by_rank() -> None:
    assert chosen(quality(2), [A, FAILURE], [B, B]) == [0, 1]
    assert fallbacks(quality(2), [A, FAILURE], [B, B]) == [True, True]
    assert chosen(quality(2), [A], [Said("b", 0.1)]) == [1]


def test_nothing_can_be_surer_than_certain() -> None:
    assert chosen(quality(2), [Said("a", 1.0)], [WAITING]) == [0]
    assert chosen(quality(2), [WAITING], [Said("a", 1.0)]) == [NOBODY]


def test_calibration_can_turn_the_choice() -> None:
    boaster = Calibration(stated=(0.0, 1.0), right=(0.0, 0.5))
    policy = BestQuality([boaster, Calibration()])
    assert chosen(policy, [Said("a", 0.9)], [Said("b", 0.6)]) == [1]
    assert chosen(policy, [WAITING], [Said("b", 0.6)]) == [1]  # the other reaches 0.5 at most


# --- canary


@given(tables(LABEL, slots=2), st.data())
def test_a_canary_answers_for_its_own_and_the_reference_stands_in(
    table: Table, data: st.DataObject
) -> None:
    count = len(table[0])
    own = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    table[CANARY] = [
        cell if asked else NOT_ASKED for cell, asked in zip(table[CANARY], own, strict=True)
    ]
    choice = Canary(ByShare(0.5)).choose(answers_of(table))
    for cells, asked, slot, fallback in zip(
        reference.records(table), own, choice.slots, choice.fallback, strict=True
    ):
        wanted = CANARY if asked else REFERENCE
        if isinstance(cells[wanted], Said):
            assert slot == wanted
            assert not fallback
        elif cells[wanted] == WAITING:
            assert slot == NOBODY
        else:
            assert slot == reference.best(cells)
            assert fallback == (slot != NOBODY)


# --- all of them

POLICIES: dict[str, Callable[[int], Policy]] = {
    "best": lambda slots: BestInTime(),
    "majority": lambda slots: Majority(2),
    "quality": quality,
    "margin": by_margin,
}
ANY_LABEL = st.one_of(SURE_LABEL, MARGIN)


@pytest.mark.parametrize("name", list(POLICIES))
@given(table=tables(SURE_LABEL, MARGIN), data=st.data())
def test_what_is_chosen_stays_chosen(name: str, table: Table, data: st.DataObject) -> None:
    policy = POLICIES[name](len(table))
    before = policy.choose(answers_of(table)).slots
    late = [rank for rank, row in enumerate(table) if WAITING in row]
    if late:
        rank = data.draw(st.sampled_from(late))
        cell = st.one_of(ANY_LABEL, st.just(FAILURE))
        table[rank] = data.draw(st.lists(cell, min_size=len(before), max_size=len(before)))
    after = policy.choose(answers_of(table)).slots
    for cells, old, new in zip(reference.records(table), before, after, strict=True):
        if old == NOBODY:
            continue
        assert new != NOBODY
        first, second = cells[old], cells[new]
        assert isinstance(first, Said)
        assert isinstance(second, Said)
        # A majority may be told by a better-ranked slot, which says the same.
        assert old == new or (name == "majority" and first.score == second.score)


@pytest.mark.parametrize("name", list(POLICIES))
@given(table=tables(SURE_LABEL, MARGIN, late=False))
def test_whatever_anybody_scored_has_an_answer_in_the_end(name: str, table: Table) -> None:
    policy = POLICIES[name](len(table))
    slots = policy.choose(answers_of(table)).slots
    for cells, slot in zip(reference.records(table), slots, strict=True):
        assert (slot == NOBODY) == (not reference.said(cells))
