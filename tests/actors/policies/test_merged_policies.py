"""A policy of several nodes is told as if one node had decided all of it."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.actors.replicas import NOW, part, state

from repertory.actors.batch import PolicyReport, SlotReport, SlotState
from repertory.actors.merged_answers import Part, merge
from repertory.actors.policies.policy_statistics import PolicyStatistics
from repertory.actors.policies.trial import Limits, Trial

SLOTS, SHADOWS = ("forest", "tree"), ("mlp",)
Batch = tuple[list[SlotState], int, float | None, float]  # states, chosen, slack, milliseconds
BATCHES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(SlotState), min_size=3, max_size=3),
        st.integers(-1, 1),
        st.none() | st.floats(-1, 1),
        st.floats(0.001, 1e4),
    ),
    max_size=8,
)


def counted(batches: list[Batch]) -> PolicyStatistics:
    statistics = PolicyStatistics(SLOTS, SHADOWS)
    for states, chosen, slack, milliseconds in batches:
        names = zip((*SLOTS, *SHADOWS), states, strict=True)
        slots = tuple(SlotReport(name, each, shadow=name in SHADOWS) for name, each in names)
        places, fallback = np.array([chosen], np.int8), np.array([chosen == 1])
        report = PolicyReport("deadline", 9, slots, places, fallback, slack)
        statistics.count(report, milliseconds, int(chosen < 0), 1)
    return statistics


def policy(
    node: str, batches: list[Batch], *, version: int = 9, trial: Trial | None = None, **more: Any
) -> dict[str, Any]:
    """Return the answer of a policy actor."""
    statistics = counted(batches)
    about = {"name": "deadline", "version": version, "decider": "BestInTime", "trouble": None}
    about |= {"since": 100, "ranking": list(SLOTS), "shadows": list(SHADOWS)}
    told = {**about, "trial": None, **statistics.as_json(), **more}
    sketches = statistics.sketches()
    if trial is not None:
        told["trial"] = {**trial.as_json(), "verdict": None, "reason": None} | more.get("trial", {})
        sketches |= trial.sketches()
    waiting = {"inFlight": {"forest": 1, "tree": 0}, "open": 2, "held": 0}
    merging = {"sketches": sketches, "pid": 7}
    return {"dataType": "wine", "node": node, "policy": told, **waiting, **merging}


def approximately(told: dict[str, Any]) -> dict[str, Any]:
    """Return it with numbers that may differ in their last digits."""
    rough = ("percentiles", "slack", "duration")
    return {key: pytest.approx(each) if key in rough else each for key, each in told.items()}


@given(st.lists(BATCHES, min_size=1, max_size=3))
def test_nodes_count_as_one_that_decided_all(nodes: list[list[Batch]]) -> None:
    parts = [part(f"n{place}", policy("a", each)) for place, each in enumerate(nodes)]
    merged = merge("state", parts)
    whole = counted([batch for each in nodes for batch in each]).as_json()
    assert {key: merged["policy"][key] for key in whole} == approximately(whole)
    assert merged["inFlight"] == {"forest": len(nodes), "tree": 0}
    assert (merged["open"], merged["held"]) == (2 * len(nodes), 0)


BATCH: Batch = ([SlotState.ARRIVED] * 3, 0, 0.002, 4.0)


def test_a_single_node_says_what_it_says_alone() -> None:
    answer = policy("a", [BATCH])
    merged = merge("state", [part("a", answer)])
    assert merged.pop("asOf") == NOW
    assert merged == {key: answer[key] for key in answer if key not in ("sketches", "pid")}


def test_only_the_newest_policy_is_told() -> None:
    parts = [part("a", policy("a", [BATCH] * 5)), part("b", policy("b", [BATCH], version=12))]
    told = merge("state", parts)["policy"]
    assert (told["version"], told["usage"]) == (12, 1)
    assert {name: each["version"] for name, each in told["replicas"].items()} == {"a": 9, "b": 12}


def test_as_long_as_one_node_has_a_policy_it_is_told() -> None:
    parts = [part("a", state("a", [(5, 0, 1.0)])), part("b", policy("b", [BATCH]))]
    merged = merge("state", parts)
    assert (merged["policy"]["usage"], "version" in merged) == (1, False)
    assert merged["policy"]["replicas"]["a"] == {"version": None, "pid": 7}


def test_a_policy_that_is_about_to_come_gives_way_to_what_serves() -> None:
    coming = {"dataType": "wine", "node": "b", "policy": None}
    merged = merge("state", [part("a", state("a", [(5, 0, 1.0)])), part("b", coming)])
    assert (merged["usage"], "policy" in merged) == (5, False)
    assert merge("state", [part("b", coming), part("c", coming)])["policy"] is None
    assert merge("state", [part("a", policy("a", [BATCH])), part("b", coming)])["policy"]


def test_a_trouble_on_any_node_is_told() -> None:
    troubled = policy("b", [], trouble="choose() failed", since=50)
    told = merge("state", [part("a", policy("a", [BATCH])), part("b", troubled)])["policy"]
    assert (told["trouble"], told["since"]) == ("choose() failed", 50)


def test_an_unreachable_node_is_told_with_what_it_said_last() -> None:
    gone = part("b", policy("b", [BATCH]), gone=NOW - 5, at=NOW - 9)
    merged = merge("state", [part("a", policy("a", [BATCH])), gone, part("c", None, gone=NOW - 7)])
    assert (merged["policy"]["usage"], merged["asOf"]) == (2, NOW - 9)
    assert (merged["stale"], merged["staleSince"]) == (True, NOW - 7)
    assert merged["policy"]["replicas"]["c"] == {"unreachableSince": NOW - 7}


def trial(*milliseconds: float) -> Trial:
    found = Trial(Limits(), clock=lambda: 1000.0)
    for each in milliseconds:
        found.scored(records=10, errors=1, milliseconds=each)
        found.reference_scored(records=10, milliseconds=2 * each)
        found.compared(records=9, disagreements=2)
    return found


def test_trials_of_a_canary_are_told_together() -> None:
    ended = {"verdict": "rolled back", "reason": "it is slow"}
    parts = [
        part("a", policy("a", [], trial=trial(1.0))),
        part("b", policy("b", [], trial=trial(8.0, 8.0))),
    ]
    told, whole = merge("state", parts)["policy"]["trial"], trial(1.0, 8.0, 8.0).as_json()
    assert {key: told[key] for key in whole} == pytest.approx(whole)
    assert told["verdict"] is None
    parts[1].told["policy"]["trial"].update(ended)
    told = merge("state", parts)["policy"]["trial"]
    assert {key: told[key] for key in ended} == ended


def test_an_older_node_that_has_no_sketches_is_counted_all_the_same() -> None:
    older = {key: value for key, value in policy("b", [BATCH]).items() if key != "sketches"}
    parts = [part("a", policy("a", [BATCH])), Part("b", orjson.loads(orjson.dumps(older)), NOW)]
    told = merge("state", parts)["policy"]
    assert (told["usage"], told["choices"]) == (2, {"forest": 2, "tree": 0})
