"""Which dead letters of a partition were replayed. Pure.

As with any consumer group there is a position, below which all were. What was replayed out of
turn, because it was chosen, is told by a note that is stored with the position: runs of offsets
within which all letters of a kind were replayed. As letters are chosen by their kind, one run says
it for millions, however much the kinds are mixed.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson

from repertory.streams.dead_letters import DeadLetter

NOTE_CHARACTERS = 4000  # Kafka takes 4096 (`offset.metadata.max.bytes`)

Run = tuple[int, int]  # the first offset, and the one after the last


class Replayed:
    """What is known of one partition, and what a scan of it adds.

    A scan tells all letters in order, from `position` or below it, each with `sent` or `passed`;
    `has` answers by what was known before the scan.
    """

    def __init__(self, position: int = 0, note: str = "", *, first: int = 0) -> None:
        """Take up what was stored; nothing is below the offset `first`."""
        self.position = max(position, first)
        """All letters below this were replayed."""
        self.forgotten = False
        """Whether the note had no room for all that was replayed."""
        self._known = _parsed(note, position)
        self._seen: dict[str, list[Run]] = {}
        self._open: set[str] = set()  # kinds whose last run ends with the last letter of the kind
        self._whole = True  # no letter was passed over yet
        self._reached = self.position

    def has(self, letter: DeadLetter) -> bool:
        """Whether a letter was replayed."""
        runs = self._known.get(_kind(letter), ())
        at = letter.offset
        return at < self.position or any(first <= at < end for first, end in runs)

    def sent(self, letter: DeadLetter) -> None:
        """Take note that the next letter of the scan is replayed, now or since long."""
        if letter.offset < self.position:
            return
        self.reach(letter.offset + 1)
        if self._whole:
            return
        kind, run = _kind(letter), (letter.offset, letter.offset + 1)
        runs = self._seen.setdefault(kind, [])
        if kind in self._open:
            run = (runs.pop()[0], letter.offset + 1)
        runs.append(run)
        self._open.add(kind)

    def passed(self, letter: DeadLetter) -> None:
        """Take note that the next letter of the scan is not replayed."""
        if letter.offset < self.position:
            return
        self._whole = False
        self._open.discard(_kind(letter))
        self.reach(letter.offset + 1)

    def reach(self, offset: int) -> None:
        """Take note that the scan has seen everything below `offset`."""
        self._reached = max(self._reached, offset)
        if self._whole:
            self.position = self._reached

    def add(self, letter: DeadLetter) -> None:
        """Take note, outside of a scan, that one letter was replayed."""
        if not self.has(letter):
            runs = self._known.setdefault(_kind(letter), [])
            runs.append((letter.offset, letter.offset + 1))

    def note(self) -> str:
        """Return what is to be stored with the position.

        What there is no room for is forgotten, the shortest runs first.
        """
        runs = sorted(self._runs(), key=lambda each: each[2] - each[1])
        text = _written(runs, self.position)
        while len(text) > NOTE_CHARACTERS:
            self.forgotten = True
            runs = runs[len(runs) // 8 + 1 :]
            text = _written(runs, self.position)
        return text

    def _runs(self) -> Iterator[tuple[str, int, int]]:
        for kind, runs in self._seen.items():
            yield from ((kind, *run) for run in runs)
        for kind, runs in self._known.items():
            for first, end in runs:
                if end > self._reached:  # below, the scan knows better
                    yield kind, max(first, self._reached), end


def _kind(letter: DeadLetter) -> str:
    """Return what letters are chosen by, short."""
    topic = letter.source.topic if letter.source else ""
    text = f"{topic}\x00{letter.data_type}\x00{letter.code}"
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=5).hexdigest()


def _written(runs: list[tuple[str, int, int]], position: int) -> str:
    found: dict[str, list[list[int]]] = {}
    for kind, first, end in sorted(runs):
        found.setdefault(kind, []).append([first - position, end - first])
    return orjson.dumps(found).decode() if found else ""


def _parsed(note: str, position: int) -> dict[str, list[Run]]:
    """Read a note; one that another program wrote says nothing."""
    try:
        document: dict[str, Any] = orjson.loads(note or "{}")
        return {
            kind: [(position + first, position + first + count) for first, count in runs]
            for kind, runs in document.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}
