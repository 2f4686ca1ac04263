"""The offsets that consumer groups committed."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from repertory.streams.devbroker.journal import Event, MetadataJournal
from repertory.streams.devbroker.topics import TopicPartition


class Committed(NamedTuple):
    """Where a group stands in a partition, with a note of its own."""

    offset: int
    metadata: str | None


Positions = Mapping[TopicPartition, Committed]
Row = tuple[str, int, int, str | None]


class CommittedOffsets:
    """Offsets by group and partition, kept for ever. One `commit` is seen whole or not at all."""

    def __init__(self, journal: MetadataJournal) -> None:
        self._journal = journal
        self._groups: dict[str, dict[TopicPartition, Committed]] = {}

    def replay(self, event: Event) -> None:
        """Take over what an event of the journal says."""
        match event:
            case ("offsets", group, rows):
                self.put(group, from_rows(rows))
            case ("ended", _, _, _, _, _, offsets):
                for group, rows in offsets.items():
                    self.put(group, from_rows(rows))
            case ("deleted group", group):
                self._groups.pop(group, None)
            case ("deleted topic", topic):
                self.drop_topic(topic)

    def events(self) -> Iterator[Event]:
        """Yield the events that tell of the offsets as they are."""
        for group, positions in self._groups.items():
            yield "offsets", group, to_rows(positions)

    def put(self, group: str, positions: Positions) -> None:
        """Take over offsets that are in the journal already."""
        self._groups.setdefault(group, {}).update(positions)

    def commit(self, group: str, positions: Positions) -> None:
        """Store offsets. An empty commit does nothing."""
        if positions:
            self._journal.append(("offsets", group, to_rows(positions)))
            self.put(group, positions)

    def of(self, group: str) -> Positions:
        """Return the offsets of a group; none if it is unknown."""
        return self._groups.get(group, {})

    def groups(self) -> list[str]:
        """Return the groups that committed something."""
        return list(self._groups)

    def delete_group(self, group: str) -> None:
        """Forget a group."""
        self._journal.append(("deleted group", group))
        self._groups.pop(group, None)

    def drop_topic(self, topic: str) -> None:
        """Forget a topic, whose deletion is in the journal already."""
        for positions in self._groups.values():
            for key in [key for key in positions if key[0] == topic]:
                del positions[key]


def to_rows(positions: Positions) -> list[Row]:
    """Return positions as JSON can hold them."""
    return [(topic, index, *committed) for (topic, index), committed in positions.items()]


def from_rows(rows: list[Row]) -> dict[TopicPartition, Committed]:
    """Return the positions that `to_rows` was given."""
    return {(topic, index): Committed(offset, note) for topic, index, offset, note in rows}
