"""What a partition remembers of the producers that wrote to it.

Idempotence: the last five batches of each producer, so that one sent twice is stored once.
Transactions: which are open, and which were aborted, so that readers can leave those out.
All of it can be rebuilt by reading the batch headers of the log.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from repertory.streams.devbroker.batch import BatchHeader, sequence_after
from repertory.streams.devbroker.protocol import ErrorCode, Refused

_REMEMBERED = 5  # batches; a producer has at most this many in flight


class _Written(NamedTuple):
    first_sequence: int
    last_sequence: int
    offset: int


@dataclass
class _Producer:
    epoch: int
    written: deque[_Written] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class AbortedTransaction(NamedTuple):
    """A producer's records from `first_offset` up to its marker at `last_offset` do not count."""

    producer_id: int
    first_offset: int
    last_offset: int


class Producers:
    """The producers of one partition."""

    def __init__(self) -> None:
        self._producers: dict[int, _Producer] = {}
        self._open: dict[int, int] = {}  # first offset of the transaction, by producer id
        self._aborted: list[AbortedTransaction] = []

    def duplicate_of(self, header: BatchHeader) -> int | None:
        """Return the offset at which this batch is in the log already; None if it is the next one.

        Raises Refused: INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER or
        DUPLICATE_SEQUENCE_NUMBER (too old to know its offset).
        """
        known = self._producers.get(header.producer_id)
        if header.producer_id < 0 or known is None or not known.written:
            return None
        sequence = header.base_sequence
        if header.producer_epoch < known.epoch:
            raise Refused(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"producer {header.producer_id} has epoch {known.epoch} by now, "
                f"not {header.producer_epoch}",
            )
        if header.producer_epoch > known.epoch:
            expected = 0
        else:
            for written in known.written:
                if written[:2] == (sequence, header.last_sequence):
                    return written.offset
            expected = sequence_after(known.written[-1].last_sequence)
        if sequence == expected:
            return None
        code = ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
        if header.producer_epoch == known.epoch and sequence < expected:
            code = ErrorCode.DUPLICATE_SEQUENCE_NUMBER
        raise Refused(
            code,
            f"producer {header.producer_id} sent sequence number {sequence}, not {expected}",
        )

    def written(self, header: BatchHeader, offset: int) -> None:
        """Remember a batch of records that is in the log now."""
        if header.producer_id < 0:
            return
        known = self._producers.get(header.producer_id)
        if known is None or known.epoch != header.producer_epoch:
            known = self._producers[header.producer_id] = _Producer(header.producer_epoch)
        known.written.append(_Written(header.base_sequence, header.last_sequence, offset))
        if header.transactional:
            self._open.setdefault(header.producer_id, offset)

    def ended(self, producer_id: int, offset: int, *, commit: bool) -> None:
        """Remember a marker that is in the log now."""
        first = self._open.pop(producer_id, None)
        if first is not None and not commit:
            self._aborted.append(AbortedTransaction(producer_id, first, offset))

    @property
    def first_open(self) -> int | None:
        """Offset of the first record whose transaction is open; None if there is none."""
        return min(self._open.values()) if self._open else None

    def is_open(self, producer_id: int) -> bool:
        """Whether the producer has a transaction open here."""
        return producer_id in self._open

    def aborted(self, first: int, last: int) -> list[AbortedTransaction]:
        """Return the aborted transactions that have records or their marker in this range."""
        return [
            transaction
            for transaction in self._aborted
            if transaction.last_offset >= first and transaction.first_offset <= last
        ]

    def last_offsets(self) -> set[int]:
        """Return the base offset of each producer's last batch, which compaction keeps."""
        return {known.written[-1].offset for known in self._producers.values() if known.written}

    def forget_before(self, offset: int) -> None:
        """Forget aborted transactions of which nothing is left."""
        self._aborted = [item for item in self._aborted if item.last_offset >= offset]
