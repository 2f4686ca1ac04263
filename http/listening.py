"""The face's listening sockets, from the first connection to the very last."""

import asyncio
import contextlib
import ctypes
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Self

import structlog
from aiohttp import web

from repertory.config import Http
from repertory.http.access import ACCESS
from repertory.http.patience import give_up_silent
from repertory.http.protocol import HEADER_BYTES, HEADERS, LINE_BYTES, JsonProtocol, Tell

# For those who keep a connection, or have just made one, to send what they were about to send.
LINGER_SECONDS = 1.0
LOOK_SECONDS = 0.01
# A client that takes nothing of a reply for so long, while the face waits to end, holds it no more.
STALL_SECONDS = 1.0
# For handshakes that are half done, when no new ones begin.
HANDSHAKE_SECONDS = 0.05
# linux/filter.h: instructions of a socket filter, which sees a segment from its TCP header on.
SO_ATTACH_FILTER = 26
NO_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x45, 0, 1, 0x02),  # is SYN set?
    (0x06, 0, 0, 0),  # then drop the segment
    (0x06, 0, 0, 0xFFFFFFFF),  # else take all of it
)

log = structlog.get_logger(__name__)


class Listener:
    """Listens for an application that is set up."""

    def __init__(
        self, runner: web.AppRunner, listener: asyncio.Server, tls: ssl.SSLContext | None
    ) -> None:
        assert runner.server is not None
        self._server = runner.server
        self._tell = _tell(runner)
        self._listener = listener
        host, port = listener.sockets[0].getsockname()[:2]
        self._tls = tls
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @classmethod
    async def open(
        cls, runner: web.AppRunner, http: Http, *, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Listen, with TLS if there is a context for it, together with others if there are workers.

        Raises SystemExit when the port cannot be had.
        """
        loop = asyncio.get_running_loop()
        assert runner.server is not None
        server, tell = runner.server, _tell(runner)
        try:
            listener = await loop.create_server(
                lambda: _connection(server, tell),
                http.host,
                http.port,
                backlog=1024,
                ssl=tls,
                reuse_port=http.workers > 1,
            )
        except OSError as error:
            log.error("cannot listen", host=http.host, port=http.port, why=error.strerror)
            raise SystemExit(1) from None
        for each in listener.sockets:
            with each.dup() as door:  # the loop's own cannot be told anything
                give_up_silent(door)
        found = cls(runner, listener, tls)
        log.info("listening", url=found.url)
        return found

    async def close(self) -> None:
        """Accept nothing new, but all who are at the door already.

        The kernel would reset connections that were made and not accepted yet, though their request
        may have come. So none are made any more: who begins one now, tries again in a second, as
        TCP does when a segment is lost, and is refused.
        """
        doors = [door.dup() for door in self._listener.sockets]
        for door in doors:
            _drop_new(door)
        await asyncio.sleep(HANDSHAKE_SECONDS)
        self._listener.close()
        last = [visitor for door in doors for visitor in _accepted(door)]
        for door in doors:
            door.close()
        loop = asyncio.get_running_loop()
        for visitor in last:
            with contextlib.suppress(OSError):  # it has left
                await loop.connect_accepted_socket(
                    lambda: _connection(self._server, self._tell), visitor, ssl=self._tls
                )

    async def linger(self) -> None:
        """Wait until all connections are closed, by the replies they get, or a moment is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self._server.connections:
                    await asyncio.sleep(LOOK_SECONDS)

    async def flush(self, seconds: float) -> None:
        """Wait until clients have taken their replies; not for those that have stopped taking them."""
        loop = asyncio.get_running_loop()
        end, before, since = loop.time() + seconds, 0, loop.time()
        while (unsent := self._unsent()) and loop.time() < end:
            if unsent != before:
                before, since = unsent, loop.time()
            elif loop.time() - since > STALL_SECONDS:
                log.warning("some replies are not taken by their clients", bytes=unsent)
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _unsent(self) -> int:
        transports = (each.transport for each in self._server.connections)
        return sum(each.get_write_buffer_size() for each in transports if each is not None)


def _tell(runner: web.AppRunner) -> Tell | None:
    access = runner.app.get(ACCESS)
    return None if access is None else access.tell_refused


def _connection(server: web.Server, tell: Tell | None) -> JsonProtocol:
    loop = asyncio.get_running_loop()
    return JsonProtocol(
        server,
        tell=tell,
        loop=loop,
        access_log=None,
        max_line_size=LINE_BYTES,
        max_field_size=HEADER_BYTES,
        max_headers=HEADERS,
    )


def _drop_new(door: socket.socket) -> None:
    """Have the kernel drop what begins a connection (man 7 socket, SO_ATTACH_FILTER)."""
    instructions = b"".join(struct.pack("HBBI", *each) for each in NO_NEW_CONNECTIONS)
    program = ctypes.create_string_buffer(instructions, len(instructions))
    option = struct.pack("HP", len(NO_NEW_CONNECTIONS), ctypes.addressof(program))
    with contextlib.suppress(OSError):  # without it, a few may be reset
        door.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)


def _accepted(door: socket.socket) -> Iterator[socket.socket]:
    with contextlib.suppress(OSError):  # nobody is there any more
        while True:
            yield door.accept()[0]
