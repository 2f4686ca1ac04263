"""Topics, settings and groups, as any Kafka cluster lets one administer them."""

from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from tests.devbroker.conftest import PATIENCE, Kafka, name, next_message, read, until


def result(futures: dict[Any, Any]) -> Any:
    """Return the only future's result."""
    (future,) = futures.values()
    return future.result(PATIENCE)


def error_of(futures: dict[Any, Any]) -> int:
    """Return the code with which the only future failed."""
    with pytest.raises(KafkaException) as caught:
        result(futures)
    code: int = caught.value.args[0].code()
    return code


def partitions(kafka: Kafka, topic: str) -> int:
    """Return how many partitions the topic has; 0 if there is none."""
    listed = kafka.admin.list_topics(timeout=PATIENCE).topics
    return len(listed[topic].partitions) if topic in listed else 0


def test_topics_come_grow_and_go(kafka: Kafka) -> None:
    topic, admin = kafka.topic(2), kafka.admin
    assert partitions(kafka, topic) == 2
    result(admin.create_partitions([NewPartitions(topic, 3)]))
    until(lambda: partitions(kafka, topic) == 3)
    result(admin.delete_topics([topic]))
    until(lambda: partitions(kafka, topic) == 0)


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (NewTopic("../evil", 1, 1), KafkaError.TOPIC_EXCEPTION),
        (NewTopic("x" * 250, 1, 1), KafkaError.TOPIC_EXCEPTION),
        (NewTopic("zero", 0, 1), KafkaError.INVALID_PARTITIONS),
        (NewTopic("three", 1, 3), KafkaError.INVALID_REPLICATION_FACTOR),
        (
            NewTopic("odd", 1, 1, config={"retention.ms": "soon"}),
            KafkaError.INVALID_CONFIG,
        ),
    ],
)
def test_an_impossible_topic_is_refused(kafka: Kafka, topic: Any, code: int) -> None:
    assert error_of(kafka.admin.create_topics([topic])) == code


def test_a_topic_is_created_once(kafka: Kafka) -> None:
    topic, admin = kafka.topic(), kafka.admin
    again = admin.create_topics([NewTopic(topic, 1, 1)])
    assert error_of(again) == KafkaError.TOPIC_ALREADY_EXISTS


def test_checking_alone_creates_nothing(kafka: Kafka) -> None:
    topic, admin = name("topic"), kafka.admin
    result(admin.create_topics([NewTopic(topic, 1, 1)], validate_only=True))
    assert partitions(kafka, topic) == 0


def settings(kafka: Kafka, topic: str) -> dict[str, str]:
    entries = result(kafka.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
    return {key: entry.value for key, entry in entries.items()}


def alter(kafka: Kafka, topic: str, setting: str, value: str | None, operation: Any) -> Any:
    entry = ConfigEntry(setting, value, incremental_operation=operation)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    return kafka.admin.incremental_alter_configs([resource])


def test_settings_change_and_go_back(kafka: Kafka) -> None:
    topic = kafka.topic()
    before = settings(kafka, topic)
    result(alter(kafka, topic, "retention.ms", "12345", AlterConfigOpType.SET))
    until(lambda: settings(kafka, topic)["retention.ms"] == "12345")
    result(alter(kafka, topic, "retention.ms", None, AlterConfigOpType.DELETE))
    until(lambda: settings(kafka, topic) == before)
    result(alter(kafka, topic, "cleanup.policy", "compact", AlterConfigOpType.APPEND))
    until(lambda: settings(kafka, topic)["cleanup.policy"] == "delete,compact")


def test_an_impossible_setting_is_refused(kafka: Kafka) -> None:
    topic = kafka.topic()
    futures = alter(kafka, topic, "retention.ms", "soon", AlterConfigOpType.SET)
    assert error_of(futures) == KafkaError.INVALID_CONFIG


def test_an_unknown_topic_is_told_to_who_subscribes(kafka: Kafka) -> None:
    consumer = kafka.consumer()
    consumer.subscribe([name("nowhere")])
    assert next_message(consumer).error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_record_to_an_unknown_topic_is_refused_where_none_are_created(kafka: Kafka) -> None:
    topic, errors = name("nowhere"), list[int]()
    producer = kafka.producer(topic_metadata_propagation_max_ms=500)
    producer.produce(topic, "a", on_delivery=lambda error, _: errors.append(error.code()))
    producer.flush(PATIENCE)
    assert errors == [KafkaError.UNKNOWN_TOPIC_OR_PART]
    assert partitions(kafka, topic) == 0


def test_deleted_records_are_gone(kafka: Kafka) -> None:
    topic, admin = kafka.topic(), kafka.admin
    kafka.send(topic, *"abcdefghij")
    assert result(admin.delete_records([TopicPartition(topic, 0, 5)])).low_watermark == 5
    assert kafka.watermarks(topic) == (5, 10)
    assert [m.offset() for m in kafka.read(topic)] == [5, 6, 7, 8, 9]
    beyond = admin.delete_records([TopicPartition(topic, 0, 11)])
    assert error_of(beyond) == KafkaError.OFFSET_OUT_OF_RANGE


def test_offsets_are_listed_by_kind(kafka: Kafka) -> None:
    topic, admin = kafka.topic(retention_ms="-1"), kafka.admin
    for timestamp in (3000, 9000, 6000):
        kafka.send(topic, "x", timestamp=1_700_000_000_000 + timestamp)
    found = {
        kind: result(admin.list_offsets({TopicPartition(topic, 0): spec})).offset
        for kind, spec in {
            "first": OffsetSpec.earliest(),
            "end": OffsetSpec.latest(),
            "newest": OffsetSpec.max_timestamp(),
            "since": OffsetSpec.for_timestamp(1_700_000_004_000),
        }.items()
    }
    assert found == {"first": 0, "end": 3, "newest": 1, "since": 1}


def test_groups_are_listed_described_changed_and_deleted(kafka: Kafka) -> None:
    topic, group, admin = kafka.topic(), name("group"), kafka.admin
    kafka.send(topic, "a", "b")
    consumer = kafka.consumer(group_id=group)
    consumer.subscribe([topic])
    read(consumer, 2)
    described = result(admin.describe_consumer_groups([group]))
    assert (described.state.name, len(described.members)) == ("STABLE", 1)
    assert described.members[0].assignment.topic_partitions == [TopicPartition(topic, 0)]
    assert error_of(admin.delete_consumer_groups([group])) == KafkaError.NON_EMPTY_GROUP
    consumer.close()
    until(lambda: result(admin.describe_consumer_groups([group])).state.name == "EMPTY")
    moved = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 1)])
    result(admin.alter_consumer_group_offsets([moved]))
    listed = result(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
    assert [each.offset for each in listed.topic_partitions] == [1]

    def known() -> list[str]:
        valid = admin.list_consumer_groups().result(PATIENCE).valid
        return [each.group_id for each in valid if each.group_id == group]

    assert known() == [group]
    result(admin.delete_consumer_groups([group]))
    assert known() == []
    assert error_of(admin.delete_consumer_groups([group])) == KafkaError.GROUP_ID_NOT_FOUND


def test_the_cluster_describes_itself(kafka: Kafka) -> None:
    cluster = kafka.admin.describe_cluster().result(PATIENCE)
    assert cluster.cluster_id
    assert len(cluster.nodes) == 1
