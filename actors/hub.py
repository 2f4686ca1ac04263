"""The doors of one actor: listening sockets and connections, on one epoll.

An actor gives Thespian a single file to watch, the epoll's own, which is readable whenever any of
its sockets can be read or written. So writes never block, and the number of connections does not
matter to Thespian.

Processes of one host meet at UNIX sockets, hosts at TCP. Whoever comes in from another host is a
stranger until he is trusted: he may send little, and is not waited for long.
"""

import contextlib
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from repertory.actors.connection import Connection
from repertory.actors.events import Arrived, Closed, Connected, Event, Opened
from repertory.actors.frames import encode_frame
from repertory.actors.strangers import STRANGER_SECONDS, Strangers
from repertory.actors.tcp import TcpConnection, connecting, listening, tune, written
from repertory.actors.tls import TlsSession, tls_reason
from repertory.errors import ProtocolError
from repertory.protos.door_pb2 import Envelope

# A peer that lets this much pile up is not read from until it has taken it: a slow reader must not
# grow our memory.
OUTBOX_LIMIT = 32 * 1024 * 1024
_ACCEPTED_AT_ONCE = 16

__all__ = ["Arrived", "Closed", "Connected", "Event", "Hub", "Opened"]


class Hub:
    """Doors without threads: `poll` gives what happened, `send` and `flush` answer.

    Peers are numbers. Nothing here blocks. Not safe for several threads.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}  # by file number
        self._peers: dict[int, Connection] = {}  # by peer number
        self._listeners: list[socket.socket] = []
        self._watched: dict[int, Callable[[], None]] = {}
        self._accepting: dict[int, Callable[[], Iterator[Event]]] = {}
        self._next = 1
        self._dirty: set[Connection] = set()
        self._closed: list[Closed] = []
        self._strangers: Strangers | None = None  # of no use on one host
        self._tcp_address = ("", 0)

    def fileno(self) -> int:
        """Return the file to watch for reading."""
        return self._epoll.fileno()

    def watch(self, fileno: int, readable: Callable[[], None]) -> None:
        """Call `readable`, within `poll`, whenever `fileno` can be read."""
        self._watched[fileno] = readable
        self._epoll.register(fileno, select.EPOLLIN)

    # --- doors

    def listen(self, path: Path) -> None:
        """Listen on a UNIX socket, in place of any file that a dead process left there."""
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(128)
        self._listen(listener, lambda: self._accept(listener))

    def listen_tcp(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """Listen at exactly this address, for peers from other hosts; port 0: at any free one.

        Raises an OSError when that cannot be.
        """
        listener = listening(host, port)
        self._tcp_address = listener.getsockname()[:2]
        strangers = self._begin_tcp()
        self._listen(listener, lambda: self._accept_tcp(listener, strangers, tls))

    @property
    def tcp_address(self) -> tuple[str, int]:
        """The address and port that `listen_tcp` took."""
        return self._tcp_address

    def connect(self, path: Path) -> int | None:
        """Connect to a UNIX socket; return the peer's number, or None when nobody listens."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            return None
        return self._add(Connection(self._number(), sock)).number

    def connect_tcp(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        source: str | None = None,
    ) -> int:
        """Begin to connect to another host; Opened or Closed will tell how it went.

        Over TLS, the peer's certificate must have the name `server_name`. `source` is our address
        to use. A name in place of an address is looked up, which may block.
        """
        number = self._number()
        self._begin_tcp()
        try:
            sock = connecting(host, port, source)
        except OSError as error:
            self._close(Closed(number, tls_reason(error)))
            return number
        session = TlsSession(tls, server_side=False) if tls is not None else None
        connection = TcpConnection(number, sock, written((host, port)), tls=session)
        connection.call(server_name)
        self._add(connection)
        return number

    def trust(self, peer: int) -> None:
        """Take it that a peer of another host has proved who it is."""
        if isinstance(connection := self._peers.get(peer), TcpConnection):
            connection.trust()
            self._forget(connection)

    # --- what happens there

    def poll(self, timeout: float = 0) -> list[Event]:
        """Return what happened, oldest first; waits up to `timeout` seconds for something."""
        events: list[Event] = []
        for fileno, happened in self._epoll.poll(timeout):
            if (connection := self._connections.get(fileno)) is not None:
                if not connection.is_open:
                    events.extend(self._proceed(connection))
                    continue
                if happened & select.EPOLLOUT:
                    self._dirty.add(connection)
                if happened & ~select.EPOLLOUT:
                    events.extend(self._read(connection))
            elif (readable := self._watched.get(fileno)) is not None:
                readable()
            elif (accept := self._accepting.get(fileno)) is not None:
                events.extend(accept())
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
        """Return the process behind a peer, as the kernel knows it; None for another host's."""
        connection = self._peers.get(peer)
        return connection.pid() if connection is not None else None

    def certified(self, peer: int) -> frozenset[str] | None:
        """Return the names in a peer's certificate; None without TLS."""
        connection = self._peers.get(peer)
        if not isinstance(connection, TcpConnection) or connection.tls is None:
            return None
        return connection.tls.names if connection.is_open else frozenset()

    def disconnect(self, peer: int, reason: str = "closed here") -> None:
        """Close a connection; the next `poll` says so. Idempotent."""
        if (connection := self._peers.pop(peer, None)) is not None:
            self._connections.pop(connection.socket.fileno(), None)
            self._dirty.discard(connection)
            connection.socket.close()
            self._forget(connection)
            if connection.is_told:
                self._close(Closed(peer, reason))

    def close(self) -> None:
        """Close everything. Idempotent."""
        for peer in list(self._peers):
            self.disconnect(peer)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._strangers is not None:
            self._strangers.close()
        self._epoll.close()

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _add(self, connection: Connection) -> Connection:
        fileno = connection.socket.fileno()
        self._connections[fileno] = self._peers[connection.number] = connection
        self._epoll.register(fileno, connection.events)
        return connection

    def _listen(self, listener: socket.socket, accept: Callable[[], Iterator[Event]]) -> None:
        self._listeners.append(listener)
        self._accepting[listener.fileno()] = accept
        self._epoll.register(listener.fileno(), select.EPOLLIN)

    def _accept(self, listener: socket.socket) -> Iterator[Event]:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                yield Connected(self._add(Connection(self._number(), sock)).number)

    def _read(self, connection: Connection) -> Iterator[Event]:
        try:
            for frame in connection.receive():
                yield Arrived(connection.number, frame)
        except BlockingIOError:
            return
        except (OSError, ProtocolError) as error:
            self.disconnect(connection.number, tls_reason(error))

    def _write(self, connection: Connection) -> None:
        try:
            connection.write()
        except OSError as error:
            self.disconnect(connection.number, tls_reason(error))
            return
        wanted = connection.wanted(OUTBOX_LIMIT)
        if wanted != connection.events:
            connection.events = wanted
            self._epoll.modify(connection.socket.fileno(), wanted)

    # --- other hosts

    def _accept_tcp(
        self, listener: socket.socket, strangers: Strangers, tls: ssl.SSLContext | None
    ) -> Iterator[Event]:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, address = listener.accept()
                tune(sock)
            except OSError:
                return  # there is nobody more, or he is gone again
            session = TlsSession(tls, server_side=True) if tls is not None else None
            stranger = TcpConnection(self._number(), sock, written(address), tls=session)
            stranger.is_told = False
            self._add(stranger)
            for late in strangers.add(stranger):
                self._turn_away(late, "there are too many strangers")
            yield from self._proceed(stranger)

    def _proceed(self, connection: Connection) -> Iterator[Event]:
        """Go on with opening a connection; frames may have come with the last step of it."""
        assert isinstance(connection, TcpConnection)
        number = connection.number
        try:
            frames = connection.proceed()
            self._dirty.add(connection)
            if connection.is_open:
                connection.is_told = True
                yield Opened(number) if connection.called else Connected(number, connection.remote)
            for frame in frames:
                yield Arrived(number, frame)
        except (OSError, ProtocolError) as error:
            connection.last_words()
            self._turn_away(connection, tls_reason(error))

    def _turn_away(self, connection: TcpConnection, reason: str) -> None:
        if self._strangers is not None and not connection.is_told:
            self._strangers.refuse(connection, reason)
        self.disconnect(connection.number, reason)

    def _forget(self, connection: Connection) -> None:
        if self._strangers is not None:
            self._strangers.remove(connection.number)

    def _close(self, closed: Closed) -> None:
        self._closed.append(closed)
        if self._strangers is not None:
            self._strangers.alarm.set(0.0)  # `poll` has something to say

    def _begin_tcp(self) -> Strangers:
        if self._strangers is None:
            self._strangers = Strangers()
            self.watch(self._strangers.alarm.fileno(), self._ring)
        return self._strangers

    def _ring(self) -> None:
        assert self._strangers is not None
        for late in self._strangers.late():
            self._turn_away(late, f"it did not prove within {STRANGER_SECONDS:g} s who it is")
