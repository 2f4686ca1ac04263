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


def _existing(node: Node, topics: _Topics) -> dict[TopicPartition, Committed]:
    return {
        (name, row.index): row.committed
        for name, rows in topics
        for row in rows
        if name in node.topics and 0 <= row.index < len(node.topics.topic(name).partitions)
    }


def _write_errors(
    writer: Writer, topics: _Topics, *, stored: dict[TopicPartition, Committed], error: ErrorCode
) -> Writer:
    def row(name: str, index: int) -> None:
        missing = (name, index) not in stored
        code = error or (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if missing else ErrorCode.NONE)
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
    positions = _existing(node, topics)
    error = ErrorCode.NONE
    try:
        who = Identity(member_id=member_id, instance_id=instance_id, generation=generation)
        node.groups.check_commit(group_id, who)
        node.offsets.commit(group_id, positions)
    except Refused as refused:
        error = refused.code
    return _write_errors(request.throttled(since=3), topics, stored=positions, error=error)


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
    positions = _existing(node, topics)
    error = ErrorCode.NONE
    try:
        if who.member_id or who.generation >= 0:
            node.groups.check_commit(group_id, who)
        node.transactions.add_offsets(transactional_id, producer, group_id, positions=positions)
    except Refused as refused:
        error = refused.code
    return _write_errors(request.throttled(since=0), topics, stored=positions, error=error)


async def offset_fetch(node: Node, request: Request) -> Writer:
    """Tell a group's offsets: of the partitions asked about, or all."""
    read, version = request.read, request.version
    positions = node.offsets.of(read.string())
    wanted = read.nullable_array(lambda: (read.string(), read.array(read.int32)))
    if wanted is None:
        by_topic: dict[str, list[int]] = {}
        for name, index in sorted(positions):
            by_topic.setdefault(name, []).append(index)
        wanted = list(by_topic.items())
    writer = request.throttled(since=3)

    def partition(name: str, index: int) -> None:
        committed = positions.get((name, index), _NOTHING)
        writer.int32(index).int64(committed.offset)
        if version >= 5:
            writer.int32(-1)  # leader epoch
        writer.string(committed.metadata).int16(ErrorCode.NONE)

    def topic(name: str, indexes: list[int]) -> None:
        writer.string(name).array(indexes, lambda index: partition(name, index))

    writer.array(wanted, lambda each: topic(*each))
    return writer.int16(ErrorCode.NONE) if version >= 2 else writer
