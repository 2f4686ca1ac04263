"""Ports that several processes of one node share, and nobody else gets."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Self

# Of several addresses of a host, the first one's free port may be taken at the next one.
TRIES = 10


class Reservation:
    """Holds a port for processes of this user that listen with SO_REUSEPORT. Closed by `close`.

    That option would let a second node in as well, or whatever else this user runs. So the port is
    first taken as if nobody was to share it, which fails where anybody listens, or holds it in this
    way. Only then, Linux allows that, the sockets say that they share. They never listen, so the
    kernel gives them no connection.
    """

    def __init__(self, host: str, port: int) -> None:
        """Take a port; any free one if it is 0. Raises an OSError when it cannot be had."""
        for left in reversed(range(TRIES)):
            with contextlib.ExitStack() as stack:
                try:
                    self._sockets = list(_bound(host, port, stack))
                except OSError:
                    if port or not left:
                        raise
                    continue
                self._held = stack.pop_all()
                break
        self.port: int = self._sockets[0].getsockname()[1]

    def close(self) -> None:
        """Let go of the port. Idempotent."""
        self._held.close()

    def __enter__(self) -> Self:
        """Hold it for a while."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        self.close()


def _bound(host: str, port: int, stack: contextlib.ExitStack) -> Iterator[socket.socket]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in dict.fromkeys(found):
        door = stack.enter_context(socket.socket(family, kind, protocol))
        if family == socket.AF_INET6:  # as asyncio has it
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Connections that ended lately are no obstacle; another one like this is.
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((address[0], port, *address[2:]))
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port = port or door.getsockname()[1]
        yield door
