"""What `repertory top` makes of what nodes answered at two moments."""

from typing import Any

import pytest
from tests.cli.fake_cluster import status_of
from tests.http.scripted import cluster_answer, policy_answer, slot_answer

from repertory.cli_tables import stale
from repertory.cli_top_asking import Look, addresses
from repertory.cli_top_figures import (
    Rate,
    headline,
    lags,
    node_sheet,
    rates,
    remarks,
    serving_sheet,
)
from repertory.http.cluster import described

STALE = {"stale": True, "staleSince": 1795409732596, "asOf": 1795409732500}


def look(at: float = 0.0, **states: dict[str, Any]) -> Look:
    statuses = {"a": status_of("a"), "b": status_of("b", pid=4712)}
    return Look(at, "http://a:5500", described(cluster_answer()), statuses, states)


def wine(usage: int = 0, errors: int = 0, version: int = 3, **about: Any) -> dict[str, Any]:
    counted = {"usage": usage, "errors": errors, "version": version}
    return {**slot_answer("forest", 3), **counted, **about}


def test_rates_are_what_was_counted_between_two_looks() -> None:
    found = rates(look(4.0, wine=wine(500, 7)), look(2.0, wine=wine(100, 5)))
    assert found == {"wine": Rate(200.0, 1.0)}


@pytest.mark.parametrize("before", [None, look(4.0, wine=wine(1)), look(2.0)])
def test_there_is_no_rate_without_a_look_before(before: Look | None) -> None:
    assert rates(look(4.0, wine=wine(500)), before) == {}


@pytest.mark.parametrize("first", [wine(900, version=3), wine(900, 9, version=4)])
def test_a_new_version_and_one_that_came_back_count_from_zero(first: dict[str, Any]) -> None:
    found = rates(look(4.0, wine=wine(50, version=4)), look(2.0, wine=first))
    assert found == {"wine": Rate(25.0, 0.0)}


def replicas(**usage: int) -> dict[str, Any]:
    told = {node: {"version": 3, "usage": count, "errors": 0} for node, count in usage.items()}
    return wine(sum(usage.values()), replicas=told)


def test_replicas_count_each_for_itself() -> None:
    """A node that is gone takes nothing away; one that came counts from the next look on."""
    found = rates(look(1.0, wine=replicas(a=150, c=70)), look(0.0, wine=replicas(a=100, b=900)))
    assert found == {"wine": Rate(50.0, 0.0)}
    assert rates(look(1.0, wine=replicas(c=70)), look(0.0, wine=replicas(b=900))) == {}


def test_what_an_unreachable_node_said_before_is_no_rate() -> None:
    known = replicas(a=150, b=900)
    known["replicas"]["b"] |= {"asOf": 1795409732596, "unreachableSince": 1795409732597}
    found = rates(look(1.0, wine=replicas(a=200, b=2900)), look(0.0, wine=known))
    assert found == {"wine": Rate(50.0, 0.0)}


def test_a_policy_has_a_rate_and_each_of_its_slots_too() -> None:
    def state(usage: int) -> dict[str, Any]:
        policy = policy_answer()["policy"] | {"usage": usage}
        return {**wine(), "policy": policy, "slots": {"forest": wine(usage), "mlp": NO_MODEL}}

    before, after = look(0.0, wine=state(10)), look(1.0, wine=state(30))
    assert rates(after, before) == {"wine": Rate(20.0, 0.0), "wine/forest": Rate(20.0, 0.0)}
    rows = serving_sheet(after, before).rows
    assert [row[:3] for row in rows] == [
        ("wine", "policy deadline", "9"),
        ("wine/forest", "forest", "3"),
        ("wine/mlp", "-", "-"),
    ]
    assert "20 records/s" in headline(after, before)


NO_MODEL = {"error": "no model serves 'wine/mlp' yet"}


def test_lag_is_that_of_all_nodes() -> None:
    assert lags(look()) == {"wine": 12}
    assert serving_sheet(look(wine=wine()), None).rows[0][-1] == "12"


def test_a_node_that_is_down_is_shown_without_what_only_it_could_tell() -> None:
    sheet = node_sheet(look())
    assert [row[:3] + row[5:] for row in sheet.rows] == [
        ("a", "up", "leader", "http, streams", "4711"),
        ("b", "up", "standby", "http, streams", "4712"),
        ("c", "down", "member", "-", "-"),
    ]
    assert sheet.colours == ["green", "green", "red"]


def test_whatever_is_not_as_it_should_be_has_a_sentence() -> None:
    troubled = look(
        wine=wine(**STALE),
        beer={"error": "no model serves 'beer' yet"},
    )
    troubles = {"streams": ["no broker answers"]}
    statuses = {"a": status_of("a", troubles=troubles), "b": {"error": "it did not answer in time"}}
    told = Look(0.0, troubled.url, troubled.cluster, statuses, troubled.states)
    assert list(remarks(told)) == [
        "node a: no broker answers",
        "node b: it did not answer in time",
        "node c: silent for 5.1 s",
        "beer on a: it takes 9 GiB of memory",
        f"wine: {stale(STALE)}",
        "beer: no model serves 'beer' yet",
    ]


def test_what_does_not_fit_into_a_narrow_terminal_is_left_out_column_by_column() -> None:
    sheet = serving_sheet(look(wine=wine()), None)
    narrow = sheet.fitted(sheet.width - 1)
    assert set(sheet.header) - set(narrow.header) == {"p50 ms"}
    assert sheet.fitted(1).header == ("data type", "records/s")
    assert sheet.fitted(sheet.width) == sheet


def test_a_face_that_listens_on_all_addresses_is_called_at_its_nodes() -> None:
    members: list[dict[str, Any]] = [
        {"node": "a", "host": "10.0.0.1", "http": "http://0.0.0.0:5500"},
        {"node": "b", "host": "fd00::2", "http": "http://[::]:5501"},
        {"node": "c", "host": "10.0.0.3", "http": "http://c.example:5500"},
        {"node": "d", "host": "10.0.0.4", "http": None},
    ]
    assert addresses(members) == {
        "http://10.0.0.1:5500": "a",
        "http://[fd00::2]:5501": "b",
        "http://c.example:5500": "c",
    }
