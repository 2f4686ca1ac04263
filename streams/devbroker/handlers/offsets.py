"""OffsetCommit, OffsetFetch, TxnOffsetCommit: where consumer groups stand."""

from dataclasses import dataclass

from repertory.streams.devbroker.codec import Writer
from repertory.streams.devbroker.group_messages import Identity
from repertory.streams.devbroker.offsets import Committed
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.request import Node, Request
from repertory.streams.devbroker.topics import TopicPartition
from repertory.streams.devbroker.transactions import ProducerIdentity

_NOTHING = Committed(-1, "")
_MOST_METADATA = 4096  # characters, as in Apache Kafka


@dataclass(frozen=True)
class _Row:
    index: int
    committed: Committed


_Topics = list[tuple[str, list[_Row]]]


def _read_rows(request: Request, *, epoch_since: int) -> _Topics:
    read = request.read

    def row() -> _Row:
        index, offset = read.int32(), read.int64()
        if request.version >= epoch_since:
            read.int32()  # the leader epoch of the record before
        note = read.nullable_string()
        read.tags()
        return _Row(index, Committed(offset, note))

    def topic() -> tuple[str, list[_Row]]:
        name, rows = read.string(), read.array(row)
        read.tags()
        return name, rows

    return read.array(topic)


@dataclass(frozen=True)
class _Sorted:
    """What is stored of a request, and why the rest is not."""

    stored: dict[TopicPartition, Committed]
    refused: dict[TopicPartition, ErrorCode]


def _sort(node: Node, topics: _Topics) -> _Sorted:
    found = _Sorted({}, {})
    for name, rows in topics:
        count = len(node.topics.topic(name).partitions) if name in node.topics else 0
        for row in rows:
            if not 0 <= row.index < count:
                found.refused[name, row.index] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            elif len(row.committed.metadata or "") > _MOST_METADATA:
                found.refused[name, row.index] = ErrorCode.OFFSET_METADATA_TOO_LARGE
            else:
                found.stored[name, row.index] = row.committed
    return found


def _write_errors(writer: Writer, topics: _Topics, found: _Sorted, error: ErrorCode) -> Writer:
    def row(name: str, index: int) -> None:
        code = error or found.refused.get((name, index), ErrorCode.NONE)
        writer.int32(index).int16(code).tags()

    def topic(name: str, rows: list[_Row]) -> None:
        writer.string(name).array(rows, lambda each: row(name, each.index)).tags()

    return writer.array(topics, lambda each: topic(*each)).tags()


async def offset_commit(node: Node, request: Request) -> Writer:
    """Store a group's offsets, all that one request brings in one step."""
    read, version = request.read, request.version
    group_id = read.string()
    generation, member_id = read.int32(), read.string()
    instance_id = read.nullable_string() if version >= 7 else None
    if version <= 4:
        read.int64()  # how long to keep the offsets: here for ever
    topics = _read_rows(request, epoch_since=6)
    found = _sort(node, topics)
    error = ErrorCode.NONE
    try:
        who = Identity(member_id=member_id, instance_id=instance_id, generation=generation)
        node.groups.check_commit(group_id, who)
        node.offsets.commit(group_id, found.stored)
    except Refused as refused:
        error = refused.code
    return _write_errors(request.throttled(since=3), topics, found, error)


async def txn_offset_commit(node: Node, request: Request) -> Writer:
    """Add a group's offsets to a transaction; version 3 says which member commits them."""
    read, version = request.read, request.version
    transactional_id, group_id = read.string(), read.string()
    producer = ProducerIdentity(read.int64(), read.int16())
    who = Identity(member_id="", instance_id=None, generation=-1)
    if version >= 3:
        who = Identity(
            generation=read.int32(), member_id=read.string(), instance_id=read.nullable_string()
        )
    topics = _read_rows(request, epoch_since=2)
    found = _sort(node, topics)
    error = ErrorCode.NONE
    try:
        node.groups.check_commit(group_id, who, transactional=True)
        node.transactions.add_offsets(transactional_id, producer, group_id, positions=found.stored)
    except Refused as refused:
        error = refused.code
    return _write_errors(request.throttled(since=0), topics, found, error)


async def offset_fetch(node: Node, request: Request) -> Writer:
    """Tell a group's offsets: of the partitions asked about, or all.

    From version 7 on, who asks for stable offsets is told to wait while a transaction that is not
    ended holds others (KIP-447).
    """
    read, version = request.read, request.version
    group_id = read.string()

    def asked() -> tuple[str, list[int]]:
        name, indexes = read.string(), read.array(read.int32)
        read.tags()
        return name, indexes

    wanted = read.nullable_array(asked)
    stable = version >= 7 and read.boolean()
    positions = node.offsets.of(group_id)
    pending = node.transactions.pending(group_id) if stable else frozenset()
    if wanted is None:
        by_topic: dict[str, list[int]] = {}
        for name, index in sorted({*positions, *pending}):
            by_topic.setdefault(name, []).append(index)
        wanted = list(by_topic.items())
    writer = request.throttled(since=3)

    def partition(name: str, index: int) -> None:
        unstable = (name, index) in pending
        committed = _NOTHING if unstable else positions.get((name, index), _NOTHING)
        writer.int32(index).int64(committed.offset)
        if version >= 5:
            writer.int32(-1)  # leader epoch
        code = ErrorCode.UNSTABLE_OFFSET_COMMIT if unstable else ErrorCode.NONE
        writer.string(committed.metadata).int16(code).tags()

    def topic(name: str, indexes: list[int]) -> None:
        writer.string(name).array(indexes, lambda index: partition(name, index)).tags()

    writer.array(wanted, lambda each: topic(*each))
    return (writer.int16(ErrorCode.NONE) if version >= 2 else writer).tags()
