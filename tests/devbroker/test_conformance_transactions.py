"""Transactions, as any Kafka cluster must handle them."""

import subprocess
import sys
import textwrap

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from tests.devbroker.conftest import PATIENCE, Kafka, name, read, texts, until


def committed(kafka: Kafka, topic: str, partition: int = 0) -> list[str | None]:
    """Return the values that a reader of committed records sees."""
    return texts(kafka.read(topic, partition=partition, isolation_level="read_committed"))


def everything(kafka: Kafka, topic: str) -> list[str | None]:
    """Return the values that a reader of all records sees."""
    return texts(kafka.read(topic, isolation_level="read_uncommitted"))


def test_committed_records_show_and_aborted_ones_do_not(kafka: Kafka) -> None:
    topic, producer = kafka.topic(), kafka.transactional()
    producer.begin_transaction()
    producer.produce(topic, "a")
    producer.flush(PATIENCE)
    assert (committed(kafka, topic), everything(kafka, topic)) == ([], ["a"])
    producer.commit_transaction(PATIENCE)
    producer.begin_transaction()
    producer.produce(topic, "b")
    producer.flush(PATIENCE)
    producer.abort_transaction(PATIENCE)
    producer.begin_transaction()
    producer.produce(topic, "c")
    producer.commit_transaction(PATIENCE)
    assert committed(kafka, topic) == ["a", "c"]
    assert everything(kafka, topic) == ["a", "b", "c"]
    assert kafka.watermarks(topic) == (0, 6)


def test_an_open_transaction_holds_back_what_follows_in_its_partition_only(kafka: Kafka) -> None:
    topic, producer = kafka.topic(2), kafka.transactional()
    producer.begin_transaction()
    producer.produce(topic, "open", partition=0)
    producer.flush(PATIENCE)
    for index in (0, 1):
        kafka.send(topic, "plain", partition=index)
    assert [committed(kafka, topic, index) for index in (0, 1)] == [[], ["plain"]]
    producer.abort_transaction(PATIENCE)
    assert committed(kafka, topic) == ["plain"]


def test_a_waiting_reader_is_woken_by_the_commit(kafka: Kafka) -> None:
    topic, producer = kafka.topic(), kafka.transactional()
    reader = kafka.consumer(isolation_level="read_committed", fetch_wait_max_ms=10_000)
    reader.assign([TopicPartition(topic, 0, 0)])
    reader.poll(0.3)
    producer.begin_transaction()
    producer.produce(topic, "a")
    producer.commit_transaction(PATIENCE)
    assert texts(read(reader, 1)) == ["a"]


def test_several_partitions_and_topics_commit_together(kafka: Kafka) -> None:
    topics, producer = [kafka.topic(2), kafka.topic(2)], kafka.transactional()
    for commit in (True, False):
        producer.begin_transaction()
        for topic in topics:
            for index in (0, 1):
                producer.produce(topic, str(commit), partition=index)
        producer.flush(PATIENCE)
        (producer.commit_transaction if commit else producer.abort_transaction)(PATIENCE)
    seen = [committed(kafka, topic, index) for topic in topics for index in (0, 1)]
    assert seen == [["True"]] * 4


@pytest.mark.parametrize("commit", [True, False])
def test_offsets_are_committed_with_the_records_or_not_at_all(kafka: Kafka, commit: bool) -> None:
    source, target, group = kafka.topic(), kafka.topic(), name("group")
    kafka.send(source, *"abcd")
    consumer = kafka.consumer(group_id=group, enable_auto_commit=False)
    consumer.subscribe([source])
    producer = kafka.transactional()
    messages = read(consumer, 3)
    producer.begin_transaction()
    for message in messages:
        producer.produce(target, message.value())
    position = [TopicPartition(source, 0, 3)]
    producer.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), PATIENCE)
    (producer.commit_transaction if commit else producer.abort_transaction)(PATIENCE)
    (found,) = consumer.committed([TopicPartition(source, 0)], timeout=PATIENCE)
    assert found.offset == (3 if commit else -1001)
    assert committed(kafka, target) == (["a", "b", "c"] if commit else [])


def test_a_member_that_lost_its_place_cannot_commit_in_a_transaction(kafka: Kafka) -> None:
    topic, group = kafka.topic(), name("group")
    kafka.send(topic, "a")
    zombie = kafka.consumer(group_id=group, enable_auto_commit=False)
    zombie.subscribe([topic])
    read(zombie, 1)
    place = zombie.consumer_group_metadata()
    zombie.close()
    heir = kafka.consumer(group_id=group)
    heir.subscribe([topic])
    read(heir, 1)
    producer = kafka.transactional()
    producer.begin_transaction()
    with pytest.raises(KafkaException) as caught:
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, 1)], place, PATIENCE)
    assert caught.value.args[0].txn_requires_abort()
    producer.abort_transaction(PATIENCE)


def test_a_zombie_is_fenced(kafka: Kafka) -> None:
    topic, transactional_id = kafka.topic(), name("tx")
    zombie = kafka.transactional(transactional_id)
    zombie.begin_transaction()
    zombie.produce(topic, "zombie")
    zombie.flush(PATIENCE)
    successor = kafka.transactional(transactional_id)
    with pytest.raises(KafkaException) as caught:
        zombie.commit_transaction(PATIENCE)
    assert caught.value.args[0].fatal()
    assert caught.value.args[0].code() == KafkaError._FENCED
    successor.begin_transaction()
    successor.produce(topic, "new")
    successor.commit_transaction(PATIENCE)
    assert committed(kafka, topic) == ["new"]


def test_a_transaction_whose_producer_died_is_aborted_after_its_timeout(kafka: Kafka) -> None:
    topic = kafka.topic()
    script = f"""
        import os, signal
        from confluent_kafka import Producer
        producer = Producer({{
            "bootstrap.servers": {kafka.bootstrap_servers!r},
            "transactional.id": {name("tx")!r},
            "transaction.timeout.ms": 1500,
        }})
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce({topic!r}, "dead")
        producer.flush(20)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=PATIENCE)
    kafka.send(topic, "behind")
    assert everything(kafka, topic) == ["dead", "behind"]
    until(lambda: committed(kafka, topic) == ["behind"], 40)


def test_who_asks_for_offsets_waits_for_a_transaction_that_holds_some(kafka: Kafka) -> None:
    topic, group = kafka.topic(2), name("group")
    kafka.send(topic, "a")
    consumer = kafka.consumer(group_id=group, enable_auto_commit=False)
    consumer.subscribe([topic])
    read(consumer, 1)
    producer = kafka.transactional()
    producer.begin_transaction()
    held, free = TopicPartition(topic, 0, 1), TopicPartition(topic, 1)
    place = consumer.consumer_group_metadata()
    producer.send_offsets_to_transaction([held], place, PATIENCE)
    with pytest.raises(KafkaException):
        consumer.committed([TopicPartition(topic, 0)], timeout=0.5)
    assert consumer.committed([free], timeout=PATIENCE)[0].offset == -1001
    producer.commit_transaction(PATIENCE)
    assert consumer.committed([TopicPartition(topic, 0)], timeout=PATIENCE)[0].offset == 1


@pytest.mark.parametrize("transactional", [True, False])
def test_a_note_is_kept_beside_an_offset(kafka: Kafka, transactional: bool) -> None:
    topic, group = kafka.topic(), name("group")
    consumer = kafka.consumer(group_id=group)
    position = [TopicPartition(topic, 0, 7, metadata="here I stopped")]
    if transactional:
        producer = kafka.transactional()
        producer.begin_transaction()
        place = consumer.consumer_group_metadata()
        producer.send_offsets_to_transaction(position, place, PATIENCE)
        producer.commit_transaction(PATIENCE)
    else:
        consumer.commit(offsets=position, asynchronous=False)
    [found] = consumer.committed([TopicPartition(topic, 0)], timeout=PATIENCE)
    assert (found.offset, found.metadata) == (7, "here I stopped")


def test_a_note_that_is_too_long_is_refused(kafka: Kafka) -> None:
    topic, consumer = kafka.topic(), kafka.consumer()
    with pytest.raises(KafkaException) as caught:
        consumer.commit(
            offsets=[TopicPartition(topic, 0, 7, metadata="x" * 5000)], asynchronous=False
        )
    assert caught.value.args[0].code() == KafkaError.OFFSET_METADATA_TOO_LARGE
