"""What a policy's report says by record, and what several say together."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.actors.policies.drawn_reports import asked, reports

from repertory.actors.batch import (
    Label,
    ModelRef,
    PolicyReport,
    RecordFailed,
    ScoredColumns,
    SlotReport,
    SlotState,
)
from repertory.actors.policies.reports import decisions, explanations, together
from repertory.errors import FailureCode

FOREST, TREE = ModelRef("forest", 3, "f" * 64), ModelRef("tree", 5, "e" * 64)
NEWER = ModelRef("forest", 9, "d" * 64)
ARRIVED, LATE, NOT_ASKED = SlotState.ARRIVED, SlotState.LATE, SlotState.NOT_ASKED
ALL_STATES = list(SlotState)


def report(*slots: SlotReport, slack: float | None = None) -> PolicyReport:
    """Return the report of a batch in which the first slot was always chosen."""
    return PolicyReport("canary", 7, slots, slack_seconds=slack)


def forest(state: SlotState = ARRIVED, model: ModelRef = FOREST) -> SlotReport:
    """Return the part of the forest."""
    return SlotReport("forest", state, model=model if state is ARRIVED else None)


@given(st.data(), st.integers(1, 6))
def test_each_record_has_the_decision_that_the_report_says(data: st.DataObject, count: int) -> None:
    drawn = data.draw(reports(count))
    kinds, numbers = decisions(drawn, count)
    assert len(numbers) == count
    for row, number in enumerate(numbers):
        own, chosen = kinds[number], drawn.slot_of(row)
        assert own.slot == (None if chosen is None else chosen.slot)
        assert own.fallback == drawn.is_fallback(row)
        assert list(own.slots) == [each for each in drawn.slots if asked(each, row)]
        if chosen is not None:
            assert own.model == chosen.model


def test_a_failure_is_of_the_best_ranked_model_that_answered_for_the_record() -> None:
    canary = SlotReport("tree", ARRIVED, model=TREE, rows=np.array([1]))
    shadow = SlotReport("mlp", ARRIVED, shadow=True, model=NEWER)
    nobodys = replace(report(forest(LATE), canary, shadow), chosen=np.array([-1, -1], np.int8))
    kinds, numbers = decisions(nobodys, 2)
    assert [kinds[number].model for number in numbers] == [None, TREE]


def test_what_each_slot_said_stands_with_its_record() -> None:
    why = RecordFailed(FailureCode.SCORING_FAILED, "no")
    all_of = ScoredColumns(FOREST, 2, None, ("5", "6"), np.array([0, 1], np.int32), None, {0: why})
    one_of = ScoredColumns(TREE, 1, None, ("6",), np.array([0], np.int32), None, {})
    slots = (
        replace(forest(), answer=all_of),
        SlotReport("tree", ARRIVED, model=TREE, answer=one_of, rows=np.array([1])),
        SlotReport("mlp", LATE),
    )
    first, second = explanations(report(*slots), 2)
    assert [(slot.slot, said) for slot, said in first] == [("forest", why)]
    assert [(slot.slot, said) for slot, said in second] == [
        ("forest", Label("6")),
        ("tree", Label("6")),
    ]


@given(st.lists(st.sampled_from(ALL_STATES), min_size=1, max_size=5))
def test_a_slot_arrived_when_it_did_wherever_it_was_asked(states: list[SlotState]) -> None:
    [slot] = together([report(forest(state)) for state in states]).slots
    asked_for = set(states) - {NOT_ASKED}
    assert (slot.state is ARRIVED) == (asked_for == {ARRIVED})
    assert (slot.state is NOT_ASKED) == (not asked_for)
    assert (slot.state is SlotState.FAILED) == (SlotState.FAILED in states)
    assert slot.model == (FOREST if ARRIVED in states else None)


def test_a_slot_whose_model_was_swapped_stands_there_with_both_versions() -> None:
    batches = [forest(), forest(model=NEWER), forest(LATE)]
    found = together([report(each, SlotReport("tree", NOT_ASKED)) for each in batches]).slots
    assert [(each.slot, each.model, each.state) for each in found] == [
        ("forest", FOREST, LATE),
        ("forest", NEWER, ARRIVED),
        ("tree", None, NOT_ASKED),
    ]


def test_the_reason_is_that_of_the_state() -> None:
    died = SlotReport("forest", SlotState.FAILED, reason="it died")
    [slot] = together([report(forest()), report(died), report(forest(LATE))]).slots
    assert (slot.reason, slot.model) == ("it died", FOREST)


def test_the_least_slack_counts() -> None:
    batches = [report(forest(), slack=slack) for slack in (0.004, -0.001, None)]
    assert together(batches).slack_seconds == -0.001
    assert together(batches[2:]).slack_seconds is None


@given(st.data(), st.integers(1, 4))
def test_several_batches_of_one_policy_tell_of_each_slot(data: st.DataObject, count: int) -> None:
    drawn = [data.draw(reports(count)) for _ in range(data.draw(st.integers(1, 4)))]
    whole = together(drawn)
    assert (whole.policy, whole.version) == (drawn[0].policy, drawn[0].version)
    # By rank, shadows last; each with every version that answered.
    assert list(dict.fromkeys(each.slot for each in whole.slots)) == [
        each.slot for each in drawn[0].slots
    ]
    versions = {(each.slot, each.model) for batch in drawn for each in batch.slots if each.model}
    assert {(each.slot, each.model) for each in whole.slots if each.model} == versions
    assert all(each.answer is None and each.rows is None for each in whole.slots)
