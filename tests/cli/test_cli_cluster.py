"""`repertory cluster`, and how `repertory top` asks on when a node goes away."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.cli.fake_cluster import FakeCluster
from tests.http.scripted import cluster_answer

from repertory.cli_cluster import show_cluster
from repertory.cli_top_asking import Watcher
from repertory.cli_top_figures import Rate, rates
from repertory.http.caller import Caller, CallFailed
from repertory.http.cluster import described


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    """Two nodes that answer."""
    async with FakeCluster() as started:
        yield started


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """Who asks them."""
    async with Caller(5.0) as entered:
        yield entered


def test_nodes_and_shards_are_tables_and_what_is_wrong_is_said_below(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_cluster(described(cluster_answer()))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "node a sees 3 nodes: 2 up, 1 down; leader a"
    assert lines[1].split() == [
        *("node", "state", "role", "since", "software", "host", "http"),
        *("weight", "owns", "serves", "has"),
    ]
    assert lines[4].split()[-4:] == ["1", "0", "0", "gpu"]
    assert [line.split("  ", 1)[0] for line in lines[6:]] == [
        "data type",
        "beer",
        "wine",
        "node c: silent for 5.1 s",
        "beer on a: it takes 9 GiB of memory",
    ]
    assert lines[8].split("  ")[-1] == "a 20, b 20"


async def test_the_command_asks_a_node(cluster: FakeCluster, repertory: Callable[..., Any]) -> None:
    ended = await asyncio.to_thread(repertory, "cluster", "--json", "--url", cluster.url("b"))
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == described(cluster.describe("b"))


async def test_a_look_asks_each_node_and_for_each_data_type(
    cluster: FakeCluster, caller: Caller
) -> None:
    watcher = Watcher(caller, cluster.url("a"))
    before, after = await watcher.look(), await watcher.look()
    assert set(after.statuses) == {"a", "b"}
    assert rates(after, before) == {"wine": Rate(100 / (after.at - before.at), 0.0)}


async def test_when_the_node_that_was_asked_goes_away_another_one_is(
    cluster: FakeCluster, caller: Caller
) -> None:
    watcher = Watcher(caller, cluster.url("a"))
    assert (await watcher.look()).url == cluster.url("a")
    await cluster.lose("a")
    found = await watcher.look()
    assert (found.url, found.cluster["node"]) == (cluster.url("b"), "b")
    assert set(found.statuses) == {"b"}
    assert found.states["wine"]["usage"] == 200


async def test_when_all_are_gone_it_is_said_of_the_one_that_was_asked(
    cluster: FakeCluster, caller: Caller
) -> None:
    watcher = Watcher(caller, cluster.url("a"))
    await watcher.look()
    for node in ("a", "b"):
        await cluster.lose(node)
    with pytest.raises(CallFailed, match=rf"no node answers at {cluster.url('a')}"):
        await watcher.look()


async def test_a_node_that_freezes_is_not_waited_for(cluster: FakeCluster) -> None:
    async with Caller(0.5) as impatient:
        watcher = Watcher(impatient, cluster.url("a"))
        await watcher.look()
        await cluster.lose("a")
        # Whoever connects is let in, and never answered.
        with socket.create_server(("127.0.0.1", int(cluster.url("a").rpartition(":")[2]))):
            assert (await watcher.look()).url == cluster.url("b")


async def test_what_is_asked_about_can_be_chosen_and_limited(
    cluster: FakeCluster, caller: Caller
) -> None:
    assert (await Watcher(caller, cluster.url("a")).look(0)).more == 1
    with pytest.raises(CallFailed, match="no data type 'beer' is declared; there are: wine"):
        await Watcher(caller, cluster.url("a"), ["beer"]).look()
