"""Which topics may be a journal."""

from collections.abc import Callable
from contextlib import closing

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from tests.apache_kafka.fixtures import Broker

from repertory.errors import JournalError
from repertory.journal import kafka as kafka_module
from repertory.journal import topic as topic_module
from repertory.journal.kafka import KafkaJournal
from repertory.journal.topic import topic_losses
from repertory.streams.devbroker.process import BrokerProcess

KEEP = {"retention.ms": "-1"}


@pytest.fixture
def create(kafka_broker: Broker, topic: str) -> Callable[..., None]:
    """Create the topic of the test by hand."""

    def create(partitions: int, config: dict[str, str]) -> None:
        admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
        admin.create_topics([NewTopic(topic, partitions, config=config)])[topic].result()

    return create


def open_and_close(broker: Broker, topic: str, *, create: bool = True) -> None:
    """Open the journal, which checks the topic."""
    with closing(KafkaJournal(broker.bootstrap_servers, topic, create_topic=create)):
        pass


def test_a_missing_topic_is_created_to_keep_everything(kafka_broker: Broker, topic: str) -> None:
    open_and_close(kafka_broker, topic)
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result()
    assert len(admin.list_topics(topic).topics[topic].partitions) == 1
    names = ("cleanup.policy", "retention.ms", "retention.bytes")
    assert [config[name].value for name in names] == ["delete", "-1", "-1"]
    assert int(config["max.message.bytes"].value) > 256 << 20


def test_a_missing_topic_is_an_error_if_it_may_not_be_created(
    kafka_broker: Broker, topic: str
) -> None:
    for _ in range(2):  # looking for it must not create it either
        with pytest.raises(JournalError, match=r"is missing; create it, or set kafka\.create_topi"):
            open_and_close(kafka_broker, topic, create=False)


def test_a_topic_of_one_partition_that_keeps_everything_is_taken(
    kafka_broker: Broker, topic: str, create: Callable[..., None]
) -> None:
    create(1, KEEP)
    open_and_close(kafka_broker, topic, create=False)


@pytest.mark.parametrize(
    ("partitions", "config", "reason"),
    [
        (3, KEEP, "has 3 partitions.*name another topic in kafka.models_topic"),
        (1, KEEP | {"cleanup.policy": "compact"}, "is compacted.*mend it: kafka-configs.sh"),
        (1, {}, "has retention.ms=604800000.*mend it: kafka-configs.sh .*retention.ms=-1"),
        (1, KEEP | {"retention.bytes": "1000"}, "has retention.bytes=1000.*mend it"),
    ],
)
def test_a_topic_that_would_lose_order_or_entries_is_refused(
    kafka_broker: Broker,
    topic: str,
    create: Callable[..., None],
    partitions: int,
    config: dict[str, str],
    reason: str,
) -> None:
    create(partitions, config)
    with pytest.raises(JournalError, match=f"topic '{topic}' at .*{reason}"):
        open_and_close(kafka_broker, topic)


def test_a_policy_that_somebody_changes_is_told_until_it_is_mended(
    kafka_broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_module, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(kafka_module, "MEND_SECONDS", 0.0)
    with closing(KafkaJournal(kafka_broker.bootstrap_servers, topic)) as journal:
        assert journal.trouble() is None
        set_policy(kafka_broker, topic, "compact,delete")
        assert "is compacted: of each key, all but the newest" in (journal.trouble() or "")
        set_policy(kafka_broker, topic, "delete")
        assert journal.trouble() is None


def set_policy(broker: Broker, topic: str, policy: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    change = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
    admin.incremental_alter_configs([resource])[resource].result()


def test_what_a_topic_loses_is_told_in_words(
    kafka_broker: Broker, topic: str, create: Callable[..., None]
) -> None:
    create(3, {"cleanup.policy": "compact"})
    properties = {"bootstrap.servers": kafka_broker.bootstrap_servers}
    assert "is compacted" in (topic_losses(properties, topic) or "")
    set_policy(kafka_broker, topic, "delete")
    assert "retention.ms=604800000" in (topic_losses(properties, topic) or "")


def test_the_broker_that_does_not_answer_is_named(
    topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_module, "ANSWER_SECONDS", 0.5)
    with pytest.raises(JournalError, match=r"at 127\.0\.0\.1:1: no broker answers: .*refused"):
        KafkaJournal("127.0.0.1:1", topic)


@pytest.mark.parametrize("properties", [{"no.such.property": 1}, {"socket.timeout.ms": "soon"}])
def test_a_wrong_property_is_named(
    kafka_broker: Broker, topic: str, properties: dict[str, object]
) -> None:
    (name,) = properties
    with pytest.raises(JournalError, match=rf"{name}.*; mend kafka\.properties"):
        KafkaJournal(kafka_broker.bootstrap_servers, topic, properties)


def test_properties_of_every_kind_and_size_are_taken(kafka_broker: Broker, topic: str) -> None:
    properties = {"socket.keepalive.enable": True, "socket.timeout.ms": 5000, "linger.ms": 0.5}
    servers = kafka_broker.bootstrap_servers
    with closing(KafkaJournal(servers, topic, properties, max_bytes=2**40)) as journal:
        assert journal.append("wine", b"model").position == 1


def test_who_is_not_let_in_is_told_so_without_the_password(
    topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_module, "ANSWER_SECONDS", 1.0)
    security = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "anna",
        "sasl.password": "not-hers",
    }
    with (
        BrokerProcess(options=["--user", "anna:hers"]) as broker,
        pytest.raises(JournalError, match="uthentication") as caught,
    ):
        KafkaJournal(broker.bootstrap_servers, topic, security)
    assert "not-hers" not in str(caught.value)
