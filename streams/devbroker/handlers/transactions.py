"""InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn."""

from repertory.streams.devbroker.codec import Writer
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.request import Node, Request
from repertory.streams.devbroker.transactions import ProducerIdentity

_NOBODY = ProducerIdentity(-1, -1)


def _producer(request: Request) -> ProducerIdentity:
    return ProducerIdentity(request.read.int64(), request.read.int16())


async def init_producer_id(node: Node, request: Request) -> Writer:
    """Give a producer its id and epoch."""
    transactional_id, timeout_ms = request.read.nullable_string(), request.read.int32()
    producer, error = _NOBODY, ErrorCode.NONE
    try:
        if transactional_id is None:
            producer = node.transactions.new_producer()
        elif transactional_id:
            producer = node.transactions.init_producer(transactional_id, timeout_ms)
        else:
            raise Refused(ErrorCode.INVALID_REQUEST, "the transactional id is empty")
    except Refused as refused:
        error = refused.code
    return request.throttled(since=0).int16(error).int64(producer.producer_id).int16(producer.epoch)


async def add_partitions_to_txn(node: Node, request: Request) -> Writer:
    """Let a transaction write to partitions: to all those named, or none."""
    read = request.read
    transactional_id, producer = read.string(), _producer(request)
    topics = read.array(lambda: (read.string(), read.array(read.int32)))
    partitions = [(name, index) for name, indexes in topics for index in indexes]
    error = ErrorCode.NONE
    try:
        for name, index in partitions:
            node.topics.partition(name, index)
        node.transactions.add_partitions(transactional_id, producer, partitions)
    except Refused as refused:
        error = refused.code
    writer = request.throttled(since=0)

    def topic(name: str, indexes: list[int]) -> None:
        writer.string(name).array(indexes, lambda index: writer.int32(index).int16(error))

    return writer.array(topics, lambda each: topic(*each))


async def add_offsets_to_txn(node: Node, request: Request) -> Writer:
    """Let a transaction commit offsets of a consumer group."""
    transactional_id, producer = request.read.string(), _producer(request)
    error = ErrorCode.NONE
    try:
        node.transactions.add_group(transactional_id, producer, request.read.string())
    except Refused as refused:
        error = refused.code
    return request.throttled(since=0).int16(error)


async def end_txn(node: Node, request: Request) -> Writer:
    """Commit or abort a transaction."""
    transactional_id, producer = request.read.string(), _producer(request)
    error = ErrorCode.NONE
    try:
        node.transactions.end(transactional_id, producer, commit=request.read.boolean())
    except Refused as refused:
        error = refused.code
    return request.throttled(since=0).int16(error)
