"""CreateTopics, CreatePartitions, DeleteTopics, DeleteRecords."""

from collections.abc import Callable
from dataclasses import dataclass

from repertory.streams.devbroker.codec import Reader, Writer
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.request import Node, Request

_DEFAULT = -1
_END = -1


@dataclass(frozen=True)
class _NewTopic:
    name: str
    count: int
    replicas: int
    assigned: dict[int, list[int]]
    config: dict[str, str]


def _outcome(action: Callable[[], object]) -> tuple[ErrorCode, str | None]:
    try:
        action()
    except Refused as error:
        return error.code, str(error)
    return ErrorCode.NONE, None


def _assignment(read: Reader) -> tuple[int, list[int]]:
    return read.int32(), read.array(read.int32)


def _new_topic(read: Reader) -> _NewTopic:
    name, count, replicas = read.string(), read.int32(), read.int16()
    assigned = dict(read.array(lambda: _assignment(read)))
    config = dict(read.array(lambda: (read.string(), read.nullable_string())))
    own = {key: value for key, value in config.items() if value is not None}
    return _NewTopic(name, count, replicas, assigned, own)


async def create_topics(node: Node, request: Request) -> Writer:
    """Create topics, or only check whether that could be done."""
    read = request.read
    wanted = read.array(lambda: _new_topic(read))
    read.int32()  # timeout
    check_only = request.version >= 1 and read.boolean()
    writer = request.throttled(since=2)

    def create(topic: _NewTopic) -> None:
        error, message = _outcome(lambda: _create(node, topic, check_only=check_only))
        writer.string(topic.name).int16(error)
        if request.version >= 1:
            writer.string(message)

    return writer.array(wanted, create)


def _create(node: Node, topic: _NewTopic, *, check_only: bool) -> None:
    if topic.replicas not in (_DEFAULT, 1):
        raise Refused(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"replication factor {topic.replicas}: the development broker is a single node",
        )
    count = topic.count
    if topic.assigned:
        count = len(topic.assigned)
    elif count == _DEFAULT:
        count = max(node.settings.default_partitions, 1)
    if check_only:
        node.topics.check_new(topic.name, count, topic.config)
    else:
        node.topics.create(topic.name, count, topic.config)


async def create_partitions(node: Node, request: Request) -> Writer:
    """Add partitions to topics."""
    read = request.read
    wanted = read.array(
        lambda: (
            read.string(),
            read.int32(),
            read.nullable_array(lambda: read.array(read.int32)),
        )
    )
    read.int32()  # timeout
    check_only = read.boolean()
    grow = node.topics.check_growth if check_only else node.topics.grow
    writer = request.throttled(since=0)

    def write(name: str, count: int) -> None:
        error, message = _outcome(lambda: grow(name, count))
        writer.string(name).int16(error).string(message)

    return writer.array(wanted, lambda item: write(item[0], item[1]))


async def delete_topics(node: Node, request: Request) -> Writer:
    """Delete topics, with the offsets committed in them."""
    names = request.read.array(request.read.string)
    writer = request.throttled(since=1)

    def delete(name: str) -> None:
        error, _ = _outcome(lambda: node.topics.delete(name))
        if not error:
            node.offsets.drop_topic(name)
        writer.string(name).int16(error)

    return writer.array(names, delete)


async def delete_records(node: Node, request: Request) -> Writer:
    """Delete the records before an offset; -1 stands for the end."""
    read = request.read

    def partition(topic: str) -> tuple[int, int, ErrorCode]:
        index, offset = read.int32(), read.int64()
        try:
            log = node.topics.partition(topic, index)
            offset = log.end if offset == _END else offset
            if not 0 <= offset <= log.end:
                raise Refused(ErrorCode.OFFSET_OUT_OF_RANGE, f"the log ends at {log.end}")
            log.delete_before(offset)
        except Refused as error:
            return index, _DEFAULT, error.code
        return index, log.start, ErrorCode.NONE

    def topic() -> tuple[str, list[tuple[int, int, ErrorCode]]]:
        name = read.string()
        return name, read.array(lambda: partition(name))

    topics = read.array(topic)
    writer = request.throttled(since=0)

    def write(outcome: tuple[int, int, ErrorCode]) -> None:
        index, start, error = outcome
        writer.int32(index).int64(start).int16(error)

    return writer.array(topics, lambda each: writer.string(each[0]).array(each[1], write))
