"""Produce: record batches from producers."""

from dataclasses import dataclass

from repertory.streams.devbroker.batch import HEADER_SIZE, read_header
from repertory.streams.devbroker.codec import Writer
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.request import Node, Request

_ACKS_NONE = 0
_ACKS = (-1, _ACKS_NONE, 1)  # with one replica, -1 (all) and 1 are the same


@dataclass
class _Outcome:
    index: int
    offset: int = -1
    start: int = -1
    refused: Refused | None = None


async def produce(node: Node, request: Request) -> Writer | None:
    """Append each partition's batch. Once answered, it survives the end of this process."""
    read = request.read
    read.nullable_string()  # the transactional id; batches carry their producer's id
    acks = read.int16()
    read.int32()  # timeout

    def partition(topic: str) -> _Outcome:
        return _append(node, acks, topic, index=read.int32(), data=read.blob())

    def topic() -> tuple[str, list[_Outcome]]:
        name = read.string()
        return name, read.array(lambda: partition(name))

    topics = read.array(topic)
    if acks == _ACKS_NONE:
        for _, outcomes in topics:
            for outcome in outcomes:
                if outcome.refused:
                    raise outcome.refused  # closing the connection is the only way to tell
        return None
    return _answer(request, topics)


def _append(node: Node, acks: int, topic: str, *, index: int, data: memoryview) -> _Outcome:
    try:
        if acks not in _ACKS:
            raise Refused(ErrorCode.INVALID_REQUIRED_ACKS, f"acks={acks}; -1, 0 and 1 are allowed")
        partition = node.topics.partition(topic, index)
        if len(data) >= HEADER_SIZE:
            header = read_header(data)
            if header.transactional:
                node.transactions.check_batch(header, (topic, index))
        offset = partition.append(data, verify=node.settings.verify_checksums)
        partition.wake()
    except Refused as error:
        return _Outcome(index, refused=error)
    return _Outcome(index, offset, partition.start)


def _answer(request: Request, topics: list[tuple[str, list[_Outcome]]]) -> Writer:
    writer = request.answer()

    def partition(outcome: _Outcome) -> None:
        error = outcome.refused
        writer.int32(outcome.index).int16(error.code if error else ErrorCode.NONE)
        writer.int64(outcome.offset).int64(-1)  # timestamps are the producer's
        if request.version >= 5:
            writer.int64(outcome.start)
        if request.version >= 8:
            writer.array((), writer.int32).string(str(error) if error else None)

    writer.array(topics, lambda each: writer.string(each[0]).array(each[1], partition))
    return writer.int32(0)
