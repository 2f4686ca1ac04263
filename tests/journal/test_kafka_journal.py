"""The Kafka journal: messages of other clients, transactions, and brokers that come and go."""

import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from tests.apache_kafka.fixtures import Broker

from repertory.actors.local_node import wait_until
from repertory.errors import JournalError
from repertory.journal.journal import Entry, Journal
from repertory.journal.kafka import KafkaJournal
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.policy_pb2 import Policy

Open = Callable[[], Journal]
ReadAll = Callable[[Journal], list[Entry]]
WINE = ModelDescriptor(dataType="wine", name="forest", data=b"trees").SerializeToString()
POLICY = Policy(dataType="wine", settings="{}").SerializeToString()


@pytest.fixture
def publish(kafka_broker: Broker, topic: str) -> Callable[..., None]:
    """Publish a message as a client that knows nothing of journals."""
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})

    def publish(value: bytes | None, key: bytes | None = None, **headers: bytes) -> None:
        named: list[tuple[str, str | bytes | None]] = [
            (name.replace("_", "-"), header) for name, header in headers.items()
        ]
        producer.produce(topic, value, key, headers=named)
        assert producer.flush(20) == 0

    return publish


@pytest.mark.parametrize(
    ("value", "key", "data_type"),
    [
        (WINE, None, "wine"),
        (WINE, b"some-key", "wine"),
        (b"\xff no descriptor", None, ""),
        (b"\xff no descriptor", b"wine", "wine"),
        (b"\xff no descriptor", b"\xfe\xff", ""),
        (b"", None, ""),
    ],
)
def test_a_message_of_any_client_is_an_entry(
    open_kafka: Open,
    publish: Callable[..., None],
    value: bytes,
    key: bytes | None,
    data_type: str,
) -> None:
    journal = open_kafka()
    publish(value, key)
    (entry,) = journal.read(0)
    assert (entry.position, entry.data_type, entry.descriptor) == (1, data_type, value)
    assert journal.get(1) == entry


@pytest.mark.parametrize(
    ("key", "data_type"), [(b"wine", "wine"), (None, ""), (b"\xff", ""), (b"a b", "")]
)
def test_a_tombstone_of_any_client_retires_its_key(
    open_kafka: Open, publish: Callable[..., None], key: bytes | None, data_type: str
) -> None:
    journal = open_kafka()
    publish(None, key)
    (entry,) = journal.read(0)
    assert (entry.data_type, entry.retires, entry.descriptor) == (data_type, True, None)
    assert journal.get(1) == entry


@pytest.mark.parametrize(
    ("value", "key", "data_type"),
    [
        (POLICY, b"some-key", "wine"),
        (Policy(settings="{}").SerializeToString(), b"wine", "wine"),
        (b"\xff no policy", b"wine", "wine"),
        (b"\xff no policy", None, ""),
        (None, b"wine", "wine"),
    ],
)
def test_a_message_of_any_client_with_the_header_is_a_policy(
    open_kafka: Open,
    publish: Callable[..., None],
    value: bytes | None,
    key: bytes | None,
    data_type: str,
) -> None:
    journal = open_kafka()
    publish(value, key, message_type=b"policy")
    (entry,) = journal.read(0)
    assert (entry.data_type, entry.policy) == (data_type, value or b"")
    assert (entry.descriptor, entry.retires) == (None, False)
    assert journal.get(1) == entry


@pytest.mark.parametrize("header", [b"model", b"", b"\xff"])
def test_a_message_of_another_type_is_a_model(
    open_kafka: Open, publish: Callable[..., None], header: bytes
) -> None:
    journal = open_kafka()
    publish(WINE, message_type=header)
    (entry,) = journal.read(0)
    assert (entry.data_type, entry.descriptor, entry.policy) == ("wine", WINE, None)


def test_other_clients_can_read_what_is_appended(
    open_kafka: Open, kafka_broker: Broker, topic: str
) -> None:
    journal = open_kafka()
    journal.append("wine", WINE, origin="http/17")
    journal.roll_back("wine", 1)
    journal.retire("wine")
    journal.set_policy("wine", POLICY)
    settings = {"bootstrap.servers": kafka_broker.bootstrap_servers, "group.id": "others"}
    with closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, 0, 0)])
        model, roll_back, tombstone, policy = (consumer.poll(20) for _ in range(4))
    assert model is not None
    assert (model.key(), model.value()) == (b"wine", WINE)
    assert ("repertory-origin", b"http/17") in (model.headers() or [])
    assert roll_back is not None
    assert ("repertory-rollback-to", b"1") in (roll_back.headers() or [])
    assert ModelDescriptor.FromString(roll_back.value() or b"") == ModelDescriptor(dataType="wine")
    assert tombstone is not None
    assert (tombstone.key(), tombstone.value()) == (b"wine", None)
    assert policy is not None
    assert (policy.key(), policy.value()) == (b"wine", POLICY)
    assert ("message-type", b"policy") in (policy.headers() or [])


def test_a_large_model_is_appended_and_read(open_kafka: Open) -> None:
    journal = open_kafka()
    content = bytes(30 << 20)
    assert journal.append("wine", content).position == 1
    (entry,) = journal.read(0)
    assert entry.descriptor == content


def test_a_model_over_the_limit_is_refused_at_once(kafka_broker: Broker, topic: str) -> None:
    with closing(KafkaJournal(kafka_broker.bootstrap_servers, topic, max_bytes=1000)) as journal:
        with pytest.raises(JournalError, match=r"too large; raise max\.message\.bytes"):
            journal.append("wine", bytes(2 << 20))
        assert journal.append("wine", bytes(1000)).position == 1


def test_only_committed_messages_are_entries(
    open_kafka: Open, kafka_broker: Broker, topic: str
) -> None:
    journal = open_kafka()
    producer = _transactional(kafka_broker)
    seen: list[Entry] = []
    for _ in range(2):
        for end in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            producer.produce(topic, WINE)
            producer.flush(20)
            assert journal.read(seen[-1].position if seen else 0) == []
            end(20)
        # Apache Kafka answers a commit a moment before its records can be read.
        seen += journal.read(seen[-1].position if seen else 0, timeout=20)
    # Each transaction has two offsets: the message, and the marker of its end.
    assert [entry.position for entry in seen] == [3, 7]
    assert [position for position in range(1, 10) if journal.get(position)] == [3, 7]


def test_an_open_transaction_of_others_hides_what_follows_but_is_no_loss(
    open_kafka: Open, kafka_broker: Broker, topic: str
) -> None:
    journal = open_kafka()
    producer = _transactional(kafka_broker)
    producer.begin_transaction()
    producer.produce(topic, b"theirs")
    producer.flush(20)
    ours = journal.append("wine", WINE)
    assert journal.read(ours.position) == []
    producer.abort_transaction(20)
    assert list(journal.read(0, timeout=20)) == [ours]


def _transactional(broker: Broker) -> Producer:
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap_servers, "transactional.id": uuid.uuid4().hex}
    )
    producer.init_transactions(20)
    return producer


def test_entries_that_somebody_removed_are_a_gap(
    open_kafka: Open, kafka_broker: Broker, topic: str
) -> None:
    journal = open_kafka()
    entries = [journal.append("wine", bytes([number])) for number in range(4)]
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
    admin.delete_records([TopicPartition(topic, 0, 2)])[TopicPartition(topic, 0)].result()
    assert list(open_kafka().read(0)) == entries[2:]
    assert journal.get(2) is None


def test_a_topic_that_was_made_anew_is_not_read_on(
    open_kafka: Open, kafka_broker: Broker, topic: str
) -> None:
    open_kafka().append("wine", WINE)
    with pytest.raises(JournalError, match="ends at offset 1, but was read up to 5 before"):
        open_kafka().read(5)


def test_a_broker_that_was_killed_is_waited_for(
    kafka_broker: Broker, topic: str, read_all: ReadAll
) -> None:
    with closing(KafkaJournal(kafka_broker.bootstrap_servers, topic)) as journal:
        entries = [journal.append("wine", WINE) for _ in range(3)]
        assert list(journal.read(0, limit=1)) == entries[:1]
        kafka_broker.kill()
        with ThreadPoolExecutor() as elsewhere:
            appending = elsewhere.submit(journal.append, "wine", WINE)
            kafka_broker.start()
        entries.append(appending.result())
        assert read_all(journal) == entries


def test_silent_brokers_are_like_a_quiet_topic_until_the_patience_ends(
    kafka_broker: Broker,
    topic: str,
) -> None:
    servers = kafka_broker.bootstrap_servers
    with (
        closing(KafkaJournal(servers, topic)) as writer,
        closing(KafkaJournal(servers, topic, patience=3)) as journal,
    ):
        entry = writer.append("wine", WINE)
        assert list(journal.read(0)) == [entry]
        kafka_broker.kill()
        assert journal.read(1, timeout=0.2) == []
        with pytest.raises(JournalError, match=f"{servers}: no answer for .*start the brokers"):
            journal.read(1, timeout=4)
        kafka_broker.start()
        again = writer.append("wine", WINE)
        assert list(journal.read(1, timeout=20)) == [again]


def test_entries_that_are_known_are_not_passed_over_in_silence(
    kafka_broker: Broker, topic: str
) -> None:
    servers = kafka_broker.bootstrap_servers
    with (
        closing(KafkaJournal(servers, topic)) as writer,
        closing(KafkaJournal(servers, topic, patience=1)) as journal,
        closing(KafkaJournal(servers, topic, patience=1)) as reader,
    ):
        writer.append("wine", WINE)
        kafka_broker.kill()
        with pytest.raises(JournalError, match="no answer"):
            journal.get(1)
        with pytest.raises(JournalError, match=f"{servers}: "):
            reader.read(0)


def test_brokers_that_are_gone_are_in_trouble_until_they_are_back(
    kafka_broker: Broker,
    topic: str,
) -> None:
    with closing(KafkaJournal(kafka_broker.bootstrap_servers, topic)) as journal:
        assert [list(journal.read(0)), journal.trouble()] == [[], None]
        kafka_broker.kill()
        wait_until(lambda: [journal.read(0), journal.trouble()][1], "the trouble is told")
        assert re.search("no broker answers: .*refused.*; start it", journal.trouble() or "")
        kafka_broker.start()
        wait_until(lambda: [journal.read(0), journal.trouble()] == [[], None], "it is over")


def test_a_topic_that_is_gone_is_told(open_kafka: Open, kafka_broker: Broker, topic: str) -> None:
    journal = open_kafka()
    assert list(journal.read(0)) == []
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
    admin.delete_topics([topic])[topic].result()
    wait_until(lambda: [journal.read(0), journal.trouble()][1], "the trouble is told")
    assert f"topic {topic!r} at " in (journal.trouble() or "")
    assert "is gone; restore it" in (journal.trouble() or "")


def test_an_append_that_nobody_acknowledges_is_an_error(kafka_broker: Broker, topic: str) -> None:
    servers = kafka_broker.bootstrap_servers
    with closing(KafkaJournal(servers, topic, patience=1)) as journal:
        kafka_broker.kill()
        with pytest.raises(JournalError, match=f"{servers}: an append failed: .*start the brokers"):
            journal.append("wine", WINE)
        kafka_broker.start()
        assert journal.read(0, timeout=0.1) == []
