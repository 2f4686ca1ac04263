"""All routers agree who serves what, and a node that joins takes its share and nothing else."""

from collections.abc import Iterator

import pytest
from tests.cluster.cluster import Cluster, Kind, cluster_of

SHARE = 1 / 4 + 0.1  # of the shards, which a fourth node may move
REPLICAS = 2
TYPES = [f"wine-{number}" for number in range(8)]

Owners = dict[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    kinds = dict.fromkeys(TYPES, Kind(REPLICAS, "at-least-once"))
    folder = tmp_path_factory.mktemp("placement")
    with cluster_of("abcd", folder, kinds=kinds, start="abc") as cluster:
        yield cluster


def owners(cluster: Cluster) -> Owners:
    """Return the owners of all data types, once all nodes tell the same."""
    cluster.wait_whole(same=True)
    told = [node.get("/cluster")["shards"] for node in cluster.running]
    answers = [{name: tuple(each[name]["owners"]) for name in TYPES} for each in told]
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


def test_a_fourth_node_takes_its_share_and_moves_nothing_else(cluster: Cluster) -> None:
    cluster.set_right(*"abc")
    before = owners(cluster)
    cluster.start("d")
    after = owners(cluster)
    gained = [(name, node) for name in TYPES for node in set(after[name]) - set(before[name])]
    print(f"{len(gained)} of {len(TYPES) * REPLICAS} shards moved")
    assert {node for _, node in gained} == {"d"}
    assert len(gained) <= SHARE * len(TYPES) * REPLICAS


def test_a_node_that_leaves_gives_up_only_what_was_its(cluster: Cluster) -> None:
    cluster.set_right(*"abcd")
    before = owners(cluster)
    cluster.set_right(*"abc")
    after = owners(cluster)
    for name in TYPES:
        assert set(before[name]) - {"d"} <= set(after[name])


def test_replicas_are_on_different_nodes(cluster: Cluster) -> None:
    assert all(len(set(nodes)) == REPLICAS for nodes in owners(cluster).values())
