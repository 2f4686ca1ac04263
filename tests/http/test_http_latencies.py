"""Latencies are those of the last seconds, whatever was counted before."""

from typing import Any

import pytest

from repertory.actors.sketches import new_sketch, pack
from repertory.http.latencies import WINDOW_SECONDS, Latencies


class Node:
    """A node that counts, as routers tell of it."""

    def __init__(self) -> None:
        self.sketch, self.version = new_sketch(), 1

    def count(self, milliseconds: float, records: int) -> None:
        self.sketch.add(milliseconds, records)

    def told(self) -> dict[str, Any]:
        about = {"version": self.version, "since": self.version, "pid": 7}
        return {**about, "times": pack(self.sketch)}


def test_what_was_counted_before_anybody_looked_is_not_told() -> None:
    latencies, node = Latencies(), Node()
    node.count(100.0, 1000)
    latencies.note({"a": node.told()}, 0.0)
    assert latencies.as_json() is None


def test_percentiles_are_of_what_was_counted_since() -> None:
    latencies, node = Latencies(), Node()
    node.count(100.0, 1000)
    latencies.note({"a": node.told()}, 0.0)
    node.count(2.0, 98)
    node.count(50.0, 2)
    latencies.note({"a": node.told()}, 1.0)
    found = latencies.as_json() or {}
    assert [found["p50"], found["p99"]] == pytest.approx([2, 50], rel=0.01)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    latencies, node = Latencies(), Node()
    latencies.note({"a": node.told()}, 0.0)
    node.count(2.0, 1)
    latencies.note({"a": node.told()}, 1.0)
    latencies.note({"a": node.told()}, 1.0 + WINDOW_SECONDS)
    assert latencies.as_json() is None


def test_another_version_counts_from_nothing() -> None:
    latencies, node = Latencies(), Node()
    node.count(100.0, 5)
    latencies.note({"a": node.told()}, 0.0)
    node.sketch, node.version = new_sketch(), 2
    node.count(3.0, 1)
    latencies.note({"a": node.told()}, 1.0)
    assert (latencies.as_json() or {})["p99"] == pytest.approx(3, rel=0.01)


def test_nodes_count_together_and_a_new_one_from_when_it_is_seen() -> None:
    latencies, one, other = Latencies(), Node(), Node()
    other.count(900.0, 100)
    latencies.note({"a": one.told()}, 0.0)
    one.count(1.0, 3)
    latencies.note({"a": one.told(), "b": other.told()}, 1.0)
    assert (latencies.as_json() or {})["p99"] == pytest.approx(1, rel=0.01)
    other.count(9.0, 7)
    latencies.note({"b": other.told()}, 2.0)
    assert (latencies.as_json() or {})["p50"] == pytest.approx(9, rel=0.01)
