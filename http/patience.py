"""How long the face waits for clients: those that begin a request slowly, and those that take nothing.

Whoever holds a connection without a request in hand costs a file and some memory. So the head of a
request has to come in time, and when there are too many connections, those go that have been without
a request for the longest. A client that is gone without a word, or does not read its reply, is
given up by the kernel.
"""

import asyncio
import resource
import socket
from functools import cache
from typing import Any

import structlog
from aiohttp import web

# For the head of a request, from its first byte, or that of a connection, on.
HEAD_SECONDS = 60.0
# A reply of which the client has taken nothing for so long is of no use to it.
TAKE_SECONDS = 60
# When nothing was heard for so long, the kernel asks whether the client is still there.
SILENT_SECONDS, ASK_SECONDS = 60, 20
# Some 20 KB each. Others share a process: doors, uploads, logs.
MOST_CONNECTIONS, OTHER_FILES = 4096, 512
# To look for the oldest takes time, so when there is one too many, this part of all goes.
GOING = 1 / 16

log = structlog.get_logger(__name__)


class PatientProtocol(web.RequestHandler):
    """A connection that does not wait for ever.

    `since` is when it began, or when the last request came, in seconds of the loop.
    """

    def __init__(self, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._others = server
        self._late: asyncio.TimerHandle | None = None
        self.since = self._loop.time()

    @property
    def waits(self) -> bool:
        """Whether no request is in hand: aiohttp waits for the head of one."""
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._late = self._loop.call_later(HEAD_SECONDS, self._give_up)
        if len(self._others.connections) > most_connections():
            _thin_out(self._others)

    def data_received(self, data: bytes) -> None:
        """Take what came: a head that is whole, or not yet."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self.since = self._loop.time()
            self._stop_waiting()
        elif self._late is None and self.waits:
            self._late = self._loop.call_later(HEAD_SECONDS, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the timer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self.waits:
            self.force_close()


def _thin_out(server: web.Server) -> None:
    """Close the connections that have been without a request for the longest."""
    idle = [each for each in server.connections if isinstance(each, PatientProtocol) and each.waits]
    idle.sort(key=lambda each: each.since)
    going = idle[: max(1, int(len(idle) * GOING))]
    log.warning("too many connections; the longest idle are closed", most=most_connections())
    for each in going:
        each.force_close()


@cache
def most_connections() -> int:
    """Have the system allow as many files as that takes; return how many connections there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, soft // 2)


def give_up_silent(door: socket.socket) -> None:
    """Have the kernel end connections accepted at `door` whose clients are gone, or take nothing.

    TCP_USER_TIMEOUT is also for a client that is there but whose window stays closed.
    Source: tcp(7), tcp_probe_timer() of Linux.
    """
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TAKE_SECONDS * 1000)
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS)
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ASK_SECONDS)
