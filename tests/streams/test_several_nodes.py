"""Faces of several nodes in one consumer group: what becomes of the partitions of one that goes."""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from tests.streams.flow import Flow, longest_gap, members

from repertory.actors.local_node import wait_until
from repertory.protos.results_pb2 import ScoredRecord
from repertory.streams.source import SESSION_MS

SESSION_SECONDS = SESSION_MS / 1000
World = Any  # tests/streams/conftest.py has it


@pytest.fixture
def group(world_of_both: World, make_wine: Callable[[int], bytes]) -> "Group":
    """Two faces of two nodes, each with half of the partitions."""
    return Group(world_of_both, make_wine)


class Group:
    """The faces `a` and `b`."""

    def __init__(self, world: World, make_wine: Callable[[int], bytes]) -> None:
        self.world, self._make_wine = world, make_wine
        world.nodes = ("a", "b")
        world.create_topics("wine")
        self.a, self.b = (world.start_face(node) for node in world.nodes)
        self.wait_shared("a", "b")

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait, and start faces again meanwhile that ended by themselves, as supervisors do."""

        def met() -> object:
            for face in (self.a, self.b):
                face.revive()
            return condition()

        wait_until(met, what, 40)

    def wait_done(self, flow: Flow) -> None:
        """Wait until what has flowed so far has results."""
        count = 4 * flow.count
        self.wait(lambda: self.world.count("results") >= count, f"{count} results")

    def flow(self) -> Flow:
        """Return a flow of wines."""
        servers = self.world.broker.bootstrap_servers
        return Flow(servers, self.world.topic("wine"), self.world.prefix, self._make_wine)

    def wait_shared(self, *nodes: str) -> float:
        """Wait until these faces, and no others, have all partitions; return how long it took."""
        began = time.monotonic()
        names = {f"{self.world.prefix}-{node}" for node in nodes}

        def shared() -> bool:
            found = members(self.world.broker.bootstrap_servers, self.world.prefix)
            return found.keys() == names and sum(found.values()) == 4 and 0 not in found.values()

        self.wait(shared, f"{nodes} share the partitions")
        return time.monotonic() - began

    def check(self, flow: Flow) -> list[ScoredRecord]:
        """Have all records done, each in its turn; return the results."""
        self.wait(self.world.consumed, "all of wine is committed")
        results: list[ScoredRecord] = self.world.results()
        found = offsets(results)
        every = {partition: list(range(flow.count)) for partition in range(4)}
        assert {partition: sorted(set(each)) for partition, each in found.items()} == every
        if self.world.delivery == "exactly-once":
            assert found == every
        assert flow.backwards == []
        return results

    def say(self, what: str, gap: float) -> None:
        """Print what it cost."""
        kind = type(self.world.broker).__name__
        print(f"{kind}, {self.world.delivery}: {what}; the longest silence was {gap:.1f} s")


def offsets(results: Iterable[ScoredRecord]) -> dict[int, list[int]]:
    """Return the offsets of the records by partition, in the order of the results."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for result in results:
        found[result.source.partition].append(result.source.offset)
    return dict(found)


def test_the_others_take_over_when_the_session_of_one_that_was_killed_has_ended(
    group: Group,
) -> None:
    with group.flow() as flow:
        group.world.wait_count("results", 400)
        group.a.kill()
        seconds = group.wait_shared("b")
        group.wait_done(flow)
    gap = longest_gap(group.check(flow))
    group.say(f"killed, all partitions are the other's after {seconds:.1f} s", gap)
    assert gap < SESSION_SECONDS + 3


def test_one_that_ends_in_order_gives_its_partitions_up_at_once_and_doubles_nothing(
    group: Group,
) -> None:
    with group.flow() as flow:
        group.world.wait_count("results", 400)
        assert group.a.stop() == 0
        seconds = group.wait_shared("b")
        group.wait_done(flow)
    results = group.check(flow)
    assert len(results) == 4 * flow.count
    group.say(f"ended, all partitions are the other's {seconds:.1f} s later", longest_gap(results))
    assert longest_gap(results) < SESSION_SECONDS / 2


def test_one_that_was_frozen_for_longer_than_its_session_does_no_harm_when_it_wakes_up(
    group: Group,
) -> None:
    with group.flow() as flow:
        group.world.wait_count("results", 400)
        os.kill(group.a.process.pid, signal.SIGSTOP)
        seconds = group.wait_shared("b")
        group.wait_done(flow)
        os.kill(group.a.process.pid, signal.SIGCONT)
        wait_until(lambda: group.a.process.poll() == 1, "it noticed")
        group.wait_shared("a", "b")
        group.wait_done(flow)
    assert group.a.says("this process did not run for")
    gap = longest_gap(group.check(flow))
    group.say(f"frozen, all partitions are the other's after {seconds:.1f} s", gap)
    assert gap < SESSION_SECONDS + 3
