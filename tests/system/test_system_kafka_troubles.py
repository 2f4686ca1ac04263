"""What is wrong between a node and Kafka is told by the node, and ends when the cause is gone."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import orjson
import pytest
import yaml
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from tests.conftest import ROOT, free_port

from repertory.actors.local_node import LocalNode, wait_until
from repertory.protos.winerecord_pb2 import WineRecord
from repertory.streams.devbroker.process import BrokerProcess

TOPICS = ("mdata", "results", "dead-letters", "models")
PARTITIONS = 4
NO_AUTO = ["--partitions", "0"]
SASL = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": "anna"}
# A trouble is told within this, on a machine that has much else to do, too.
SECONDS = 40.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker of the test's own, which creates no topics by itself."""
    with BrokerProcess(data_dir=tmp_path / "broker", options=NO_AUTO) as broker:
        yield broker


@pytest.fixture
def start(
    broker: BrokerProcess, local_node: Callable[..., LocalNode], write_config: Callable[..., Path]
) -> Callable[..., LocalNode]:
    """Start a node that needs no model; arguments are the kind of its journal, and keys of `kafka`."""

    def start(journal: str = "sqlite", **kafka: object) -> LocalNode:
        kafka = {"bootstrap_servers": broker.bootstrap_servers, **kafka}
        path = write_config(kafka=kafka, journal={"kind": journal})
        need_no_model(path)
        node = local_node(config=path)
        node.wait_until(ready=False)
        return node

    return start


@dataclass
class Shared:
    """A broker and a node that serves a model, both well when a test begins."""

    broker: BrokerProcess
    node: LocalNode

    @property
    def admin(self) -> AdminClient:
        return admin_of(self.broker)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, wine_models: Path) -> Iterator[Shared]:
    """The same for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("shared")
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    document |= {"data_dir": str(folder / "data"), "http": {"port": free_port()}}
    with BrokerProcess(data_dir=folder / "broker", options=NO_AUTO) as broker:
        document["kafka"] = {"bootstrap_servers": broker.bootstrap_servers, "create_topics": False}
        (folder / "cluster.yaml").write_text(yaml.safe_dump(document))
        admin = admin_of(broker)
        create(admin)
        with LocalNode(folder / "cluster.yaml", log=folder / "node.log") as node:
            node.wait_until(ready=False)
            publish_over_http(node, wine_models / "05-mlp.onnx")
            yield Shared(broker, node)
            broker.resume()
        node.wait_gone()


@pytest.fixture
def shared(started: Shared) -> Shared:
    """The shared broker and node, once they are well."""
    wait_well(started.node)
    return started


def need_no_model(path: Path) -> None:
    """Have a configuration say that the node is ready without a model."""
    document = yaml.safe_load(path.read_text())
    document["data_types"]["wine"]["required"] = False
    path.write_text(yaml.safe_dump(document))


def publish_over_http(node: LocalNode, file: Path) -> None:
    """Publish a model for wines."""
    command = (sys.executable, "-m", "repertory", "publish", "--url", node.url, "wine", str(file))
    subprocess.run(command, check=True, capture_output=True)


def admin_of(broker: BrokerProcess) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})


def create(admin: AdminClient, *names: str, **config: str) -> None:
    """Create topics."""
    new = [
        NewTopic(name, 1 if name == "models" else PARTITIONS, config=config)
        for name in names or TOPICS
    ]
    for future in admin.create_topics(new).values():
        future.result()


def delete(admin: AdminClient, name: str) -> None:
    """Delete a topic."""
    admin.delete_topics([name])[name].result()


def change(admin: AdminClient, topic: str, key: str, value: str) -> None:
    """Change a setting of a topic."""
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result()


def send(broker: BrokerProcess, count: int, **properties: Any) -> None:
    """Write plausible wines, round robin."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, **properties})
    if properties:
        producer.init_transactions(20)
        producer.begin_transaction()
    value = WineRecord(fixed_acidity=7.4, density=0.997, pH=3.5, alcohol=9.4).SerializeToString()
    for number in range(count):
        producer.produce("mdata", value, str(number), partition=number % PARTITIONS)
    if properties:
        producer.commit_transaction(20)
    assert producer.flush(20) == 0


def results(broker: BrokerProcess) -> int:
    """Return how many results there are; -1 while that cannot be told."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "any"})
    try:
        places = [TopicPartition("results", number) for number in range(PARTITIONS)]
        return sum(consumer.get_watermark_offsets(place, timeout=5)[1] for place in places)
    except KafkaException:
        return -1
    finally:
        consumer.close()


def lags(node: LocalNode) -> set[int]:
    """Return what the partitions lag, as far as that is reported."""
    return set(node.get("/status")["faces"]["streams:streams"].get("lag", {}).values())


def health(node: LocalNode) -> Any:
    """Return what a node answers about its readiness, in good and in bad times."""
    try:
        return node.get("/health/ready")
    except HTTPError as error:
        return orjson.loads(error.read())


def wait_told(node: LocalNode, *words: str) -> str:
    """Wait until the node is not ready for a reason with these words; return the reason."""

    def told() -> bool:
        return all(word in health(node).get("error", "") for word in words)

    try:
        wait_until(told, f"told: {words}", SECONDS)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; but {health(node)}") from error
    status = node.get("/status")
    assert not status["ready"]
    sentences = "; ".join(each for several in status["troubles"].values() for each in several)
    assert all(word in sentences for word in words)
    return str(health(node)["error"])


def wait_well(node: LocalNode) -> None:
    """Wait until the node is ready."""
    node.wait_until(ready=True, timeout=SECONDS)
    assert health(node)["troubles"] == {}


def complaints(node: LocalNode) -> list[str]:
    """Return what the face logged as troubles."""
    lines = (node.paths.logs / "streams.log").read_text().splitlines()
    logged = [orjson.loads(line) for line in lines if line.startswith("{")]
    return [each["why"] for each in logged if each["event"].startswith("this is in trouble")]


def wait_results(broker: BrokerProcess, count: int) -> None:
    """Wait for so many results, or more: at least once."""
    wait_until(lambda: results(broker) >= count, f"{count} results", SECONDS)


def test_a_broker_that_is_killed_is_told_once_and_records_go_on_when_it_is_back(
    shared: Shared,
) -> None:
    broker, node, before = shared.broker, shared.node, results(shared.broker)
    told = len(complaints(node))
    broker.kill()
    wait_told(node, f"no broker answers at {broker.bootstrap_servers}", "Connection refused")
    wait_told(node, f"the consumer has no connection to {broker.bootstrap_servers}")
    broker.start()
    wait_well(node)
    assert len(complaints(node)) == told + 2
    send(broker, 8)
    wait_results(broker, before + 8)


def test_a_broker_that_hangs_is_told_and_records_go_on_when_it_wakes(shared: Shared) -> None:
    before = results(shared.broker)
    send(shared.broker, 8)
    shared.broker.pause()
    wait_told(shared.node, "no broker answers", "start it, or mend kafka.bootstrap_servers")
    shared.broker.resume()
    wait_well(shared.node)
    wait_results(shared.broker, before + 8)


def test_topics_that_are_deleted_and_made_anew_are_used_from_their_beginning(
    shared: Shared,
) -> None:
    send(shared.broker, 8)
    wait_until(lambda: lags(shared.node) == {0}, "all is scored", SECONDS)
    for name in ("mdata", "results"):
        delete(shared.admin, name)
        wait_told(shared.node, f"topic {name!r} is missing at {shared.broker.bootstrap_servers};")
        create(shared.admin, name)
        wait_well(shared.node)
        before = results(shared.broker)
        send(shared.broker, 4)
        wait_results(shared.broker, before + 4)


def test_a_stream_whose_actor_hangs_is_told_once_and_goes_on_when_it_wakes(
    shared: Shared,
) -> None:
    broker, node, before = shared.broker, shared.node, results(shared.broker)
    already = len(complaints(node))
    actor = node.get("/status")["data_types"]["wine"]["pid"]
    os.kill(actor, signal.SIGSTOP)
    try:
        send(broker, 8)
        told = wait_told(node, "no record of 'wine' has been done since", "actor does not answer")
    finally:
        os.kill(actor, signal.SIGCONT)
    assert re.search(r"since \d\d:\d\d:\d\d UTC", told)
    wait_well(node)
    wait_results(broker, before + 8)
    assert len(complaints(node)) == already + 1


def test_a_topic_that_ends_with_the_mark_of_a_transaction_does_not_stand_still(
    shared: Shared,
) -> None:
    before = results(shared.broker)
    send(shared.broker, 8, **{"transactional.id": "t"})
    wait_results(shared.broker, before + 8)
    wait_until(lambda: lags(shared.node) == {0}, "no lag", SECONDS)


def test_dead_letters_that_would_be_lost_are_told_until_the_policy_is_mended(
    shared: Shared,
) -> None:
    change(shared.admin, "dead-letters", "cleanup.policy", "compact")
    wait_told(shared.node, "'dead-letters'", "compacted", "--add-config cleanup.policy=delete")
    change(shared.admin, "dead-letters", "cleanup.policy", "delete")
    wait_well(shared.node)


def test_what_is_wrong_with_topics_at_the_start_is_told_until_it_is_mended(
    broker: BrokerProcess, start: Any
) -> None:
    admin = admin_of(broker)
    compact = {"cleanup.policy": "compact", "retention.ms": "-1"}
    create(admin, "dead-letters", "models", **compact)
    node = start(journal="kafka", create_topics=False)
    where = broker.bootstrap_servers
    wait_told(node, f"topics 'mdata', 'results' are missing at {where}; create them, or set kafka.")
    create(admin, "results")
    wait_told(node, f"topic 'mdata' is missing at {where}; create it", f"topic 'models' at {where}")
    create(admin, "mdata")
    wait_told(node, "topic 'dead-letters'", "--add-config cleanup.policy=delete", "topic 'models'")
    change(admin, "dead-letters", "cleanup.policy", "delete")
    change(admin, "models", "cleanup.policy", "delete")
    wait_well(node)


def test_credentials_that_are_refused_are_told_at_start_and_later_until_they_are_taken(
    broker: BrokerProcess, start: Any, tmp_path: Path
) -> None:
    broker.stop()

    def guarded(password: str) -> BrokerProcess:
        user = ["--user", f"anna:{password}"]
        return BrokerProcess(data_dir=tmp_path / "guarded", port=broker.port, options=user)

    with guarded("hers"):
        node = start(properties=SASL, password="not-hers")
        assert "not-hers" not in wait_told(node, "refuse the credentials", "mend kafka.properties")
    with guarded("not-hers"):
        wait_well(node)
    with guarded("hers"):
        wait_told(node, "refuse the credentials")
    with guarded("not-hers"):
        wait_well(node)


def test_a_face_that_ends_over_a_result_that_is_refused_is_not_ready_while_that_lasts(
    shared: Shared,
) -> None:
    before = results(shared.broker)
    change(shared.admin, "results", "max.message.bytes", "1")
    send(shared.broker, 1)
    wait_told(shared.node, "the Kafka face ended and was started again: the broker refuses a resul")
    change(shared.admin, "results", "max.message.bytes", "1000000")
    wait_well(shared.node)
    wait_results(shared.broker, before + 1)
