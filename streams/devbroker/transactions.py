"""Producer ids and transactions.

A transaction ends in three steps, so that a sudden end of the broker between any two of them leaves
nothing half done: (1) the decision is written to the journal, (2) each partition gets its marker,
(3) the journal says that it has ended, in one event with the consumer offsets it carried. After a
start, a transaction that was decided but had not ended goes through steps 2 and 3 again.

States and legal transitions, as in Apache Kafka:

EMPTY            nothing sent yet                  -> ONGOING
ONGOING          partitions or groups were added   -> PREPARE_COMMIT, PREPARE_ABORT
PREPARE_COMMIT   decided, markers being written    -> COMPLETE_COMMIT
PREPARE_ABORT    decided, markers being written    -> COMPLETE_ABORT
COMPLETE_COMMIT  ended                             -> ONGOING
COMPLETE_ABORT   ended                             -> ONGOING
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from repertory.streams.devbroker.batch import BatchHeader
from repertory.streams.devbroker.journal import Event, MetadataJournal
from repertory.streams.devbroker.offsets import (
    Committed,
    CommittedOffsets,
    Positions,
    from_rows,
    to_rows,
)
from repertory.streams.devbroker.partition import Partition
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.topics import TopicPartition, Topics

_FIRST_PRODUCER_ID = 1000
_LAST_EPOCH = 32_000  # well below what 16 bits hold


class TransactionState(StrEnum):
    """Where a transaction stands; the transitions are drawn above."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


_PREPARED = (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)


class ProducerIdentity(NamedTuple):
    """Who a producer says it is."""

    producer_id: int
    epoch: int


@dataclass
class Transaction:
    """A transactional id, its producer, and its present or last transaction."""

    transactional_id: str
    producer: ProducerIdentity
    timeout: float
    state: TransactionState = TransactionState.EMPTY
    partitions: set[TopicPartition] = field(default_factory=set)
    offsets: dict[str, dict[TopicPartition, Committed]] = field(default_factory=dict)
    started: float = 0.0

    def event(self) -> Event:
        """Return the event that tells of this transaction as it is."""
        return (
            "transaction",
            self.transactional_id,
            *self.producer,
            self.timeout,
            self.state,
            sorted(self.partitions),
            {group: to_rows(positions) for group, positions in self.offsets.items()},
        )


class Transactions:
    """All producers with a transactional id, and the counter of producer ids."""

    def __init__(
        self,
        journal: MetadataJournal,
        topics: Topics,
        offsets: CommittedOffsets,
        *,
        max_timeout_ms: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._topics = topics
        self._offsets = offsets
        self._max_timeout_ms = max_timeout_ms
        self._clock = clock
        self._next_producer_id = _FIRST_PRODUCER_ID
        self._by_id: dict[str, Transaction] = {}
        self._by_producer: dict[int, Transaction] = {}

    # Journal

    def replay(self, event: Event) -> None:
        """Take over what an event of the journal says; to be followed by `open`."""
        match event:
            case ("producer id", following):
                self._next_producer_id = max(self._next_producer_id, following)
            case ("transaction", key, producer_id, epoch, timeout, state, partitions, offsets):
                self._add(
                    Transaction(
                        transactional_id=key,
                        producer=ProducerIdentity(producer_id, epoch),
                        timeout=timeout,
                        state=TransactionState(state),
                        partitions={(topic, index) for topic, index in partitions},
                        offsets={group: from_rows(rows) for group, rows in offsets.items()},
                    )
                )
            case ("ended", key, producer_id, epoch, timeout, state, _):
                self._add(
                    Transaction(
                        transactional_id=key,
                        producer=ProducerIdentity(producer_id, epoch),
                        timeout=timeout,
                        state=TransactionState(state),
                    )
                )

    def open(self) -> None:
        """Finish what was decided, and give what is ongoing its timeout from now on."""
        for transaction in self._by_id.values():
            transaction.started = self._clock()
        self._finish_prepared()

    def events(self) -> Iterator[Event]:
        """Yield the events that tell of the transactions as they are."""
        yield "producer id", self._next_producer_id
        for transaction in self._by_id.values():
            yield transaction.event()

    # Requests

    def new_producer(self) -> ProducerIdentity:
        """Return the identity of a producer without transactions."""
        producer = ProducerIdentity(self._next_producer_id, 0)
        self._next_producer_id += 1
        self._journal.append(("producer id", self._next_producer_id))
        return producer

    def init_producer(self, transactional_id: str, timeout_ms: int) -> ProducerIdentity:
        """Return the identity of this transactional producer, shutting out all earlier ones.

        A transaction that an earlier one left open is aborted. Raises Refused.
        """
        if not 0 < timeout_ms <= self._max_timeout_ms:
            raise Refused(
                ErrorCode.INVALID_TRANSACTION_TIMEOUT,
                f"transaction.timeout.ms {timeout_ms}: 1 to {self._max_timeout_ms} are allowed",
            )
        transaction = self._by_id.get(transactional_id)
        if transaction is None:
            transaction = Transaction(transactional_id, self.new_producer(), timeout_ms / 1000)
        else:
            self._refuse_while_prepared(transaction)
            self._shut_out(transaction)
            transaction.timeout = timeout_ms / 1000
            transaction.state = TransactionState.EMPTY
        self._add(transaction)
        self._journal.append(transaction.event())
        return transaction.producer

    def add_partitions(
        self, transactional_id: str, who: ProducerIdentity, partitions: Iterable[TopicPartition]
    ) -> None:
        """Let a transaction write to these partitions, which exist. Raises Refused."""
        transaction = self._current(transactional_id, who)
        self._begin(transaction)
        transaction.partitions.update(partitions)
        self._journal.append(transaction.event())

    def add_group(self, transactional_id: str, who: ProducerIdentity, group: str) -> None:
        """Let a transaction commit offsets of this consumer group. Raises Refused."""
        transaction = self._current(transactional_id, who)
        self._begin(transaction)
        transaction.offsets.setdefault(group, {})
        self._journal.append(transaction.event())

    def add_offsets(
        self, transactional_id: str, who: ProducerIdentity, group: str, *, positions: Positions
    ) -> None:
        """Have offsets committed if the transaction is. Raises Refused."""
        transaction = self._current(transactional_id, who)
        if group not in transaction.offsets:
            raise Refused(
                ErrorCode.INVALID_TXN_STATE, f"group {group!r} was not added to the transaction"
            )
        transaction.offsets[group].update(positions)
        self._journal.append(transaction.event())

    def end(self, transactional_id: str, who: ProducerIdentity, *, commit: bool) -> None:
        """Commit or abort; once more does no harm. Raises Refused."""
        transaction = self._current(transactional_id, who)
        complete = TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT
        if transaction.state is TransactionState.ONGOING:
            self._end(transaction, commit=commit)
        elif transaction.state is not complete:
            raise Refused(
                ErrorCode.INVALID_TXN_STATE,
                f"the transaction of {transactional_id!r} is {transaction.state}",
            )

    def check_batch(self, header: BatchHeader, partition: TopicPartition) -> None:
        """Raise Refused unless this transactional batch belongs to an ongoing transaction."""
        transaction = self._by_producer.get(header.producer_id)
        if transaction is None:
            raise Refused(
                ErrorCode.INVALID_PRODUCER_ID_MAPPING,
                f"producer {header.producer_id} has no transactional id",
            )
        self._check_epoch(transaction, header.producer_epoch)
        if partition not in transaction.partitions:
            raise Refused(
                ErrorCode.INVALID_TXN_STATE, f"{partition} was not added to the transaction"
            )

    def pending(self, group: str) -> frozenset[TopicPartition]:
        """Return the partitions of which transactions that are not ended hold offsets of a group."""
        return frozenset(
            place
            for transaction in self._by_id.values()
            for place in transaction.offsets.get(group, ())
        )

    def tick(self) -> None:
        """Abort what has timed out, and finish what an error left half done."""
        now = self._clock()
        self._finish_prepared()
        for transaction in self._by_id.values():
            overdue = now - transaction.started > transaction.timeout
            if transaction.state is TransactionState.ONGOING and overdue:
                self._shut_out(transaction)

    # Steps

    def _begin(self, transaction: Transaction) -> None:
        if transaction.state is not TransactionState.ONGOING:
            transaction.state = TransactionState.ONGOING
            transaction.started = self._clock()

    def _end(self, transaction: Transaction, *, commit: bool) -> None:
        transaction.state = (
            TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT
        )
        self._journal.append(transaction.event())  # 1
        self._finish(transaction, transaction.partitions)

    def _finish_prepared(self) -> None:
        for transaction in self._by_id.values():
            if transaction.state in _PREPARED:
                self._finish(
                    transaction,
                    {key for key in transaction.partitions if self._is_open(transaction, key)},
                )

    def _is_open(self, transaction: Transaction, key: TopicPartition) -> bool:
        partition = self._partition(key)
        return partition is not None and partition.producers.is_open(
            transaction.producer.producer_id
        )

    def _partition(self, key: TopicPartition) -> Partition | None:
        try:
            return self._topics.partition(*key)
        except Refused:
            return None  # the topic was deleted meanwhile

    def _finish(self, transaction: Transaction, partitions: set[TopicPartition]) -> None:
        commit = transaction.state is TransactionState.PREPARE_COMMIT
        for key in sorted(partitions):  # 2
            partition = self._partition(key)
            if partition is not None:
                partition.end_transaction(*transaction.producer, commit=commit)
        complete = TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT
        offsets = transaction.offsets if commit else {}
        self._journal.append(  # 3
            (
                "ended",
                transaction.transactional_id,
                *transaction.producer,
                transaction.timeout,
                complete,
                {group: to_rows(positions) for group, positions in offsets.items()},
            )
        )
        for group, positions in offsets.items():
            self._offsets.put(group, positions)
        transaction.state = complete
        transaction.partitions, transaction.offsets = set(), {}

    def _shut_out(self, transaction: Transaction) -> None:
        """Abort what is ongoing, and let nobody go on who knows the present epoch only."""
        producer_id, epoch = transaction.producer
        if epoch < _LAST_EPOCH:
            transaction.producer = ProducerIdentity(producer_id, epoch + 1)
        if transaction.state is TransactionState.ONGOING:
            self._end(transaction, commit=False)
        if epoch >= _LAST_EPOCH:
            del self._by_producer[producer_id]
            transaction.producer = self.new_producer()
            self._add(transaction)

    def _add(self, transaction: Transaction) -> None:
        self._by_id[transaction.transactional_id] = transaction
        self._by_producer[transaction.producer.producer_id] = transaction

    def _current(self, transactional_id: str, who: ProducerIdentity) -> Transaction:
        transaction = self._by_id.get(transactional_id)
        if transaction is None or transaction.producer.producer_id != who.producer_id:
            raise Refused(
                ErrorCode.INVALID_PRODUCER_ID_MAPPING,
                f"producer {who.producer_id} is not that of {transactional_id!r}",
            )
        self._check_epoch(transaction, who.epoch)
        self._refuse_while_prepared(transaction)
        return transaction

    @staticmethod
    def _check_epoch(transaction: Transaction, epoch: int) -> None:
        if epoch != transaction.producer.epoch:
            raise Refused(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"{transaction.transactional_id!r} has epoch {transaction.producer.epoch} by now, "
                f"not {epoch}: another producer took over, or the transaction timed out",
            )

    @staticmethod
    def _refuse_while_prepared(transaction: Transaction) -> None:
        if transaction.state in _PREPARED:
            raise Refused(
                ErrorCode.CONCURRENT_TRANSACTIONS,
                f"the last transaction of {transaction.transactional_id!r} is still being ended",
            )
