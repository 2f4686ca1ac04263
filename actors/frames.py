"""Frames: how an Envelope and its payload travel over a door.

uint32 BE: bytes that follow | uint32 BE: bytes of the Envelope | Envelope | payload
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError

from repertory.errors import ProtocolError
from repertory.protos.door_pb2 import Envelope

PROTOCOL_VERSION = 1

# Models never travel in frames, so what is larger than this is a mistake or an attack.
FRAME_LIMIT = 128 * 1024 * 1024

_HEAD = struct.Struct(">II")


class Frame(NamedTuple):
    """One message of a door."""

    envelope: Envelope
    payload: bytes


def encode_frame(envelope: Envelope, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    head = envelope.SerializeToString()
    return _HEAD.pack(4 + len(head) + len(payload), len(head)) + head + payload


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self._buffer = bytearray()
        self.limit = limit  # of bytes of a frame; may be changed at any time

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Yield the frames that `data` completes.

        Raises ProtocolError for what cannot be a frame; the stream is lost then.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _HEAD.size:
                length, head = _HEAD.unpack_from(buffer, start)
                if length > self.limit or head > length - 4:
                    raise ProtocolError(f"a frame of {length} bytes with a head of {head}")
                end = start + 4 + length
                if len(buffer) < end:
                    break
                middle = start + _HEAD.size + head
                yield Frame(
                    _envelope(bytes(buffer[start + _HEAD.size : middle])),
                    bytes(memoryview(buffer)[middle:end]),
                )
                start = end
        finally:
            del buffer[:start]


def _envelope(data: bytes) -> Envelope:
    try:
        return Envelope.FromString(data)
    except DecodeError as error:
        raise ProtocolError(f"not an Envelope: {error}") from error
