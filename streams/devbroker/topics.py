"""The topics: their names, settings and partitions."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from repertory.streams.devbroker.journal import Event, MetadataJournal
from repertory.streams.devbroker.partition import Partition
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.topic_config import TopicConfig

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_PARTITION_FOLDER = re.compile(r"[A-Za-z0-9._-]{1,249}-[0-9]+")
_MAX_PARTITIONS = 10_000
TopicPartition = tuple[str, int]


def check_name(name: str) -> None:
    """Raise Refused(INVALID_TOPIC_EXCEPTION) for a name that Kafka does not allow.

    What passes is safe as the name of a folder too, with a partition number behind it.
    """
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise Refused(
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"topic name {name[:80]!r}: 1 to 249 of the characters a-z A-Z 0-9 . _ - are allowed",
        )


class Topic:
    """A topic: its settings and its partitions, numbered from 0."""

    def __init__(self, config: TopicConfig) -> None:
        self.config = config
        self.partitions: list[Partition] = []


class Topics:
    """All topics, below one folder. Each change is in the journal before it is answered."""

    def __init__(self, folder: Path, journal: MetadataJournal, *, durable: bool = False) -> None:
        self._folder = folder
        self._journal = journal
        self._durable = durable
        self._topics: dict[str, Topic] = {}
        self._restored: dict[str, tuple[int, dict[str, str]]] = {}

    def replay(self, event: Event) -> None:
        """Take over what an event of the journal says; to be followed by `open`."""
        match event:
            case ("topic", name, count, own):
                self._restored[name] = (count, own)
            case ("deleted topic", name):
                self._restored.pop(name, None)

    def open(self) -> None:
        """Open the logs of all topics, and delete the folders of partitions that no topic has."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, (count, own) in self._restored.items():
            topic = self._topics[name] = Topic(TopicConfig(own))
            self._open(name, topic, count)
        known = {partition.folder for _, partition in self.partitions()}
        for folder in self._folder.iterdir():
            if _PARTITION_FOLDER.fullmatch(folder.name) and folder not in known:
                shutil.rmtree(folder)  # of a topic whose deletion or creation was cut short

    def events(self) -> Iterator[Event]:
        """Yield the events that tell of the topics as they are."""
        for name, topic in self._topics.items():
            yield "topic", name, len(topic.partitions), topic.config.own

    def _open(self, name: str, topic: Topic, count: int) -> None:
        for index in range(len(topic.partitions), count):
            folder = self._folder / f"{name}-{index}"
            topic.partitions.append(Partition(folder, topic.config, durable=self._durable))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._topics))

    def __contains__(self, name: str) -> bool:
        return name in self._topics

    def topic(self, name: str) -> Topic:
        """Return a topic. Raises Refused(UNKNOWN_TOPIC_OR_PARTITION)."""
        if name not in self._topics:
            raise Refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {name[:80]!r}")
        return self._topics[name]

    def partition(self, name: str, index: int) -> Partition:
        """Return a partition. Raises Refused(UNKNOWN_TOPIC_OR_PARTITION)."""
        partitions = self.topic(name).partitions
        if not 0 <= index < len(partitions):
            raise Refused(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                f"topic {name!r} has {len(partitions)} partitions, no number {index}",
            )
        return partitions[index]

    def partitions(self) -> Iterator[tuple[TopicPartition, Partition]]:
        """Yield all partitions of all topics."""
        for name, topic in list(self._topics.items()):
            for index, partition in enumerate(topic.partitions):
                yield (name, index), partition

    def check_new(self, name: str, count: int, config: Mapping[str, str]) -> None:
        """Raise Refused if such a topic cannot be created."""
        check_name(name)
        if name in self._topics:
            raise Refused(ErrorCode.TOPIC_ALREADY_EXISTS, f"topic {name!r} exists already")
        _check_count(count)
        TopicConfig(config)

    def create(self, name: str, count: int, config: Mapping[str, str]) -> None:
        """Create a topic. Raises Refused."""
        self.check_new(name, count, config)
        topic = Topic(TopicConfig(config))
        self._journal.append(("topic", name, count, dict(config)))
        self._open(name, topic, count)
        self._topics[name] = topic

    def check_growth(self, name: str, count: int) -> None:
        """Raise Refused if the topic cannot get this many partitions."""
        present = len(self.topic(name).partitions)
        _check_count(count)
        if count <= present:
            raise Refused(
                ErrorCode.INVALID_PARTITIONS,
                f"topic {name!r} has {present} partitions; their number can only grow",
            )

    def grow(self, name: str, count: int) -> None:
        """Add partitions, up to this number. Raises Refused."""
        self.check_growth(name, count)
        topic = self._topics[name]
        self._journal.append(("topic", name, count, topic.config.own))
        self._open(name, topic, count)

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        """Give a topic these settings; others go back to their default. Raises Refused."""
        topic = self.topic(name)
        TopicConfig(config)
        self._journal.append(("topic", name, len(topic.partitions), dict(config)))
        topic.config.replace(config)

    def delete(self, name: str) -> None:
        """Delete a topic with all its records. Raises Refused."""
        topic = self.topic(name)
        self._journal.append(("deleted topic", name))
        del self._topics[name]
        for partition in topic.partitions:
            partition.remove()

    def close(self) -> None:
        """Close all logs."""
        for _, partition in self.partitions():
            partition.close()


def _check_count(count: int) -> None:
    if not 1 <= count <= _MAX_PARTITIONS:
        raise Refused(
            ErrorCode.INVALID_PARTITIONS, f"{count} partitions; 1 to {_MAX_PARTITIONS} are allowed"
        )
