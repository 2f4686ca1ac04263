"""Settings of topics under which promises do not hold. Pure."""

from collections.abc import Collection, Iterator, Mapping

from repertory.config import Kafka

Settings = Mapping[str, str]


def fault(kafka: Kafka, topic: str, settings: Settings) -> str | None:
    """Return why nothing should be written to or read from a topic as it is; None if that is fine.

    Dead letters may not be compacted: of two with the same key the first would be lost, and those
    without a key are refused, over which the face would end again and again.
    """
    if topic == kafka.dead_letters_topic and _compacted(settings):
        return (
            f"topic {topic!r} at {kafka.bootstrap_servers} is compacted: of dead letters of one key"
            f" all but the newest would be lost; {_mend(topic, 'cleanup.policy=delete')}"
        )
    return None


def doubts(
    kafka: Kafka, topic: str, settings: Settings, *, records: Collection[str]
) -> Iterator[str]:
    """Yield what may be meant so, but had better be known. `records` are the topics of records."""
    if _compacted(settings) and topic in records:
        yield "is compacted: a record that a newer one of its key replaces may never be scored"
    if _compacted(settings) and topic == kafka.results_topic:
        yield "is compacted: it keeps the newest result of each key, and refuses those without one"
    if settings.get("message.timestamp.type") == "LogAppendTime" and topic not in records:
        yield "has message.timestamp.type=LogAppendTime: the timestamps of the records are not kept"


def _compacted(settings: Settings) -> bool:
    return "compact" in settings.get("cleanup.policy", "")


def _mend(topic: str, setting: str) -> str:
    return (
        "mend it: kafka-configs.sh --alter --entity-type topics"
        f" --entity-name {topic} --add-config {setting}"
    )
