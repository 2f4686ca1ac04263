"""A connection that asks over gRPC, by frames of HTTP/2 that are made beforehand.

grpcio's client does far more for a call than that, at the cost of the server beside it. This one
knows as much of HTTP/2 (RFC 9113) as one call at a time needs: it does not decode headers, and takes
a message that came whole for success, for errors have none.
"""

import asyncio
import struct
from enum import IntEnum, IntFlag

from benchmarks.http_connection import Connection, Reply

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD_BYTES = 9
_MOST_FRAME = 16_384
# Replies may come without end: a window as large as there can be, of which 65,535 are there.
_WINDOW = struct.pack("!I", 2**31 - 1 - 65_535)
_POST, _HTTP = b"\x83", b"\x86"  # of the static table of RFC 7541
_AUTHORITY, _PATH = 0x01, 0x04  # names in it


class _Kind(IntEnum):
    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8


class _Flag(IntFlag):
    ACK = 1  # of SETTINGS and PING
    END_STREAM = 1
    END_HEADERS = 4


class GrpcConnection(Connection):
    """Unary calls of one method with one message, one after the other."""

    def __init__(self, method: str, message: bytes) -> None:
        super().__init__()
        headers = _headers(method)
        data = struct.pack("!BI", 0, len(message)) + message
        assert len(data) <= _MOST_FRAME
        # The number of the stream follows each of these.
        self._opens = _head(len(headers), _Kind.HEADERS, _Flag.END_HEADERS)
        self._sends = headers + _head(len(data), _Kind.DATA, _Flag.END_STREAM)
        self._message = data
        self._stream = -1
        self._buffer = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with settings as they are by default."""
        super().connection_made(transport)
        window = _frame(_Kind.WINDOW_UPDATE, _WINDOW)
        self._transport.write(_PREFACE + _frame(_Kind.SETTINGS, b"") + window)

    def ask(self, due: float) -> None:
        """Send the message on a stream of its own."""
        self.due = due
        self._stream += 2
        stream = self._stream.to_bytes(4)
        self._transport.write(b"".join((self._opens, stream, self._sends, stream, self._message)))

    def data_received(self, data: bytes) -> None:
        """Take frames."""
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while len(buffer) - at >= _HEAD_BYTES:
            end = at + _HEAD_BYTES + int.from_bytes(buffer[at : at + 3])
            if len(buffer) < end:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            self._frame_received(kind, flags, buffer[at + _HEAD_BYTES : end])
            at = end
        self._buffer = buffer[at:]

    def _frame_received(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _Kind.DATA:
            self._body += payload
        elif kind in (_Kind.SETTINGS, _Kind.PING) and not flags & _Flag.ACK:
            answer = payload if kind == _Kind.PING else b""
            self._transport.write(_frame(_Kind(kind), answer, _Flag.ACK))
        elif kind in (_Kind.RST_STREAM, _Kind.GOAWAY) and not self._closes:
            self._fail(f"{_Kind(kind).name}: {payload!r}")
        if kind in (_Kind.DATA, _Kind.HEADERS) and flags & _Flag.END_STREAM:
            self._ended(payload)

    def _ended(self, trailers: bytes) -> None:
        body, self._body = self._body, b""
        if len(body) < 5 or len(body) - 5 != int.from_bytes(body[1:5]):
            self._fail(f"no message, and trailers (as they are packed): {trailers!r}")
            return
        self.reply = Reply(b"", body[5:])
        self.replied(self)


def _headers(method: str) -> bytes:
    """Return the headers of a call, none of which the server is to remember."""
    named = ((b"te", b"trailers"), (b"content-type", b"application/grpc"))
    indexed = ((_PATH, method.encode()), (_AUTHORITY, b"localhost"))
    parts = [_POST, _HTTP, *(bytes([index]) + _text(value) for index, value in indexed)]
    return b"".join(parts + [b"\x00" + _text(name) + _text(value) for name, value in named])


def _text(value: bytes) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value


def _head(length: int, kind: _Kind, flags: int) -> bytes:
    return length.to_bytes(3) + bytes([kind, flags])


def _frame(kind: _Kind, payload: bytes, flags: int = 0) -> bytes:
    return _head(len(payload), kind, flags) + bytes(4) + payload
