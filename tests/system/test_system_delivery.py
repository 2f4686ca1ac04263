"""What is promised for records holds on Apache Kafka, whatever happens to nodes and broker.

By hand with a million records: `make soak`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from tests.apache_kafka.server import ApacheKafka
from tests.conftest import free_port
from tests.system.disturbances import Disturbances
from tests.system.outcomes import INPUT, LETTERS, RESULTS, Progress, read_input, read_outcomes
from tests.system.wine_input import WineInput

from repertory.actors.local_node import LocalNode, wait_until
from repertory.streams.publish import publish_model

ROUND_SECONDS = 40.0  # of disturbances; the records are spread over them
SEED = 20091121


@dataclass
class Cluster:
    """A broker, and the nodes `a`, which serves, and `b`, which was not started yet."""

    broker: ApacheKafka
    a: LocalNode
    b: LocalNode

    @property
    def brokers(self) -> str:
        """The address of the broker."""
        return self.broker.bootstrap_servers


@pytest.fixture
def broker(apache_kafka_installed: None, tmp_path: Path) -> Iterator[ApacheKafka]:
    with ApacheKafka(data_dir=tmp_path / "broker") as broker:
        yield broker


@pytest.fixture(params=["exactly-once", "at-least-once"])
def delivery(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cluster(
    broker: ApacheKafka,
    delivery: str,
    write_config: Callable[..., Path],
    wine_models: Path,
    tmp_path: Path,
    ask: Callable[..., Any],
) -> Iterator[Cluster]:
    config = write_config(
        nodes={name: {"door_port": free_port(), "admin_port": free_port()} for name in "ab"},
        cluster={"secret": "not-a-secret-at-all"},
        journal={"kind": "kafka"},
        http={"enabled": False},
        kafka={"bootstrap_servers": broker.bootstrap_servers, "delivery": delivery},
    )
    a, b = (LocalNode(config, node=name, log=tmp_path / f"node-{name}.log") for name in "ab")
    cluster = Cluster(broker, a, b)
    try:
        a.start()
        admin = AdminClient({"bootstrap.servers": cluster.brokers})
        wanted = {INPUT, RESULTS, LETTERS, "models"}
        wait_until(lambda: wanted <= admin.list_topics(timeout=5).topics.keys(), "the topics")
        publish_model(
            wine_models / "05-mlp.onnx", bootstrap_servers=cluster.brokers, data_type="wine"
        )
        wait_until(lambda: ask(a, "status")["ready"], "a serves", 60)
        yield cluster
    finally:
        for node in (a, b):
            node.stop()
        for node in (a, b):
            node.wait_gone()


@pytest.mark.timeout(1800)  # whatever it waits for has a limit of its own
def test_every_record_has_its_outcome_whatever_happens(
    cluster: Cluster,
    delivery: str,
    ask: Callable[..., Any],
    pytestconfig: pytest.Config,
) -> None:
    count, rounds = (int(pytestconfig.getoption(name)) for name in ("--records", "--rounds"))
    disturbances = Disturbances(cluster.broker, cluster.a, cluster.b, ask=ask, seed=SEED)
    wines = WineInput(cluster.brokers, INPUT, rate=count / (rounds * ROUND_SECONDS))
    progress, enough, stop = Progress(cluster.brokers), Event(), Event()
    with ThreadPoolExecutor(2) as threads:
        try:
            following = threads.submit(progress.run, stop)
            producing = threads.submit(wines.run, count, enough)
            wait_until(lambda: progress.done, "the first result", 30)
            for _ in range(rounds):
                disturbances.round()
            enough.set()
            producing.result()
            patience = 60 + wines.produced / 1000
            wait_until(lambda: progress.done == wines.produced, "all have outcomes", patience)
        finally:
            enough.set()
            stop.set()
        following.result()
    cluster.a.stop()
    numbers = read_input(cluster.brokers)
    assert wines.errors == []
    assert sorted(n for several in numbers.values() for n in several) == [*range(wines.produced)]
    outcomes = read_outcomes(cluster.brokers, numbers)
    report = {
        "delivery": delivery,
        "records": wines.produced,
        "produced in seconds": round(wines.seconds, 1),
        "dead letters": sum(map(len, outcomes.letters.values())),
        "duplicates": outcomes.doubled,
        "messages of aborted transactions": outcomes.aborted,
        "longest time without an outcome": round(progress.slowest, 1),
        "disturbances": len(disturbances.log),
    }
    print(*(f"{name:36} {value!s:>14}" for name, value in report.items()), sep="\n")
    assert outcomes.compare(numbers, once=delivery == "exactly-once") == []
