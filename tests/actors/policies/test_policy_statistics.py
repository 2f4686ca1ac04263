"""A policy's statistics tell whose answers were taken, and how its slots kept up."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.batch import PolicyReport, SlotReport, SlotState
from repertory.actors.policies.policy_statistics import PolicyStatistics

SLOTS, SHADOWS = ("forest", "tree"), ("mlp",)
ARRIVED = [SlotState.ARRIVED] * 3


def report(
    chosen: list[int] | None = None, states: list[SlotState] = ARRIVED, **more: Any
) -> PolicyReport:
    names = [*SLOTS, *SHADOWS]
    slots = tuple(
        SlotReport(name, state, shadow=name in SHADOWS)
        for name, state in zip(names, states, strict=True)
    )
    places = None if chosen is None else np.array(chosen, np.int8)
    return PolicyReport("majority", 7, slots, chosen=places, **more)


@pytest.fixture
def statistics() -> PolicyStatistics:
    return PolicyStatistics(SLOTS, SHADOWS)


def test_before_the_first_batch_everything_is_zero(statistics: PolicyStatistics) -> None:
    state = statistics.as_json()
    assert (state["usage"], state["errors"], state["batches"], state["fallbacks"]) == (0, 0, 0, 0)
    assert state["choices"] == {"forest": 0, "tree": 0}
    assert state["slots"]["mlp"] == {
        "asked": 0,
        "arrived": 0,
        "late": 0,
        "failed": 0,
        "notNeeded": 0,
    }
    assert state["slack"] is None


def test_a_report_without_choices_says_that_the_first_answered(
    statistics: PolicyStatistics,
) -> None:
    statistics.count(report(), 2.0, 3, 10)
    assert statistics.as_json()["choices"] == {"forest": 7, "tree": 0}


def test_times_are_those_of_the_policy(statistics: PolicyStatistics) -> None:
    statistics.count(report([0]), 4.0, 0, 1)
    statistics.count(report([1, 1]), 1.0, 1, 2)
    state = statistics.as_json()
    assert (state["usage"], state["errors"], state["batches"]) == (3, 1, 2)
    assert (state["duration"], state["min"], state["max"]) == (5.0, 1.0, 4.0)
    assert set(state["percentiles"]) == {"p50", "p90", "p99", "p999"}


def test_a_slot_that_was_not_asked_is_neither_late_nor_failed(
    statistics: PolicyStatistics,
) -> None:
    states = [SlotState.LATE, SlotState.FAILED, SlotState.NOT_ASKED]
    statistics.count(report([-1], states), 1.0, 1, 1)
    slots = statistics.as_json()["slots"]
    assert slots["forest"] == {"asked": 1, "arrived": 0, "late": 1, "failed": 0, "notNeeded": 0}
    assert slots["tree"] == {"asked": 1, "arrived": 0, "late": 0, "failed": 1, "notNeeded": 0}
    assert slots["mlp"] == {"asked": 0, "arrived": 0, "late": 0, "failed": 0, "notNeeded": 0}


def test_slack_is_in_milliseconds_and_negative_when_late(statistics: PolicyStatistics) -> None:
    for slack in (0.010, 0.010, 0.010, -0.002):
        statistics.count(report([0], slack_seconds=slack), 1.0, 0, 1)
    slack = statistics.as_json()["slack"]
    assert slack["min"] == pytest.approx(-2)
    assert slack["p01"] == pytest.approx(-2, rel=0.0101)
    assert slack["p50"] == pytest.approx(10, rel=0.0101)


@given(st.lists(st.lists(st.tuples(st.integers(-1, 1), st.booleans()), min_size=1, max_size=9)))
def test_choices_and_fallbacks_are_counted_by_record(batches: list[list[tuple[int, bool]]]) -> None:
    statistics = PolicyStatistics(SLOTS, SHADOWS)
    for batch in batches:
        chosen = [place for place, _ in batch]
        fallback = np.array([each for _, each in batch])
        whole = report(chosen, fallback=fallback)
        statistics.count(whole, 1.0, chosen.count(-1), len(batch))
    records = [record for batch in batches for record in batch]
    counted, state = Counter(place for place, _ in records), statistics.as_json()
    assert state["choices"] == {"forest": counted[0], "tree": counted[1]}
    assert state["fallbacks"] == sum(fallback for _, fallback in records)
    assert sum(state["choices"].values()) + state["errors"] == state["usage"]
