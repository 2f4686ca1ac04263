"""Partitions that this consumer owns, and up to where their records are done.

Pure bookkeeping: nothing here talks to a broker.
"""

from collections.abc import Iterable, Iterator, Mapping

Place = tuple[str, int]  # topic and partition


class Claim:
    """One partition, for as long as it is assigned to this consumer.

    Its records are taken and finished in the order of their offsets, which may have gaps. A
    partition that comes back after a rebalance gets a new claim, so that what is still under way
    for the old one cannot disturb it.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.position: int | None = None
        """The offset to commit: all records before it are done. None before the first is."""
        self.committed: int | None = None
        """The position that the broker was last heard to have stored for this claim."""
        self.released = False
        """Whether the partition is lost: results of its records are not written any more."""
        self.ready = True
        """Whether records may be read; else it is yet to be asked how far its last owner came."""
        self.floors: Mapping[str, int] = {}
        """By data type, the highest journal position of models that scored what was written."""
        self.noted: Mapping[str, int] = {}
        """The floors that the broker was last heard to have stored for this partition."""
        self._start: int | None = None
        self._open = 0

    @property
    def place(self) -> Place:
        """The topic and partition."""
        return self.topic, self.partition

    @property
    def settled(self) -> bool:
        """Whether nothing is under way."""
        return self._open == 0

    @property
    def uncommitted(self) -> int | None:
        """The offset to commit, when the broker does not have it, or not with these floors."""
        if self.floors != self.noted:
            return self._start if self.position is None else self.position
        return None if self.position == self.committed else self.position

    def take(self, count: int = 1, *, first: int | None = None) -> None:
        """Note that so many more records are in hand; `first` is the offset of the first of them."""
        if self._start is None:
            self._start = first
        self._open += count

    def inherit(self, floors: Mapping[str, int]) -> None:
        """Begin with the floors that the last owner of the partition left."""
        self.noted = floors
        self.floors = {**floors, **self.floors}
        self.ready = True

    def raise_floor(self, data_type: str, position: int) -> None:
        """Note that models of a journal position score records of this claim."""
        if position > self.floors.get(data_type, 0):
            self.floors = {**self.floors, data_type: position}

    def finish(self, position: int, count: int) -> None:
        """Note that the brokers have what `count` records, the last ones before `position`, came to."""
        self.position = position
        self._open -= count

    def discard(self, count: int = 1) -> None:
        """Note that the newest records in hand will not be worked on: they are read again."""
        self._open -= count


class Claims:
    """All claims of this consumer."""

    def __init__(self) -> None:
        self._claims: dict[Place, Claim] = {}

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._claims.values())

    def get(self, place: Place) -> Claim | None:
        """Return the claim on a partition; None when it is not assigned."""
        return self._claims.get(place)

    def add(self, places: Iterable[Place], *, ready: bool = True) -> None:
        """Claim partitions that were assigned."""
        for place in places:
            claim = self._claims[place] = Claim(*place)
            claim.ready = ready

    def only(self, places: Iterable[Place]) -> list[Claim]:
        """Return the claims on those of `places` that are claimed."""
        return [self._claims[place] for place in places if place in self._claims]

    def release(self, places: Iterable[Place]) -> None:
        """Give partitions up; unfinished records of theirs come to nothing here."""
        for place in places:
            if (claim := self._claims.pop(place, None)) is not None:
                claim.released = True

    def uncommitted(self) -> list[tuple[Claim, int]]:
        """Return the claims of which the broker does not have all, with the offset to commit."""
        return [
            (claim, position)
            for claim in self._claims.values()
            if (position := claim.uncommitted) is not None
        ]
