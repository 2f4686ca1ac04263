"""What is wrong with the topic that is the journal is told, and is over when it is mended."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from repertory.actors.local_node import LocalNode, wait_until
from repertory.errors import Unavailable
from repertory.streams.devbroker.process import BrokerProcess

KEEP = {"retention.ms": "-1"}
Ask = Callable[..., Any]
Start = Callable[..., LocalNode]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(data_dir=tmp_path / "broker", options=["--partitions", "0"]) as broker:
        yield broker


@pytest.fixture
def start(
    broker: BrokerProcess, local_node: Callable[..., LocalNode], write_config: Callable[..., Path]
) -> Start:
    """Start a node whose journal is a topic of the broker, and that is asked for nothing else."""

    def start(**kafka: object) -> LocalNode:
        kafka = {"bootstrap_servers": broker.bootstrap_servers, **kafka}
        config = write_config(http={"enabled": False}, journal={"kind": "kafka"}, kafka=kafka)
        return local_node(config=config)

    return start


def create(broker: BrokerProcess, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic("models", 1, config=config)])["models"].result()


def set_policy(broker: BrokerProcess, policy: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    change = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, "models", incremental_configs=[change])
    admin.incremental_alter_configs([resource])[resource].result()


def trouble(node: LocalNode, ask: Ask) -> str:
    """Return what the keeper says is wrong; empty when all is well."""
    return "; ".join(ask(node, "health")["troubles"].get("keeper", []))


def wait_for_trouble(node: LocalNode, ask: Ask, words: str) -> None:
    wait_until(lambda: words in trouble(node, ask), f"trouble: {words}", 40)
    assert not ask(node, "health")["ready"]


def wait_well(node: LocalNode, ask: Ask) -> None:
    wait_until(lambda: not trouble(node, ask), "all is well", 40)


def test_a_topic_with_the_wrong_policy_is_taken_as_soon_as_it_is_mended(
    broker: BrokerProcess, start: Start, ask: Ask, publish: Ask, wine_models: Path
) -> None:
    create(broker, **KEEP, **{"cleanup.policy": "compact"})
    node = start()
    wait_for_trouble(node, ask, "mend it: kafka-configs.sh --alter")
    with pytest.raises(Unavailable, match=r"the journal is in trouble: .*is compacted"):
        publish(node, wine_models / "05-mlp.onnx")
    set_policy(broker, "delete")
    wait_well(node, ask)
    assert publish(node, wine_models / "05-mlp.onnx")["state"] == "SERVING"


def test_a_policy_that_is_changed_while_the_node_runs_is_told_and_the_model_serves_on(
    broker: BrokerProcess, start: Start, ask: Ask, publish: Ask, wine_models: Path
) -> None:
    node = start()
    publish(node, wine_models / "05-mlp.onnx")
    set_policy(broker, "compact")
    wait_for_trouble(node, ask, "is compacted")
    with pytest.raises(Unavailable):
        ask(node, "retire", data_type="wine")
    assert ask(node, "state", data_type="wine")["version"] == 1
    assert len(ask(node, "versions", data_type="wine")["versions"]) == 1
    set_policy(broker, "delete")
    wait_well(node, ask)
    assert ask(node, "retire", data_type="wine")["state"] == "RETIRED"


def test_a_missing_topic_that_may_not_be_created_is_waited_for(
    broker: BrokerProcess, start: Start, ask: Ask
) -> None:
    node = start(create_topics=False)
    wait_for_trouble(node, ask, "is missing; create it")
    create(broker, **KEEP)
    wait_well(node, ask)


def test_a_broker_that_is_gone_is_told_and_waited_for(
    broker: BrokerProcess, start: Start, ask: Ask, publish: Ask, wine_models: Path
) -> None:
    node = start()
    publish(node, wine_models / "05-mlp.onnx")
    broker.kill()
    wait_for_trouble(node, ask, "no broker answers")
    broker.start()
    wait_well(node, ask)
    assert publish(node, wine_models / "02-random-forest.onnx")["state"] == "SERVING"


def test_refused_credentials_are_told_until_they_are_taken(
    broker: BrokerProcess, start: Start, ask: Ask, tmp_path: Path
) -> None:
    broker.stop()
    folder, port, properties = (
        tmp_path / "guarded",
        broker.port,
        {
            "security.protocol": "sasl_plaintext",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "anna",
        },
    )
    with BrokerProcess(data_dir=folder, port=port, options=["--user", "anna:hers"]):
        node = start(properties=properties, password="not-hers")
        wait_for_trouble(node, ask, "mend kafka.properties, or kafka.password")
        assert "not-hers" not in trouble(node, ask)
    with BrokerProcess(data_dir=folder, port=port, options=["--user", "anna:not-hers"]):
        wait_well(node, ask)
