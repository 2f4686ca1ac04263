"""The doors of one actor: a listening socket and connections, on one epoll.

An actor gives Thespian a single file to watch, the epoll's own, which is readable whenever any of
its sockets can be read or written. So writes never block, and the number of connections does not
matter to Thespian.
"""

import contextlib
import select
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from repertory.actors.frames import Frame, FrameReader, encode_frame
from repertory.errors import ProtocolError
from repertory.protos.door_pb2 import Envelope

# A peer that lets this much pile up is not read from until it has taken it: a slow reader must not
# grow our memory.
OUTBOX_LIMIT = 32 * 1024 * 1024
READ_SIZE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Connected:
    """A peer has come in through the listening socket."""

    peer: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole frame from a peer."""

    peer: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class Closed:
    """A peer is gone; its number is not used again."""

    peer: int
    reason: str


Event = Connected | Arrived | Closed


class _Connection:
    __slots__ = ("events", "number", "outbox", "pending", "reader", "socket")

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.socket = sock
        self.reader = FrameReader()
        self.outbox: list[bytes] = []
        self.pending = bytearray()  # its front can be cut off without a copy
        self.events = select.EPOLLIN


class Hub:
    """Doors without threads: `poll` gives what happened, `send` and `flush` answer.

    Peers are numbers. Nothing here blocks. Not safe for several threads.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}  # by file number
        self._peers: dict[int, _Connection] = {}  # by peer number
        self._listener: socket.socket | None = None
        self._watched: dict[int, Callable[[], None]] = {}
        self._next = 1
        self._dirty: set[_Connection] = set()
        self._closed: list[Closed] = []

    def fileno(self) -> int:
        """Return the file to watch for reading."""
        return self._epoll.fileno()

    def watch(self, fileno: int, readable: Callable[[], None]) -> None:
        """Call `readable`, within `poll`, whenever `fileno` can be read."""
        self._watched[fileno] = readable
        self._epoll.register(fileno, select.EPOLLIN)

    def listen(self, path: Path) -> None:
        """Listen on a UNIX socket, in place of any file that a dead process left there."""
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(128)
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)

    def connect(self, path: Path) -> int | None:
        """Connect to a UNIX socket; return the peer's number, or None when nobody listens."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            return None
        return self._add(sock).number

    def poll(self, timeout: float = 0) -> list[Event]:
        """Return what happened, oldest first; waits up to `timeout` seconds for something."""
        events: list[Event] = []
        for fileno, happened in self._epoll.poll(timeout):
            if self._listener is not None and fileno == self._listener.fileno():
                events.extend(self._accept())
            elif (readable := self._watched.get(fileno)) is not None:
                readable()
            elif (connection := self._connections.get(fileno)) is not None:
                if happened & select.EPOLLOUT:
                    self._dirty.add(connection)
                if happened & ~select.EPOLLOUT:
                    events.extend(self._read(connection))
        self.flush()
        events.extend(self._closed)
        self._closed.clear()
        return events

    def send(self, peer: int, envelope: Envelope, payload: bytes = b"") -> None:
        """Queue a frame until the next `flush`. A peer that is gone is skipped silently."""
        if (connection := self._peers.get(peer)) is not None:
            connection.outbox.append(encode_frame(envelope, payload))
            self._dirty.add(connection)

    def flush(self) -> None:
        """Write what can be written now; the rest goes when its peer can take it."""
        while self._dirty:
            self._write(self._dirty.pop())

    def pid(self, peer: int) -> int | None:
        """Return the process behind a peer, as the kernel knows it."""
        if (connection := self._peers.get(peer)) is None:
            return None
        size = struct.calcsize("3i")
        raw = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("3i", raw)[0])

    def disconnect(self, peer: int, reason: str = "closed here") -> None:
        """Close a connection; the next `poll` says so. Idempotent."""
        if (connection := self._peers.pop(peer, None)) is not None:
            self._connections.pop(connection.socket.fileno(), None)
            self._dirty.discard(connection)
            connection.socket.close()
            self._closed.append(Closed(peer, reason))

    def close(self) -> None:
        """Close everything. Idempotent."""
        for peer in list(self._peers):
            self.disconnect(peer)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._epoll.close()

    def _add(self, sock: socket.socket) -> _Connection:
        connection = _Connection(self._next, sock)
        self._next += 1
        self._connections[sock.fileno()] = self._peers[connection.number] = connection
        self._epoll.register(sock.fileno(), connection.events)
        return connection

    def _accept(self) -> Iterator[Event]:
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                yield Connected(self._add(sock).number)

    def _read(self, connection: _Connection) -> Iterator[Event]:
        try:
            data = connection.socket.recv(READ_SIZE)
            if not data:
                self.disconnect(connection.number, "closed by the peer")
            for frame in connection.reader.feed(data):
                yield Arrived(connection.number, frame)
        except BlockingIOError:
            return
        except (OSError, ProtocolError) as error:
            self.disconnect(connection.number, str(error))

    def _write(self, connection: _Connection) -> None:
        if connection.outbox:
            connection.pending += b"".join(connection.outbox)
            connection.outbox.clear()
        try:
            while connection.pending:
                sent = connection.socket.send(connection.pending)
                del connection.pending[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            self.disconnect(connection.number, str(error))
            return
        wanted = select.EPOLLIN if len(connection.pending) < OUTBOX_LIMIT else 0
        wanted |= select.EPOLLOUT if connection.pending else 0
        if wanted != connection.events:
            connection.events = wanted
            self._epoll.modify(connection.socket.fileno(), wanted)
