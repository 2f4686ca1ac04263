"""Fetch: record batches to consumers, waiting for some if there are none."""

import asyncio
import itertools
from dataclasses import dataclass

from repertory.streams.devbroker.batch import read_header
from repertory.streams.devbroker.codec import Reader, Writer
from repertory.streams.devbroker.partition import Partition
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.request import Node, Request

_MOST = 55 * 1024 * 1024  # bytes in one answer; Kafka's fetch.max.bytes
_READ_COMMITTED = 1


@dataclass(frozen=True)
class _Wish:
    """What is wanted of one partition."""

    topic: str
    index: int
    offset: int
    max_bytes: int


@dataclass(frozen=True)
class _Wishes:
    """A whole request."""

    wait_seconds: float
    min_bytes: int
    max_bytes: int
    committed_only: bool
    partitions: list[_Wish]


@dataclass(frozen=True)
class _Found:
    """What there is of it."""

    wish: _Wish
    partition: Partition | None
    error: ErrorCode = ErrorCode.NONE
    data: bytes = b""


async def fetch(node: Node, request: Request) -> Writer:
    """Answer when there is enough to read, something is wrong, or the time is up."""
    wishes = _read(request.read, request.version)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wishes.wait_seconds
    while True:
        found = _find(node, wishes)
        left = deadline - loop.time()
        enough = sum(len(each.data) for each in found) >= max(wishes.min_bytes, 1)
        if enough or left <= 0 or any(each.error for each in found):
            return _answer(request, found, committed_only=wishes.committed_only)
        await _wait(request, found, left)


def _read(read: Reader, version: int) -> _Wishes:
    read.int32()  # replica
    wait_ms, min_bytes, max_bytes, isolation = (
        read.int32(),
        read.int32(),
        read.int32(),
        read.int8(),
    )
    if version >= 7:
        read.int32()  # session id, and its epoch: every fetch is a full one here
        read.int32()

    def partition(topic: str) -> _Wish:
        index = read.int32()
        if version >= 9:
            read.int32()  # the leader epoch that the consumer knows
        offset = read.int64()
        if version >= 5:
            read.int64()  # a follower's log start
        return _Wish(topic, index, offset, read.int32())

    def topic() -> list[_Wish]:
        name = read.string()
        return read.array(lambda: partition(name))

    partitions = list(itertools.chain.from_iterable(read.array(topic)))
    return _Wishes(
        wait_seconds=wait_ms / 1000,
        min_bytes=min_bytes,
        max_bytes=min(max_bytes, _MOST),
        committed_only=isolation == _READ_COMMITTED,
        partitions=partitions,
    )


def _find(node: Node, wishes: _Wishes) -> list[_Found]:
    found: list[_Found] = []
    left = wishes.max_bytes
    for wish in wishes.partitions:
        try:
            partition = node.topics.partition(wish.topic, wish.index)
        except Refused as error:
            found.append(_Found(wish, None, error.code))
            continue
        if not partition.start <= wish.offset <= partition.end:
            found.append(_Found(wish, partition, ErrorCode.OFFSET_OUT_OF_RANGE))
            continue
        data = partition.read(
            wish.offset,
            partition.stable_end if wishes.committed_only else partition.end,
            min(left, wish.max_bytes),
            at_least_one=left == wishes.max_bytes,  # nothing found yet
        )
        left -= len(data)
        found.append(_Found(wish, partition, data=data))
    return found


async def _wait(request: Request, found: list[_Found], seconds: float) -> None:
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    partitions = [each.partition for each in found if each.partition is not None]
    for partition in partitions:
        partition.watch(waiter)
    try:
        await request.peer.wait(waiter, seconds)
    finally:
        for partition in partitions:
            partition.unwatch(waiter)


def _answer(request: Request, found: list[_Found], *, committed_only: bool) -> Writer:
    version = request.version
    writer = request.throttled(since=1)
    if version >= 7:
        writer.int16(ErrorCode.NONE).int32(0)  # no session

    def partition(each: _Found) -> None:
        log = each.partition
        writer.int32(each.wish.index).int16(each.error)
        writer.int64(log.end if log else -1).int64(log.stable_end if log else -1)
        if version >= 5:
            writer.int64(log.start if log else -1)
        _write_aborted(writer, each, committed_only=committed_only)
        if version >= 11:
            writer.int32(-1)  # no other replica to read from
        writer.blob(each.data)

    by_topic = [
        (topic, list(group))
        for topic, group in itertools.groupby(found, lambda each: each.wish.topic)
    ]
    return writer.array(by_topic, lambda item: writer.string(item[0]).array(item[1], partition))


def _write_aborted(writer: Writer, found: _Found, *, committed_only: bool) -> None:
    if not committed_only:
        writer.null_array()
        return
    aborted = []
    if found.data and found.partition is not None:
        aborted = found.partition.aborted(found.wish.offset, _last_offset(found.data))
    writer.array(aborted, lambda each: writer.int64(each.producer_id).int64(each.first_offset))


def _last_offset(data: bytes) -> int:
    place = 0
    while True:
        header = read_header(data, place)
        place += header.size
        if place >= len(data):
            return header.last_offset
