"""Transactions: who may go on, what becomes visible, what a sudden end leaves behind."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.devbroker.conftest import Clock, make_batch, values

from repertory.streams.devbroker.batch import read_header
from repertory.streams.devbroker.journal import MetadataJournal
from repertory.streams.devbroker.offsets import Committed, CommittedOffsets
from repertory.streams.devbroker.producers import AbortedTransaction
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.topics import Topics
from repertory.streams.devbroker.transactions import ProducerIdentity, Transactions

TRANSACTIONAL = 0x10
TIMEOUT_MS = 60_000


@dataclass
class Broker:
    """What takes part in transactions, without the network."""

    journal: MetadataJournal
    topics: Topics
    offsets: CommittedOffsets
    transactions: Transactions

    def produce(self, text: str, producer: ProducerIdentity, sequence: int = 0) -> None:
        batch = make_batch(values(text), producer=(*producer, sequence), attributes=TRANSACTIONAL)
        self.transactions.check_batch(read_header(batch), ("t", 0))
        self.topics.partition("t", 0).append(batch)

    @property
    def stable_end(self) -> int:
        return self.topics.partition("t", 0).stable_end

    @property
    def aborted(self) -> list[AbortedTransaction]:
        return list(self.topics.partition("t", 0).aborted(0, 1 << 40))


@pytest.fixture
def open_broker(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Broker]]:
    """Return a function that opens the test's folder, as after a sudden end of what had it open."""
    opened: list[Broker] = []

    def close() -> None:
        for broker in opened:
            broker.topics.close()
            broker.journal.close()
        opened.clear()

    def open_broker() -> Broker:
        close()
        journal = MetadataJournal(tmp_path / "metadata.jsonl")
        topics = Topics(tmp_path / "logs", journal)
        offsets = CommittedOffsets(journal)
        transactions = Transactions(journal, topics, offsets, max_timeout_ms=900_000, clock=clock)
        for event in journal.read():
            for part in (topics, offsets, transactions):
                part.replay(event)
        topics.open()
        journal.rewrite([*topics.events(), *offsets.events(), *transactions.events()])
        transactions.open()
        opened.append(Broker(journal, topics, offsets, transactions))
        return opened[0]

    yield open_broker
    close()


@pytest.fixture
def broker(open_broker: Callable[[], Broker]) -> Broker:
    """Return a broker with the topic t."""
    broker = open_broker()
    broker.topics.create("t", 1, {})
    return broker


def begin(broker: Broker, transactional_id: str = "x") -> ProducerIdentity:
    """Return a producer with one record and one offset in an open transaction."""
    producer = broker.transactions.init_producer(transactional_id, TIMEOUT_MS)
    broker.transactions.add_partitions(transactional_id, producer, [("t", 0)])
    broker.produce("a", producer)
    broker.transactions.add_group(transactional_id, producer, "g")
    broker.transactions.add_offsets(
        transactional_id, producer, "g", positions={("t", 0): Committed(5, "note")}
    )
    return producer


def refused(action: Callable[[], object]) -> ErrorCode:
    """Return the code with which the action is refused."""
    with pytest.raises(Refused) as caught:
        action()
    return caught.value.code


def test_a_commit_shows_records_and_offsets_together(broker: Broker) -> None:
    producer = begin(broker)
    assert (broker.stable_end, broker.offsets.of("g")) == (0, {})
    broker.transactions.end("x", producer, commit=True)
    assert broker.stable_end == 2
    assert broker.offsets.of("g") == {("t", 0): (5, "note")}


def test_an_abort_hides_both(broker: Broker) -> None:
    producer = begin(broker)
    broker.transactions.end("x", producer, commit=False)
    assert (broker.stable_end, broker.offsets.of("g")) == (2, {})
    assert broker.aborted == [(producer.producer_id, 0, 1)]


@pytest.mark.parametrize("commit", [True, False])
def test_ending_once_more_is_no_error_ending_otherwise_is(broker: Broker, commit: bool) -> None:
    producer = begin(broker)
    broker.transactions.end("x", producer, commit=commit)
    broker.transactions.end("x", producer, commit=commit)
    assert refused(lambda: broker.transactions.end("x", producer, commit=not commit)) is (
        ErrorCode.INVALID_TXN_STATE
    )
    assert broker.stable_end == 2


def test_a_successor_aborts_what_its_predecessor_left_and_shuts_it_out(broker: Broker) -> None:
    zombie = begin(broker)
    successor = broker.transactions.init_producer("x", TIMEOUT_MS)
    assert successor == (zombie.producer_id, zombie.epoch + 1)
    assert broker.aborted == [(zombie.producer_id, 0, 1)]
    for action in (
        lambda: broker.produce("b", zombie, 1),
        lambda: broker.transactions.end("x", zombie, commit=True),
        lambda: broker.transactions.add_partitions("x", zombie, [("t", 0)]),
    ):
        assert refused(action) is ErrorCode.INVALID_PRODUCER_EPOCH


def test_an_abandoned_transaction_times_out(broker: Broker, clock: Clock) -> None:
    producer = begin(broker)
    clock.now += TIMEOUT_MS / 1000 - 1
    broker.transactions.tick()
    assert broker.stable_end == 0
    clock.now += 2
    broker.transactions.tick()
    assert (broker.stable_end, len(broker.aborted)) == (2, 1)
    assert refused(lambda: broker.produce("b", producer, 1)) is ErrorCode.INVALID_PRODUCER_EPOCH


def test_records_need_a_transaction_that_knows_their_partition(broker: Broker) -> None:
    producer = broker.transactions.init_producer("x", TIMEOUT_MS)
    assert refused(lambda: broker.produce("a", producer)) is ErrorCode.INVALID_TXN_STATE
    stranger = ProducerIdentity(4711, 0)
    assert refused(lambda: broker.produce("a", stranger)) is ErrorCode.INVALID_PRODUCER_ID_MAPPING


def test_offsets_need_a_transaction_that_knows_their_group(broker: Broker) -> None:
    producer = broker.transactions.init_producer("x", TIMEOUT_MS)
    code = refused(lambda: broker.transactions.add_offsets("x", producer, "g", positions={}))
    assert code is ErrorCode.INVALID_TXN_STATE


@pytest.mark.parametrize("timeout_ms", [0, -1, 900_001])
def test_an_impossible_timeout_is_refused(broker: Broker, timeout_ms: int) -> None:
    code = refused(lambda: broker.transactions.init_producer("x", timeout_ms))
    assert code is ErrorCode.INVALID_TRANSACTION_TIMEOUT


def test_an_open_transaction_goes_on_after_a_sudden_end(
    broker: Broker, open_broker: Callable[[], Broker]
) -> None:
    producer = begin(broker)
    broker = open_broker()
    assert broker.stable_end == 0
    broker.produce("b", producer, 1)
    broker.transactions.end("x", producer, commit=True)
    assert (broker.stable_end, broker.aborted) == (3, [])
    assert broker.offsets.of("g") == {("t", 0): (5, "note")}


@pytest.mark.parametrize("commit", [True, False])
def test_a_decision_holds_although_the_broker_died_at_any_step(
    broker: Broker, open_broker: Callable[[], Broker], tmp_path: Path, commit: bool
) -> None:
    broker.topics.create("u", 1, {})
    producer = begin(broker)
    broker.transactions.add_partitions("x", producer, [("u", 0)])
    log = broker.topics.partition("t", 0).active.path
    before = log.read_bytes()
    broker.transactions.end("x", producer, commit=commit)
    journal = tmp_path / "metadata.jsonl"
    decided = journal.read_bytes()
    ended = decided[: decided.rindex(b"\n", 0, -1) + 1]
    for journal_data, log_data in ((ended, before), (ended, log.read_bytes())):
        journal.write_bytes(journal_data + b'["ended","x",10')  # a torn line
        log.write_bytes(log_data)
        broker = open_broker()
        assert (broker.stable_end, len(broker.aborted)) == (2, 0 if commit else 1)
        assert broker.offsets.of("g") == ({("t", 0): (5, "note")} if commit else {})
        broker.transactions.end("x", producer, commit=commit)


def test_deleting_a_topic_does_not_keep_its_transaction_from_ending(broker: Broker) -> None:
    producer = begin(broker)
    broker.topics.delete("t")
    broker.transactions.end("x", producer, commit=True)
    assert ("t", 0) in broker.offsets.of("g")


def test_producer_ids_are_never_given_out_twice(
    broker: Broker, open_broker: Callable[[], Broker]
) -> None:
    first = [broker.transactions.new_producer(), broker.transactions.init_producer("x", 1)]
    broker = open_broker()
    second = [broker.transactions.new_producer(), broker.transactions.init_producer("y", 1)]
    assert len({producer.producer_id for producer in first + second}) == 4


def test_a_producer_that_used_up_its_epochs_gets_a_new_id(broker: Broker) -> None:
    first = broker.transactions.init_producer("x", TIMEOUT_MS)
    for _ in range(32_001):
        last = broker.transactions.init_producer("x", TIMEOUT_MS)
    assert (last.epoch, last.producer_id != first.producer_id) == (0, True)
