"""Adaptive batching: at once while nobody works, together while somebody does. Pure."""

from collections import deque
from collections.abc import Collection, Iterable

from repertory.streams.claims import Claim
from repertory.streams.record import Record

# A batch travels in one frame of a door, which holds 128 MiB; this also bounds how long a large
# batch keeps the router's loop from the others.
BATCH_BYTES = 4 * 1024 * 1024

# Enough for scoring to overlap with reading: so many batches, and what comes in a tenth of a second.
QUEUE_BATCHES = 8
QUEUE_RECORDS = 4096
QUEUE_BYTES = 32 * 1024 * 1024


class Batcher:
    """The records of one data type that wait, and when they are due as a batch."""

    def __init__(self, max_batch: int, max_delay: float) -> None:
        self._max_batch = max_batch
        self._max_delay = max_delay
        self._most = max(QUEUE_BATCHES * max_batch, QUEUE_RECORDS)
        self._waiting: deque[tuple[float, Record]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether no more records should be added: memory is bounded."""
        return len(self._waiting) >= self._most or self._bytes >= QUEUE_BYTES

    @property
    def has_room(self) -> bool:
        """Whether it is half empty: worth to be filled again."""
        return 2 * len(self._waiting) <= self._most and 2 * self._bytes <= QUEUE_BYTES

    def add(self, records: Iterable[Record], now: float) -> None:
        """Queue records that came at the time `now` (seconds, any clock)."""
        for record in records:
            self._waiting.append((now, record))
            self._bytes += record.size

    def due_in(self, now: float, *, idle: bool) -> float | None:
        """Return in how many seconds a batch is due; None while there is nothing.

        0 when whoever scores is `idle`, a batch is full, or a record has waited long enough.
        """
        if not self._waiting:
            return None
        if idle or len(self._waiting) >= self._max_batch or self._bytes >= BATCH_BYTES:
            return 0.0
        return max(0.0, self._waiting[0][0] + self._max_delay - now)

    def take(self) -> list[Record]:
        """Remove and return the next batch: at least one record if there is any."""
        batch: list[Record] = []
        size = 0
        while self._waiting and len(batch) < self._max_batch:
            record = self._waiting[0][1]
            if batch and size + record.size > BATCH_BYTES:
                break
            self._waiting.popleft()
            batch.append(record)
            size += record.size
        self._bytes -= size
        return batch

    def discard(self, claims: Collection[Claim]) -> None:
        """Remove the records of `claims`, and tell the claims."""
        kept: deque[tuple[float, Record]] = deque()
        for arrived, record in self._waiting:
            if record.claim in claims:
                record.claim.discard()
                self._bytes -= record.size
            else:
                kept.append((arrived, record))
        self._waiting = kept
