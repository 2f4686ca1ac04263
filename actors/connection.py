"""One connection of a hub: frames that come in, and what waits to go out."""

import select
import socket
import struct
from collections.abc import Iterator

from repertory.actors.frames import FRAME_LIMIT, Frame, FrameReader

READ_SIZE = 256 * 1024


class PeerClosed(OSError):
    """The peer has closed the connection."""


class Connection:
    """A connection over a UNIX socket, and what all kinds have in common. Nothing here blocks."""

    __slots__ = ("events", "is_open", "is_told", "number", "outbox", "pending", "reader", "socket")

    def __init__(self, number: int, sock: socket.socket, limit: int = FRAME_LIMIT) -> None:
        self.number = number
        self.socket = sock
        self.reader = FrameReader(limit)
        self.outbox: list[bytes] = []
        self.pending = bytearray()  # its front can be cut off without a copy
        self.events = select.EPOLLIN
        self.is_open = True  # frames can be sent and received
        self.is_told = True  # the hub's user knows of it

    def receive(self) -> Iterator[Frame]:
        """Return the frames that what has come completes.

        Raises BlockingIOError when nothing has come, PeerClosed and other OSErrors when the
        connection is lost; iterating raises ProtocolError.
        """
        data = self.socket.recv(READ_SIZE)
        if not data:
            raise PeerClosed("closed by the peer")
        return self.reader.feed(data)

    def write(self) -> None:
        """Write what can be written now. Raises an OSError when the connection is lost."""
        if self.outbox:
            self.seal(b"".join(self.outbox))
            self.outbox.clear()
        try:
            while self.pending:
                sent = self.socket.send(self.pending)
                del self.pending[:sent]
        except BlockingIOError:
            return

    def pid(self) -> int | None:
        """Return the process behind it, as the kernel knows it; None on another host."""
        size = struct.calcsize("3i")
        raw = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("3i", raw)[0])

    def seal(self, data: bytes) -> None:
        """Put what is to be sent behind what is pending, as it travels."""
        self.pending += data

    def wanted(self, limit: int) -> int:
        """Return what epoll is to wait for: no input from a peer that takes no output."""
        wanted = select.EPOLLIN if len(self.pending) < limit else 0
        return wanted | (select.EPOLLOUT if self.pending else 0)
