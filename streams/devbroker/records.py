"""The records inside a batch, for batches that the standard library can unpack.

Needed for three things only: which record of a batch a timestamp falls on, whether records of a
compacted topic have keys, and compaction itself. Plain and gzip batches can be read; snappy, lz4
and zstd cannot: see `readable`.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from repertory.streams.devbroker.batch import HEADER_SIZE, BatchHeader, build
from repertory.streams.devbroker.protocol import ErrorCode, Refused

_PLAIN, _GZIP = 0, 1
_GZIP_WINDOW = 31  # zlib: expect a gzip header


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `rest` is its encoding from the key on."""

    attributes: int
    timestamp: int
    offset: int
    key: bytes | None
    tombstone: bool
    rest: bytes


def readable(header: BatchHeader) -> bool:
    """Whether the standard library can unpack the batch's records."""
    return header.compression in (_PLAIN, _GZIP)


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the zigzag number at `place`, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), place
        shift += 7


def write_varint(value: int) -> bytes:
    """Return the zigzag encoding of the number."""
    value = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_records(header: BatchHeader, batch: bytes) -> Iterator[Record]:
    """Yield the records of a readable batch. Raises Refused(INVALID_RECORD) if they are garbage."""
    try:
        data = batch[HEADER_SIZE : header.size]
        if header.compression == _GZIP:
            data = zlib.decompress(data, _GZIP_WINDOW)
        place = 0
        for _ in range(header.records):
            length, place = read_varint(data, place)
            end = place + length
            if length < 0 or end > len(data):
                raise IndexError(end)
            yield _read_record(header, data[place:end])
            place = end
    except (IndexError, zlib.error) as error:
        raise Refused(ErrorCode.INVALID_RECORD, f"the records cannot be read: {error}") from error


def _read_record(header: BatchHeader, data: bytes) -> Record:
    timestamp, place = read_varint(data, 1)
    offset, place = read_varint(data, place)
    rest = data[place:]
    key_length, place = read_varint(data, place)
    key = None
    if key_length >= 0:
        key = data[place : place + key_length]
        place += key_length
    value_length, _ = read_varint(data, place)
    return Record(
        attributes=data[0],
        timestamp=header.base_timestamp + timestamp,
        offset=header.base_offset + offset,
        key=key,
        tombstone=value_length < 0,
        rest=rest,
    )


def rebuild(header: BatchHeader, records: list[Record]) -> bytes:
    """Return the batch with these records only; its offsets, sequence and producer stay.

    Timestamps keep their value, also when the header's base timestamp became a delete horizon.
    """
    encoded = bytearray()
    for record in records:
        body = (
            bytes([record.attributes])
            + write_varint(record.timestamp - header.base_timestamp)
            + write_varint(record.offset - header.base_offset)
            + record.rest
        )
        encoded += write_varint(len(body)) + body
    latest = max((record.timestamp for record in records), default=header.max_timestamp)
    data = bytes(encoded)
    if header.compression == _GZIP:
        data = gzip.compress(data, mtime=0)
    return build(header._replace(records=len(records), max_timestamp=latest), data)
