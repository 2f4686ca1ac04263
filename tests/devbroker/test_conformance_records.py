"""Records, offsets and commits, as any Kafka cluster must handle them."""

from collections import defaultdict
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from tests.devbroker.conftest import (
    PATIENCE,
    Kafka,
    at_end,
    name,
    next_message,
    read,
    texts,
    until,
)

START = 1_700_000_000_000


def test_records_come_back_whole(kafka: Kafka) -> None:
    topic = kafka.topic(retention_ms="-1")
    headers = [("h", b"1"), ("none", None), ("h", b"2")]
    kafka.send(topic, b"value", key=b"key", headers=headers, timestamp=START)
    (message,) = kafka.read(topic)
    assert (message.key(), message.value(), message.headers()) == (b"key", b"value", headers)
    assert message.timestamp() == (TIMESTAMP_CREATE_TIME, START)


def test_null_and_empty_are_different(kafka: Kafka) -> None:
    topic = kafka.topic()
    kafka.send(topic, None, key=b"tombstone")
    kafka.send(topic, b"", key=b"")
    kafka.send(topic, b"no key")
    assert [(m.key(), m.value()) for m in kafka.read(topic)] == [
        (b"tombstone", None),
        (b"", b""),
        (None, b"no key"),
    ]


def test_a_key_stays_in_its_partition_and_in_order(kafka: Kafka) -> None:
    topic = kafka.topic(3)
    producer = kafka.producer()
    for number in range(300):
        producer.produce(topic, str(number), key=f"k{number % 7}")
    assert producer.flush(PATIENCE) == 0
    by_key: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for index in range(3):
        messages = kafka.read(topic, partition=index)
        assert [m.offset() for m in messages] == list(range(len(messages)))
        for message in messages:
            by_key[message.key()].append((index, int(message.value())))
    assert sum(map(len, by_key.values())) == 300
    for numbers in by_key.values():
        assert len({index for index, _ in numbers}) == 1
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_records_come_back(kafka: Kafka, codec: str) -> None:
    topic = kafka.topic()
    sent = [f"{number}" * 50 for number in range(200)]
    kafka.send(topic, *sent, compression_type=codec, linger_ms=20)
    assert texts(kafka.read(topic)) == sent


def test_a_consumer_begins_where_its_reset_says(kafka: Kafka) -> None:
    topic = kafka.topic()
    kafka.send(topic, "a", "b")
    assert texts(kafka.read(topic, offset=999_999, auto_offset_reset="earliest")) == ["a", "b"]
    late = kafka.consumer(auto_offset_reset="latest")
    late.assign([TopicPartition(topic, 0)])
    until(lambda: (m := late.poll(0.1)) is not None and at_end(m))
    kafka.send(topic, "c")
    assert texts(read(late, 1)) == ["c"]


def test_a_consumer_without_a_reset_is_told(kafka: Kafka) -> None:
    topic = kafka.topic()
    consumer = kafka.consumer(auto_offset_reset="error")
    consumer.assign([TopicPartition(topic, 0, 999)])
    assert next_message(consumer).error().code() == KafkaError._AUTO_OFFSET_RESET


def test_a_consumer_moves_about(kafka: Kafka) -> None:
    topic = kafka.topic()
    kafka.send(topic, *map(str, range(50)), linger_ms=20)
    consumer = kafka.consumer()
    consumer.assign([TopicPartition(topic, 0, 37)])
    assert texts(read(consumer, 2)) == ["37", "38"]
    consumer.seek(TopicPartition(topic, 0, 10))
    assert texts(read(consumer, 2)) == ["10", "11"]
    consumer.pause([TopicPartition(topic, 0)])
    paused = consumer.poll(0.3)
    assert paused is None or at_end(paused)
    consumer.resume([TopicPartition(topic, 0)])
    assert texts(read(consumer, 1)) == ["12"]
    consumer.seek(TopicPartition(topic, 0, OFFSET_END))
    until(lambda: (m := consumer.poll(0.1)) is not None and at_end(m))
    kafka.send(topic, "end")
    assert texts(read(consumer, 1)) == ["end"]


@pytest.mark.parametrize("batch_num_messages", [1, 1000])
def test_times_lead_to_offsets(kafka: Kafka, batch_num_messages: int) -> None:
    topic, outcomes = kafka.topic(retention_ms="-1"), []
    producer = kafka.producer(batch_num_messages=batch_num_messages, linger_ms=50)
    for number in range(10):
        producer.produce(
            topic,
            b"x",
            timestamp=START + number * 1000,
            on_delivery=lambda e, _: outcomes.append(e),
        )
    producer.flush(PATIENCE)
    assert outcomes == [None] * 10
    consumer = kafka.consumer()

    def found(timestamp: int) -> int:
        wanted = [TopicPartition(topic, 0, timestamp)]
        offset: int = consumer.offsets_for_times(wanted, timeout=PATIENCE)[0].offset
        return offset

    times = (START - 5, START, START + 2500, START + 9000, START + 9001)
    assert [found(timestamp) for timestamp in times] == [0, 0, 3, 9, -1]


def test_offsets_are_committed_with_a_note_and_survive_the_consumer(kafka: Kafka) -> None:
    topic, group = kafka.topic(2), name("group")
    for index in (0, 1):
        kafka.send(topic, *"abcdef", partition=index)
    consumer = kafka.consumer(group_id=group, enable_auto_commit=False)
    consumer.subscribe([topic])
    messages = read(consumer, 12)
    consumer.commit(offsets=[TopicPartition(topic, 0, 5, metadata="note")], asynchronous=False)
    fourth = [m for m in messages if m.partition() == 1][3]
    consumer.commit(message=fourth, asynchronous=False)
    wanted = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    committed = consumer.committed(wanted, timeout=PATIENCE)
    assert [(each.offset, each.metadata) for each in committed] == [(5, "note"), (4, None)]
    consumer.close()
    heir = kafka.consumer(group_id=group)
    heir.subscribe([topic])
    rest = read(heir, 3)
    assert sorted((m.partition(), m.offset()) for m in rest) == [(0, 5), (1, 4), (1, 5)]


def test_a_stranger_cannot_commit_for_a_living_group(kafka: Kafka) -> None:
    topic, group = kafka.topic(), name("group")
    kafka.send(topic, "a")
    member = kafka.consumer(group_id=group)
    member.subscribe([topic])
    read(member, 1)
    stranger = kafka.consumer(group_id=group)
    with pytest.raises(KafkaException) as caught:
        stranger.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    assert caught.value.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID


def test_an_idempotent_producer_keeps_order_and_count(kafka: Kafka) -> None:
    topic = kafka.topic()
    sent = [str(number) for number in range(5000)]
    kafka.send(topic, *sent, enable_idempotence=True, linger_ms=0)
    assert texts(kafka.read(topic)) == sent


def test_producers_beside_each_other_lose_nothing(kafka: Kafka) -> None:
    topic, count = kafka.topic(), 1000
    producers = [kafka.producer(enable_idempotence=True, linger_ms=0) for _ in range(4)]
    for number in range(count):
        for key, producer in enumerate(producers):
            producer.produce(topic, str(number), key=str(key))
            producer.poll(0)
    assert [producer.flush(PATIENCE) for producer in producers] == [0] * 4
    found: dict[Any, list[int]] = defaultdict(list)
    for message in kafka.read(topic):
        found[message.key()].append(int(message.value()))
    assert list(found.values()) == [list(range(count))] * 4


@pytest.mark.parametrize("mebibytes", [5, 50])
def test_large_records_come_back_also_to_a_consumer_that_knows_no_better(
    kafka: Kafka, mebibytes: int
) -> None:
    topic = kafka.topic(max_message_bytes=str(64 << 20))
    large = bytes(range(256)) * (mebibytes << 12)
    kafka.send(topic, large, message_max_bytes=100 << 20)
    kafka.send(topic, b"small")
    assert [m.value() == large or m.value() for m in kafka.read(topic)] == [True, b"small"]


def test_a_record_larger_than_the_topic_allows_is_refused(kafka: Kafka) -> None:
    topic, outcomes = kafka.topic(), []
    producer = kafka.producer(message_max_bytes=100 << 20)
    producer.produce(topic, bytes(3 << 20), on_delivery=lambda e, _: outcomes.append(e.code()))
    producer.flush(PATIENCE)
    assert outcomes == [KafkaError.MSG_SIZE_TOO_LARGE]
    assert kafka.watermarks(topic) == (0, 0)
