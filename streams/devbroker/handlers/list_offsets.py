"""ListOffsets and OffsetForLeaderEpoch: where a log begins, ends, or was at some time."""

from dataclasses import dataclass

from repertory.streams.devbroker.batch import LEADER_EPOCH
from repertory.streams.devbroker.codec import Writer
from repertory.streams.devbroker.partition import Partition
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.request import Node, Request

_LATEST, _EARLIEST, _MAX_TIMESTAMP = -1, -2, -3
_READ_COMMITTED = 1


@dataclass(frozen=True)
class _Place:
    index: int
    error: ErrorCode
    timestamp: int = -1
    offset: int = -1


async def list_offsets(node: Node, request: Request) -> Writer:
    """Find offsets by time; -1, -2 and -3 stand for the end, the start, the latest timestamp."""
    read, version = request.read, request.version
    read.int32()  # replica
    isolation = read.int8() if version >= 2 else 0

    def partition(topic: str) -> _Place:
        index = read.int32()
        if version >= 4:
            read.int32()  # the leader epoch that the client knows
        timestamp = read.int64()
        read.tags()
        try:
            log = node.topics.partition(topic, index)
            offset, found = _find(log, timestamp, committed_only=isolation == _READ_COMMITTED)
        except Refused as error:
            return _Place(index, error.code)
        return _Place(index, ErrorCode.NONE, found, offset)

    def topic() -> tuple[str, list[_Place]]:
        name = read.string()
        places = read.array(lambda: partition(name))
        read.tags()
        return name, places

    topics = read.array(topic)
    writer = request.throttled(since=2)

    def write(place: _Place) -> None:
        writer.int32(place.index).int16(place.error).int64(place.timestamp).int64(place.offset)
        if version >= 4:
            writer.int32(LEADER_EPOCH if place.offset >= 0 else -1)
        writer.tags()

    writer.array(topics, lambda each: writer.string(each[0]).array(each[1], write).tags())
    return writer.tags()


def _find(log: Partition, timestamp: int, *, committed_only: bool) -> tuple[int, int]:
    if timestamp == _LATEST:
        return (log.stable_end if committed_only else log.end), -1
    if timestamp == _EARLIEST:
        return log.start, -1
    if timestamp == _MAX_TIMESTAMP:
        return log.latest_timestamp()
    return log.offset_for(timestamp)


async def offset_for_leader_epoch(node: Node, request: Request) -> Writer:
    """Tell where the only leader epoch there is ends: at the end of the log."""
    read = request.read
    if request.version >= 3:
        read.int32()  # replica

    def partition(topic: str) -> _Place:
        index = read.int32()
        read.int32()  # the leader epoch that the client knows
        read.int32()  # the one it asks about
        try:
            return _Place(index, ErrorCode.NONE, offset=node.topics.partition(topic, index).end)
        except Refused as error:
            return _Place(index, error.code)

    def topic() -> tuple[str, list[_Place]]:
        name = read.string()
        return name, read.array(lambda: partition(name))

    topics = read.array(topic)
    writer = request.throttled(since=2)

    def write(place: _Place) -> None:
        writer.int16(place.error).int32(place.index).int32(LEADER_EPOCH).int64(place.offset)

    return writer.array(topics, lambda each: writer.string(each[0]).array(each[1], write))
