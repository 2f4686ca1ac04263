"""A model that is published anywhere serves everywhere, soon, and at the same journal position."""

import time
from collections.abc import Callable, Iterator

import orjson
import pytest
from tests.cluster.cluster import MODEL, Cluster, Kind, cluster_of
from tests.cluster.http_load import RECORDS
from tests.cluster.load import Load
from tests.cluster.publisher import Publisher

from repertory.actors.local_node import wait_until
from repertory.streams.publish import publish_model

NODES = "abc"
EVERYWHERE = "everywhere"
SECONDS = 2.0  # until a small model serves on all owners
PATIENCE = 5.0  # how many times longer it may take on a machine with few processors


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    kinds = {EVERYWHERE: Kind(3, "exactly-once"), "once": Kind(1, "at-least-once")}
    with cluster_of(NODES, tmp_path_factory.mktemp("publishing"), kinds=kinds) as cluster:
        yield cluster


@pytest.fixture
def soon(cluster: Cluster, pytestconfig: pytest.Config) -> Callable[[str, int], None]:
    """Wait until all owners serve a version, and assert that this did not take long."""
    cluster.set_right(*NODES)
    began = time.monotonic()

    def served(data_type: str, version: int) -> None:
        def everywhere() -> bool:
            return set(cluster.positions(data_type).values()) == {version}

        wait_until(everywhere, f"version {version} serves on all owners")
        took = time.monotonic() - began
        assert {scored_by(cluster, name, data_type) for name in NODES} == {version}
        print(f"{data_type}: on all owners after {took:.2f} s")
        strict = pytestconfig.getoption("--strict-times")
        assert took < SECONDS * (1 if strict else PATIENCE)

    return served


def scored_by(cluster: Cluster, name: str, data_type: str) -> int:
    """Return the version that a node's clients get."""
    answer = cluster.nodes[name].post(f"/score/{data_type}", orjson.dumps(RECORDS))
    return int(answer["model"]["version"])


@pytest.mark.parametrize("data_type", [EVERYWHERE, "once"])
@pytest.mark.parametrize("name", NODES)
def test_a_model_published_on_any_node_serves_on_all_owners(
    cluster: Cluster, soon: Callable[[str, int], None], name: str, data_type: str
) -> None:
    soon(data_type, cluster.nodes[name].publish(data_type)["version"])


@pytest.mark.parametrize("data_type", [EVERYWHERE, "once"])
def test_a_model_published_on_kafka_serves_on_all_owners(
    cluster: Cluster, soon: Callable[[str, int], None], data_type: str
) -> None:
    _, offset = publish_model(MODEL, bootstrap_servers=cluster.brokers, data_type=data_type)
    soon(data_type, offset + 1)


def test_a_model_published_while_a_node_is_down_serves_there_when_it_returns(
    cluster: Cluster,
) -> None:
    cluster.set_right(*NODES)
    cluster.nodes["c"].kill()
    version = cluster.nodes["a"].publish(EVERYWHERE)["version"]
    cluster.start("c")
    cluster.wait_whole(same=True)
    assert cluster.positions(EVERYWHERE) == dict.fromkeys(NODES, version)
    assert scored_by(cluster, "c", EVERYWHERE) == version


def test_versions_never_go_backwards_while_models_come_one_after_the_other(
    cluster: Cluster,
) -> None:
    cluster.set_right(*NODES)
    with Load(cluster, rate=300, http_rate=30) as load, Publisher(cluster, every=0.5) as publisher:
        load.mark("a model each half second")
        before = publisher.published
        wait_until(lambda: publisher.published >= before + 8, "eight models are published", 60)
        report = load.end()
    assert not any(row.backwards or row.http_backwards for row in report.rows)
