"""One partition: its log in segments, its producers, and those who wait for more."""

import asyncio
import bisect
import contextlib
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

from repertory.streams.devbroker.batch import (
    HEADER_SIZE,
    BatchHeader,
    checksum_matches,
    end_marker,
    read_header,
    stamp,
)
from repertory.streams.devbroker.producers import AbortedTransaction, Producers
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.records import read_records, readable
from repertory.streams.devbroker.segment import LogDamaged, Segment
from repertory.streams.devbroker.topic_config import TopicConfig

CLEANED = ".cleaned"
"""Suffix of the files that compaction is still writing."""
_START_FILE = "start"
_COMMIT = 1  # type of the control record that commits


class Partition:
    """An append-only log of record batches, kept in a folder of its own.

    What `append` returned for survives the sudden end of this process; with `durable` also a
    power failure. Batches that were torn by such an end are dropped when the log is opened.
    """

    def __init__(
        self,
        folder: Path,
        config: TopicConfig,
        *,
        durable: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.config = config
        self.clock = clock
        self.durable = durable
        self.producers = Producers()
        self.segments: list[Segment] = []
        self.start = 0  # offset of the first record that may be read
        self.end = 0  # offset that the next record gets; also the high watermark
        self.cleaned_to = 0  # offset up to which the cleaner has been, since the log was opened
        self._waiters: set[asyncio.Future[None]] = set()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._load()

    def _load(self) -> None:
        for leftover in self.folder.glob(f"*{CLEANED}"):
            leftover.unlink()  # of a compaction that did not finish
        paths = Segment.paths_in(self.folder)
        for path in paths:
            if self.segments and int(path.stem) < self.end:
                path.unlink()  # compaction moved its batches to the segment before, then died
                continue
            self._load_segment(path, is_last=path == paths[-1])
        if self.segments:
            self.start = self.segments[0].base
        with contextlib.suppress(FileNotFoundError):
            self.start = max(self.start, int((self.folder / _START_FILE).read_text()))
        self.end = max(self.end, self.start)
        if not self.segments:
            self.roll()

    def _load_segment(self, path: Path, *, is_last: bool) -> None:
        segment = Segment(path, durable=self.durable)
        self.end = max(self.end, segment.base)
        for header, batch in segment.load():
            self._remember(header, batch)
            self.end = header.last_offset + 1
        if segment.torn and not is_last:
            raise LogDamaged(
                f"{path}: no batch at byte {segment.size}, although later segments exist; "
                "restore the file, or delete the data folder to start afresh"
            )
        segment.cut()
        self.segments.append(segment)

    def _remember(self, header: BatchHeader, batch: bytes) -> None:
        if header.control:
            (record,) = read_records(header, batch)
            (kind,) = struct.unpack_from(">h", record.key or b"\0\0\0\0", 2)
            self.producers.ended(header.producer_id, header.base_offset, commit=kind == _COMMIT)
        else:
            self.producers.written(header, header.base_offset)

    @property
    def active(self) -> Segment:
        """The segment that is appended to."""
        return self.segments[-1]

    @property
    def stable_end(self) -> int:
        """Offset up to which every transaction has ended: the last stable offset."""
        first_open = self.producers.first_open
        return self.end if first_open is None else first_open

    def roll(self) -> None:
        """Begin a new segment."""
        self.segments.append(Segment(Segment.path_in(self.folder, self.end), durable=self.durable))

    def append(self, data: bytes | memoryview, *, verify: bool = True) -> int:
        """Append one batch from a producer, unless it is there already; return its offset.

        Raises Refused, and then the log is as before: the batch is not whole, does not match its
        checksum (if `verify`), is too large, has records without a key in a compacted topic, or is
        not the one that its producer must send next.
        """
        header = self._check(data, verify=verify)
        duplicate = self.producers.duplicate_of(header)
        if duplicate is not None:
            return duplicate
        return self._append(header, data)

    def _check(self, data: bytes | memoryview, *, verify: bool) -> BatchHeader:
        header = check_frame(data)
        if header.size > self.config.max_message_bytes:
            raise Refused(
                ErrorCode.MESSAGE_TOO_LARGE,
                f"the batch has {header.size} bytes, max.message.bytes of the topic is "
                f"{self.config.max_message_bytes}",
            )
        if verify and not checksum_matches(header, data):
            raise Refused(ErrorCode.CORRUPT_MESSAGE, "the batch does not match its checksum")
        if self.config.compacts and readable(header):
            for record in read_records(header, bytes(data)):
                if record.key is None:
                    raise Refused(
                        ErrorCode.INVALID_RECORD, "a record of a compacted topic needs a key"
                    )
        return header

    def end_transaction(self, producer_id: int, epoch: int, *, commit: bool) -> None:
        """Append the marker that ends a producer's transaction here, and wake those who wait."""
        marker = end_marker(producer_id, epoch, commit=commit)
        offset = self._append(read_header(marker), marker)
        self.producers.ended(producer_id, offset, commit=commit)
        self.wake()

    def _append(self, header: BatchHeader, data: bytes | memoryview) -> int:
        offset = self.end
        full = self.active.size + header.size > self.config.segment_bytes
        age_ms = (self.clock() - self.active.born) * 1000
        if self.active.size and (full or age_ms > self.config.segment_ms):
            self.roll()
        try:
            self.active.append(header._replace(base_offset=offset), stamp(data, offset))
        except OSError as error:
            raise Refused(
                ErrorCode.KAFKA_STORAGE_ERROR, f"cannot write {self.active.path}: {error.strerror}"
            ) from error
        if not header.control:
            self.producers.written(header, offset)
        self.end = offset + header.last_offset_delta + 1
        return offset

    def read(self, offset: int, limit: int, max_bytes: int, *, at_least_one: bool) -> bytes:
        """Return whole batches from the one with `offset` on, of those that start before `limit`.

        No more than `max_bytes`, unless the first batch alone is larger and `at_least_one`.
        """
        parts: list[bytes] = []
        left = max_bytes
        for segment in self.segments[self._segment_at(offset) :]:
            if segment.base >= limit or (left <= 0 and (parts or not at_least_one)):
                break
            part, after = segment.read(offset, limit, left, at_least_one=at_least_one and not parts)
            if part:
                parts.append(part)
                left -= len(part)
                offset = after
            if after <= segment.last:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _segment_at(self, offset: int) -> int:
        return max(0, bisect.bisect_right(self.segments, offset, key=lambda each: each.base) - 1)

    def offset_for(self, timestamp: int) -> tuple[int, int]:
        """Return offset and timestamp of the first record this late or later; (-1, -1) if none.

        Of a snappy, lz4 or zstd batch that has such a record it is the batch's first record.
        """
        for segment in self.segments:
            if segment.max_timestamp < timestamp:
                continue
            for batch in segment.batches(timestamp):
                header = read_header(batch)
                if header.control:
                    continue
                if not readable(header):
                    if header.last_offset >= self.start:
                        return max(header.base_offset, self.start), header.base_timestamp
                    continue
                for record in read_records(header, batch):
                    if record.timestamp >= timestamp and record.offset >= self.start:
                        return record.offset, record.timestamp
        return -1, -1

    def latest_timestamp(self) -> tuple[int, int]:
        """Return offset and timestamp of the record with the latest timestamp; (-1, -1) if none."""
        latest = max((segment.max_timestamp for segment in self.segments), default=-1)
        return self.offset_for(latest) if latest >= 0 else (-1, -1)

    def aborted(self, first: int, last: int) -> list[AbortedTransaction]:
        """Return the aborted transactions that a reader of these offsets must leave out."""
        return self.producers.aborted(first, last)

    def delete_before(self, offset: int) -> None:
        """Make all records before this offset unreadable, for good. Never goes back."""
        if offset <= self.start:
            return
        temporary = self.folder / f"{_START_FILE}.new"
        temporary.write_text(str(offset))
        os.replace(temporary, self.folder / _START_FILE)
        self.start = offset
        while len(self.segments) > 1 and self.segments[1].base <= offset:
            self.segments.pop(0).remove()
        self.producers.forget_before(offset)

    def watch(self, waiter: asyncio.Future[None]) -> None:
        """Have the next `wake` resolve this future."""
        self._waiters.add(waiter)

    def unwatch(self, waiter: asyncio.Future[None]) -> None:
        """Take back `watch`."""
        self._waiters.discard(waiter)

    def wake(self) -> None:
        """Tell those who wait that there is something new to read."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def close(self) -> None:
        """Close the files; the partition is not used afterwards."""
        self.wake()
        for segment in self.segments:
            segment.close()
        self.segments.clear()

    def remove(self) -> None:
        """Close the partition and delete its folder."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def check_frame(data: bytes | memoryview) -> BatchHeader:
    """Return the header of data that is one whole batch of records, as a producer may send it.

    Raises Refused with a code that tells what is wrong.
    """
    if len(data) < 17:
        raise Refused(ErrorCode.CORRUPT_MESSAGE, f"{len(data)} bytes are no batch")
    if data[16] != 2:
        raise Refused(
            ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT,
            f"message format {data[16]} is not supported, only 2 (Kafka 0.11 and later)",
        )
    if len(data) < HEADER_SIZE:
        raise Refused(ErrorCode.CORRUPT_MESSAGE, f"{len(data)} bytes are no batch")
    header = read_header(data)
    if header.length < HEADER_SIZE - 12 or header.size > len(data):
        raise Refused(
            ErrorCode.CORRUPT_MESSAGE,
            f"the batch says it has {header.size} bytes, {len(data)} came",
        )
    if header.size < len(data):
        raise Refused(ErrorCode.INVALID_RECORD, "more than one batch for the same partition")
    if header.control:
        raise Refused(ErrorCode.INVALID_RECORD, "only the broker writes control batches")
    if header.records < 1 or header.last_offset_delta != header.records - 1:
        raise Refused(
            ErrorCode.INVALID_RECORD,
            f"{header.records} records, the last one with offset delta {header.last_offset_delta}",
        )
    return header
