"""What the slots of a data type say of the same records, pair by pair."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from repertory.actors.batch import ScoredColumns
from repertory.actors.policies.answers import Answers, SlotAnswer
from repertory.actors.policies.pair import Pair
from repertory.config import MEBIBYTE

# Seconds. Answers that are later are not compared: a slot that hangs must not hold others' answers.
PATIENCE = 2.0
# Batches whose answers are kept; with more, the oldest is compared with what is there.
MOST_OPEN = 256
# Or with more than this in their columns: some models know thousands of labels.
MOST_BYTES = 64 * MEBIBYTE


@dataclass(slots=True)
class _Open:
    begun: float
    count: int
    asked: NDArray[np.bool_]
    missing: set[int]
    answers: dict[int, SlotAnswer] = field(default_factory=dict)
    bytes: int = 0


class Comparison:
    """Compares each batch once, when all slots that were asked have answered or failed.

    One for each policy in force; shadows are slots, too. Used by one thread.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        tolerance: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Values within `tolerance` agree. `wall` is asked once: minutes are told by it."""
        self._names = tuple(names)
        self._tolerance = tolerance
        self._clock = clock
        self._epoch = wall() - clock()
        self._open: dict[int, _Open] = {}  # the oldest first
        self._bytes = 0
        self._pairs = {pair: Pair(tolerance) for pair in combinations(range(len(names)), 2)}

    def __len__(self) -> int:
        """Return how many batches are still waited for."""
        return len(self._open)

    def begin(self, number: int, count: int, asked: NDArray[np.bool_]) -> None:
        """Expect answers to a batch of `count` records; `asked` is bool[slots, records]."""
        missing = set(np.flatnonzero(asked.any(axis=1)).tolist())
        if len(missing) < 2:
            return
        self._open[number] = _Open(self._clock(), count, asked, missing)
        if len(self._open) > MOST_OPEN:
            self._compare(next(iter(self._open)))

    def arrived(
        self, number: int, slot: int, columns: ScoredColumns, rows: NDArray[np.intp] | None
    ) -> None:
        """Take what a slot says of the records `rows` (None: of all)."""
        batch = self._open.get(number)
        if batch is not None and slot in batch.missing:
            batch.answers[slot] = SlotAnswer(columns, rows)
            size = _bytes(columns)
            batch.bytes += size
            self._bytes += size
            self._settle(number, batch, slot)
            while self._bytes > MOST_BYTES:
                self._compare(next(iter(self._open)))

    def failed(self, number: int, slot: int) -> None:
        """Take it that a slot will not answer."""
        batch = self._open.get(number)
        if batch is not None and slot in batch.missing:
            self._settle(number, batch, slot)

    def expire(self) -> None:
        """Compare what is there of batches that are older than PATIENCE."""
        oldest = self._clock() - PATIENCE
        while self._open:
            number, batch = next(iter(self._open.items()))
            if batch.begun > oldest:
                return
            self._compare(number)

    def _settle(self, number: int, batch: _Open, slot: int) -> None:
        batch.missing.remove(slot)
        if not batch.missing:
            self._compare(number)

    def _compare(self, number: int) -> None:
        batch = self._open.pop(number)
        self._bytes -= batch.bytes
        if len(batch.answers) < 2:
            return
        arrived = tuple(batch.answers.get(slot) for slot in range(len(self._names)))
        answers = Answers(batch.count, batch.asked, arrived, np.zeros_like(batch.asked))
        minute = self._minute()
        for pair in combinations(sorted(batch.answers), 2):
            self._pairs[pair].count(answers, *pair, minute=minute)

    def _minute(self) -> int:
        return int((self._epoch + self._clock()) // 60)

    def merge(self, other: "Comparison") -> None:
        """Count what another, of the same slots, counted. Raises ValueError for other slots."""
        if other._names != self._names:
            raise ValueError(f"{self._names} cannot be merged with {other._names}")
        for slots, pair in self._pairs.items():
            pair.merge(other._pairs[slots])

    def as_json(self) -> dict[str, Any]:
        """Return all pairs, ordered by rank, as `GET /compare` answers them."""
        minute = self._minute()
        return {
            "pairs": [
                {"slots": [self._names[slot] for slot in slots], **pair.as_json(minute=minute)}
                for slots, pair in self._pairs.items()
            ]
        }

    def sketches(self) -> list[dict[str, Any]]:
        """Return, by pair, what `as_json` does not tell and merging needs, for JSON."""
        return [pair.sketch() for pair in self._pairs.values()]

    @classmethod
    def read(
        cls,
        told: Sequence[Mapping[str, Any]],
        sketches: Sequence[Mapping[str, Any]],
        *,
        at_ms: int,
    ) -> Self:
        """Return what the `pairs` of `as_json` and `sketches` tell, to be merged and told again.

        `at_ms` (epoch) is now to it, for ever: minutes are told as of then.
        """
        names = tuple(dict.fromkeys(name for pair in told for name in pair["slots"]))
        found = cls(names, clock=lambda: at_ms / 1000, wall=lambda: at_ms / 1000)
        for slots, pair, sketch in zip(found._pairs, told, sketches, strict=True):
            found._pairs[slots] = Pair.read(pair, sketch)
        return found


def _bytes(columns: ScoredColumns) -> int:
    held = (columns.values, columns.chosen, columns.probabilities, *columns.extras.values())
    return sum(each.nbytes for each in held if each is not None)


def merged(one: Comparison, other: Comparison) -> Comparison:
    """Return what two nodes counted of the same slots, as one would have; neither changes.

    Batches that are still open are in neither. Raises ValueError for other slots.
    """
    whole = Comparison(one._names, tolerance=one._tolerance, clock=one._clock)
    whole._epoch = one._epoch
    whole.merge(one)
    whole.merge(other)
    return whole
