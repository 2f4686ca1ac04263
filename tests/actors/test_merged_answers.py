"""Replicas tell together what one node would that had done all of it, whichever node is asked."""

from itertools import permutations
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.actors.replicas import NOW, Batch, counted, part, state

from repertory.actors.merged_answers import Part, merge

BATCHES = st.lists(st.tuples(st.integers(1, 500), st.just(0), st.floats(1e-3, 1e5)), max_size=12)
COUNTS = ("usage", "errors", "batches", "duration", "min", "max")


@given(st.lists(BATCHES, min_size=1, max_size=4))
def test_replicas_count_as_one_that_saw_all_records(replicas: list[list[Batch]]) -> None:
    parts = [part(f"n{number}", state("a", each)) for number, each in enumerate(replicas)]
    merged = merge("state", parts)
    whole = counted([batch for each in replicas for batch in each]).as_json()
    assert {key: merged[key] for key in COUNTS} == pytest.approx(
        {key: whole[key] for key in COUNTS}
    )
    assert merged["percentiles"] == pytest.approx(whole["percentiles"])


@given(st.lists(BATCHES, min_size=2, max_size=3))
def test_it_does_not_matter_who_is_asked(replicas: list[list[Batch]]) -> None:
    parts = [part(f"n{place}", state(f"n{place}", each)) for place, each in enumerate(replicas)]
    told = {orjson.dumps(merge("state", each)) for each in permutations(parts)}
    assert len(told) == 1


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: answer[key] for key in answer if key not in ("sketches", "position", "pid")}


@pytest.mark.parametrize("batches", [[], [(3, 1, 2.0)]])
def test_a_single_node_says_what_it_says_alone(batches: list[Batch]) -> None:
    answer = state("a", batches)
    assert merge("state", [part("a", answer)]) == {**plain(answer), "asOf": NOW}


def test_the_original_systems_fields_are_merged() -> None:
    merged = merge(
        "state",
        [
            part("a", state("a", [(3, 0, 4.0)], since=200)),
            part("b", state("b", [(2, 1, 1.0)], since=100)),
        ],
    )
    names = ("name", "description", "since", "usage", "duration", "min", "max")
    assert [merged[name] for name in names] == ["m5", "", 100, 5, 5.0, 1.0, 4.0]
    assert merged["replicas"]["b"] == {
        "version": 5,
        "position": 5,
        "since": 100,
        "usage": 2,
        "errors": 1,
        "pid": 7,
    }


def test_a_replica_that_has_not_scored_yet_changes_no_figure() -> None:
    busy = state("a", [(3, 1, 2.0), (7, 0, 9.0)])
    merged = merge("state", [part("b", state("b")), part("a", busy)])
    keys = (*COUNTS, "percentiles")
    assert {key: merged[key] for key in keys} == {key: busy[key] for key in keys}
    assert (merged["node"], list(merged["replicas"])) == ("a", ["a", "b"])


def test_what_an_unreachable_owner_said_last_counts_and_is_marked() -> None:
    parts = [
        part("a", state("a", [(3, 0, 2.0)])),
        part("b", state("b", [(4, 0, 2.0)]), gone=NOW - 500, at=NOW - 900),
    ]
    merged = merge("state", parts)
    assert (merged["usage"], merged["stale"]) == (7, True)
    assert (merged["asOf"], merged["staleSince"]) == (NOW - 900, NOW - 500)
    replica = merged["replicas"]["b"]
    assert (replica["asOf"], replica["unreachableSince"]) == (NOW - 900, NOW - 500)
    assert "stale" not in merge("state", parts[:1])


def test_an_owner_that_was_never_heard_makes_an_answer_stale_but_not_old() -> None:
    parts = [part("a", state("a", [(3, 0, 2.0)])), part("b", None, gone=NOW - 500, at=NOW - 500)]
    merged = merge("state", parts)
    assert (merged["usage"], merged["stale"], merged["staleSince"]) == (3, True, NOW - 500)
    assert (merged["asOf"], merged["replicas"]["b"]) == (NOW, {"unreachableSince": NOW - 500})


def test_the_longest_absence_counts() -> None:
    parts = [part("a", state("a")), part("b", state("b"), gone=20), part("c", None, gone=10)]
    assert merge("state", parts)["staleSince"] == 10


def test_the_last_answer_of_the_only_owner_is_told() -> None:
    merged = merge("state", [part("b", state("b", [(4, 0, 2.0)]), gone=NOW, at=NOW - 9)])
    assert (merged["usage"], merged["asOf"], merged["stale"]) == (4, NOW - 9, True)
    assert list(merged["replicas"]) == ["b"]


def test_only_what_the_newest_version_did_is_counted() -> None:
    old = state("a", [(100, 0, 9.0)], version=4, at=4)
    new = [state(node, [(2, 0, 1.0)], version=5) for node in "bc"]
    merged = merge("state", [part("a", old), part("b", new[0]), part("c", new[1])])
    assert (merged["version"], merged["name"], merged["usage"]) == (5, "m5", 4)
    versions = {name: each["version"] for name, each in merged["replicas"].items()}
    assert versions == {"a": 4, "b": 5, "c": 5}


def test_a_version_that_was_rolled_back_to_is_newer_than_the_one_before() -> None:
    back = part("a", state("a", [(1, 0, 1.0)], version=2, at=9))
    merged = merge("state", [back, part("b", state("b", version=5, at=5))])
    assert (merged["version"], merged["usage"]) == (2, 1)


def test_a_node_where_the_model_is_retired_is_told_with_its_reason() -> None:
    retired = Part("b", None, NOW, error="the model of 'wine' was retired")
    merged = merge("state", [part("a", state("a")), retired])
    assert merged["replicas"]["b"] == {"error": "the model of 'wine' was retired"}
    assert "stale" not in merged


def test_without_sketches_counts_are_exact_and_percentiles_are_of_the_others() -> None:
    older = plain(state("b", [(4, 1, 50.0)]))
    merged = merge("state", [part("a", state("a", [(2, 0, 1.0)])), part("b", older)])
    assert (merged["usage"], merged["errors"], merged["max"]) == (6, 1, 50.0)
    assert merged["percentiles"]["p99"] == pytest.approx(1, rel=0.011)


@pytest.mark.parametrize("subject", ["state", "models", "comparison"])
def test_nothing_cannot_be_merged(subject: str) -> None:
    with pytest.raises(ValueError, match="nobody has an answer"):
        merge(subject, [part("a", None, gone=3)])
