"""The record batch (message format 2), seen from outside: its header of 61 bytes.

The records inside stay opaque, mostly compressed by the producer; `records.py` looks into them
where that cannot be avoided. The broker sets two fields of a batch, base offset and leader epoch,
and both lie outside the checksum.

Source: https://kafka.apache.org/documentation/#recordbatch
"""

import struct
import time
from typing import NamedTuple

from repertory.streams.devbroker.checksum import crc32c

HEADER_SIZE = 61
LEADER_EPOCH = 0  # there is only ever one leader
_LAYOUT = struct.Struct(">qiibIhiqqqhii")
_STAMP = struct.Struct(">qiib")  # base offset, length, leader epoch, magic
_CHECKED_FROM = 21  # the checksum covers all from the attributes on
_BEFORE_LENGTH = 12  # bytes before those that the length field counts
_SEQUENCES = 1 << 31  # sequence numbers wrap round to 0 here

_COMPRESSION = 0x07
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_DELETE_HORIZON = 0x40


class BatchHeader(NamedTuple):
    """The fields of a batch's header, in their order on the wire."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return _BEFORE_LENGTH + self.length

    @property
    def last_offset(self) -> int:
        """Offset of the last record, or where that was before compaction."""
        return self.base_offset + self.last_offset_delta

    @property
    def last_sequence(self) -> int:
        """Sequence number of the last record."""
        return (self.base_sequence + self.last_offset_delta) % _SEQUENCES

    @property
    def compression(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
        return self.attributes & _COMPRESSION

    @property
    def transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def control(self) -> bool:
        """Whether the batch is the marker that ends a transaction."""
        return bool(self.attributes & _CONTROL)

    @property
    def delete_horizon(self) -> int | None:
        """When the tombstones inside may go, ms since 1970 (KIP-534); None: not yet decided."""
        return self.base_timestamp if self.attributes & _DELETE_HORIZON else None

    def with_horizon(self, horizon: int) -> "BatchHeader":
        """Return the header with a delete horizon, to which record timestamps are then relative."""
        return self._replace(attributes=self.attributes | _DELETE_HORIZON, base_timestamp=horizon)

    def without_horizon(self, base_timestamp: int) -> "BatchHeader":
        """Return the header of an ordinary batch, with this base timestamp."""
        return self._replace(
            attributes=self.attributes & ~_DELETE_HORIZON, base_timestamp=base_timestamp
        )


def read_header(data: bytes | bytearray | memoryview, place: int = 0) -> BatchHeader:
    """Read the header at `place`; the caller sees to it that there are HEADER_SIZE bytes."""
    return BatchHeader._make(_LAYOUT.unpack_from(data, place))


def sequence_after(sequence: int) -> int:
    """Return the sequence number that follows this one."""
    return (sequence + 1) % _SEQUENCES


def checksum_matches(header: BatchHeader, batch: bytes | memoryview) -> bool:
    """Whether the batch is what its producer wrote."""
    return crc32c(memoryview(batch)[_CHECKED_FROM : header.size]) == header.crc


def stamp(batch: bytes | memoryview, offset: int) -> bytearray:
    """Return a copy of the batch, with its base offset and leader epoch set."""
    stamped = bytearray(batch)
    _, length, _, magic = _STAMP.unpack_from(stamped)
    _STAMP.pack_into(stamped, 0, offset, length, LEADER_EPOCH, magic)
    return stamped


def build(header: BatchHeader, records: bytes) -> bytes:
    """Return a batch of this header and these encoded records; length and checksum are set."""
    header = header._replace(
        length=HEADER_SIZE - _BEFORE_LENGTH + len(records), leader_epoch=LEADER_EPOCH
    )
    data = bytearray(_LAYOUT.pack(*header) + records)
    struct.pack_into(">I", data, _CHECKED_FROM - 4, crc32c(memoryview(data)[_CHECKED_FROM:]))
    return bytes(data)


def end_marker(producer_id: int, producer_epoch: int, *, commit: bool) -> bytes:
    """Return the control batch that commits or aborts a producer's transaction."""
    key = struct.pack(">hh", 0, 1 if commit else 0)  # version, type
    value = struct.pack(">hi", 0, 0)  # version, coordinator epoch
    # Attributes, timestamp delta, offset delta, key length 4, key, value length 6, value, headers.
    record = b"\x00\x00\x00\x08" + key + b"\x0c" + value + b"\x00"
    now = int(time.time() * 1000)
    header = BatchHeader(
        base_offset=0,
        length=0,
        leader_epoch=LEADER_EPOCH,
        magic=2,
        crc=0,
        attributes=_TRANSACTIONAL | _CONTROL,
        last_offset_delta=0,
        base_timestamp=now,
        max_timestamp=now,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=-1,
        records=1,
    )
    return build(header, bytes([2 * len(record)]) + record)
