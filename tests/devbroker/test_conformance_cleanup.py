"""Retention and compaction, as any Kafka cluster does them sooner or later."""

from tests.devbroker.conftest import Kafka, until

SOON = 100.0
"""Seconds; the development broker needs two or three, Apache Kafka as many as it is set up for."""


def test_old_records_are_dropped(kafka: Kafka) -> None:
    topic = kafka.topic(retention_ms="1000", segment_ms="200")
    kafka.send(topic, "a", "b")
    until(lambda: kafka.watermarks(topic) == (2, 2), SOON)
    kafka.send(topic, "c")
    assert kafka.watermarks(topic)[1] == 3


def compacted(kafka: Kafka) -> str:
    return kafka.topic(
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        delete_retention_ms="500",
        max_compaction_lag_ms="1000",
    )


def remaining(kafka: Kafka, topic: str) -> list[tuple[int, bytes, bytes | None]]:
    """Return what is left, after a record that makes Kafka begin a new segment."""
    kafka.send(topic, b"-", key=b"roll")
    return [(m.offset(), m.key(), m.value()) for m in kafka.read(topic) if m.key() != b"roll"]


def test_of_each_key_the_last_record_stays(kafka: Kafka) -> None:
    topic = compacted(kafka)
    for number in range(4):
        kafka.send(topic, f"a{number}", key=b"a")
        kafka.send(topic, f"b{number}", key=b"b", compression_type="gzip")
    expected = [(6, b"a", b"a3"), (7, b"b", b"b3")]
    until(lambda: remaining(kafka, topic) == expected, SOON)


def test_a_tombstone_deletes_and_then_goes_itself(kafka: Kafka) -> None:
    topic = compacted(kafka)
    kafka.send(topic, b"1", key=b"a")
    kafka.send(topic, b"1", key=b"b")
    kafka.send(topic, None, key=b"a")
    until(lambda: remaining(kafka, topic) == [(1, b"b", b"1")], SOON)


def test_transactions_are_compacted_too(kafka: Kafka) -> None:
    topic, producer = compacted(kafka), kafka.transactional()
    for value, commit in (("1", True), ("2", True), ("aborted", False)):
        producer.begin_transaction()
        producer.produce(topic, value, key=b"a")
        producer.flush()
        (producer.commit_transaction if commit else producer.abort_transaction)(10)
    until(lambda: [row[2] for row in remaining(kafka, topic)] == [b"2"], SOON)
