"""Connections between hosts: TCP, with or without TLS, opened without blocking."""

import contextlib
import errno
import os
import select
import socket
from collections.abc import Iterator

from repertory.actors.connection import READ_SIZE, Connection, PeerClosed
from repertory.actors.frames import FRAME_LIMIT, Frame
from repertory.actors.tls import TlsSession

# What a peer may send in one frame before it is trusted: a Hello tells digests of some five keys
# for each data type, and there may be a thousand of these.
STRANGER_FRAME_LIMIT = 1024 * 1024
STRANGER_READ_SIZE = 64 * 1024
# A network that is cut does not say so: this long, and not a quarter of an hour as by default, may
# what we sent stay unacknowledged, or a silent host fail to answer the kernel's own question.
USER_TIMEOUT_MS = 3000
_KEEPALIVE = {socket.TCP_KEEPIDLE: 1, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 3}


def tune(sock: socket.socket) -> None:
    """Make a socket send at once, and notice within seconds that nobody is there any more."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on exactly this address. Raises an OSError if it cannot."""
    family, address = _resolve(host, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


def connecting(host: str, port: int, source: str | None = None) -> socket.socket:
    """Return a socket that has begun to connect, from the address `source`.

    Raises an OSError for what fails at once. A name, in place of an address, may block.
    """
    family, address = _resolve(host, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        tune(sock)
        if source is not None:
            sock.bind(_resolve(source, 0)[1])
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except OSError:
        sock.close()
        raise
    return sock


def written(address: tuple[str, int]) -> str:
    """Return an address as it is written: `10.0.0.2:5590`, `[::1]:5590`."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _resolve(host: str, port: int) -> tuple[int, tuple[str, int]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return found[0], found[4]  # type: ignore[return-value]


class TcpConnection(Connection):
    """A connection to another host. It is open once TCP, and TLS if it has a session, are through.

    Until it is trusted, it takes no frames larger than STRANGER_FRAME_LIMIT. `called` tells that
    this side connected; what it is sent then answers what it asked, and is always read: two hubs
    that each waited for the other one to read would wait for ever.
    """

    __slots__ = ("_connecting", "_read_size", "called", "deadline", "remote", "tls", "wants")

    def __init__(
        self, number: int, sock: socket.socket, remote: str, *, tls: TlsSession | None = None
    ) -> None:
        super().__init__(number, sock, STRANGER_FRAME_LIMIT)
        self.remote = remote
        self.tls = tls
        self.wants: str | None = None  # the name that the peer's certificate must have
        self.called = False
        self.deadline = 0.0
        self.is_open = False
        self._connecting = False
        self._read_size = STRANGER_READ_SIZE

    def call(self, name: str | None) -> None:
        """Take it that this side connects, to a peer whose certificate must have this name."""
        self.called = self._connecting = True
        self.is_told = True
        self.wants = name
        self.events = select.EPOLLOUT

    def trust(self) -> None:
        """Take frames of any size from now on."""
        self.reader.limit = FRAME_LIMIT
        self._read_size = READ_SIZE

    def proceed(self) -> Iterator[Frame]:
        """Go on with opening: return the frames that came already, if it is open then.

        Raises an OSError when it cannot be opened.
        """
        if self._connecting and not self._is_connected():
            return iter(())
        if self.tls is None:
            self.is_open = True
            return iter(())
        came = b""
        with contextlib.suppress(BlockingIOError):
            came = self._recv()
        try:
            self.is_open = self.tls.shake(came)
        finally:
            self.pending += self.tls.outgoing()
        if not self.is_open:
            return iter(())
        if self.wants is not None:
            self.tls.check_name(self.wants)
        return self.reader.feed(self.tls.decrypt(b""))

    def receive(self) -> Iterator[Frame]:
        """Return the frames that what has come completes; see Connection."""
        data = self._recv()
        if self.tls is not None:
            data = self.tls.decrypt(data)
            self.pending += self.tls.outgoing()
        return self.reader.feed(data)

    def write(self) -> None:
        """Write what can be written now; frames wait until it is open. See Connection."""
        if self.is_open:
            super().write()
        elif self.pending:
            waiting, self.outbox = self.outbox, []
            super().write()
            self.outbox = waiting

    def pid(self) -> int | None:
        """Return None: it is another host's."""
        return None

    def seal(self, data: bytes) -> None:
        """Put what is to be sent behind what is pending, encrypted if there is TLS."""
        if self.tls is not None:
            self.tls.encrypt(data)
            data = self.tls.outgoing()
        self.pending += data

    def last_words(self) -> None:
        """Try to tell the peer why TLS failed, once and without waiting."""
        with contextlib.suppress(OSError):
            if self.pending:
                self.socket.send(self.pending)

    def wanted(self, limit: int) -> int:
        """Return what epoll is to wait for."""
        if self._connecting:
            return select.EPOLLOUT
        return super().wanted(limit) | (select.EPOLLIN if self.called else 0)

    def _recv(self) -> bytes:
        data = self.socket.recv(self._read_size)
        if not data:
            raise PeerClosed("closed by the peer")
        return data

    def _is_connected(self) -> bool:
        if code := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
        try:
            self.socket.getpeername()
        except OSError:  # epoll may mean one that had this file number before
            return False
        self._connecting = False
        return True
