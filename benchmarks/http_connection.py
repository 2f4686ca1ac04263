"""Connections of the load generator: each asks the same request again and again, one at a time.

As little as can be is done for a reply, so that the generator leaves the machine to the server.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

_BLANK = b"\r\n\r\n"


class NotAnswered(Exception):
    """A server did not answer as it should; the message holds what came."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came: an HTTP head, empty for gRPC, and the body or the message."""

    head: bytes
    body: bytes


class Connection(asyncio.Protocol):
    """One connection that is kept open.

    The loader sets `replied`, which is called when a reply is there, and `failed`, which is called
    once when none will be.
    """

    def __init__(self) -> None:
        self.due = 0.0
        """When the request under way was to be sent."""
        self.reply = Reply(b"", b"")
        """The last one."""
        self.replied: Callable[[Connection], None]
        self.failed: Callable[[NotAnswered], None]
        self._transport: asyncio.Transport
        self._closes = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the loader, unless it hung up itself."""
        if not self._closes:
            self._fail(f"the server hung up: {exc}")

    def ask(self, due: float) -> None:
        """Send the request, which was to be sent at `due`."""
        raise NotImplementedError

    def close(self) -> None:
        """Hang up."""
        self._closes = True
        self._transport.close()

    def _fail(self, why: str) -> None:
        self.failed(NotAnswered(why))
        self.close()


class HttpConnection(Connection):
    """HTTP/1.1, whose replies have a Content-Length or come in chunks."""

    def __init__(self, request: bytes) -> None:
        super().__init__()
        self._request = request
        self._buffer = b""

    def ask(self, due: float) -> None:
        """Send the request."""
        self.due = due
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take a part of a reply."""
        self._buffer = self._buffer + data if self._buffer else data
        head, blank, rest = self._buffer.partition(_BLANK)
        body = _body(head, rest) if blank else None
        if body is None:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(self._buffer.decode(errors="replace"))
            return
        self._buffer = b""
        self.reply = Reply(head, body)
        return self.replied(self)


def content_length(head: bytes, name: bytes = b"content-length") -> int | None:
    """Return the number that a header has; None when it is not there."""
    value = head.lower().partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0]
    return int(value) if value else None


def _body(head: bytes, rest: bytes) -> bytes | None:
    """Return the body; None when it is not whole yet."""
    if (length := content_length(head)) is None:
        return _unchunked(rest)
    return rest if len(rest) >= length else None


def _unchunked(rest: bytes) -> bytes | None:
    parts, at = list[bytes](), 0
    while (line := rest.find(b"\r\n", at)) >= 0:
        size = int(rest[at:line], 16)
        at = line + 2 + size + 2
        if len(rest) < at:
            return None
        if not size:
            return b"".join(parts)
        parts.append(rest[line + 2 : at - 2])
    return None
